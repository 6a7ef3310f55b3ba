//! Guest addresses beyond RAM that devices reach: BARs of other assigned functions (peer to peer).

use std::collections::BTreeMap;
use std::ops::Range;

use super::extent::Extent;
use crate::{GuestAddress, Iova, Permissions};

/// The BARs that functions can reach at this moment, by their first guest addresses.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<u64, u64>);

impl Peers {
    pub(super) fn add(&mut self, target: &Range<u64>) {
        self.0.insert(target.start, target.end);
    }

    pub(super) fn remove(&mut self, target: &Range<u64>) {
        self.0.remove(&target.start);
    }

    /// How many bytes they are.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).fold(0, u64::saturating_add)
    }

    /// Each address for itself, as far as devices can use it, lowest first.
    pub(super) fn identity(&self) -> Vec<Extent> {
        let one_to_one = |(&start, &end): (&u64, &u64)| Extent {
            iova: Iova(start),
            guest: GuestAddress(start),
            length: end - start,
            permissions: Permissions::READ_WRITE,
        };
        self.0.iter().map(one_to_one).flat_map(Extent::usable).collect()
    }
}
