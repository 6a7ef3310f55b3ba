//! Portcullis: a microVM whose point is its IOMMU.
//!
//! The program is thin; this library builds the machine a [`config::Config`] describes and runs it.

pub mod boot;
pub mod bus;
pub mod cli;
pub mod config;
pub mod control;
pub mod event_loop;
pub mod host_dma;
pub mod interrupts;
pub mod kvm;
pub mod layout;
pub mod machine;
pub mod memory;
pub mod terminal;
