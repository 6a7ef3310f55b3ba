//! Access control services (PCI Express Base, 7.7.11).

use super::id;
use crate::config_space::NoRoom;
use crate::{ConfigSpace, Register};

/// Source Validation, Translation Blocking, P2P Request Redirect, P2P Completion Redirect, Upstream
/// Forwarding and Direct Translated P2P: what a root port has without an egress vector.
const SERVICES: u16 = 0b101_1111;

/// Adds the capability to a root port.
///
/// The services hold whether they are enabled or not: every request from below goes up to the root complex,
/// under the requester ID its function really has. The bits matter to guests, which put the functions of
/// ports without them into one isolation group.
pub(crate) fn add_access_control(config: &mut ConfigSpace) -> Result<u16, NoRoom> {
    let body = [Register::u16(SERVICES), Register::u16(0).writable(u32::from(SERVICES))];
    config.add_extended_capability(id::ACCESS_CONTROL, 1, &body)
}
