//! The device-TLB: what the unit said where addresses lead.

use iommu::{DeviceTlbInvalidation, DeviceTlbScope, GuestAddress, Iova, Pasid, Permissions, Translation};

use super::TRANSLATIONS;
use crate::Attributes;

/// Answers that hold until the unit takes them back.
#[derive(Default)]
pub(super) struct Translations {
    entries: Vec<Entry>,
    /// The entry to be replaced next.
    next: usize,
    /// Grows with each invalidation: an answer that was asked for before it is not to be kept.
    generation: u64,
}

struct Entry {
    pasid: Option<Pasid>,
    privileged: bool,
    iova: u64,
    translation: Translation,
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) address: GuestAddress,
    /// How many bytes from there on.
    pub(super) length: u64,
}

impl Translations {
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Where `iova` leads for requests like these that need `permissions`.
    pub(super) fn find(&self, attributes: Attributes, iova: Iova, permissions: Permissions) -> Option<Found> {
        self.entries.iter().find_map(|entry| {
            let offset = iova.0.checked_sub(entry.iova).filter(|offset| *offset < entry.translation.size)?;
            let fits = entry.pasid == attributes.pasid
                && entry.privileged == attributes.privileged
                && entry.translation.permissions.contains(permissions);
            let address = GuestAddress(entry.translation.address.0 | offset);
            fits.then_some(Found { address, length: entry.translation.size - offset })
        })
    }

    /// Keeps an answer, unless there has been an invalidation since `generation`.
    pub(super) fn keep(
        &mut self,
        generation: u64,
        attributes: Attributes,
        iova: Iova,
        translation: Translation,
    ) {
        if generation != self.generation
            || translation.permissions.is_empty()
            || translation.untranslated_only
        {
            return;
        }
        let entry = Entry {
            pasid: attributes.pasid,
            privileged: attributes.privileged,
            iova: iova.0 & !(translation.size - 1),
            translation,
        };
        if self.entries.len() < TRANSLATIONS {
            self.entries.push(entry);
        } else if let Some(old) = self.entries.get_mut(self.next) {
            *old = entry;
            self.next = (self.next + 1) % TRANSLATIONS;
        }
    }

    /// Forgets what `what` names.
    pub(super) fn invalidate(&mut self, what: &DeviceTlbInvalidation) {
        self.generation += 1;
        let (first, last) = match what.size {
            None => (0, u64::MAX),
            Some(size) => {
                let first = what.iova.0 & !(size - 1);
                (first, first + (size - 1))
            }
        };
        self.entries.retain(|entry| {
            let named = match what.scope {
                DeviceTlbScope::WithoutPasid => entry.pasid.is_none(),
                DeviceTlbScope::Pasid(pasid) => entry.pasid == Some(pasid),
                DeviceTlbScope::EveryPasid => entry.pasid.is_some(),
            };
            let end = entry.iova + (entry.translation.size - 1);
            !named || entry.iova > last || end < first
        });
        self.next = 0;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.generation += 1;
        self.entries.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests;
