//! What entries of paging tables said, by the addresses they span: leaves for the IOTLB, entries above them
//! for the paging-structure caches.

use std::sync::atomic::{AtomicU8, Ordering};

use super::table::{Change, Table};
use crate::spec::bits;
use crate::spec::second_stage::Level;
use crate::{DomainId, Iova};

/// Up to so many keys are looked for one by one; for more the whole cache is looked through.
const MAX_PROBES: u64 = 64;

/// One word each for entries by domain, level and address, and a tag: whatever else an entry belongs to.
pub(crate) struct Entries {
    table: Table<2, 1>,
    /// The levels of which there may be entries, by number; there is no point in looking for others.
    levels: AtomicU8,
}

/// The tags that an invalidation names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tags {
    /// This one.
    One(u64),
    /// Those that agree with `tag` in the bits of `mask`.
    Alike { tag: u64, mask: u64 },
}

impl Tags {
    const fn contain(self, tag: u64) -> bool {
        match self {
            Self::One(one) => tag == one,
            Self::Alike { tag: one, mask } => (tag ^ one) & mask == 0,
        }
    }
}

/// A range of addresses that an invalidation names (§6.5.2.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// A multiple of `length`, as far as tables reach.
    start: u64,
    length: u64,
}

impl Span {
    /// Everything that tables reach.
    pub(crate) const ALL: Self = Self { start: 0, length: REACH };

    /// The `2 ^ address_mask` small pages around `iova`.
    pub(crate) fn new(iova: Iova, address_mask: u8) -> Self {
        let bits = u32::from(address_mask) + Level::PAGE.shift();
        match 1_u64.checked_shl(bits) {
            Some(length) if length < REACH => Self { start: iova.0 & (REACH - 1) & !(length - 1), length },
            _ => Self::ALL,
        }
    }
}

impl Entries {
    /// A cache of `4 * 2 ^ set_bits` entries.
    pub(crate) fn new(set_bits: u32) -> Self {
        Self { table: Table::new(set_bits), levels: AtomicU8::new(0) }
    }

    /// The entry of the lowest level that spans `iova`.
    #[inline]
    pub(crate) fn get(&self, domain: DomainId, tag: u64, iova: Iova) -> Option<(Level, u64)> {
        self.levels().find_map(|level| {
            let [word] = self.table.get(key(domain, level, iova, tag))?;
            Some((level, word))
        })
    }

    /// Puts in the entry of `level` that spans `iova`.
    pub(crate) fn fill(
        &self,
        change: &mut Change,
        domain: DomainId,
        tag: u64,
        iova: Iova,
        (level, word): (Level, u64),
    ) {
        let levels = self.levels.load(Ordering::Relaxed) | 1 << level.number();
        self.levels.store(levels, Ordering::Relaxed);
        self.table.fill(change, key(domain, level, iova, tag), [word]);
    }

    pub(crate) fn evict_all(&self, change: &mut Change) {
        self.table.evict(change, |_, _| true);
        self.levels.store(0, Ordering::Relaxed);
    }

    pub(crate) fn evict_domain(&self, change: &mut Change, domain: DomainId) {
        self.table.evict(change, |[place, _], _| domain_of(place) == domain);
    }

    /// Takes out the entries of any level that touch `span`.
    pub(crate) fn evict_span(&self, change: &mut Change, domain: DomainId, tags: Tags, span: Span) {
        let Span { start, length } = span;
        match tags {
            _ if self.table.is_empty() => {}
            Tags::One(tag) if length / Level::PAGE.span() <= MAX_PROBES => {
                for level in self.levels() {
                    for address in (start..start + length).step_by(level.span() as usize) {
                        self.table.evict_key(change, key(domain, level, Iova(address), tag));
                    }
                }
            }
            Tags::One(_) | Tags::Alike { .. } => self.table.evict(change, |[place, tag], _| {
                let (base, spanned) = range_of(place);
                let touched = base < start + length && start < base + spanned;
                touched && domain_of(place) == domain && tags.contain(tag)
            }),
        }
    }

    /// The levels of which there may be entries, the lowest first.
    #[inline]
    fn levels(&self) -> impl Iterator<Item = Level> {
        let mut levels = self.levels.load(Ordering::Relaxed);
        std::iter::from_fn(move || {
            let level = Level::from_number(levels.trailing_zeros() as u8)?;
            levels &= levels - 1;
            Some(level)
        })
    }
}

/// How far tables reach.
const REACH: u64 = 1 << 57;

/// The tag as it is; and the level in bits 2:0, never 0, the domain in 18:3, the address without its low 12
/// bits, and without those that an entry of the level spans, from 19 on. Of an address that is beyond the
/// reach of tables, or would be if it were not canonical, nothing is lost that other bits do not say.
#[inline]
fn key(domain: DomainId, level: Level, iova: Iova, tag: u64) -> [u64; 2] {
    let page = iova.0 >> level.shift() << (level.shift() - Level::PAGE.shift());
    [u64::from(level.number()) | u64::from(domain.0) << 3 | page << 19, tag]
}

const fn domain_of(place: u64) -> DomainId {
    DomainId(bits(place, 18, 3) as u16)
}

/// First address and length of what an entry with this key spans.
fn range_of(place: u64) -> (u64, u64) {
    let span = Level::from_number(bits(place, 2, 0) as u8).map_or(0, Level::span);
    (place >> 19 << Level::PAGE.shift(), span)
}
