//! The addresses that a host's IOMMU can map.

use iommu::GuestAddress;

use super::HostError;

/// Usable addresses: first and last of each range, ascending; none if the kernel does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(pub(super) Vec<(u64, u64)>);

impl Ranges {
    /// Bits of address that the host translates: 48 means addresses up to 2^48 - 1.
    pub(super) fn width(&self) -> u8 {
        self.0.last().map_or(64, |&(_, last)| (64 - last.leading_zeros()) as u8)
    }

    /// Checks that the host can follow a guest's unit of `width` bits over this RAM.
    pub(super) fn check(&self, width: u8, ram: &[(GuestAddress, u64)]) -> Result<(), HostError> {
        let host = self.width();
        if host < width {
            return Err(match host {
                0..39 => HostError::TooNarrow(host),
                39..48 => HostError::Width { host, guest: width, host_choice: 39 },
                _ => HostError::Width { host, guest: width, host_choice: 48 },
            });
        }
        for &(start, length) in ram {
            let (first, last) = (start.0, start.0.saturating_add(length.saturating_sub(1)));
            if !self.covers(first, last) {
                return Err(HostError::RamUnusable { start: first, end: last });
            }
        }
        Ok(())
    }

    /// Whether the kernel maps all of these addresses, as far as it tells.
    pub(super) fn covers(&self, first: u64, last: u64) -> bool {
        self.0.is_empty() || self.0.iter().any(|&(from, to)| from <= first && last <= to)
    }

    /// What lies in both.
    pub(super) fn common(&self, other: &Self) -> Self {
        if self.0.is_empty() {
            return other.clone();
        }
        if other.0.is_empty() {
            return self.clone();
        }
        let both = |&(from, to): &(u64, u64)| {
            other.0.iter().map(move |&(first, last)| (from.max(first), to.min(last))).filter(|(a, b)| a <= b)
        };
        Self(self.0.iter().flat_map(both).collect())
    }
}

#[cfg(test)]
mod tests;
