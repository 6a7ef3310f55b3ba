//! The IOTLB (§6.2.4): domain and address to page.

use std::sync::atomic::{AtomicU8, Ordering};

use super::table::{Epoch, Table as Cache};
use crate::invalidation::Invalidation;
use crate::spec::second_stage::Level;
use crate::spec::{PAGE_ADDRESS, bits};
use crate::walk::{Leaf, Rights};
use crate::{DomainId, GuestAddress, Iova};

/// 1024 sets of four.
const SET_BITS: u32 = 10;

/// The levels that have leaves, small pages first, because most are.
const LEAF_LEVELS: [Level; 3] = [Level::PAGE, Level::PAGE_2M, Level::PAGE_1G];

/// Up to so many pages are looked for one by one; for more the whole cache is looked through.
const MAX_PROBES: u64 = 64;

/// Pages by domain, level and address. A value is the guest address of a page with its rights in the low
/// bits.
pub(crate) struct Iotlb {
    cache: Cache<1>,
    /// The levels of which there may be pages, by number; there is no point in looking for others.
    levels: AtomicU8,
}

impl Iotlb {
    pub(crate) fn new() -> Self {
        Self { cache: Cache::new(SET_BITS), levels: AtomicU8::new(0) }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.cache.epoch()
    }

    /// The page that `iova` lies in.
    pub(crate) fn get(&self, domain: DomainId, iova: Iova) -> Option<Leaf> {
        let levels = self.levels.load(Ordering::Relaxed);
        LEAF_LEVELS.into_iter().filter(|level| levels & bit(*level) != 0).find_map(|level| {
            let [value] = self.cache.get(key(domain, level, iova))?;
            Some(Leaf {
                guest: GuestAddress(value & PAGE_ADDRESS),
                level,
                rights: Rights::from_bits_truncate(value as u8),
            })
        })
    }

    pub(crate) fn fill(&self, epoch: Epoch, domain: DomainId, iova: Iova, leaf: &Leaf) {
        if self.levels.load(Ordering::Relaxed) & bit(leaf.level) == 0 {
            self.levels.fetch_or(bit(leaf.level), Ordering::Relaxed);
        }
        let value = leaf.guest.0 | u64::from(leaf.rights.bits());
        self.cache.fill(epoch, key(domain, leaf.level, iova), [value]);
    }

    /// Forgets what `what` names; a context-cache invalidation names no page. There are no entries for inner
    /// tables, so the invalidation hint makes no difference.
    pub(crate) fn invalidate(&self, what: &Invalidation) {
        match *what {
            Invalidation::Everything | Invalidation::IotlbGlobal => self.cache.evict(|_, _| true),
            Invalidation::IotlbDomain(domain) => self.cache.evict(|key, _| domain_of(key) == domain),
            Invalidation::IotlbPages { domain, iova, address_mask, hint: _ } => {
                self.invalidate_pages(domain, iova, address_mask);
            }
            _ => {}
        }
    }

    /// Forgets the pages of any size that touch the range of `2 ^ address_mask` small ones around `iova`.
    fn invalidate_pages(&self, domain: DomainId, iova: Iova, address_mask: u8) {
        let bits = u32::from(address_mask) + Level::PAGE.shift();
        let Some(length) = 1_u64.checked_shl(bits) else {
            return self.invalidate(&Invalidation::IotlbDomain(domain));
        };
        let start = iova.0 & !(length - 1);
        if length / Level::PAGE.span() <= MAX_PROBES {
            let touched = LEAF_LEVELS.into_iter().flat_map(|level| {
                let count = (length / level.span()).max(1);
                (0..count).map(move |page| key(domain, level, Iova(start + page * level.span())))
            });
            self.cache.evict_keys(touched);
        } else {
            self.cache.evict(|key, _| {
                let (base, span) = range_of(key);
                domain_of(key) == domain && base < start.saturating_add(length) && start < base + span
            });
        }
    }
}

/// The level in bits 1:0, never 0; the domain in 17:2; the address without its low 12 bits, and without
/// those that the level leaves to the page, from 18 on. Tables reach 57 bits, so nothing is lost.
fn key(domain: DomainId, level: Level, iova: Iova) -> u64 {
    let page = iova.0 >> level.shift() << (level.shift() - Level::PAGE.shift());
    u64::from(level.number()) | u64::from(domain.0) << 2 | page << 18
}

const fn domain_of(key: u64) -> DomainId {
    DomainId(bits(key, 17, 2) as u16)
}

/// First address and length of the page with this key.
fn range_of(key: u64) -> (u64, u64) {
    let span = Level::from_number(bits(key, 1, 0) as u8).map_or(0, Level::span);
    (key >> 18 << Level::PAGE.shift(), span)
}

const fn bit(level: Level) -> u8 {
    1 << level.number()
}

#[cfg(test)]
mod tests;
