//! The unit against a reference model: slow, obvious, and written from the specification's tables alone. It
//! shares no code with the crate; both get the same tables, registers and requests, and must agree on results,
//! fault records and accessed and dirty bits.
//!
//! Where the specification leaves a choice (which of two errors in one entry is reported, what a cache still
//! holds), the model names every permitted outcome and the unit must show one of them.
//!
//! `PROPTEST_CASES=100000 cargo nextest run -p iommu --test reference` runs for longer than the default.
#![allow(unreachable_pub, reason = "the modules of a test have no outside")]

mod ats;
mod bits;
mod cached;
mod caches;
mod capability;
mod device;
mod devices;
mod dispatch;
mod event;
mod fault;
mod fault_log;
mod faults;
mod first_stage;
mod generate;
mod interrupt;
mod interrupt_sequences;
mod interrupts;
mod legacy;
mod memory;
mod page_request;
mod page_requests;
mod protected;
mod queue;
mod queues;
mod rig;
mod scalable;
mod second_stage;
mod sequences;
mod trace;
mod walks;
