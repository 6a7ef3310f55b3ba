//! Bridges: what the registers of a type 1 header let through (PCI Express Base, 7.5.1.3).

use crate::header::type1;
use crate::span::Span;
use crate::{Command, ConfigSpace};

/// What a bridge lets through as its registers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarding {
    /// The number of the bus right behind the bridge.
    pub(crate) secondary: u8,
    /// The highest bus number behind the bridge.
    pub(crate) subordinate: u8,
    /// Whether the bus behind works; while it does not, everything on it is held in reset.
    pub(crate) link_up: bool,
    /// Whether anything at all goes through: the bus works and the bridge is in D0.
    pub(crate) open: bool,
    /// Whether requests from below go up.
    pub(crate) upstream: bool,
    /// The memory window and the prefetchable one, where enabled and not empty.
    pub(crate) memory: [Option<Span>; 2],
    /// The port window, where enabled and not empty.
    pub(crate) ports: Option<Span>,
}

impl Forwarding {
    /// What the registers in `config` say of a bridge whose bus works or not, and that is in D0 or not.
    pub(crate) fn of(config: &ConfigSpace, link_up: bool, on: bool) -> Self {
        let command = config.command();
        let open = link_up && on;
        let memory = [memory_window(config), prefetchable_window(config)]
            .map(|window| window.filter(|_| open && command.contains(Command::MEMORY_SPACE)));
        let ports = port_window(config).filter(|_| open && command.contains(Command::IO_SPACE));
        Self {
            secondary: config.u8(type1::SECONDARY_BUS),
            subordinate: config.u8(type1::SUBORDINATE_BUS),
            link_up,
            open,
            upstream: open && command.contains(Command::BUS_MASTER),
            memory,
            ports,
        }
    }
}

/// Memory Base and Limit: address bits 31:20.
fn memory_window(config: &ConfigSpace) -> Option<Span> {
    let bits = |register| u64::from(config.u16(register) & 0xFFF0) << 16;
    Span::new(bits(type1::MEMORY_BASE), bits(type1::MEMORY_LIMIT) | 0xF_FFFF)
}

/// Prefetchable Memory Base and Limit: address bits 63:20.
fn prefetchable_window(config: &ConfigSpace) -> Option<Span> {
    let bits =
        |register, upper| u64::from(config.u32(upper)) << 32 | u64::from(config.u16(register) & 0xFFF0) << 16;
    let base = bits(type1::PREFETCHABLE_BASE, type1::PREFETCHABLE_BASE_UPPER);
    let limit = bits(type1::PREFETCHABLE_LIMIT, type1::PREFETCHABLE_LIMIT_UPPER);
    Span::new(base, limit | 0xF_FFFF)
}

/// I/O Base and Limit: address bits 15:12.
fn port_window(config: &ConfigSpace) -> Option<Span> {
    let bits = |register| u64::from(config.u8(register) & 0xF0) << 8;
    Span::new(bits(type1::IO_BASE), bits(type1::IO_LIMIT) | 0xFFF)
}
