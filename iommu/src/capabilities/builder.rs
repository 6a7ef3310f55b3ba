//! Putting capabilities together, and refusing what cannot be.

use std::fmt;

use super::feature::NEEDS;
use super::profile::COMMON;
use super::{Capabilities, Feature, PAGE, Profile};
use crate::spec::registers::{FRCD, FRCD_NEAR, IVA};
use crate::spec::{bits, mask};

/// Capabilities that cannot be: one contradicts another, or has a value that its field does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A feature without the other that it stands on.
    #[error("{} needs {}", .feature.bit(), Either(.needs))]
    Missing {
        /// The feature.
        feature: Feature,
        /// What it needs: any one of these.
        needs: &'static [Feature],
    },
    /// An address mask that does not reach over one page of a size that there is.
    #[error("CAP.MAMV is {mask}, but {} needs at least {least}", .feature.bit())]
    MaskTooSmall {
        /// CAP.MAMV.
        mask: u8,
        /// The feature that brings the pages.
        feature: Feature,
        /// Pages of 4 KiB in such a page, as a power of two.
        least: u8,
    },
    /// A number that its field cannot hold, or that means nothing.
    #[error("{field} cannot stand for {value}: only for {allowed}")]
    OutOfRange {
        /// The register and its field.
        field: &'static str,
        /// What was asked for.
        value: u64,
        /// What there is.
        allowed: &'static str,
    },
}

/// Features of which any one will do.
struct Either<'a>(&'a [Feature]);

impl fmt::Display for Either<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, feature) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { " or " })?;
            f.write_str(feature.bit())?;
        }
        Ok(())
    }
}

/// Capabilities as somebody wants them, not yet known to be possible.
///
/// ```
/// use iommu::{Capabilities, Feature, Profile};
///
/// let wanted = Capabilities::builder(Profile::Legacy, 48).without(Feature::Queue);
/// assert_eq!(wanted.build().unwrap_err().to_string(), "ECAP.IR needs ECAP.QI");
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct CapabilitiesBuilder {
    /// The bits of every feature asked for, and nothing else.
    cap: u64,
    ecap: u64,
    /// As SAGAW has them, from bit 0 on.
    table_widths: u64,
    guest_address_width: u8,
    host_address_width: u8,
    domain_bits: u8,
    pasid_bits: u8,
    fault_records: usize,
    max_address_mask: u8,
}

/// The fields of CAP_REG and ECAP_REG that are numbers; the rest are features.
const CAP_NUMBERS: u64 = mask(2, 0) | mask(12, 8) | mask(21, 16) | mask(33, 24) | mask(47, 40) | mask(53, 48);
const ECAP_NUMBERS: u64 = mask(17, 8) | mask(23, 20) | mask(39, 35);

const SAGAW_SHIFT: u32 = 8;
const MGAW_SHIFT: u32 = 16;
const FRO_SHIFT: u32 = 24;
const NFR_SHIFT: u32 = 40;
const MAMV_SHIFT: u32 = 48;
const IRO_SHIFT: u32 = 8;
const MHMV_SHIFT: u32 = 20;
const PSS_SHIFT: u32 = 35;

/// 2^18 pages of 4 KiB make one of 1 GiB, 2^9 one of 2 MiB.
const PAGES_IN_1G: u8 = 18;
const PAGES_IN_2M: u8 = 9;
/// The largest interrupt index mask: 2^15 entries.
const MAX_INDEX_MASK: u64 = 15;
/// The widest guest physical address that x86 processors know.
const MAX_HOST_WIDTH: u8 = 52;
const MAX_PASID_BITS: u8 = 20;

