//! The tables that L1's own IOMMU walks for a function, as Linux shows them.

use std::fs;

use anyhow::{Context as _, ensure};

use super::pages::{PAGE, Page, Pages};

/// Bits of an entry, alike in every format.
const READ: u64 = 1;
const WRITE: u64 = 2;
const ADDRESS: u64 = ((1 << 52) - 1) & !(PAGE - 1);

pub(super) struct Host;

impl Host {
    /// Every page that the function at `address` can reach. Nothing, where the IOMMU has no table for it.
    pub(super) fn reachable(address: &str) -> anyhow::Result<Pages> {
        let path = format!("/sys/kernel/debug/iommu/intel/{address}/domain_translation_struct");
        let text = fs::read_to_string(&path).with_context(|| {
            format!("cannot read {path}: is L1's kernel the one with debugfs for IOMMUs?")
        })?;
        let memory = memory(&fs::read_to_string("/proc/iomem")?);
        pages(&text, |physical| memory.iter().any(|range| range.contains(&physical)))
    }
}

/// L1's memory, in its physical addresses.
fn memory(iomem: &str) -> Vec<std::ops::Range<u64>> {
    let range = |line: &str| {
        let (range, _) = line.split_once(" : System RAM")?;
        let (start, last) = range.trim().split_once('-')?;
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        Some(number(start)?..number(last)? + 1)
    };
    iomem.lines().filter_map(range).collect()
}

/// The pages of a listing: a line for each last entry, with those above it, the highest first.
fn pages(text: &str, is_memory: impl Fn(u64) -> bool) -> anyhow::Result<Pages> {
    let mut pages = Pages::default();
    for line in text.lines() {
        let Some((first, entries)) = line.split_once(" |") else { continue };
        let number = |word: &str| {
            u64::from_str_radix(word.trim_start_matches("0x"), 16).with_context(|| format!("garbled: {line}"))
        };
        let iova = number(first.trim())? * PAGE;
        let entries = entries.split_whitespace().map(number).collect::<anyhow::Result<Vec<_>>>()?;
        // Levels 5, 4 and 3 are always there; one that is zero is above the table's root. 2 and 1 follow if the
        // entry above is none that ends the walk.
        ensure!((3..=5).contains(&entries.len()), "garbled: {line}");
        let level = 5 - (entries.len() - 1);
        let leaf = *entries.last().unwrap_or(&0);
        let all = entries.iter().filter(|entry| **entry != 0).fold(READ | WRITE, |all, entry| all & entry);
        let size = PAGE << (9 * (level - 1));
        let start = leaf & ADDRESS & !(size - 1);
        for offset in (0..size).step_by(PAGE as usize) {
            let physical = Some(start + offset).filter(|physical| is_memory(*physical));
            pages.insert(iova + offset, Page { physical, read: all & READ != 0, write: all & WRITE != 0 });
        }
    }
    Ok(pages)
}

/// How many pages drivers have pinned and not given back, of all L1's memory.
pub(super) fn pinned() -> anyhow::Result<i64> {
    // Each processor keeps its last changes to itself for a while.
    fs::write("/proc/sys/vm/stat_refresh", "1").context("L1 does not add its counts up")?;
    let text = fs::read_to_string("/proc/vmstat")?;
    let value = |name: &str| -> anyhow::Result<i64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("L1 does not count {name}"))?.parse()?)
    };
    Ok(value("nr_foll_pin_acquired")? - value("nr_foll_pin_released")?)
}

/// How much memory of a process is locked or pinned for devices, in KiB.
pub(super) fn locked(process: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = |name: &str| -> anyhow::Result<u64> {
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).context("a status without memory")?;
        Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
    };
    Ok(value("VmLck:")? + value("VmPin:")?)
}

#[cfg(test)]
mod tests {
    use super::{memory, pages};
    use crate::witness::pages::Page;

    const LISTING: &str = "\
Device 0000:00:05.0 @0x1234000
IOVA_PFN         \tPML5E             \tPML4E             \tPDPE              \tPDE               \tPTE
0x00000000fffff |\t0x0000000000000000\t0x0000000101001003\t0x0000000101002003\t0x0000000101003003\t0x000000012345e803
0x0000000100200 |\t0x0000000000000000\t0x0000000101001003\t0x0000000101002003\t0x0000000140200081
";

    #[test]
    fn a_listing_is_read_page_by_page() {
        let pages = pages(LISTING, |physical| physical < 0x1_4000_0000).unwrap();
        assert_eq!(pages.count(), 513);
        let page = |physical, write| Page { physical, read: true, write };
        let expected = super::Pages::default();
        let all = expected.differences(&pages);
        let at = |iova: u64| all.iter().find(|it| it.iova == iova).and_then(|it| it.found);
        assert_eq!(at(0xffff_f000), Some(page(Some(0x1_2345_e000), true)));
        assert_eq!(at(0x1_0020_0000), Some(page(None, false)));
        assert_eq!(at(0x1_003f_f000), Some(page(None, false)));
    }

    #[test]
    fn a_garbled_listing_is_refused() {
        assert!(pages("0x1 |\t0x1\t0x2", |_| true).is_err());
        assert!(pages("0x1 |\t0x1\t0x2\tx", |_| true).is_err());
    }

    #[test]
    fn memory_is_what_the_map_calls_so() {
        let map = "00001000-0009fbff : System RAM\n000a0000-000bffff : PCI Bus\n  100000000-1ffffffff : System RAM\n";
        assert_eq!(memory(map), [0x1000..0x9fc00, 0x1_0000_0000..0x2_0000_0000]);
    }
}
