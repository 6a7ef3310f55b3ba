//! PCI functions as sysfs shows them, with no driver between.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, ensure};

use crate::memory::PAGE;

/// The command register's Memory Space and Bus Master.
pub(crate) const MEMORY_AND_MASTER: u8 = 0x06;

/// The file of BAR `index`.
pub(crate) fn bar(address: &str, index: u32) -> anyhow::Result<File> {
    open(address, &format!("resource{index}"))
}

/// Where BAR `index` is; it must be as long as `pages` pages at least.
pub(crate) fn place(address: &str, index: u32, pages: usize) -> anyhow::Result<u64> {
    let path = format!("/sys/bus/pci/devices/{address}/resource");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().nth(index as usize).context("there are six BARs")?;
    let mut numbers = line.split(' ').map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16));
    let (first, last) = (numbers.next().context("no start")??, numbers.next().context("no end")??);
    ensure!(first > 0 && last - first + 1 >= (pages * PAGE) as u64, "BAR {index} is {line}");
    Ok(first)
}

/// Sets the command register's lower byte.
pub(crate) fn command(address: &str, value: u8) -> anyhow::Result<()> {
    config(address)?.write_all_at(&[value, 0], 4).context("cannot write configuration space")
}

/// Configuration space, which is written behind the back of whoever drives the function.
pub(crate) fn config(address: &str) -> anyhow::Result<File> {
    open(address, "config")
}

/// Resets the function; what the kernel keeps of its configuration space survives.
pub(crate) fn reset(address: &str) -> anyhow::Result<()> {
    let path = format!("/sys/bus/pci/devices/{address}/reset");
    std::fs::write(&path, "1").with_context(|| format!("cannot write {path}"))
}

fn open(address: &str, name: &str) -> anyhow::Result<File> {
    let path = format!("/sys/bus/pci/devices/{address}/{name}");
    File::options().read(true).write(true).open(&path).with_context(|| format!("cannot open {path}"))
}
