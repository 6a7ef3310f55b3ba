use event_manager::{EventManager, SubscriberOps};
use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::tempfile::TempFile;

use super::*;
use crate::testing::{Bench, Wire};

const COMMON: u64 = 0;
const ISR: u64 = 0x1000;
const CONFIG: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;

const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
/// A read of sector 0: header, data, status.
const HEADER: u64 = 0x4000;
const DATA: u64 = 0x5000;
const STATUS: u64 = 0x4100;

struct Device {
    bench: Bench,
    wire: Arc<Wire>,
    function: Arc<VirtioFunction>,
    events: EventManager<Arc<VirtioFunction>>,
    _image: TempFile,
    /// Where in memory the device's addresses begin.
    base: u64,
}

fn device() -> Device {
    device_on(Bench::new(&[(0x1000, 0x10000)]))
}

fn device_on(bench: Bench) -> Device {
    let wire = Arc::new(Wire::default());
    let image = TempFile::new().unwrap();
    image.as_file().set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(image.as_file(), &[0x5A; 512], 0).unwrap();
    let disk = Disk::open(image.as_path(), false).unwrap();
    let kind = Some(ExpressKind::IntegratedEndpoint);
    let function =
        Arc::new(VirtioFunction::block(bench.another_master(), wire.clone(), kind, disk, "disk").unwrap());
    let mut events = EventManager::new().unwrap();
    events.add_subscriber(function.clone());
    function.config_write(4, &[0x06, 0]);
    Device { bench, wire, function, events, _image: image, base: 0 }
}

/// A device whose driver has got as far as DRIVER_OK.
fn started() -> Device {
    let device = device();
    device.start();
    device
}

impl Device {
    fn write(&self, offset: u64, data: impl AsRef<[u8]>) {
        self.function.bar_write(STRUCTURES_BAR, offset, data.as_ref());
    }

    fn read<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut data = [0xCC; N];
        self.function.bar_read(STRUCTURES_BAR, offset, &mut data);
        data
    }

    fn status(&self) -> u8 {
        self.read::<1>(COMMON + 0x14)[0]
    }

    fn start(&self) {
        self.start_with(4);
    }

    /// Does what a driver does up to DRIVER_OK, with a queue of `size` entries.
    fn start_with(&self, size: u16) {
        self.write(COMMON + 0x14, [3]);
        self.write(COMMON + 0x08, 1u32.to_le_bytes());
        self.write(COMMON + 0x0C, 3u32.to_le_bytes());
        self.write(COMMON + 0x14, [11]);
        self.write(COMMON + 0x18, size.to_le_bytes());
        self.write(COMMON + 0x20, DESCRIPTORS.to_le_bytes());
        self.write(COMMON + 0x28, AVAILABLE.to_le_bytes());
        self.write(COMMON + 0x30, USED.to_le_bytes());
        self.write(COMMON + 0x1C, 1u16.to_le_bytes());
        self.write(COMMON + 0x14, [15]);
    }

    /// Turns MSI-X on, with the vectors unmasked: 0x40 for the configuration, 0x41 for the queue.
    fn use_msix(&self) {
        for vector in 0..2u64 {
            let entry = [0xFEE0_0000u32, 0, 0x40 + vector as u32, 0];
            for (word, value) in entry.into_iter().enumerate() {
                self.function.bar_write(MSIX_BAR, vector * 16 + word as u64 * 4, &value.to_le_bytes());
            }
        }
        self.write(COMMON + 0x10, 0u16.to_le_bytes());
        self.write(COMMON + 0x1A, 1u16.to_le_bytes());
        self.function.config_write(self.capability(0x11) + 2, &0x8000u16.to_le_bytes());
    }

    fn capability(&self, id: u8) -> u16 {
        self.capabilities().into_iter().find(|found| found.1 == id).unwrap().0
    }

    /// Where each capability is, and its ID.
    fn capabilities(&self) -> Vec<(u16, u8)> {
        let mut found = Vec::new();
        let mut at = self.config::<1>(0x34)[0];
        while at != 0 {
            let [id, next] = self.config::<2>(at.into());
            found.push((at.into(), id));
            at = next;
        }
        found
    }

    fn config<const N: usize>(&self, offset: u16) -> [u8; N] {
        let mut data = [0; N];
        self.function.config_read(offset, &mut data);
        data
    }

    fn put(&self, address: u64, data: &[u8]) {
        self.bench.memory.write_slice(data, GuestAddress(self.base + address)).unwrap();
    }

    fn get<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut data = [0; N];
        self.bench.memory.read_slice(&mut data, GuestAddress(self.base + address)).unwrap();
        data
    }

    /// Makes the read of sector 0 available for the `count`-th time.
    fn offer(&self, count: u16) {
        self.put(STATUS, &[0xEE]);
        for (index, (address, length, flags)) in
            [(HEADER, 16u32, 1u16), (DATA, 512, 3), (STATUS, 1, 2)].into_iter().enumerate()
        {
            let at = DESCRIPTORS + index as u64 * 16;
            self.put(at, &address.to_le_bytes());
            self.put(at + 8, &length.to_le_bytes());
            self.put(at + 12, &flags.to_le_bytes());
            self.put(at + 14, &(index as u16 + 1).to_le_bytes());
        }
        self.put(AVAILABLE + 2, &count.to_le_bytes());
    }

    /// Rings and lets the device work until nothing rings any more.
    fn notify(&mut self) {
        self.write(NOTIFY, 0u16.to_le_bytes());
        self.work();
    }

    fn work(&mut self) {
        while self.events.run_with_timeout(0).unwrap() > 0 {}
    }

    fn used(&self) -> u16 {
        u16::from_le_bytes(self.get(USED + 2))
    }
}

