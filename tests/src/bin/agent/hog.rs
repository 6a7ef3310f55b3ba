//! Takes memory until little is left, and keeps it so: gives back when others need more, and takes what they free. Each
//! time that less is left than ever before, a line says how many MiB.

use std::time::Duration;

use anyhow::Context as _;

use crate::memory::{Memory, PAGE};

/// What is taken or given back at once.
const PIECE: usize = 4 << 20;

#[derive(clap::Args)]
pub(crate) struct Hog {
    /// How many MiB to leave.
    #[arg(long, default_value_t = 32)]
    leave: usize,
}

impl Hog {
    /// Goes on until it is killed. Should memory run out all the same, that is what the kernel does.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        std::fs::write("/proc/self/oom_score_adj", "1000").context("cannot be the one to be killed")?;
        let leave = self.leave << 20;
        let mut taken: Vec<Memory> = Vec::new();
        let mut least = usize::MAX;
        loop {
            let available = available()?;
            if available >> 20 < least {
                least = available >> 20;
                println!("{least}");
            }
            if available > leave + PIECE {
                // Locked, so that there is no getting it back.
                taken.push(Memory::new(PIECE / PAGE)?);
            } else if available >= leave || taken.pop().is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// How many bytes the kernel could give to programs.
fn available() -> anyhow::Result<usize> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()).context("no line MemAvailable")?;
    Ok(kibibytes.parse::<usize>()? << 10)
}
