//! MSI as the guest programs it (PCI Express Base, 7.7.1), where the host has the capability.

use iommu::MsiMessage;
use pci::{ConfigSpace, Register};

use super::config::Layout;
use super::routes::Signal;

const ENABLE: u16 = 1 << 0;
const CAPABLE: u16 = 0b111 << 1;
const MULTIPLE_ENABLE: u16 = 0b111 << 4;
const ADDRESS_64: u16 = 1 << 7;
const MASKABLE: u16 = 1 << 8;

/// The registers; their values are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Msi {
    at: u16,
    wide: bool,
    maskable: bool,
    /// The base-2 logarithm of how many vectors there are.
    capable: u16,
}

impl Msi {
    /// Lays the capability at `at` out like the host's, with no more vectors than the host has.
    pub(super) fn lay_out(layout: &mut Layout<'_>, at: u16, host_vectors: u32) -> Self {
        let control = layout.snapshot.u16(at + 2);
        let limit = host_vectors.clamp(1, 32).ilog2() as u16;
        let msi = Self {
            at,
            wide: control & ADDRESS_64 != 0,
            maskable: control & MASKABLE != 0,
            capable: ((control & CAPABLE) >> 1).min(limit),
        };
        let fixed = control & (ADDRESS_64 | MASKABLE) | msi.capable << 1;
        let space = &mut layout.space;
        space.define(at + 2, Register::u16(fixed).writable(u32::from(ENABLE | MULTIPLE_ENABLE)));
        space.define(at + 4, Register::u32(0).writable(!0b11));
        if msi.wide {
            space.define(at + 8, Register::u32(0).writable(!0));
        }
        space.define(msi.data(), Register::u16(0).writable(0xFFFF));
        if msi.maskable {
            space.define(msi.mask(), Register::u32(0).writable(!0 >> (32 - (1_u32 << msi.capable))));
        }
        msi
    }

    /// Bytes of the capability.
    pub(super) fn length(self) -> u16 {
        let end = if self.maskable { self.pending() + 4 } else { self.data() + 2 };
        end - self.at
    }

    /// How many vectors the guest has switched on; none while MSI is off.
    pub(super) fn granted(self, space: &ConfigSpace) -> u16 {
        let control = space.u16(self.at + 2);
        if control & ENABLE == 0 {
            return 0;
        }
        1 << ((control & MULTIPLE_ENABLE) >> 4).min(self.capable)
    }

    /// What is to happen to `vector`, one of those granted.
    pub(super) fn signal(self, space: &ConfigSpace, vector: u16) -> Signal {
        if self.maskable && space.u32(self.mask()) >> vector.min(31) & 1 != 0 {
            return Signal::Hold;
        }
        let last = self.granted(space).saturating_sub(1);
        let upper = if self.wide { u64::from(space.u32(self.at + 8)) } else { 0 };
        let address = upper << 32 | u64::from(space.u32(self.at + 4));
        // The function puts the vector's number into the lowest bits of the data.
        let data = space.u16(self.data()) & !last | vector.min(last);
        Signal::Send(MsiMessage { address, data: u32::from(data) })
    }

    /// Shows the pending bits.
    pub(super) fn show_pending(self, space: &mut ConfigSpace, is_pending: impl Fn(u16) -> bool) {
        if self.maskable {
            let bits = (0..self.granted(space)).filter(|&vector| is_pending(vector));
            let bits = bits.fold(0, |bits, vector| bits | 1 << vector);
            space.set_u32(self.pending(), bits);
        }
    }

    /// Whether a read of `length` bytes at `offset` sees the pending bits.
    pub(super) fn shows_pending(self, offset: u16, length: usize) -> bool {
        let pending = usize::from(self.pending());
        let offset = usize::from(offset);
        self.maskable && offset < pending + 4 && pending < offset + length
    }

    /// Whether a write of `length` bytes at `offset` may change what is sent.
    pub(super) fn touched_by(self, offset: u16, length: usize) -> bool {
        let (start, end) = (usize::from(self.at), usize::from(self.at + self.length()));
        let offset = usize::from(offset);
        offset < end && start < offset + length
    }

    const fn data(self) -> u16 {
        self.at + if self.wide { 12 } else { 8 }
    }

    const fn mask(self) -> u16 {
        self.data() + 4
    }

    const fn pending(self) -> u16 {
        self.data() + 8
    }
}
