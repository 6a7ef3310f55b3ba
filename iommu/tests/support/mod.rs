//! What tests of the shadow have in common: a host that is as strict as the kernel, a guest that writes
//! tables, and a driver of the unit in that guest.
#![allow(dead_code, unreachable_pub, reason = "each test uses its own part")]

pub mod fake_host;
pub mod guest;
pub mod machine;
pub mod world;
