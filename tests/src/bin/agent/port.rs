//! Port I/O from user space.

use anyhow::Context as _;

/// Writes one byte to a port.
pub(crate) fn write(port: u16, value: u8) -> anyhow::Result<()> {
    // SAFETY: no memory is involved; the call only changes which ports this thread may use.
    if unsafe { libc::ioperm(port.into(), 1, 1) } != 0 {
        return Err(std::io::Error::last_os_error()).context("the kernel grants no access to the port");
    }
    // SAFETY: access was granted; a port of a guest's own machine touches none of this program's memory.
    unsafe {
        std::arch::asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags));
    }
    Ok(())
}
