//! Effects before completion: what an observer finds at the moment at which software is told (§6.5.2.8).

use std::sync::Mutex;

use super::*;
use crate::spec::registers::IRTA;
use crate::testing::descriptor::interrupt_index;
use crate::testing::device::Device;
use crate::testing::scalable::{DEVICE_TLB, FIRST_STAGE, PASIDS, PWU, SECOND_STAGE, WALK_SNOOP, WIDTH_48};
use crate::testing::{Interposed, Recorder};
use crate::{Blocked, Capabilities, DeviceTlb, MsiMessage, Pasid, Platform, Profile, SourceId};

const FULL: Capabilities = Capabilities::new(Profile::Full, 48);
/// A function behind the same tables, whose context entry changes.
const MOVED: SourceId = SourceId(0x0120);
/// An interrupt request for index 3 of the table.
const INTERRUPT: MsiMessage = MsiMessage { address: 0xFEE0_0070, data: 0 };

/// A unit with everything in use that descriptors can name, over memory that tells of its writes.
struct Scene {
    /// For its memory and tables; its unit idles.
    machine: Machine,
    unit: Arc<Unit<Interposed>>,
    platform: Arc<Recorder>,
    device: Arc<Device>,
    directory: u64,
    second: u64,
    first: u64,
}

/// What an observer finds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// Where a page leads: behind a second stage, behind a first stage, behind one that a PASID entry no longer
    /// names, and by way of a context entry that is no longer there.
    pages: [Result<u64, u8>; 4],
    vector: u32,
    /// How often the device was told to forget, and answered.
    device: (usize, usize),
    /// ICS_REG, IQH_REG, and the status of the wait.
    told: (u32, u32, u32),
}

impl Scene {
    fn new() -> Self {
        let machine = Machine::with(FULL);
        let unit = Arc::new(Unit::new(Interposed::new(Arc::clone(&machine.memory)), FULL));
        let platform = Arc::new(Recorder::default());
        unit.connect(Arc::clone(&platform) as Arc<dyn Platform>);
        let device = Device::new(&machine, SOURCE);
        unit.register_device_tlb(&(Arc::clone(&device) as Arc<dyn DeviceTlb>));
        let [directory, second, first] = [(); 3].map(|()| machine.table());
        let scene = Self { machine, unit, platform, device, directory, second, first };
        scene.build(DATA + 0x1000, 0x31);

        scene.set(RTADDR, scene.machine.root | 1 << 10);
        scene.set(IQA, scene.machine.queue | 1 << 11);
        scene.set(IRTA, scene.machine.interrupts | 7);
        for one_shot in [Global::ROOT_POINTER, Global::INTERRUPT_POINTER] {
            scene.set(GCMD, one_shot.bits().into());
        }
        let levels = Global::TRANSLATION | Global::QUEUE | Global::INTERRUPT_REMAPPING;
        scene.set(GCMD, levels.bits().into());
        scene.set(IECTL, 0);
        scene.platform.take();
        scene
    }

    /// Writes every table, so that pages lead to `guest` and interrupts have this vector.
    fn build(&self, guest: u64, vector: u64) {
        let Self { machine, directory, second, first, .. } = self;
        let context = directory | PASIDS | DEVICE_TLB | 1;
        machine.scalable_context(SOURCE, [context, 0, 0, 0]);
        machine.map(*second, 0x1000, guest | RW);
        machine.map_first_stage(*first, 0x1000, guest | PWU);
        let fresh = machine.table();
        machine.map_first_stage(fresh, 0x1000, guest | PWU);
        machine.pasid_entry(*directory, 0, [second | SECOND_STAGE | WIDTH_48 | 1, 6, 0, 0, 0, 0, 0, 0]);
        for (pasid, table) in [(7, *first), (8, fresh)] {
            machine.pasid_entry(*directory, pasid, [FIRST_STAGE | 1, WALK_SNOOP | 5, table, 0, 0, 0, 0, 0]);
        }
        machine.interrupt_entry(3, [1 | vector << 16, 0]);
        machine.scalable_context(MOVED, [context, 0, 0, 0]);
    }

    fn set(&self, offset: u64, value: u64) {
        // One word where there is no upper half.
        let length = if matches!(offset, GCMD | IECTL | IQT) { 4 } else { 8 };
        self.unit.write(offset, &value.to_le_bytes()[..length]);
    }

