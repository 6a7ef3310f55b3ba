//! Times direct reads: the price of one map and unmap shows in the small ones.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::time::Instant;

use anyhow::Context as _;

/// Alignment that every block device is content with.
const ALIGNMENT: usize = 4096;

#[derive(clap::Args)]
pub(crate) struct Reads {
    /// The block device.
    device: String,
    /// How many.
    count: u64,
    /// Bytes each, a multiple of 4096.
    size: usize,
}

impl Reads {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let device = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(&self.device)
            .with_context(|| format!("cannot open {}", self.device))?;
        let mut room = vec![0_u8; self.size + ALIGNMENT];
        let skip = room.as_ptr().align_offset(ALIGNMENT);
        let buffer = &mut room[skip..skip + self.size];
        let start = Instant::now();
        for index in 0..self.count {
            device.read_exact_at(buffer, index * self.size as u64)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("@@ {} reads of {} bytes: {seconds:.6} s", self.count, self.size);
        Ok(())
    }
}
