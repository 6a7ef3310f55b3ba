//! The PCI Express capability (PCI Express Base, 7.5.3), version 2.

use super::id;
use crate::config_space::NoRoom;
use crate::{ConfigSpace, Register};

/// Which kind of PCI Express function it is; decides which registers mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressKind {
    /// An endpoint at the end of a link.
    Endpoint,
    /// An endpoint on the root bus: it has no link.
    IntegratedEndpoint,
    /// A root port with a slot.
    RootPort {
        /// The number printed beside the slot.
        slot: u16,
    },
    /// A bridge from PCI Express to conventional PCI.
    PciBridge,
}

/// Every link here is as wide and as fast as the other: 5 GT/s, 16 lanes. Faster ones would oblige both
/// ends to describe how their link is equalized.
const LINK_SPEED: u16 = 2;
const LINK_WIDTH: u16 = 16 << 4;
const LINK_SPEEDS_SUPPORTED: u32 = 0b11 << 1;

const VERSION: u16 = 2;
const SLOT_IMPLEMENTED: u16 = 1 << 8;

const ROLE_BASED_ERRORS: u32 = 1 << 15;
const CAN_RESET_FUNCTION: u32 = 1 << 28;

/// Device Control: relaxed ordering, no snoop, and read requests up to 512 bytes, as after power-on.
const DEVICE_CONTROL: u16 = 1 << 4 | 1 << 11 | 0b010 << 12;
const DEVICE_CONTROL_WRITABLE: u32 = 0x79FF;
const RESET_FUNCTION: u16 = 1 << 15;
/// The same bit of a bridge to conventional PCI: configuration accesses may be answered with a retry. None is
/// slow enough for that.
const RETRY_CONFIGURATION: u16 = 1 << 15;

/// Device Capabilities 2, upper half: requests may carry one end-to-end prefix, which is where a PASID stands.
const PREFIXES: u16 = 1 << 5 | 1 << 6;

const LINK_ACTIVE_REPORTING: u32 = 1 << 20;
const ASPM_OPTIONALITY: u32 = 1 << 22;
const LINK_DISABLE: u16 = 1 << 4;
/// Link Control: completion boundary, common clock, extended synch.
const LINK_CONTROL_WRITABLE: u32 = 1 << 3 | 1 << 6 | 1 << 7;
const SLOT_CLOCK: u16 = 1 << 12;
const LINK_ACTIVE: u16 = 1 << 13;
const PRESENCE_DETECTED: u16 = 1 << 6;

/// Root Control: the three error enables and the PME interrupt enable.
const ROOT_CONTROL_WRITABLE: u32 = 0xF;
const PME_STATUS: u32 = 1 << 16;

// Offsets in the capability.
const DEVICE_CONTROL_AT: u16 = 0x08;
const LINK_CONTROL_AT: u16 = 0x10;
const LINK_STATUS_AT: u16 = 0x12;
const SLOT_STATUS_AT: u16 = 0x1A;
const DEVICE_CAPABILITIES_2_HIGH_AT: u16 = 0x26;

/// The PCI Express capability of one function; its registers are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub struct Express {
    at: u16,
}

impl Express {
    /// Adds the capability. `can_reset` offers function-level reset, for endpoints.
    pub fn add(config: &mut ConfigSpace, kind: ExpressKind, can_reset: bool) -> Result<Self, NoRoom> {
        let link = Link::of(kind);
        let (device_type, slot) = match kind {
            ExpressKind::Endpoint => (0, None),
            ExpressKind::IntegratedEndpoint => (9, None),
            ExpressKind::RootPort { slot } => (4, Some(slot)),
            ExpressKind::PciBridge => (7, None),
        };
        let slot_implemented = if slot.is_some() { SLOT_IMPLEMENTED } else { 0 };
        let (reset_capability, top_bit) = match kind {
            _ if can_reset => (CAN_RESET_FUNCTION, RESET_FUNCTION),
            ExpressKind::PciBridge => (0, RETRY_CONFIGURATION),
            _ => (0, 0),
        };
        let (root_control, pme_status) =
            if slot.is_some() { (ROOT_CONTROL_WRITABLE, PME_STATUS) } else { (0, 0) };
        let body = [
            Register::u16(VERSION | device_type << 4 | slot_implemented),
            // Payloads of 128 bytes.
            Register::u32(ROLE_BASED_ERRORS | reset_capability),
            Register::u16(DEVICE_CONTROL).writable(DEVICE_CONTROL_WRITABLE | u32::from(top_bit)),
            Register::u16(0).cleared_by_one(0xF),
            Register::u32(link.capabilities),
            Register::u16(0).writable(link.control_writable),
            Register::u16(link.status),
            Register::u32(slot.map_or(0, |number| u32::from(number) << 19)),
            Register::u16(0),
            Register::u16(0),
            Register::u16(0).writable(root_control),
            Register::u16(0),
            Register::u32(0).cleared_by_one(pme_status),
            // Device capabilities, control and status 2: nothing optional.
            Register::u32(0),
            Register::u16(0),
            Register::u16(0),
            Register::u32(link.speeds),
            Register::u16(link.target_speed).writable(link.target_writable),
            Register::u16(0),
            // Slot capabilities, control and status 2 are reserved.
            Register::u32(0),
            Register::u32(0),
        ];
        let at = config.add_capability(id::EXPRESS, &body)?;
        let express = Self { at };
        if slot.is_some() {
            express.carry_prefixes(config);
        }
        Ok(express)
    }

