//! What tests of the shadow have in common: a host that is as strict as the kernel, and a guest that writes
//! tables.
#![allow(dead_code, unreachable_pub, reason = "each test uses its own part")]

pub mod fake_host;
pub mod guest;
