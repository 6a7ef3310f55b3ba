//! What one kind of virtio device adds to the transport.

use super::chain::Chain;
use super::queue::QueueError;
use crate::BusMaster;

/// A set of feature bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features(pub(super) u64);

impl Features {
    /// The device follows virtio 1.0 or later; there is no other kind here.
    pub(super) const VERSION_1: u64 = 1 << 32;
    /// The device's addresses are translated by the platform: the driver must ask for them.
    pub(super) const ACCESS_PLATFORM: u64 = 1 << 33;

    /// Whether every bit of `bits` is in the set.
    pub(super) fn contains(self, bits: u64) -> bool {
        self.0 & bits == bits
    }
}

/// What a kind of device is, for good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The virtio device type.
    pub(super) device_type: u16,
    /// The PCI class code: base class, subclass and programming interface, 24 bits.
    pub(super) class: u32,
    /// The largest size of each queue, a power of two.
    pub(super) queue_sizes: &'static [u16],
}

/// One kind of device.
pub(super) trait Model: Send {
    /// What kind it is.
    fn kind(&self) -> Kind;

    /// The features of this kind that the device offers.
    fn features(&self) -> u64;

    /// The device's configuration structure, which never changes.
    fn config(&self) -> Vec<u8>;

    /// Carries out one request under the `features` agreed on, and gives how many bytes it wrote to the
    /// writable part of the chain. A request that merely fails is answered in the chain; an error here means
    /// that the driver cannot be answered at all.
    fn process(&mut self, master: &BusMaster, chain: &Chain, features: Features) -> Result<u32, QueueError>;
}
