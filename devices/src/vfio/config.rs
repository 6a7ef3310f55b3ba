//! The configuration space the guest reads.
//!
//! It is laid out anew, after what the host shows: registers of ours where software's wishes are carried out
//! elsewhere or not at all, and between them windows to the hardware (the status register, registers of the
//! device's own maker). What is neither reads as zero, so that a capability nobody knows is one nobody sees.

use std::ops::Range;

use pci::{
    BAR_COUNT, Bar, BarKind, BarRange, Bars, CONFIG_SPACE_SIZE, Command, ConfigSpace, ExpressKind, ROM_BAR,
    Register,
};

use super::capability;
use super::express::Express;
use super::host::{HostFunction, RegionIndex};
use super::msi::Msi;
use super::pasids::Pasids;

/// Offsets in a type 0 header (PCI Express Base, 7.5.1).
pub(super) mod register {
    pub(crate) const VENDOR: u16 = 0x00;
    pub(crate) const COMMAND: u16 = 0x04;
    pub(crate) const STATUS: u16 = 0x06;
    pub(crate) const REVISION: u16 = 0x08;
    pub(crate) const CACHE_LINE_SIZE: u16 = 0x0C;
    pub(crate) const HEADER_TYPE: u16 = 0x0E;
    pub(crate) const BAR_0: u16 = 0x10;
    pub(crate) const SUBSYSTEM: u16 = 0x2C;
    pub(crate) const CAPABILITIES: u16 = 0x34;
    pub(crate) const INTERRUPT_LINE: u16 = 0x3C;
    pub(crate) const INTERRUPT_PIN: u16 = 0x3D;
}

/// Bits of the command register that the guest has: port and memory space, bus master, parity, SERR#,
/// interrupt disable.
const COMMAND_WRITABLE: u32 = 0x0547;
/// Status register, low byte: there is a list of capabilities.
const STATUS_CAPABILITIES: u8 = 1 << 4;
/// The device's own registers may be here.
const DEVICE_SPECIFIC: Range<u16> = 0x40..0x100;

/// Where the guest programs MSI-X, and where the table is.
#[derive(Clone, Debug)]
pub(super) struct MsixPlace {
    /// The capability.
    pub(super) at: u16,
    pub(super) vectors: u16,
    /// The BAR and the range in it.
    pub(super) table: (usize, Range<u64>),
    /// The BAR and the range in it.
    pub(super) pending: (usize, Range<u64>),
}

/// Power management: the control register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Power {
    pub(super) control: u16,
}

impl Power {
    const STATE: u16 = 0b11;
    const D0: u16 = 0;
    const D3_HOT: u16 = 3;

    fn is_on(self, space: &ConfigSpace) -> bool {
        space.u16(self.control) & Self::STATE == Self::D0
    }
}

/// What was found of capabilities.
#[derive(Default)]
pub(super) struct Found {
    pub(super) msi: Option<Msi>,
    pub(super) msix: Option<MsixPlace>,
    pub(super) power: Option<Power>,
    pub(super) express: Option<Express>,
    /// The control register of the advanced features capability.
    pub(super) advanced: Option<u16>,
    pub(super) pasids: Option<Pasids>,
}

/// The host's configuration space as it was when the function was taken.
pub(super) struct Snapshot {
    bytes: Vec<u8>,
}

impl Snapshot {
    pub(super) fn take(host: &dyn HostFunction) -> std::io::Result<Self> {
        let size = host.region(RegionIndex::Config).size.min(CONFIG_SPACE_SIZE as u64) as usize;
        let mut bytes = vec![0; size & !3];
        for (offset, word) in (0_u64..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
            host.read(RegionIndex::Config, offset, word)?;
        }
        Ok(Self { bytes })
    }

    /// Whether there is anything at `offset`.
    pub(super) fn has(&self, offset: u16) -> bool {
        usize::from(offset) < self.bytes.len()
    }

    pub(super) fn u8(&self, offset: u16) -> u8 {
        self.bytes.get(usize::from(offset)).copied().unwrap_or(0)
    }

