//! Device models: platform devices, emulated PCI functions, and functions assigned through VFIO.
//!
//! A device touches guest memory and raises interrupts only through its [`BusMaster`], which names the
//! requester: an access that no remapping unit has judged cannot be written by mistake.

mod bus;
mod bus_master;
mod edu;
mod emulated;
mod interrupt;
pub mod platform;
mod probe;
#[cfg(test)]
mod testing;
pub mod vfio;
mod virtio;

pub use bus::{EMPTY_BUS, MmioDevice, PortDevice, PortRange};
pub use bus_master::{Attributes, BusMaster, DmaError, PageWish, Remapping, Requests, VtdUnit};
pub use edu::Edu;
pub use interrupt::{InterruptLine, InterruptSource, MsiSink};
pub use probe::{Probe, ProbeError};
pub use virtio::{Disk, DiskError, VirtioError, VirtioFunction};

/// Guest RAM, shared by every device.
pub type GuestRam = vm_memory::GuestMemoryMmap<()>;