#[test]
fn it_is_a_modern_virtio_disk() {
    let device = device();
    assert_eq!(device.config::<4>(0), [0xF4, 0x1A, 0x42, 0x10]);
    let kinds: Vec<_> = device
        .capabilities()
        .into_iter()
        .filter(|found| found.1 == 9)
        .map(|found| {
            let [_, _, length, kind, bar] = device.config::<5>(found.0);
            (kind, length, bar, u32::from_le_bytes(device.config(found.0 + 8)))
        })
        .collect();
    assert_eq!(
        kinds,
        [(1, 16, 0, 0), (3, 16, 0, 0x1000), (4, 16, 0, 0x2000), (2, 20, 0, 0x3000), (5, 20, 0, 0)]
    );
    assert_eq!(u64::from_le_bytes(device.read(CONFIG)), 2048);
    assert_eq!(device.read(CONFIG + 0xFFF), [0; 4]);
}

#[test]
fn a_request_is_carried_out_and_announced_on_the_wire() {
    let mut device = started();
    device.offer(1);
    device.notify();
    assert_eq!(device.used(), 1);
    assert_eq!(device.get(DATA), [0x5A; 512]);
    assert_eq!(device.get(STATUS), [0]);
    assert!(device.wire.asserted());
    assert_eq!(device.read(ISR), [ISR_QUEUE]);
    assert!(!device.wire.asserted());
    assert_eq!(device.read(ISR), [0]);
}

#[test]
fn with_messages_the_wire_is_quiet() {
    let mut device = started();
    device.use_msix();
    device.offer(1);
    device.notify();
    let message = iommu::MsiMessage { address: 0xFEE0_0000, data: 0x41 };
    assert_eq!(device.bench.interrupts.take(), [message]);
    assert_eq!(device.read(ISR), [0]);
    assert!(!device.wire.asserted());
}

#[test]
fn the_driver_may_want_no_interrupt() {
    let mut device = started();
    device.put(AVAILABLE, &[1, 0]);
    device.offer(1);
    device.notify();
    assert_eq!(device.used(), 1);
    assert!(!device.wire.asserted());
}

#[test]
fn nothing_is_used_before_the_driver_is_ready() {
    let mut device = device();
    device.offer(1);
    device.notify();
    device.write(COMMON + 0x20, DESCRIPTORS.to_le_bytes());
    device.write(COMMON + 0x28, AVAILABLE.to_le_bytes());
    device.write(COMMON + 0x30, USED.to_le_bytes());
    device.write(COMMON + 0x1C, 1u16.to_le_bytes());
    device.notify();
    assert_eq!(device.used(), 0);
}

#[test]
fn a_driver_that_breaks_the_rules_has_to_reset() {
    let mut device = started();
    device.use_msix();
    device.put(AVAILABLE + 2, &100u16.to_le_bytes());
    device.notify();
    assert_eq!(device.status(), 15 | 64);
    let message = iommu::MsiMessage { address: 0xFEE0_0000, data: 0x40 };
    assert_eq!(device.bench.interrupts.take(), [message]);
    device.offer(1);
    device.notify();
    assert_eq!(device.used(), 0);

    device.write(COMMON + 0x14, [0]);
    assert_eq!(device.status(), 0);
    device.start();
    device.notify();
    assert_eq!((device.status(), device.used()), (15, 1));
}

