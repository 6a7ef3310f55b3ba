//! Intel VT-d, whole and alone: registers, tables of legacy and of scalable mode, translation, caches,
//! invalidation, faults, translation services and page requests, interrupt remapping and posting, counters, and the
//! shadow of a guest's tables for devices whose DMA the host's IOMMU carries out.
//!
//! A [`Unit`] has the [`Capabilities`] that a [`Profile`] names. The crate knows no hypervisor, no VFIO and no file
//! descriptor. What a unit needs of its surroundings are small traits: [`TableMemory`], which everything made of
//! `vm-memory` has, and [`Platform`]; [`DeviceTlb`] for devices that hold translations; [`AssignedFunction`] and
//! [`HostMapper`] for functions of the host. Section numbers are those of the Intel VT-d architecture specification,
//! revision 4.
//!
//! A guest may write anything anywhere at any time. Nothing that it writes makes a unit panic, and what it makes the
//! unit do is bounded; the README says by what.
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as iommu;

mod ats;
mod cache;
mod capabilities;
mod command;
mod completion;
mod counters;
mod device_tlb;
mod drain;
/// Here, and not in the file they test: the test `interleavings` builds that file too.
#[cfg(test)]
#[path = "drain/tests.rs"]
mod drain_tests;
mod event;
mod fault;
mod host;
mod interrupt;
mod invalidation;
mod memory;
mod mode;
mod numbers;
mod padded;
mod page_request;
mod platform;
mod protected;
mod queue;
mod registers;
mod shadow;
mod spec;
mod state;
mod sync;
#[cfg(test)]
mod testing;
mod translate;
mod types;
mod unit;
mod walk;

pub use ats::{
    DeviceTlb, DeviceTlbInvalidation, DeviceTlbScope, InvalidationCompletion, PageRequest, PageResponse,
    PageResponseCode, Translation, TranslationError, TranslationRequest,
};
pub use capabilities::{
    Capabilities, CapabilitiesBuilder, Conflict, Feature, HostUnit, Profile, UnknownFeature,
};
pub use host::{
    AssignedFunction, FirstStage, Forget, HostDma, HostGroup, HostIommu, HostMapper, HostSpace, MapError,
    NestedSpace, SpaceId,
};
pub use memory::{MemoryError, TableMemory};
pub use platform::{EntryRange, Platform};
pub use shadow::{Attachment, Audit, Extent, Group, GroupAudit, Statistics};
pub use state::StateError;
pub use types::{Access, DomainId, Iova, MsiMessage, Pasid, Permissions, Request, SourceId};
pub use unit::{Blocked, Outcome, Resolution, Unit};
pub use vm_memory::GuestAddress;

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
