//! Loads a second kernel and starts it, the way the `kexec` program does.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, bail};

/// `KEXEC_FILE_ON_CRASH` of `linux/kexec.h`.
const ON_CRASH: u64 = 2;

#[derive(clap::Args)]
pub(crate) struct Kexec {
    /// The kernel.
    kernel: String,
    /// Its initial file system.
    initrd: String,
    /// Its command line.
    cmdline: String,
    /// Load it for the case of a crash, and crash: nothing is shut down before it starts.
    #[arg(long)]
    crash: bool,
}

impl Kexec {
    /// Returns only if it fails.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let open = |path: &str| File::open(path).with_context(|| format!("cannot open {path}"));
        let (kernel, initrd) = (open(&self.kernel)?, open(&self.initrd)?);
        let cmdline = CString::new(self.cmdline.as_str())?;
        let bytes = cmdline.as_bytes_with_nul();
        let flags = if self.crash { ON_CRASH } else { 0 };
        // SAFETY: the kernel reads the two files and as many bytes of the command line as are said; all outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_kexec_file_load,
                kernel.as_raw_fd(),
                initrd.as_raw_fd(),
                bytes.len(),
                bytes.as_ptr(),
                flags,
            )
        };
        if result != 0 {
            bail!("the kernel takes no second kernel: {}", std::io::Error::last_os_error());
        }
        println!("@@ kexec");
        if self.crash {
            std::fs::write("/proc/sysrq-trigger", "c").context("cannot crash")?;
        } else {
            // SAFETY: no memory is involved.
            unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_KEXEC) };
        }
        bail!("the second kernel does not start: {}", std::io::Error::last_os_error())
    }
}