#[test]
fn requests_wait_for_bus_mastering() {
    let mut device = started();
    device.function.config_write(4, &[0x02, 0]);
    device.offer(1);
    device.notify();
    assert_eq!((device.status(), device.used()), (15, 0));
    device.function.config_write(4, &[0x06, 0]);
    device.work();
    assert_eq!((device.status(), device.used()), (15, 1));
}

#[test]
fn requests_wait_for_the_bridges_above() {
    let mut device = started();
    device.function.upstream(false);
    device.offer(1);
    device.notify();
    assert_eq!(device.used(), 0);
    device.function.upstream(true);
    device.work();
    assert_eq!(device.used(), 1);
}

#[test]
fn many_requests_take_turns_with_other_devices() {
    let mut device = device();
    device.start_with(64);
    // The same request in every slot of the ring.
    device.offer(64);
    device.write(NOTIFY, [0; 2]);
    device.events.run_with_timeout(0).unwrap();
    assert_eq!(device.used(), BATCH as u16);
    device.work();
    assert_eq!(device.used(), 64);
}

#[test]
fn a_reset_of_the_function_stops_it() {
    let mut device = started();
    let express = device.capability(0x10);
    device.function.config_write(express + 8, &0x8000u16.to_le_bytes());
    assert_eq!(device.status(), 0);
    assert_eq!(device.config::<2>(4), [0, 0]);
    device.offer(1);
    device.notify();
    assert_eq!(device.used(), 0);
}

#[test]
fn registers_can_be_reached_through_configuration_space() {
    let device = device();
    let window = device.capabilities().last().unwrap().0;
    let aim = |bar: u8, offset: u32, length: u32| {
        device.function.config_write(window + 4, &[bar]);
        device.function.config_write(window + 8, &offset.to_le_bytes());
        device.function.config_write(window + 12, &length.to_le_bytes());
    };
    aim(0, 0x2000, 4);
    assert_eq!(device.config(window + 16), 2048u32.to_le_bytes());
    aim(0, 0x14, 1);
    device.function.config_write(window + 16, &[3]);
    assert_eq!(device.status(), 3);
    for (bar, offset, length) in [(1, 0, 4), (0, 0x4000, 4), (0, 2, 4), (0, 0x14, 0), (0, 0x14, 3)] {
        aim(bar, offset, length);
        assert_eq!(device.config(window + 16), [0; 4]);
        device.function.config_write(window + 16, &[1, 2, 3, 4]);
    }
    assert_eq!(device.status(), 3);
}

/// What becomes of the status of a driver that accepts these features, in its upper 32 bits.
fn negotiate(device: &Device, features: u32) -> u8 {
    device.write(COMMON + 0x14, [3]);
    device.write(COMMON + 0x08, 1u32.to_le_bytes());
    device.write(COMMON + 0x0C, features.to_le_bytes());
    device.write(COMMON + 0x14, [11]);
    device.status()
}

#[test]
fn behind_a_unit_a_driver_must_ask_for_translated_addresses() {
    assert_eq!(negotiate(&device(), 1), 11);
    let (bench, _unit) = Bench::behind_unit(&[]);
    assert_eq!(negotiate(&device_on(bench), 1), 3);
    let (bench, _unit) = Bench::behind_unit(&[]);
    assert_eq!(negotiate(&device_on(bench), 3), 11);
}

#[test]
fn rings_go_through_the_unit() {
    // The rings, header and data of these tests lie below 0x6000; here the device finds them there only.
    let pages: Vec<_> = (1..6).map(|page| (page * 0x1000, 0x8_0000 + page * 0x1000)).collect();
    let (bench, _unit) = Bench::behind_unit(&pages);
    let mut device = device_on(bench);
    device.base = 0x8_0000;
    device.start();
    device.offer(1);
    device.notify();
    assert_eq!((device.status(), device.used()), (15, 1));
    assert_eq!(device.get(DATA), [0x5A; 512]);
}

proptest! {
    #[test]
    fn no_driver_is_too_wild(
        accesses in prop::collection::vec(
            (prop::sample::select(vec![0u64, 0x14, 0x16, 0x18, 0x1C, 0x20, 0x28, 0x30, 0x1000, 0x3000]),
             any::<u64>(), 0usize..=8),
            0..40,
        ),
        memory in prop::collection::vec(any::<u8>(), 64),
    ) {
        let mut device = started();
        device.put(DESCRIPTORS, &memory);
        device.put(AVAILABLE, &memory);
        for (offset, value, length) in accesses {
            device.write(offset, &value.to_le_bytes()[..length]);
            device.notify();
        }
    }
}