impl CapabilitiesBuilder {
    /// What `profile` names, for addresses of `width` bits: 39, 48 or 57. Guest addresses, like those that
    /// devices use, have as many, but no more than 52.
    pub const fn new(profile: Profile, width: u8) -> Self {
        let table_widths = match width {
            39 => 0b0010,
            48 => 0b0110,
            57 => 0b1110,
            _ => 0,
        };
        let mut builder = Self {
            cap: 0,
            ecap: 0,
            table_widths,
            guest_address_width: width,
            host_address_width: if width < MAX_HOST_WIDTH { width } else { MAX_HOST_WIDTH },
            domain_bits: 16,
            pasid_bits: MAX_PASID_BITS,
            fault_records: profile.fault_records(),
            max_address_mask: PAGES_IN_1G,
        };
        let sets = [COMMON, profile.features()];
        let mut set = 0;
        while set < sets.len() {
            let mut index = 0;
            while index < sets[set].len() {
                builder = builder.with(sets[set][index]);
                index += 1;
            }
            set += 1;
        }
        if width == 57 && builder.has(Feature::FirstStage) {
            builder = builder.with(Feature::FirstStage5Levels);
        }
        builder
    }

    /// What is known to be possible, to be changed.
    pub(super) const fn of(Capabilities { cap, ecap, host_address_width }: Capabilities) -> Self {
        let (_, pasid) = Feature::Pasid.bits();
        let pasids = ecap & pasid != 0;
        Self {
            cap: cap & !CAP_NUMBERS,
            ecap: ecap & !ECAP_NUMBERS,
            table_widths: bits(cap, 12, 8),
            guest_address_width: bits(cap, 21, 16) as u8 + 1,
            host_address_width,
            domain_bits: bits(cap, 2, 0) as u8 * 2 + 4,
            pasid_bits: if pasids { bits(ecap, 39, 35) as u8 + 1 } else { MAX_PASID_BITS },
            fault_records: bits(cap, 47, 40) as usize + 1,
            max_address_mask: bits(cap, 53, 48) as u8,
        }
    }

    /// Asks for `feature`.
    pub const fn with(self, feature: Feature) -> Self {
        let (cap, ecap) = feature.bits();
        Self { cap: self.cap | cap, ecap: self.ecap | ecap, ..self }
    }

    /// Does without `feature`. Without snoop control, for one: where devices may bypass the processors'
    /// caches although a page says otherwise (SNP), the guest must not be promised that they do not.
    pub const fn without(self, feature: Feature) -> Self {
        let (cap, ecap) = feature.bits();
        Self { cap: self.cap & !cap, ecap: self.ecap & !ecap, ..self }
    }

    /// Whether `feature` is asked for.
    pub const fn has(&self, feature: Feature) -> bool {
        let (cap, ecap) = feature.bits();
        self.cap & cap != 0 || self.ecap & ecap != 0
    }

    /// The bits of a PASID, 1 to 20 (ECAP.PSS); without [`Feature::Pasid`] it does not matter.
    pub const fn pasid_bits(self, pasid_bits: u8) -> Self {
        Self { pasid_bits, ..self }
    }

    /// The bits of a domain identifier: 4, 6, 8 and so on to 16 (CAP.ND).
    pub const fn domain_bits(self, domain_bits: u8) -> Self {
        Self { domain_bits, ..self }
    }

    /// How many faults can be pending: 1 to 256 (CAP.NFR).
    pub const fn fault_records(self, fault_records: usize) -> Self {
        Self { fault_records, ..self }
    }

    /// The bits of a guest physical address, 32 to 52.
    pub const fn host_address_width(self, host_address_width: u8) -> Self {
        Self { host_address_width, ..self }
    }

    /// The widths that second-stage tables can have, any of 39, 48 and 57 (CAP.SAGAW).
    pub const fn table_widths(self, widths: &[u8]) -> Self {
        let mut table_widths = 0;
        let mut index = 0;
        while index < widths.len() {
            table_widths |= match widths[index] {
                39 => 0b0010,
                48 => 0b0100,
                57 => 0b1000,
                _ => 0b1_0000,
            };
            index += 1;
        }
        Self { table_widths, ..self }
    }

    /// The largest address mask of an invalidation, in bits (CAP.MAMV): one has to reach over the largest
    /// page.
    pub const fn max_address_mask(self, max_address_mask: u8) -> Self {
        Self { max_address_mask, ..self }
    }

