//! What a unit can do: the capability registers, built by name.

mod builder;
mod feature;
mod host_unit;
mod names;
mod profile;

use crate::spec::second_stage::Level;
use crate::spec::{bits, counters, mask};

pub use builder::{CapabilitiesBuilder, Conflict};
pub use feature::Feature;
pub use host_unit::HostUnit;
pub use names::UnknownFeature;
pub use profile::Profile;

/// The values of CAP_REG and ECAP_REG (§11.4.2, §11.4.3) and what follows from them. No value of this type says
/// what cannot be: [`CapabilitiesBuilder`] refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    cap: u64,
    ecap: u64,
    host_address_width: u8,
}

/// A page of registers.
const PAGE: u64 = 0x1000;

impl Capabilities {
    /// What `profile` names, for addresses of `width` bits: 39, 48 or 57. Guest addresses, like those that
    /// devices use, have as many, but no more than 52.
    ///
    /// # Panics
    ///
    /// If `width` is none of these.
    pub const fn new(profile: Profile, width: u8) -> Self {
        match Self::builder(profile, width).build() {
            Ok(capabilities) => capabilities,
            Err(_) => panic!("Tables have 39, 48 or 57 bits"),
        }
    }

    /// Legacy mode, complete: second-stage tables of up to `width` bits (39 or 48), 2 MiB and 1 GiB pages,
    /// pass-through, queued invalidation, caching mode, interrupt remapping with extended interrupt mode.
    ///
    /// # Panics
    ///
    /// If `width` is neither 39, 48 nor 57.
    pub const fn legacy(width: u8) -> Self {
        Self::new(Profile::Legacy, width)
    }

    /// What `profile` names, to be changed: see [`CapabilitiesBuilder`].
    pub const fn builder(profile: Profile, width: u8) -> CapabilitiesBuilder {
        CapabilitiesBuilder::new(profile, width)
    }

    /// The same, to be changed.
    pub const fn to_builder(self) -> CapabilitiesBuilder {
        CapabilitiesBuilder::of(self)
    }

    /// Whether the unit has `feature`.
    pub const fn has(&self, feature: Feature) -> bool {
        let (cap, ecap) = feature.bits();
        self.cap & cap != 0 || self.ecap & ecap != 0
    }

    /// The bits of a PASID: ECAP.PSS + 1; 0 without PASIDs.
    pub const fn pasid_bits(&self) -> u8 {
        if self.has(Feature::Pasid) { bits(self.ecap, 39, 35) as u8 + 1 } else { 0 }
    }

    /// The fault recording registers: CAP.NFR + 1, from 1 to 256.
    pub const fn fault_records(&self) -> usize {
        bits(self.cap, 47, 40) as usize + 1
    }

    /// Where the first of them lies: CAP.FRO in bytes.
    pub(crate) const fn fault_record_offset(&self) -> u64 {
        bits(self.cap, 33, 24) * 16
    }

    /// How many bytes the registers take, a power of two of at least 4096: the DMAR table says it too (§8.3).
    pub const fn window_size(&self) -> u64 {
        if self.has(Feature::PerformanceMonitoring) {
            counters::WINDOW
        } else if self.fault_record_offset() < PAGE {
            PAGE
        } else {
            2 * PAGE
        }
    }

    /// CAP_REG (§11.4.2).
    pub const fn cap(&self) -> u64 {
        self.cap
    }

    /// ECAP_REG (§11.4.3).
    pub const fn ecap(&self) -> u64 {
        self.ecap
    }

    /// The bits of a guest physical address, as the DMAR table says them too (§8.1).
    pub const fn host_address_width(&self) -> u8 {
        self.host_address_width
    }

    /// The bits of an address that a device may use: CAP.MGAW + 1.
    pub const fn guest_address_width(&self) -> u8 {
        bits(self.cap, 21, 16) as u8 + 1
    }

    pub(crate) const fn max_address_mask(&self) -> u8 {
        bits(self.cap, 53, 48) as u8
    }

    pub(crate) const fn max_index_mask(&self) -> u8 {
        bits(self.ecap, 23, 20) as u8
    }

    /// The bits that a domain identifier may have set.
    pub(crate) const fn domain_mask(&self) -> u16 {
        mask(bits(self.cap, 2, 0) as u32 * 2 + 3, 0) as u16
    }

    /// Address bits that no guest memory has.
    pub(crate) const fn beyond_host_width(&self) -> u64 {
        mask(63, self.host_address_width as u32)
    }

    /// The top level of a second-stage table for a context entry's field AW, if SAGAW has it.
    pub(crate) fn second_stage_top(&self, address_width: u8) -> Option<Level> {
        let supported = address_width < 5 && self.cap & 1 << (8 + address_width) != 0;
        Level::top(address_width).filter(|_| supported)
    }

    /// The same with `feature`, for tests that know it to be possible.
    #[cfg(test)]
    pub(crate) const fn with(self, feature: Feature) -> Self {
        self.to_builder().with(feature).possible()
    }

    /// The same without `feature`, likewise.
    #[cfg(test)]
    pub(crate) const fn without(self, feature: Feature) -> Self {
        self.to_builder().without(feature).possible()
    }

    pub(crate) fn has_large_pages(&self, level: Level) -> bool {
        match level {
            Level::PAGE_2M => self.has(Feature::SecondStage2M),
            Level::PAGE_1G => self.has(Feature::SecondStage1G),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
