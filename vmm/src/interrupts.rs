//! Interrupts on their last step into the guest: messages sent by hand, and routes that KVM follows itself.

mod chip;
mod routes;

pub use chip::{InterruptChip, KvmChip, KvmMsi, Route};
pub use routes::{FunctionRoutes, RouteTable};