    fn submit(&self, descriptors: &[[u64; 2]]) {
        for (index, [low, high]) in descriptors.iter().enumerate() {
            let at = self.machine.queue + index as u64 * 32;
            self.machine.write_memory(at, *low);
            self.machine.write_memory(at + 8, *high);
        }
        self.set(IQT, descriptors.len() as u64 * 32);
    }
}

fn look(unit: &Unit<Interposed>, device: &Device, memory: &Memory) -> Seen {
    let page = |source, pasid| {
        let request = Request { pasid, ..Request::new(source, Access::Read) };
        unit.access(&request, Iova(0x1000), 1, |guest, _| guest.0).map_err(|Blocked { reason }| reason)
    };
    let register = |offset| {
        let mut data = [0; 4];
        unit.read(offset, &mut data);
        u32::from_le_bytes(data)
    };
    let status = memory.read_obj(GuestAddress(STATUS)).unwrap();
    Seen {
        pages: [
            page(SOURCE, None),
            page(SOURCE, Some(Pasid(7))),
            page(SOURCE, Some(Pasid(8))),
            page(MOVED, Some(Pasid(7))),
        ],
        vector: unit.resolve(SOURCE, INTERRUPT).message().unwrap().data & 0xFF,
        device: (device.take_invalidations().len(), device.take_responses().len()),
        told: (register(ICS), register(IQH), status),
    }
}

#[test]
fn whoever_is_told_finds_everything_done() {
    let scene = Scene::new();
    let (unit, device, memory) = (&scene.unit, &scene.device, &scene.machine.memory);
    let old = Seen { pages: [Ok(DATA + 0x1000); 4], vector: 0x31, device: (0, 0), told: (0, 0, 0) };
    assert_eq!(look(unit, device, memory), old);
    scene.build(DATA + 0x2000, 0x32);
    scene.machine.scalable_context(MOVED, [0; 4]);
    assert_eq!(look(unit, device, memory), old, "everything is remembered");

    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let observer = || {
        let (unit, device, memory) = (Arc::downgrade(unit), Arc::clone(device), Arc::clone(memory));
        let seen = Arc::clone(&seen);
        move || {
            if let Some(unit) = unit.upgrade() {
                let now = look(&unit, &device, &memory);
                seen.lock().unwrap().push(now);
            }
        }
    };
    unit.memory.before_write(STATUS, observer());
    let at_event = observer();
    scene.platform.on_send(move |sent| {
        if matches!(sent, Sent::Signal(_)) {
            at_event();
        }
    });
    let [low, high] = wait_status(STATUS, 9);
    scene.submit(&[
        iotlb_pages(6, 0x1000, 0),
        pasid_iotlb_pages(5, 7, 0x1000, 0),
        pasid_cache(1, 5, 8),
        pasid_iotlb(5, 8),
        crate::testing::descriptor::context_device(0, MOVED.0.into(), 0),
        interrupt_index(3, 0),
        device_tlb(SOURCE.0.into(), 0x1000, false),
        pasid_device_tlb(SOURCE.0.into(), 7, 0x1000, false),
        page_response(SOURCE.0.into(), Some(7), 1, 0),
        [low | 1 << 4, high],
    ]);
    let fresh = Ok(DATA + 0x2000);
    let done = Seen { pages: [fresh, fresh, fresh, Err(0x41)], vector: 0x32, ..old };
    let at_status = Seen { device: (2, 1), ..done.clone() };
    // By then the status has been written, and software may take the descriptors for done.
    let at_event = Seen { told: (1, 10 * 32, 9), ..done };
    assert_eq!(*seen.lock().unwrap(), [at_status, at_event]);
}

/// Each wait tells of what comes before it, and of nothing that comes after.
#[test]
fn a_wait_does_not_wait_for_what_comes_behind_it() {
    let scene = Scene::new();
    let (unit, device, memory) = (&scene.unit, &scene.device, &scene.machine.memory);
    let first = Arc::new(AtomicU64::new(u64::MAX));
    let (told, watched) = (Arc::clone(&first), Arc::clone(device));
    unit.memory.before_write(STATUS, move || {
        told.store(watched.take_invalidations().len() as u64, Ordering::Relaxed);
    });
    let forget = device_tlb(SOURCE.0.into(), 0x1000, false);
    scene.submit(&[forget, wait_status(STATUS, 1), forget, forget, wait_status(STATUS, 2)]);
    assert_eq!(first.load(Ordering::Relaxed), 1);
    assert_eq!(look(unit, device, memory).told, (0, 5 * 32, 2));
}