    /// The capabilities, if they are possible.
    ///
    /// # Errors
    ///
    /// The first contradiction found, with the names of both sides.
    pub const fn build(self) -> Result<Capabilities, Conflict> {
        if let Some(conflict) = self.out_of_range() {
            return Err(conflict);
        }
        let mut index = 0;
        while index < NEEDS.len() {
            let (feature, needs) = NEEDS[index];
            if self.has(feature) && !self.has_any(needs) {
                return Err(Conflict::Missing { feature, needs });
            }
            index += 1;
        }
        if self.has(Feature::PageSelective)
            && let Some(conflict) = self.mask_too_small()
        {
            return Err(conflict);
        }
        let fault_offset = if self.fault_records <= FRCD_NEAR { FRCD } else { PAGE };
        let pasid_size = if self.has(Feature::Pasid) { self.pasid_bits as u64 - 1 } else { 0 };
        Ok(Capabilities {
            cap: self.cap
                | ((self.domain_bits as u64 - 4) / 2)
                | self.table_widths << SAGAW_SHIFT
                | (self.guest_address_width as u64 - 1) << MGAW_SHIFT
                | (fault_offset / 16) << FRO_SHIFT
                | (self.fault_records as u64 - 1) << NFR_SHIFT
                | (self.max_address_mask as u64) << MAMV_SHIFT,
            ecap: self.ecap
                | (IVA / 16) << IRO_SHIFT
                | MAX_INDEX_MASK << MHMV_SHIFT
                | pasid_size << PSS_SHIFT,
            host_address_width: self.host_address_width,
        })
    }

    /// The capabilities, in a test that knows them to be possible.
    #[cfg(test)]
    pub(super) const fn possible(self) -> Capabilities {
        match self.build() {
            Ok(capabilities) => capabilities,
            Err(_) => panic!("These capabilities cannot be"),
        }
    }

    const fn out_of_range(&self) -> Option<Conflict> {
        let (field, value, allowed) = if !matches!(self.guest_address_width, 39 | 48 | 57) {
            ("CAP.MGAW", self.guest_address_width as u64, "39, 48 or 57 bits")
        } else if self.table_widths == 0 || self.table_widths & !mask(3, 1) != 0 {
            ("CAP.SAGAW", self.table_widths, "tables of 39, 48 or 57 bits, one of them at least")
        } else if !matches!(self.host_address_width, 32..=MAX_HOST_WIDTH) {
            ("The host address width", self.host_address_width as u64, "32 to 52 bits")
        } else if !matches!(self.domain_bits, 4 | 6 | 8 | 10 | 12 | 14 | 16) {
            ("CAP.ND", self.domain_bits as u64, "an even number of bits from 4 to 16")
        } else if !matches!(self.pasid_bits, 1..=MAX_PASID_BITS) {
            ("ECAP.PSS", self.pasid_bits as u64, "1 to 20 bits")
        } else if !matches!(self.fault_records, 1..=256) {
            ("CAP.NFR", self.fault_records as u64, "1 to 256 records")
        } else if self.max_address_mask > 52 {
            ("CAP.MAMV", self.max_address_mask as u64, "0 to 52 bits")
        } else {
            return None;
        };
        Some(Conflict::OutOfRange { field, value, allowed })
    }

    const fn has_any(&self, features: &[Feature]) -> bool {
        let mut index = 0;
        while index < features.len() {
            if self.has(features[index]) {
                return true;
            }
            index += 1;
        }
        false
    }

    const fn mask_too_small(&self) -> Option<Conflict> {
        let (feature, least) = if self.has(Feature::SecondStage1G) {
            (Feature::SecondStage1G, PAGES_IN_1G)
        } else if self.has(Feature::SecondStage2M) {
            (Feature::SecondStage2M, PAGES_IN_2M)
        } else {
            return None;
        };
        let mask = self.max_address_mask;
        if mask < least { Some(Conflict::MaskTooSmall { mask, feature, least }) } else { None }
    }
}

#[cfg(test)]
mod tests;
