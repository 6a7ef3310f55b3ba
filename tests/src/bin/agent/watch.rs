//! Runs a VMM, passes its output on, and says when its guest reached user space and what the VMM took; what it has
//! locked when the guest says so.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;

#[derive(clap::Args)]
pub(crate) struct Watch {
    /// Mappings of at least so many MiB are the guest's memory.
    #[arg(long, default_value_t = 64)]
    guest_mapping: u64,
    /// The VMM and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Watch {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.command[0]))?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            std::io::stdout().write_all(&line)?;
            if line.starts_with(b"@@ userspace") {
                println!("@@ watch userspace after {:.6} s", start.elapsed().as_secs_f64());
                println!("@@ watch memory beyond the guest's: {} KiB", self.overhead(child.id())?);
            }
            if line.starts_with(b"@@ look") {
                println!("@@ watch locked: {} KiB", locked(child.id())?);
            }
            line.clear();
        }
        let status = child.wait()?;
        println!("@@ watch end after {:.6} s, {status}", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// The proportional size, in KiB, of all a process maps but its guest's memory.
    fn overhead(&self, process: u32) -> anyhow::Result<u64> {
        let maps = std::fs::read_to_string(format!("/proc/{process}/smaps"))?;
        let (mut total, mut guest) = (0, false);
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (name, value) = (words.next(), words.next().and_then(|value| value.parse::<u64>().ok()));
            match (name, value) {
                (Some("Size:"), Some(size)) => guest = size >= self.guest_mapping << 10,
                (Some("Pss:"), Some(size)) if !guest => total += size,
                _ => {}
            }
        }
        Ok(total)
    }
}

/// What a process is charged for memory that stays where it is, in KiB: type1 counts it as locked, iommufd as pinned.
fn locked(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    ["VmLck:", "VmPin:"].into_iter().map(|name| value(name).with_context(|| format!("no {name}"))).sum()
}
