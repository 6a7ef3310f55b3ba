//! The channel to L1's first process: one script at a time, its output and exit status back.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What a script in L1 did.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit status; 143 or 137 if it ran out of time.
    pub status: i32,
    /// What it printed, to either stream.
    pub text: String,
    /// How long it took, seen from here.
    pub elapsed: Duration,
}

impl Output {
    /// Whether it was stopped for taking too long.
    pub fn timed_out(&self) -> bool {
        matches!(self.status, 143 | 137)
    }
}

/// Our end of the channel.
#[derive(Default)]
pub(super) struct Channel {
    stream: Option<UnixStream>,
    received: Option<Receiver<Vec<u8>>>,
    pending: Vec<u8>,
    scripts: u32,
}

impl Channel {
    /// Uses `stream` from now on. A thread of its own empties it, so that L1 never waits for us.
    pub(super) fn attach(&mut self, stream: UnixStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        let mut reader = stream.try_clone()?;
        let (sender, received) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        self.stream = Some(stream);
        self.received = Some(received);
        Ok(())
    }

    /// Waits for the first process to say that it listens.
    pub(super) fn wait_until_ready(&mut self, deadline: Instant) -> bool {
        self.read_until(b"ready\n", deadline).is_some()
    }

    /// Runs a script; none if L1 does not answer within `budget` and some seconds more.
    pub(super) fn run(&mut self, script: &str, budget: Duration) -> Option<Output> {
        let start = Instant::now();
        self.scripts += 1;
        let nonce = format!("rig-{:08x}-{}-done", std::process::id().wrapping_mul(0x9e37_79b1), self.scripts);
        let request = format!("{nonce} {} {}\n", budget.as_secs().max(1), base64(script.as_bytes()));
        self.stream.as_mut()?.write_all(request.as_bytes()).ok()?;
        let deadline = start + budget + Duration::from_secs(20);
        let output = self.read_until(format!("\n{nonce} ").as_bytes(), deadline)?;
        let status = self.read_until(b"\n", deadline)?;
        Some(Output {
            status: String::from_utf8_lossy(&status).trim().parse().ok()?,
            text: String::from_utf8_lossy(&output).into_owned(),
            elapsed: start.elapsed(),
        })
    }

    /// What comes before `mark`, which is taken away too.
    fn read_until(&mut self, mark: &[u8], deadline: Instant) -> Option<Vec<u8>> {
        let mut searched = 0;
        loop {
            let from = searched;
            if let Some(at) = self.pending[from..].windows(mark.len()).position(|window| window == mark) {
                let rest = self.pending.split_off(from + at + mark.len());
                let mut before = std::mem::replace(&mut self.pending, rest);
                before.truncate(from + at);
                return Some(before);
            }
            searched = self.pending.len().saturating_sub(mark.len());
            let left = deadline.saturating_duration_since(Instant::now());
            match self.received.as_ref()?.recv_timeout(left) {
                Ok(bytes) => self.pending.extend(bytes),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 as RFC 4648 section 4 has it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= chunk.len() { ALPHABET[index] as char } else { '=' });
        }
    }
    text
}

/// The bytes behind base64; line ends between the digits do not count.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').collect();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut group = 0_u32;
        for digit in chunk {
            group = group << 6 | ALPHABET.iter().position(|it| it == digit)? as u32;
        }
        group <<= 6 * (4 - chunk.len());
        bytes.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{base64, from_base64};

    #[test]
    fn base64_comes_back() {
        for text in ["", "f", "fo", "foo", "foobar"] {
            assert_eq!(from_base64(&base64(text.as_bytes())).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(from_base64("Zm9v\r\nYmFy\r\n").as_deref(), Some(b"foobar".as_slice()));
        assert_eq!(from_base64("Zm9v!"), None);
    }

    #[test]
    fn base64_matches_the_examples_of_the_rfc() {
        let examples = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(examples, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }
}