    pub(super) fn u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes([self.u8(offset), self.u8(offset.saturating_add(1))])
    }

    pub(super) fn u32(&self, offset: u16) -> u32 {
        u32::from(self.u16(offset.saturating_add(2))) << 16 | u32::from(self.u16(offset))
    }
}

/// One function's configuration space.
pub(super) struct Config {
    pub(super) space: ConfigSpace,
    pub(super) found: Found,
    bars: Bars,
    live: Live,
    upstream: bool,
}

impl Config {
    /// Lays it out after `host`. `wire` says whether INTx reaches the guest, `kind` what kind of PCI Express
    /// function the guest finds, if any, and `pasid_bits` how many bits the PASIDs of its requests may have.
    pub(super) fn new(
        host: &dyn HostFunction,
        wire: bool,
        kind: Option<ExpressKind>,
        pasid_bits: u8,
    ) -> std::io::Result<Self> {
        let snapshot = Snapshot::take(host)?;
        let mut layout = Layout { space: ConfigSpace::new(), live: Live::new(), snapshot: &snapshot };
        layout.header(wire);
        let bars = layout.bars(host);
        let found = capability::lay_out(&mut layout, host, &bars, kind, pasid_bits);
        let Layout { space, live, .. } = layout;
        Ok(Self { space, found, bars, live, upstream: true })
    }

    /// What the guest reads.
    pub(super) fn read(&self, host: &dyn HostFunction, offset: u16, data: &mut [u8]) {
        self.space.read(offset, data);
        if !self.live.any(offset, data.len()) {
            return;
        }
        let mut hardware = [0xFF; 4];
        let Some(hardware) = hardware.get_mut(..data.len()) else { return };
        if host.read(RegionIndex::Config, u64::from(offset), hardware).is_err() {
            hardware.fill(0xFF);
        }
        for ((byte, hardware), at) in data.iter_mut().zip(hardware).zip(offset..) {
            if at == register::STATUS {
                *byte = *hardware & !STATUS_CAPABILITIES | *byte & STATUS_CAPABILITIES;
            } else if self.live.any(at, 1) {
                *byte = *hardware;
            }
        }
    }

    /// What the guest's write does to our registers and to the windows. What follows from it is for others.
    pub(super) fn write(&mut self, host: &dyn HostFunction, offset: u16, data: &[u8]) {
        let power_before = self.found.power.map(|power| self.space.u16(power.control));
        self.space.write(offset, data);
        if let (Some(power), Some(before)) = (self.found.power, power_before) {
            let state = self.space.u16(power.control) & Power::STATE;
            if state != Power::D0 && state != Power::D3_HOT {
                // A state that does not exist is not entered.
                self.space.set_u16(power.control, before);
            }
        }
        let to_hardware = |offset: u16, data: &[u8]| {
            if let Err(error) = host.write(RegionIndex::Config, u64::from(offset), data) {
                tracing::debug!("The host does not write configuration space at {offset:#x}: {error}");
            }
        };
        if self.live.all(offset, data.len()) {
            to_hardware(offset, data);
        } else {
            for (byte, at) in data.iter().zip(offset..) {
                if self.live.any(at, 1) {
                    to_hardware(at, &[*byte]);
                }
            }
        }
    }

    /// Whether software asked for a function-level reset; asking once is enough.
    pub(super) fn take_reset_request(&mut self) -> bool {
        let express = self.found.express.is_some_and(|express| express.take_reset_request(&mut self.space));
        let advanced = self.found.advanced.is_some_and(|control| {
            let value = self.space.u16(control);
            self.space.set_u16(control, value & !1);
            value & 1 != 0
        });
        express || advanced
    }

    pub(super) fn command(&self) -> Command {
        self.space.command()
    }

    /// Says whether the bridges above pass on what the function sends.
    pub(super) fn set_upstream(&mut self, open: bool) {
        self.upstream = open;
    }

    /// Whether the function may send requests: Bus Master is set, it is in D0, and the bridges above pass
    /// them on.
    pub(super) fn may_send(&self) -> bool {
        self.command().contains(Command::BUS_MASTER) && self.is_on() && self.upstream
    }

    /// How many bits the PASIDs of its requests have; 0 while it sends none with PASID.
    pub(super) fn pasid_bits(&self) -> u8 {
        self.found.pasids.map_or(0, |pasids| pasids.bits(&self.space))
    }

