//! The unit and the routes of an assigned function, put together as in a machine.

use std::io;
use std::sync::Mutex;

use devices::vfio::{Signal, VectorRoutes};
use iommu::{Capabilities, GuestAddress, SourceId};
use pci::{BusNumber, Location};
use vm_memory::Bytes;
use vmm_sys_util::eventfd::EventFd;

use super::*;
use crate::interrupts::{FunctionRoutes, InterruptChip, Route};

/// Registers of the unit.
const GCMD: u64 = 0x18;
const IQT: u64 = 0x88;
const IQA: u64 = 0x90;
const IRTA: u64 = 0xB8;

/// Bits of GCMD.
const QUEUE: u32 = 1 << 26;
const REMAPPING: u32 = 1 << 25;
const TABLE: u32 = 1 << 24;

const RING: u64 = 0x1000;
const ENTRIES: [u64; 2] = [0x2000, 0x3000];
const STATUS: u64 = 0x4000;

/// What a function writes to raise the interrupt of entry 1.
const REQUEST: MsiMessage = MsiMessage { address: 0xFEE0_0030, data: 0 };

/// KVM, as far as it can be seen from here: the routes that stand, and how often they were programmed.
#[derive(Default)]
struct FakeChip {
    routes: Mutex<Vec<MsiMessage>>,
    /// What the status word held whenever routes were programmed.
    statuses: Mutex<Vec<u32>>,
    memory: Mutex<Option<Arc<GuestRam>>>,
}

impl InterruptChip for FakeChip {
    fn set_routes(&self, routes: &[Route]) -> io::Result<()> {
        *self.routes.lock().unwrap() = routes.iter().map(|route| route.message).collect();
        if let Some(memory) = &*self.memory.lock().unwrap() {
            self.statuses.lock().unwrap().push(memory.read_obj(GuestAddress(STATUS)).unwrap());
        }
        Ok(())
    }

    fn assign(&self, _trigger: &EventFd, _gsi: u32) -> io::Result<()> {
        Ok(())
    }

    fn deassign(&self, _trigger: &EventFd, _gsi: u32) -> io::Result<()> {
        Ok(())
    }

    fn signal(&self, _message: MsiMessage) -> io::Result<()> {
        Ok(())
    }
}

/// A unit that remaps, with entry 1 present in the first of two tables, and a function at 03:00.0 whose vector
/// 0 asks for it.
struct Setup {
    memory: Arc<GuestRam>,
    unit: Arc<VtdUnit>,
    chip: Arc<FakeChip>,
    _function: FunctionRoutes,
}

impl Setup {
    fn new() -> Self {
        let memory = Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), 0x10000)]).unwrap());
        let unit = Arc::new(VtdUnit::new(memory.clone(), Capabilities::legacy(48)));
        let remapping = Remapping::Unit(unit.clone());
        let chip = Arc::new(FakeChip::default());
        let routes = RouteTable::new(chip.clone(), remapping.clone(), SourceId(0xF8)).unwrap();
        let msi = Arc::new(KvmMsi::new(chip.clone()));
        connect(&remapping, msi, routes.clone(), &mut EventLoop::new().unwrap()).unwrap();
        let function = routes.function(Location::new(BusNumber::new(3), 0, 0));
        function.eventfd(0).unwrap();
        function.set(&[(0, Signal::Send(REQUEST))]);
        let setup = Self { memory, unit, chip, _function: function };
        setup.entry(ENTRIES[0], Some(0x41));
        setup.write(IQA, RING);
        setup.write(IRTA, ENTRIES[0] | 1 << 11);
        for command in [QUEUE, QUEUE | TABLE, QUEUE | REMAPPING] {
            setup.command(command);
        }
        assert_eq!(setup.routes(), [remapped(0x41)]);
        setup
    }

    fn write(&self, register: u64, value: u64) {
        self.unit.write(register, &value.to_le_bytes());
    }

    fn command(&self, command: u32) {
        self.unit.write(GCMD, &command.to_le_bytes());
    }

    fn routes(&self) -> Vec<MsiMessage> {
        self.chip.routes.lock().unwrap().clone()
    }

    fn store(&self, address: u64, value: u64) {
        self.memory.write_obj(value, GuestAddress(address)).unwrap();
    }

    /// Makes entry 1 of a table present, for any requester, or takes it away.
    fn entry(&self, table: u64, vector: Option<u64>) {
        self.store(table + 16, vector.map_or(0, |vector| 2 << 32 | vector << 16 | 1));
    }

    /// Has the unit invalidate entry `index`, and write 1 to the status word after that.
    fn invalidate(&self, index: u64) {
        *self.chip.memory.lock().unwrap() = Some(self.memory.clone());
        for (offset, word) in
            [4 | 1 << 4 | index << 32, 0, 5 | 1 << 5 | 1 << 32, STATUS].into_iter().enumerate()
        {
            self.store(RING + offset as u64 * 8, word);
        }
        self.write(IQT, 32);
        while self.memory.read_obj::<u32>(GuestAddress(STATUS)).unwrap() != 1 {
            // This thread was held up for so long that the rest of the queue was left for later.
            self.unit.resume();
        }
    }
}

