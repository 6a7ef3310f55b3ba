//! A command to an NVMe controller for which there is no other program: it goes to the admin queue as it is.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, bail};

#[derive(clap::Args)]
pub(crate) struct Admin {
    /// The controller, as `/dev/nvme0`.
    controller: String,
    /// The command's opcode.
    opcode: u8,
    /// Its dword 10.
    #[arg(default_value_t = 0)]
    dword10: u32,
    /// Its dword 11.
    #[arg(default_value_t = 0)]
    dword11: u32,
}

/// `struct nvme_passthru_cmd` of `linux/nvme_ioctl.h`.
#[derive(Default)]
#[repr(C)]
struct Passthrough {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    dwords2: [u32; 2],
    metadata: u64,
    data: u64,
    metadata_length: u32,
    data_length: u32,
    dwords10: [u32; 6],
    timeout: u32,
    result: u32,
}

/// `NVME_IOCTL_ADMIN_CMD`.
const ADMIN_COMMAND: u64 = 0xC048_4E41;

impl Admin {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let controller =
            File::open(&self.controller).with_context(|| format!("cannot open {}", self.controller))?;
        let mut command = Passthrough {
            opcode: self.opcode,
            dwords10: [self.dword10, self.dword11, 0, 0, 0, 0],
            ..Passthrough::default()
        };
        // SAFETY: the structure is the one that the call takes; it names no other memory.
        let status =
            unsafe { libc::ioctl(controller.as_raw_fd(), ADMIN_COMMAND as libc::Ioctl, &raw mut command) };
        match status {
            0 => Ok(()),
            1.. => bail!("{} answers with status {status:#x}", self.controller),
            _ => Err(std::io::Error::last_os_error()).context("the kernel does not pass the command on"),
        }
    }
}
