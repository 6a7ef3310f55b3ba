//! Effects before completion: whenever the host's mappings change, software has not yet been told.

use std::sync::{Arc, Mutex};

use vm_memory::Bytes;

use super::*;
use crate::spec::registers::{CCMD, IOTLB, IVA, RUN};
use crate::testing::Record;
use crate::{HostMapper, MapError, Permissions};

/// Where wait descriptors write.
const STATUS: u64 = DATA + 0x10_0000;

/// What software could have read while the host worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    unmapping: bool,
    status: u32,
    head: u32,
    global: Global,
    context_running: bool,
    iotlb_running: bool,
}

/// A host that looks at the unit whenever its mappings are to change.
struct Watcher {
    machine: Arc<Machine>,
    moments: Arc<Mutex<Vec<Moment>>>,
    refuses: bool,
}

impl Watcher {
    fn look(&self, unmapping: bool) {
        let machine = &self.machine;
        let moment = Moment {
            unmapping,
            status: machine.memory.read_obj(GuestAddress(STATUS)).unwrap(),
            head: machine.read(IQH),
            global: machine.status(),
            context_running: machine.read_u64(CCMD) & RUN != 0,
            iotlb_running: machine.read_u64(IOTLB) & RUN != 0,
        };
        self.moments.lock().unwrap().push(moment);
    }
}

impl HostMapper for Watcher {
    fn map(&self, _: Iova, guest: GuestAddress, _: u64, _: Permissions) -> Result<(), MapError> {
        self.look(false);
        if self.refuses { Err(MapError::NotMemory(guest)) } else { Ok(()) }
    }

    fn unmap(&self, _: Iova, _: u64) -> Result<(), MapError> {
        self.look(true);
        Ok(())
    }

    fn unmap_all(&self) {
        self.look(true);
    }
}

struct Function;

impl AssignedFunction for Function {
    fn source_id(&self) -> SourceId {
        SOURCE
    }

    fn bus_master(&self) -> bool {
        true
    }
}

/// A function assigned to a guest that translates, with an empty table.
struct Scene {
    machine: Arc<Machine>,
    table: u64,
    moments: Arc<Mutex<Vec<Moment>>>,
    _attachment: Attachment,
}

impl Scene {
    fn new(refuses: bool) -> Self {
        let (machine, table) = Machine::translating();
        let machine = Arc::new(machine);
        let moments = Arc::<Mutex<Vec<Moment>>>::default();
        let watcher = Watcher { machine: Arc::clone(&machine), moments: Arc::clone(&moments), refuses };
        let ram = vec![(GuestAddress(0), 64 << 20)];
        let group = machine.unit.group(HostDma::Fixed(Box::new(watcher)), ram);
        let attachment = machine.unit.attach(Arc::new(Function), &group);
        Self { machine, table, moments, _attachment: attachment }
    }

    /// With a page mapped and committed.
    fn with_page() -> Self {
        let scene = Self::new(false);
        scene.machine.map(scene.table, 0x1000, DATA | RW);
        scene.machine.submit(&[descriptor::iotlb_pages(5, 0x1000, 0)]);
        assert!(scene.moments().iter().any(|moment| !moment.unmapping));
        scene
    }

    /// What the host has seen since the last time.
    fn moments(&self) -> Vec<Moment> {
        std::mem::take(&mut self.moments.lock().unwrap())
    }

    /// The only moment at which the host took something away since the last time.
    fn unmapping(&self) -> Moment {
        let moments: Vec<_> = self.moments().into_iter().filter(|moment| moment.unmapping).collect();
        let [moment] = moments[..] else { panic!("{moments:?}") };
        moment
    }
}

#[test]
fn the_host_has_unmapped_before_a_wait_writes_its_status_and_the_head_moves() {
    let scene = Scene::with_page();
    let head = scene.machine.read(IQH);
    scene.machine.map(scene.table, 0x1000, 0);
    scene.machine.submit(&[descriptor::iotlb_pages(5, 0x1000, 0), descriptor::wait_status(STATUS, 1)]);
    let moment = scene.unmapping();
    assert_eq!((moment.status, moment.head), (0, head));
    assert_eq!(scene.machine.read_memory(STATUS), 1);
}

#[test]
fn the_host_has_unmapped_before_a_register_command_ends() {
    let scene = Scene::with_page();
    scene.machine.command(Global::empty(), Global::QUEUE);
    scene.machine.map(scene.table, 0x1000, 0);
    scene.machine.write_u64(IVA, 0x1000);
    scene.machine.write_u64(IOTLB, RUN | 3 << 60 | 5 << 32);
    assert!(scene.unmapping().iotlb_running);
    assert_eq!(scene.machine.read_u64(IOTLB) & RUN, 0);

    let scene = Scene::with_page();
    scene.machine.command(Global::empty(), Global::QUEUE);
    scene.machine.context(SOURCE, [0, 0]);
    scene.machine.write_u64(CCMD, RUN | 3 << 61 | u64::from(SOURCE.0) << 16);
    assert!(scene.unmapping().context_running);
    assert_eq!(scene.machine.read_u64(CCMD) & RUN, 0);
}

#[test]
fn the_host_has_switched_tables_before_a_status_says_so() {
    let scene = Scene::with_page();
    let empty = scene.machine.table();
    scene.machine.write_u64(RTADDR, empty);
    scene.machine.command(Global::ROOT_POINTER, Global::empty());
    assert!(!scene.unmapping().global.contains(Global::ROOT_POINTER));
    assert!(scene.machine.status().contains(Global::ROOT_POINTER));

    let scene = Scene::with_page();
    scene.machine.command(Global::empty(), Global::TRANSLATION);
    assert!(scene.moments().iter().all(|moment| moment.global.contains(Global::TRANSLATION)));
    scene.machine.command(Global::TRANSLATION, Global::empty());
    let moments = scene.moments();
    assert!(moments.iter().any(|moment| moment.unmapping));
    assert!(moments.iter().all(|moment| !moment.global.contains(Global::TRANSLATION)));
}

#[test]
fn a_reset_takes_the_guests_mappings_away() {
    let scene = Scene::with_page();
    scene.machine.unit.reset();
    assert!(scene.unmapping().global.contains(Global::TRANSLATION));
}

#[test]
fn what_the_host_refuses_to_map_is_a_recorded_fault() {
    let scene = Scene::new(true);
    scene.machine.write(FECTL, 0);
    scene.machine.map(scene.table, 0x1000, DATA | RW);
    scene.machine.submit(&[descriptor::iotlb_pages(5, 0x1000, 0)]);
    let [Record { source, info, .. }] = scene.machine.take_faults()[..] else { panic!() };
    assert_eq!((source, info), (SOURCE, 0x1000));
    assert_eq!(scene.machine.platform.signals().len(), 1);
}