fn remapped(vector: u32) -> MsiMessage {
    MsiMessage { address: 0xFEE0_2000, data: vector }
}

#[test]
fn an_invalidated_entry_has_no_route_when_the_wait_completes() {
    let setup = Setup::new();
    setup.entry(ENTRIES[0], None);
    assert_eq!(setup.routes(), [remapped(0x41)], "the guest has not said anything yet");
    setup.invalidate(1);
    assert_eq!(setup.routes(), []);
    assert_eq!(*setup.chip.statuses.lock().unwrap(), [0], "the route went before the guest was told");
}

#[test]
fn a_changed_entry_has_its_new_route_when_the_wait_completes() {
    let setup = Setup::new();
    setup.entry(ENTRIES[0], Some(0x51));
    setup.invalidate(1);
    assert_eq!(setup.routes(), [remapped(0x51)]);
    assert_eq!(*setup.chip.statuses.lock().unwrap(), [0]);
}

#[test]
fn an_entry_that_was_not_named_keeps_its_route() {
    let setup = Setup::new();
    setup.invalidate(0);
    assert_eq!(setup.routes(), [remapped(0x41)]);
    assert!(setup.chip.statuses.lock().unwrap().is_empty());
}

#[test]
fn a_switch_a_new_table_and_a_reset_leave_no_old_route() {
    let setup = Setup::new();
    setup.entry(ENTRIES[1], Some(0x61));
    setup.write(IRTA, ENTRIES[1] | 1 << 11);
    assert_eq!(setup.routes(), [remapped(0x41)], "it is not in use yet");
    setup.command(QUEUE | REMAPPING | TABLE);
    assert_eq!(setup.routes(), [remapped(0x61)]);
    setup.command(QUEUE);
    assert_eq!(setup.routes(), [REQUEST], "nothing is remapped");
    setup.entry(ENTRIES[1], None);
    setup.command(QUEUE | REMAPPING);
    assert_eq!(setup.routes(), []);
    setup.unit.reset();
    assert_eq!(setup.routes(), [REQUEST]);
}

#[test]
fn x2apic_goes_together_with_extended_interrupt_mode() {
    let with = |features: &[Feature]| {
        let memory = Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap());
        let whole = Capabilities::legacy(48);
        let wanted = features.iter().fold(whole.to_builder(), |some, feature| some.without(*feature));
        let capabilities = wanted.build().unwrap();
        takes_x2apic(&Remapping::Unit(Arc::new(VtdUnit::new(memory, capabilities))))
    };
    assert!(takes_x2apic(&Remapping::Absent) && with(&[]));
    assert!(!with(&[Feature::ExtendedInterruptMode]));
    assert!(with(&[Feature::ExtendedInterruptMode, Feature::InterruptRemapping]));
}
