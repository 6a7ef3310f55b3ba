//! The guest's memory as its VMM has it, and a walk through the tables in it.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, bail, ensure};

use super::pages::{PAGE, Page, Pages};
use super::trace::Unit;

/// The name of the file that is the guest's memory.
const FILE: &str = "/memfd:guest-ram";
/// So much of it lies at the start of the guest's addresses, the rest from the other address on.
const LOW: u64 = 3 << 30;
const HIGH: u64 = 4 << 30;
/// No DMA goes there: messages that are interrupts do.
const MESSAGES: Range<u64> = 0xfee0_0000..0xfef0_0000;

/// Bits of an entry of a second-stage table.
const READ: u64 = 1;
const WRITE: u64 = 2;
const SUPERPAGE: u64 = 1 << 7;
const ADDRESS: u64 = ((1 << 52) - 1) & !(PAGE - 1);
/// Entries of a table.
const ENTRIES: u64 = 512;

/// A part of the guest's memory: its addresses, and where they are for the VMM.
struct Part {
    guest: Range<u64>,
    vmm: u64,
}

/// The memory of a guest whose VMM stands still.
pub(super) struct Guest {
    memory: File,
    map: File,
    parts: Vec<Part>,
}

/// How a function's DMA is treated.
enum Treatment {
    /// It is blocked.
    Blocked,
    /// It goes to the addresses that it names.
    AsItIs,
    /// It goes through a second-stage table.
    Table { root: u64, levels: u32 },
}

impl Guest {
    pub(super) fn of(process: u32) -> anyhow::Result<Self> {
        let open = |name: &str| {
            let path = format!("/proc/{process}/{name}");
            File::open(&path).with_context(|| format!("cannot open {path}"))
        };
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps"))?;
        let parts: Vec<_> = maps
            .lines()
            .filter(|line| line.contains(FILE))
            .map(part)
            .collect::<Option<_>>()
            .context("garbled maps")?;
        ensure!(!parts.is_empty(), "the VMM has no file called {FILE}");
        Ok(Self { memory: open("mem")?, map: open("pagemap")?, parts })
    }

    /// Where a guest's address is for the VMM.
    fn place(&self, address: u64) -> Option<u64> {
        let part = self.parts.iter().find(|part| part.guest.contains(&address))?;
        Some(part.vmm + (address - part.guest.start))
    }

    /// L1's physical address of the page at a guest's address; none where the guest has no memory.
    fn physical(&self, address: u64) -> anyhow::Result<Option<u64>> {
        let Some(place) = self.place(address) else { return Ok(None) };
        if let Some(physical) = self.present(place)? {
            return Ok(Some(physical));
        }
        // The memory may be there without the VMM having touched it; reading it makes it the VMM's.
        self.memory.read_exact_at(&mut [0], place)?;
        let physical = self.present(place)?;
        ensure!(physical.is_some(), "the VMM has no page for {address:#x}");
        Ok(physical)
    }

    /// L1's physical address of a page of the VMM's, if it is in the VMM's tables.
    fn present(&self, place: u64) -> anyhow::Result<Option<u64>> {
        let mut entry = [0; 8];
        self.map.read_exact_at(&mut entry, place / PAGE * 8)?;
        let entry = u64::from_le_bytes(entry);
        Ok((entry >> 63 == 1).then_some((entry & ((1 << 55) - 1)) * PAGE))
    }

    fn words(&self, address: u64, count: u64) -> anyhow::Result<Vec<u64>> {
        let place = self.place(address).with_context(|| format!("no table can be at {address:#x}"))?;
        let mut bytes = vec![0; count as usize * 8];
        self.memory.read_exact_at(&mut bytes, place)?;
        Ok(bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
            .collect())
    }

    /// Every page that the guest's tables let the function `source` reach, with where it is in L1.
    pub(super) fn reachable(&self, unit: &Unit, source: u16) -> anyhow::Result<Pages> {
        let mut pages = Pages::default();
        let treatment = if unit.translates { self.treatment(unit.root, source)? } else { Treatment::AsItIs };
        match treatment {
            Treatment::Blocked => {}
            Treatment::AsItIs => {
                for part in &self.parts {
                    for address in part.guest.clone().step_by(PAGE as usize) {
                        let physical = self.physical(address)?;
                        pages.insert(address, Page { physical, read: true, write: true });
                    }
                }
            }
            Treatment::Table { root, levels } => {
                self.table(root, levels, 0, READ | WRITE, &mut pages)?;
            }
        }
        Ok(pages)
    }

