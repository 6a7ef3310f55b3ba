//! The answers to the last requests, as whole: requester and address to page, without the steps between.
//!
//! An answer stands on many entries of other caches and has the tags of none. So it counts only until the
//! next invalidation, whatever that names: it is kept with the epoch it was found in.

use super::table::{Change, Epoch, Table as Cache};
use crate::spec::second_stage::Level;
use crate::spec::{PAGE_ADDRESS, bits};
use crate::walk::{Leaf, Rights};
use crate::{GuestAddress, Iova, Request};

/// 64 sets of four: small enough to stay next to the processor.
const SET_BITS: u32 = 6;

/// Pages by requester, PASID and address. In a value are the guest address of a page with its level, its
/// rights and the privilege of the request in the low bits; and the epoch.
pub(crate) struct Recent {
    cache: Cache<2, 2>,
}

/// What a request was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) leaf: Leaf,
    /// Whether the request has supervisor privilege in the end, which without PASID its context entry says.
    pub(crate) privileged: bool,
}

/// Set in every key, since 0 is none. The requester is above it, the PASID below.
const PRESENT: u64 = 1 << 33;
const SOURCE_SHIFT: u32 = 34;
const WITH_PASID: u64 = 1 << 32;

/// In a value, above the rights.
const LEVEL_SHIFT: u32 = 8;
const PRIVILEGED: u64 = 1 << 11;

impl Recent {
    pub(crate) fn new() -> Self {
        Self { cache: Cache::new(SET_BITS) }
    }

    /// What the same requester was told in this `epoch` about the small page that `iova` lies in.
    #[inline]
    pub(crate) fn get(&self, epoch: Epoch, request: &Request, iova: Iova) -> Option<Answer> {
        let [word, found_in] = self.cache.get(key(request, iova)?)?;
        if found_in != epoch.number() {
            return None;
        }
        let leaf = Leaf {
            guest: GuestAddress(word & PAGE_ADDRESS),
            level: Level::from_number(bits(word, LEVEL_SHIFT + 2, LEVEL_SHIFT) as u8)?,
            rights: Rights::from_bits_truncate(word as u8),
        };
        Some(Answer { leaf, privileged: word & PRIVILEGED != 0 })
    }

    pub(crate) fn fill(&self, change: &mut Change, request: &Request, iova: Iova, answer: &Answer) {
        let Answer { leaf, privileged } = *answer;
        if let Some(key) = key(request, iova) {
            let level = u64::from(leaf.level.number()) << LEVEL_SHIFT;
            let privileged = if privileged { PRIVILEGED } else { 0 };
            let word = leaf.guest.0 | level | privileged | u64::from(leaf.rights.bits());
            let epoch = change.epoch().number();
            self.cache.fill(change, key, [word, epoch]);
        }
    }
}

/// None for requests whose treatment depends on more than requester and PASID; those are few.
#[inline]
fn key(request: &Request, iova: Iova) -> Option<[u64; 2]> {
    let Request { source, pasid, privileged, execute, access: _, translated } = *request;
    if privileged || execute || translated {
        return None;
    }
    let pasid = pasid.map_or(0, |pasid| WITH_PASID | u64::from(pasid.0));
    Some([u64::from(source.0) << SOURCE_SHIFT | PRESENT | pasid, iova.0 >> Level::PAGE.shift()])
}

#[cfg(test)]
mod tests;
