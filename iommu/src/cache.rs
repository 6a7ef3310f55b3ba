//! What the unit remembers of the guest's tables, so that requests need not read them each time (§6.2).
//!
//! Every cache is bounded and holds only what a walk found good: a fault is found anew each time, which is
//! always allowed, in caching mode too (§6.1).

pub(crate) mod context;
pub(crate) mod interrupt_entry;
pub(crate) mod iotlb;
pub(crate) mod padded;
pub(crate) mod table;
