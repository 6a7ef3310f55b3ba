//! Answers of variable length: a structure, and behind it a chain of capabilities.
//!
//! Several VFIO calls answer that way. The structure starts with `argsz`, into which the kernel writes how
//! much room the whole answer wants.

use std::io;
use std::os::fd::AsRawFd;

use libc::c_ulong;
use vmm_sys_util::ioctl::ioctl_with_mut_ptr;

/// No answer comes near this; a kernel that asks for more is not believed.
const MAX_ANSWER: usize = 1 << 20;
/// Bytes before a capability's own content: identifier, version, offset of the next.
const HEADER: usize = 8;

/// Asks a question whose answer's length only the kernel knows. `question` is the structure as the call
/// takes it; its first word, `argsz`, is filled in here.
///
/// # Safety
///
/// `request` must be a VFIO call that takes a structure starting with `argsz`, reads and writes at most that
/// many bytes of it, and keeps no reference.
pub unsafe fn ask<F: AsRawFd>(file: &F, request: c_ulong, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = question.to_vec();
    loop {
        let room = answer.len();
        put(&mut answer, 0, room as u32);
        // SAFETY: the buffer is `argsz` bytes long, and the caller vouches for the call.
        if unsafe { ioctl_with_mut_ptr(file, request, answer.as_mut_ptr()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let wanted = word(&answer, 0) as usize;
        if wanted <= room {
            return Ok(answer);
        }
        if wanted > MAX_ANSWER {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        answer.clear();
        answer.extend_from_slice(question);
        answer.resize(wanted, 0);
    }
}

/// The 32-bit word at `offset`; 0 where there is none.
pub fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_ne_bytes(*chunk))
}

/// The 64-bit word at `offset`; 0 where there is none.
pub fn long(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_ne_bytes(*chunk))
}

fn put(bytes: &mut [u8], offset: usize, value: u32) {
    if let Some(place) = bytes.get_mut(offset..offset + 4) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}

/// The content, header excluded, of the first capability `id` in the chain that starts at `first` (0: none).
pub fn capability(answer: &[u8], first: u32, id: u16) -> Option<&[u8]> {
    let mut offset = first as usize;
    // Offsets are the kernel's own, but a chain never is longer than what could stand in the answer.
    for _ in 0..=answer.len() / HEADER {
        let header = answer.get(offset..offset.checked_add(HEADER)?)?;
        if offset == 0 {
            return None;
        }
        if u16::from_ne_bytes([header[0], header[1]]) == id {
            return answer.get(offset + HEADER..);
        }
        offset = word(header, 4) as usize;
    }
    None
}

#[cfg(test)]
mod tests;
