//! What a function can reach, page by page.

use std::collections::BTreeMap;

/// Bytes in a page of 4 KiB.
pub(super) const PAGE: u64 = 4096;

/// Where an address leads, and what may be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// L1's physical address; none for what is no memory of the guest's, such as another function's registers.
    pub(super) physical: Option<u64>,
    pub(super) read: bool,
    pub(super) write: bool,
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.physical {
            Some(physical) => write!(f, "{physical:#x}")?,
            None => f.write_str("no memory of the guest's")?,
        }
        write!(f, " ({}{})", if self.read { "r" } else { "-" }, if self.write { "w" } else { "-" })
    }
}

/// Every page of 4 KiB that a function can reach, by its address for the function.
#[derive(Default)]
pub(super) struct Pages(BTreeMap<u64, Page>);

/// An address at which two sets of pages differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) iova: u64,
    pub(super) wanted: Option<Page>,
    pub(super) found: Option<Page>,
}

impl Pages {
    pub(super) fn insert(&mut self, iova: u64, page: Page) {
        self.0.insert(iova, page);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Where `found` differs from these. What the guest maps and is no memory of its own, the host may have or not:
    /// it must not be memory then, which the caller has seen to by leaving its address out.
    pub(super) fn differences(&self, found: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut note = |iova: u64, wanted: Option<&Page>, found: Option<&Page>| {
            let (wanted, found) = (wanted.copied(), found.copied());
            let allowed = matches!(wanted, Some(Page { physical: None, .. }))
                && found.is_none_or(|found| found.physical.is_none());
            if wanted != found && !allowed {
                differences.push(Difference { iova, wanted, found });
            }
        };
        for (iova, page) in &self.0 {
            note(*iova, Some(page), found.0.get(iova));
        }
        for (iova, page) in found.0.iter().filter(|(iova, _)| !self.0.contains_key(iova)) {
            note(*iova, None, Some(page));
        }
        differences
    }
}

/// The differences that are in both.
pub(super) fn common(one: &[Difference], other: &[Difference]) -> Vec<Difference> {
    one.iter().filter(|difference| other.contains(difference)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::{Page, Pages, common};

    const MEMORY: Page = Page { physical: Some(0x5000), read: true, write: true };
    const REGISTERS: Page = Page { physical: None, read: true, write: true };

    fn pages(of: &[(u64, Page)]) -> Pages {
        Pages(of.iter().copied().collect())
    }

    #[test]
    fn what_is_missing_more_or_elsewhere_is_a_difference() {
        let one = pages(&[(0x1000, MEMORY), (0x2000, MEMORY), (0x3000, MEMORY)]);
        let read_only = Page { write: false, ..MEMORY };
        let other = pages(&[(0x2000, read_only), (0x3000, MEMORY), (0x4000, MEMORY)]);
        let found = one.differences(&other);
        assert_eq!(found.iter().map(|it| it.iova).collect::<Vec<_>>(), [0x1000, 0x2000, 0x4000]);
        assert!(one.differences(&one).is_empty());
        assert_eq!(common(&found, &found[1..]), found[1..]);
    }

    #[test]
    fn registers_need_not_be_reachable_but_memory_never_stands_in_for_them() {
        let guest = pages(&[(0x1000, REGISTERS)]);
        assert!(guest.differences(&pages(&[])).is_empty());
        assert!(guest.differences(&pages(&[(0x1000, REGISTERS)])).is_empty());
        assert_eq!(guest.differences(&pages(&[(0x1000, MEMORY)])).len(), 1);
    }
}
