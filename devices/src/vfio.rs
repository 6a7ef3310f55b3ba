//! Functions of the host, assigned to the guest through VFIO.
//!
//! What the kernel offers of a function is behind [`HostFunction`]; [`VfioFunction`] is what the guest sees of
//! it. The guest reads a configuration space of our making (`config`), reaches the BARs except where
//! interrupts are programmed (`bars`), and gets interrupts by routes that obey the remapping unit
//! (`interrupts`). It never reaches a register of the host's: what decides where DMA and interrupts go, and
//! what belongs to the fabric the function hangs on.

mod bars;
mod capability;
mod config;
mod device;
mod dma_buf;
mod express;
mod function;
mod host;
pub mod info;
mod interrupts;
mod intx;
mod mapping;
mod msi;
mod pasids;
mod requester;
mod routes;

pub use device::VfioDevice;
pub use function::{HostEvent, Parts, VfioFunction};
pub use host::{HostFunction, InterruptInfo, InterruptKind, Region, RegionIndex, VfioError};
pub use mapping::{Mapping, MemorySlots, Shown};
pub use routes::{Signal, VectorRoutes};

#[cfg(test)]
mod fake;