    /// Ends a write to configuration space: says whether it asked for a function-level reset, and clears
    /// the bit, which always reads 0.
    pub fn take_reset_request(self, config: &mut ConfigSpace) -> bool {
        let at = self.at + DEVICE_CONTROL_AT;
        let control = config.u16(at);
        config.set_u16(at, control & !RESET_FUNCTION);
        control & RESET_FUNCTION != 0
    }

    /// Says that requests of this function, or through it, may carry a PASID. Root ports always carry it.
    pub(crate) fn carry_prefixes(self, config: &mut ConfigSpace) {
        let at = self.at + DEVICE_CAPABILITIES_2_HIGH_AT;
        config.preset_u16(at, config.u16(at) | PREFIXES);
    }

    /// Where the capability is.
    pub(crate) fn place(self) -> u16 {
        self.at
    }

    /// Whether software has taken the link of this root port down.
    pub(crate) fn link_disabled(self, config: &ConfigSpace) -> bool {
        config.u16(self.at + LINK_CONTROL_AT) & LINK_DISABLE != 0
    }

    /// Shows in a root port's status registers whether something is in its slot and whether the link to it
    /// works; says whether either has changed.
    pub(crate) fn show_link(self, config: &mut ConfigSpace, occupied: bool, up: bool) -> LinkChange {
        let link = replace_bit(config, self.at + LINK_STATUS_AT, LINK_ACTIVE, occupied && up);
        let presence = replace_bit(config, self.at + SLOT_STATUS_AT, PRESENCE_DETECTED, occupied);
        LinkChange { link, presence }
    }
}

/// What [`Express::show_link`] found changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkChange {
    /// The link came up or went down.
    pub(crate) link: bool,
    /// Something came into the slot or went.
    pub(crate) presence: bool,
}

/// Sets or clears `bit` of the register at `at`; says whether that changed it.
fn replace_bit(config: &mut ConfigSpace, at: u16, bit: u16, set: bool) -> bool {
    let before = config.u16(at);
    let now = before & !bit | if set { bit } else { 0 };
    config.set_u16(at, now);
    now != before
}

/// The link registers of one kind of function.
#[derive(Default)]
struct Link {
    capabilities: u32,
    control_writable: u32,
    status: u16,
    speeds: u32,
    target_speed: u16,
    target_writable: u32,
}

impl Link {
    fn of(kind: ExpressKind) -> Self {
        let common = Self {
            capabilities: u32::from(LINK_SPEED | LINK_WIDTH) | ASPM_OPTIONALITY,
            control_writable: LINK_CONTROL_WRITABLE,
            status: LINK_SPEED | LINK_WIDTH | SLOT_CLOCK,
            speeds: LINK_SPEEDS_SUPPORTED,
            target_speed: LINK_SPEED,
            target_writable: 0xF,
        };
        match kind {
            ExpressKind::IntegratedEndpoint => Self::default(),
            ExpressKind::Endpoint | ExpressKind::PciBridge => common,
            ExpressKind::RootPort { slot } => Self {
                capabilities: common.capabilities | LINK_ACTIVE_REPORTING | u32::from(slot & 0xFF) << 24,
                control_writable: LINK_CONTROL_WRITABLE | u32::from(LINK_DISABLE),
                ..common
            },
        }
    }
}

#[cfg(test)]
mod tests;
