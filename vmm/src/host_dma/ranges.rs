//! The addresses that a host's IOMMU can map.

use iommu::GuestAddress;

use super::HostError;

/// The unit in which memory is mapped.
const PAGE: u64 = 4096;

/// Usable addresses: first and last of each range, ascending; none if the kernel does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(pub(super) Vec<(u64, u64)>);

impl Ranges {
    /// Bits of address that the host translates: 48 means addresses up to 2^48 - 1.
    pub(super) fn width(&self) -> u8 {
        self.0.last().map_or(64, |&(_, last)| (64 - last.leading_zeros()) as u8)
    }

    /// Checks that the host can follow a guest's unit of `width` bits.
    pub(super) fn check(&self, width: u8) -> Result<(), HostError> {
        let host = self.width();
        if host >= width {
            return Ok(());
        }
        Err(match host {
            0..39 => HostError::TooNarrow(host),
            39..48 => HostError::Width { host, guest: width, host_choice: 39 },
            _ => HostError::Width { host, guest: width, host_choice: 48 },
        })
    }

    /// The parts of `ram` (start, length) that the kernel maps, as far as it tells, in whole pages.
    pub(super) fn parts(&self, ram: &[(GuestAddress, u64)]) -> Vec<(GuestAddress, u64)> {
        if self.0.is_empty() {
            return ram.to_vec();
        }
        let within = |&(start, length): &(GuestAddress, u64)| {
            let end = start.0.saturating_add(length);
            self.0.iter().filter_map(move |&(from, to)| {
                let first = from.checked_next_multiple_of(PAGE)?.max(start.0);
                let behind = (to.saturating_add(1) & !(PAGE - 1)).min(end);
                (first < behind).then(|| (GuestAddress(first), behind - first))
            })
        };
        ram.iter().flat_map(within).collect()
    }

    /// The parts of `ram` that the kernel does not map, which no device can use.
    pub(super) fn holes(&self, ram: &[(GuestAddress, u64)]) -> Vec<(u64, u64)> {
        let mut holes = Vec::new();
        for &(start, length) in ram {
            let (mut next, end) = (start.0, start.0.saturating_add(length));
            for (part, size) in self.parts(&[(start, length)]) {
                if part.0 > next {
                    holes.push((next, part.0 - next));
                }
                next = part.0 + size;
            }
            if end > next {
                holes.push((next, end - next));
            }
        }
        holes
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