    /// Whether it is a bridge, whose header is another one.
    pub(super) fn is_bridge(&self) -> bool {
        self.space.u8(register::HEADER_TYPE) != 0
    }

    /// What each BAR decodes.
    pub(super) fn decoded(&self) -> [Option<BarRange>; BAR_COUNT] {
        if self.is_on() { self.bars.decoded(&self.space) } else { [None; BAR_COUNT] }
    }

    fn is_on(&self) -> bool {
        self.found.power.is_none_or(|power| power.is_on(&self.space))
    }
}

/// Which bytes are windows to the hardware.
pub(super) struct Live(Box<[bool]>);

impl Live {
    fn new() -> Self {
        Self(vec![false; CONFIG_SPACE_SIZE].into_boxed_slice())
    }

    pub(super) fn set(&mut self, range: Range<u16>, live: bool) {
        let length = range.end.saturating_sub(range.start);
        self.0.iter_mut().skip(range.start.into()).take(length.into()).for_each(|byte| *byte = live);
    }

    pub(super) fn any(&self, offset: u16, length: usize) -> bool {
        self.0.iter().skip(offset.into()).take(length).any(|live| *live)
    }

    fn all(&self, offset: u16, length: usize) -> bool {
        self.0.iter().skip(offset.into()).take(length).all(|live| *live)
    }
}

/// A configuration space while it is being laid out.
pub(super) struct Layout<'a> {
    pub(super) space: ConfigSpace,
    pub(super) live: Live,
    pub(super) snapshot: &'a Snapshot,
}

impl Layout<'_> {
    fn header(&mut self, wire: bool) {
        let Self { space, live, snapshot } = self;
        space.define(register::VENDOR, Register::u32(snapshot.u32(register::VENDOR)));
        space.define(register::COMMAND, Register::u16(0).writable(COMMAND_WRITABLE));
        live.set(register::STATUS..register::STATUS + 2, true);
        space.define(register::REVISION, Register::u32(snapshot.u32(register::REVISION)));
        space.define(register::CACHE_LINE_SIZE, Register::u8(0).writable(0xFF));
        // A function that the guest sees alone is no part of a multi-function device.
        space.define(register::HEADER_TYPE, Register::u8(snapshot.u8(register::HEADER_TYPE) & 0x7F));
        space.define(register::SUBSYSTEM, Register::u32(snapshot.u32(register::SUBSYSTEM)));
        space.define(register::INTERRUPT_LINE, Register::u8(0).writable(0xFF));
        space.define(register::INTERRUPT_PIN, Register::u8(u8::from(wire)));
        live.set(DEVICE_SPECIFIC, true);
    }

    fn bars(&mut self, host: &dyn HostFunction) -> Bars {
        let mut bars = Bars::new();
        for index in 0..BAR_COUNT {
            let Some(region) = RegionIndex::of_bar(index) else { continue };
            let size = host.region(region).size;
            if size == 0 {
                continue;
            }
            let kind = if index == ROM_BAR {
                BarKind::Rom
            } else {
                kind_of(self.snapshot.u32(register::BAR_0 + 4 * index as u16))
            };
            let smallest = if kind == BarKind::Rom { 2048 } else { 4 };
            let size = size.max(smallest).checked_next_power_of_two().unwrap_or(0);
            if let Err(error) = bars.add(&mut self.space, index, Bar { kind, size }) {
                tracing::warn!("BAR {index} of an assigned device is hidden: {error}");
            }
        }
        bars
    }

    /// Makes `range` ours: zeros, unless registers are defined there.
    pub(super) fn own(&mut self, range: Range<u16>) {
        self.live.set(range, false);
    }
}

fn kind_of(register: u32) -> BarKind {
    match (register & 1 != 0, register >> 1 & 3 == 2, register & 8 != 0) {
        (true, ..) => BarKind::Port,
        (_, true, true) => BarKind::Prefetchable64,
        (_, true, false) => BarKind::Memory64,
        (_, false, _) => BarKind::Memory32,
    }
}

#[cfg(test)]
mod tests;
