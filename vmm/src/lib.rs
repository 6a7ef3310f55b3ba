//! Portcullis: a microVM whose point is its IOMMU.
//!
//! The program is thin; this library builds the machine a [`config::Config`] describes and runs it.

pub mod config;
pub mod host_dma;
pub mod interrupts;
pub mod layout;
pub mod memory;
