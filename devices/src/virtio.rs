//! Virtio devices over modern PCI (virtio 1.2, sections 2.7 and 4.1).
//!
//! Rings and buffers are reached through the function's [`BusMaster`](crate::BusMaster) alone, one access at
//! a time: no pointer into guest memory outlives the translation it came from, so an invalidation that the
//! guest waits for really ends the device's access. That is why the queues here are our own: those of
//! `virtio-queue` keep slices of memory after they have been translated.

mod block;
mod chain;
mod common;
mod disk;
mod function;
mod model;
mod queue;
mod window;

pub use disk::{Disk, DiskError};
pub use function::{VirtioError, VirtioFunction};
