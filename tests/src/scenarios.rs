//! Every session of the rig.

mod boot;
mod nvme;
mod peer;
mod stray;

use crate::scenario::Session;

/// All sessions, in the order in which it makes sense to run them.
pub fn all() -> Vec<Session> {
    vec![peer::session(), boot::smoke(), boot::session(), nvme::session(), stray::session()]
}

/// The session called `name`.
pub fn named(name: &str) -> Option<Session> {
    all().into_iter().find(|session| session.name == name)
}

/// Where the first NVMe drive stands in L1.
const NVME: &str = "0000:00:05.0";
