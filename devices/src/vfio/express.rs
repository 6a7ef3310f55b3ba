//! The PCI Express capability of an assigned function (PCI Express Base, 7.5.3).
//!
//! Payload sizes, error reporting, link and power settings belong to the fabric that the hardware hangs on:
//! the guest reads back what it writes there, and the hardware keeps what the host chose.

use pci::{ConfigSpace, Register};

use super::config::Layout;

const ENDPOINT: u16 = 0;
const INTEGRATED: u16 = 9;

/// Device capabilities kept of the host's: latencies, role-based error reporting. Payloads are 128 bytes,
/// as the port above has it; no phantom functions, no extended tags.
const DEVICE_KEPT: u32 = 0x0000_8FC0;
const CAN_RESET: u32 = 1 << 28;
/// Relaxed ordering, no snoop, read requests of up to 512 bytes.
const DEVICE_CONTROL: u16 = 0x2810;
const DEVICE_CONTROL_WRITABLE: u32 = 0x7FFF;
const RESET: u16 = 1 << 15;

/// Link capabilities kept: speed, width, exit latencies. Neither ASPM nor clock power management.
const LINK_KEPT: u32 = 0x0003_F3FF;
const ASPM_OPTIONALITY: u32 = 1 << 22;
/// Link control: completion boundary, common clock, extended synch.
const LINK_CONTROL_WRITABLE: u32 = 0x00C8;
/// Link status kept: speed, width, slot clock.
const LINK_STATUS_KEPT: u16 = 0x13FF;
/// 2.5 GT/s, one lane: the link of a function that has none on the host.
const SLOWEST: u16 = 0x0011;

/// Device capabilities 2: requests may carry one end-to-end prefix.
const PREFIXES: u32 = 1 << 21 | 1 << 22;

/// The registers; their values are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Express {
    at: u16,
    version: u16,
}

impl Express {
    /// Lays the capability at `at` out after the host's. On the guest's root bus (`integrated`) a function
    /// has no link, elsewhere it has one, whatever the host says.
    pub(super) fn lay_out(layout: &mut Layout<'_>, at: u16, integrated: bool, can_reset: bool) -> Self {
        let Layout { space, snapshot, .. } = layout;
        let host = snapshot.u16(at + 2);
        let version = (host & 0xF).clamp(1, 2);
        let host_type = host >> 4 & 0xF;
        let device_type = match host_type {
            _ if integrated => INTEGRATED,
            INTEGRATED | 10.. => ENDPOINT,
            other => other & 1,
        };
        space.define(at + 2, Register::u16(version | device_type << 4));
        let (reset_capability, reset_bit) = if can_reset { (CAN_RESET, u32::from(RESET)) } else { (0, 0) };
        space.define(at + 4, Register::u32(snapshot.u32(at + 4) & DEVICE_KEPT | reset_capability));
        space.define(at + 8, Register::u16(DEVICE_CONTROL).writable(DEVICE_CONTROL_WRITABLE | reset_bit));
        if !integrated {
            let link_on_host = host_type != INTEGRATED && snapshot.u32(at + 0x0C) & 0x3FF != 0;
            let (capabilities, status) = if link_on_host {
                (snapshot.u32(at + 0x0C) & LINK_KEPT, snapshot.u16(at + 0x12) & LINK_STATUS_KEPT)
            } else {
                (u32::from(SLOWEST), SLOWEST)
            };
            space.define(at + 0x0C, Register::u32(capabilities | ASPM_OPTIONALITY));
            space.define(at + 0x10, Register::u16(0).writable(LINK_CONTROL_WRITABLE));
            space.define(at + 0x12, Register::u16(status));
            if version == 2 {
                let speeds = if link_on_host { snapshot.u32(at + 0x2C) & 0xFE } else { 0b10 };
                let target = if link_on_host { snapshot.u16(at + 0x30) & 0xF } else { 1 };
                space.define(at + 0x2C, Register::u32(speeds));
                space.define(at + 0x30, Register::u16(target).writable(0xF));
            }
        }
        Self { at, version }
    }

    /// Says that requests may carry a prefix, which is where a PASID stands; false where the capability is too short
    /// for that.
    pub(super) fn carry_prefixes(self, layout: &mut Layout<'_>) -> bool {
        if self.version == 2 {
            layout.space.define(self.at + 0x24, Register::u32(PREFIXES));
        }
        self.version == 2
    }

    /// Bytes of the capability.
    pub(super) const fn length(self) -> u16 {
        if self.version == 2 { 0x3C } else { 0x14 }
    }

    /// Whether software asked for a function-level reset; the bit always reads 0.
    pub(super) fn take_reset_request(self, space: &mut ConfigSpace) -> bool {
        let control = space.u16(self.at + 8);
        space.set_u16(self.at + 8, control & !RESET);
        control & RESET != 0
    }
}