    /// §9.1 and further: what the root and context tables, and the PASID table if there is one, say of a function.
    fn treatment(&self, root: u64, source: u16) -> anyhow::Result<Treatment> {
        let (bus, function) = (u64::from(source >> 8), u64::from(source & 0xff));
        let entry = self.words((root & ADDRESS) + bus * 16, 2)?;
        match root >> 10 & 3 {
            0 => {
                if entry[0] & 1 == 0 {
                    return Ok(Treatment::Blocked);
                }
                let context = self.words((entry[0] & ADDRESS) + function * 16, 2)?;
                legacy(&context)
            }
            1 => {
                let half = entry[usize::from(function >= 128)];
                if half & 1 == 0 {
                    return Ok(Treatment::Blocked);
                }
                let context = self.words((half & ADDRESS) + (function & 127) * 32, 4)?;
                if context[0] & 1 == 0 {
                    return Ok(Treatment::Blocked);
                }
                // Requests without PASID go by the PASID in the entry, which Linux leaves at zero.
                ensure!(context[1] & 0xf_ffff == 0, "requests go by another PASID than 0");
                let directory = self.words(context[0] & ADDRESS, 1)?[0];
                if directory & 1 == 0 {
                    return Ok(Treatment::Blocked);
                }
                scalable(&self.words(directory & ADDRESS, 8)?)
            }
            mode => bail!("the unit's tables are of kind {mode}"),
        }
    }

    /// Follows a table: every page that its entries lead to.
    fn table(&self, at: u64, level: u32, start: u64, above: u64, pages: &mut Pages) -> anyhow::Result<()> {
        let size = PAGE << (9 * (level - 1));
        for (entry, iova) in self.words(at, ENTRIES)?.into_iter().zip((start..).step_by(size as usize)) {
            let allowed = above & entry;
            if allowed & (READ | WRITE) == 0 {
                continue;
            }
            if level > 1 && entry & SUPERPAGE == 0 {
                self.table(entry & ADDRESS, level - 1, iova, allowed, pages)?;
                continue;
            }
            for offset in (0..size).step_by(PAGE as usize) {
                if MESSAGES.contains(&(iova + offset)) {
                    continue;
                }
                let physical = self.physical((entry & ADDRESS & !(size - 1)) + offset)?;
                let page = Page { physical, read: allowed & READ != 0, write: allowed & WRITE != 0 };
                pages.insert(iova + offset, page);
            }
        }
        Ok(())
    }
}

/// §9.3: a context entry.
fn legacy(context: &[u64]) -> anyhow::Result<Treatment> {
    if context[0] & 1 == 0 {
        return Ok(Treatment::Blocked);
    }
    Ok(match context[0] >> 2 & 3 {
        0 | 1 => Treatment::Table { root: context[0] & ADDRESS, levels: (context[1] & 7) as u32 + 2 },
        2 => Treatment::AsItIs,
        kind => bail!("a context entry of kind {kind}"),
    })
}

/// §9.6: an entry of the PASID table.
fn scalable(entry: &[u64]) -> anyhow::Result<Treatment> {
    if entry[0] & 1 == 0 {
        return Ok(Treatment::Blocked);
    }
    Ok(match entry[0] >> 6 & 7 {
        2 => Treatment::Table { root: entry[0] & ADDRESS, levels: (entry[0] >> 2 & 7) as u32 + 2 },
        4 => Treatment::AsItIs,
        kind => bail!("a PASID entry of kind {kind}, which no assigned function can have"),
    })
}

/// The part of the guest's memory that a line of the VMM's maps is about.
fn part(line: &str) -> Option<Part> {
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let offset = number(words.nth(1)?)?;
    let guest = if offset < LOW { offset } else { offset - LOW + HIGH };
    let (start, end) = (number(start)?, number(end)?);
    Some(Part { guest: guest..guest + (end - start), vmm: start })
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn memory_above_the_hole_is_at_four_gibibytes() {
        let low = part("7f0000000000-7f00c0000000 rw-s 00000000 00:01 5 /memfd:guest-ram (deleted)").unwrap();
        assert_eq!((low.guest, low.vmm), (0..0xC000_0000, 0x7f00_0000_0000));
        let high =
            part("7e0000000000-7e0040000000 rw-s c0000000 00:01 5 /memfd:guest-ram (deleted)").unwrap();
        assert_eq!(high.guest, 0x1_0000_0000..0x1_4000_0000);
    }
}
