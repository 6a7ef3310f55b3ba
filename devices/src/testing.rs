//! What the tests of several devices share.

use std::sync::{Arc, Mutex};

use iommu::{Capabilities, GuestAddress, MsiMessage, Profile, Unit};
use pci::{BusNumber, Location};
use vm_memory::Bytes;

use crate::{BusMaster, GuestRam, InterruptLine, MsiSink, Remapping, VtdUnit};

/// Keeps what was delivered.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<MsiMessage>>);

impl Recorder {
    /// What was delivered since the last call.
    pub(crate) fn take(&self) -> Vec<MsiMessage> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl MsiSink for Recorder {
    fn deliver(&self, message: MsiMessage) {
        self.0.lock().unwrap().push(message);
    }
}

/// A wire, and every level it was set to.
#[derive(Default)]
pub(crate) struct Wire(Mutex<Vec<bool>>);

impl Wire {
    /// Whether it is asserted.
    pub(crate) fn asserted(&self) -> bool {
        self.0.lock().unwrap().last() == Some(&true)
    }
}

impl InterruptLine for Wire {
    fn set(&self, asserted: bool) {
        self.0.lock().unwrap().push(asserted);
    }
}

/// A function at 00:04.0 over some memory.
pub(crate) struct Bench {
    pub(crate) memory: Arc<GuestRam>,
    pub(crate) interrupts: Arc<Recorder>,
    pub(crate) bus: BusNumber,
    pub(crate) master: Arc<BusMaster>,
    remapping: Remapping,
}

impl Bench {
    /// Memory at the ranges (start, length) given and no remapping unit; the master may send.
    pub(crate) fn new(ranges: &[(u64, usize)]) -> Self {
        Self::with(ranges, |_| Remapping::Absent)
    }

    /// 1 MiB of memory behind a unit that translates: 00:04.0 reaches the pages (I/O virtual address, guest
    /// address) given. The tables lie in the first 64 KiB.
    pub(crate) fn behind_unit(pages: &[(u64, u64)]) -> (Self, Arc<VtdUnit>) {
        Self::behind(Capabilities::legacy(39), 0, pages)
    }

    /// The same, and 00:04.0 may hold translations.
    pub(crate) fn behind_translating_unit(pages: &[(u64, u64)]) -> (Self, Arc<VtdUnit>) {
        Self::behind(Capabilities::new(Profile::Full, 39), 1 << 2, pages)
    }

    /// `kind` is the translation type in its context entry.
    fn behind(capabilities: Capabilities, kind: u64, pages: &[(u64, u64)]) -> (Self, Arc<VtdUnit>) {
        let mut unit = None;
        let bench = Self::with(&[(0, 1 << 20)], |memory| {
            let new = Arc::new(Unit::new(memory.clone(), capabilities));
            unit = Some(new.clone());
            Remapping::Unit(new)
        });
        let put = |address: u64, value: u64| bench.memory.write_obj(value, GuestAddress(address)).unwrap();
        put(0x1000, 0x2001);
        // Context entry: 39 bits, domain 1.
        put(0x2000 + 0x20 * 16, 0x3001 | kind);
        put(0x2000 + 0x20 * 16 + 8, 1 | 1 << 8);
        put(0x3000, 0x4003);
        put(0x4000, 0x5003);
        for (iova, guest) in pages {
            assert!(*iova < 0x20_0000);
            put(0x5000 + iova / 0x1000 * 8, guest | 3);
        }
        let unit = unit.unwrap();
        // RTADDR; then GCMD.SRTP and GCMD.TE.
        unit.write(0x20, &0x1000_u64.to_le_bytes());
        unit.write(0x18, &(1_u32 << 30).to_le_bytes());
        unit.write(0x18, &(1_u32 << 31).to_le_bytes());
        (bench, unit)
    }

    fn with(ranges: &[(u64, usize)], remapping: impl FnOnce(&Arc<GuestRam>) -> Remapping) -> Self {
        let ranges: Vec<_> = ranges.iter().map(|&(start, length)| (GuestAddress(start), length)).collect();
        let memory = Arc::new(GuestRam::from_ranges(&ranges).unwrap());
        let interrupts = Arc::new(Recorder::default());
        let bus = BusNumber::new(0);
        let remapping = remapping(&memory);
        let master = Arc::new(master(&memory, &interrupts, &bus, &remapping));
        master.set_enabled(true);
        Self { memory, interrupts, bus, master, remapping }
    }

    /// Another master at the same place, with its Bus Master bit clear.
    pub(crate) fn another_master(&self) -> BusMaster {
        master(&self.memory, &self.interrupts, &self.bus, &self.remapping)
    }
}

fn master(
    memory: &Arc<GuestRam>,
    interrupts: &Arc<Recorder>,
    bus: &BusNumber,
    remapping: &Remapping,
) -> BusMaster {
    let location = Location::new(bus.clone(), 4, 0);
    BusMaster::new(location, memory.clone(), remapping.clone(), interrupts.clone())
}
