use std::sync::Arc;

use iommu::{HostGroup, Iova, Permissions};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestMemoryMmap, GuestRegionMmap};

use super::calls::tracking_if_possible;
use super::fake::Fake;
use super::*;

const BOTH: Permissions = Permissions::READ_WRITE;

/// Two regions that touch, and a third apart.
pub(super) fn memory() -> GuestRam {
    let ranges =
        [(GuestAddress(0), 0x8000), (GuestAddress(0x8000), 0x8000), (GuestAddress(0x10_0000), 0x4000)];
    GuestMemoryMmap::from_ranges(&ranges).unwrap()
}

/// The same with a fourth region, which devices may only read.
pub(super) fn read_only_memory() -> GuestRam {
    let region = MmapRegionBuilder::new(0x1000)
        .with_mmap_prot(libc::PROT_READ)
        .with_mmap_flags(libc::MAP_ANONYMOUS | libc::MAP_PRIVATE)
        .build();
    let region = GuestRegionMmap::new(region.unwrap(), GuestAddress(0x20_0000)).unwrap();
    memory().insert_region(Arc::new(region)).unwrap()
}

impl Iommufd {
    /// One without guest memory.
    pub(in crate::host_dma) fn of_nothing() -> Self {
        Self::over(Fake::new(), &GuestRam::new()).unwrap()
    }
}

pub(super) struct Bench {
    pub(super) fake: Arc<Fake>,
    pub(super) iommufd: Arc<Iommufd>,
    memory: GuestRam,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::over(memory())
    }

    pub(super) fn over(memory: GuestRam) -> Self {
        let fake = Fake::new();
        let iommufd = Arc::new(Iommufd::over(fake.clone(), &memory).unwrap());
        Self { fake, iommufd, memory }
    }

    fn host(&self, guest: u64) -> u64 {
        self.memory.get_host_address(GuestAddress(guest)).unwrap() as u64
    }

    /// A group of one device for each number.
    pub(super) fn group(&self, numbers: &[u32]) -> (Mover, Vec<Arc<dyn Attachable>>) {
        let members = Arc::new(Members::new(self.iommufd.clone()));
        let devices: Vec<_> = numbers.iter().map(|&number| self.fake.device(number, number / 10)).collect();
        for device in &devices {
            members.add(device).unwrap();
        }
        (Mover(members), devices)
    }

    pub(super) fn reaches_nothing(&self, device: u32) -> bool {
        self.fake.reached(device).is_empty()
    }
}

#[test]
fn a_device_begins_where_nothing_is_reachable_and_memory_is_pinned_once() {
    let bench = Bench::new();
    assert_eq!(bench.fake.look(|objects| objects.tables.len()), 0, "nothing is pinned without a device");
    let (_one, _devices) = bench.group(&[1]);
    let (_two, _more) = bench.group(&[2]);
    assert!(bench.reaches_nothing(1) && bench.reaches_nothing(2));
    let ram = bench.iommufd.ram.ioas();
    assert_eq!(bench.fake.look(|objects| objects.tables.values().filter(|table| table.0 == ram).count()), 1);
    assert_eq!(
        bench.fake.look(|objects| objects.attached[&1]),
        bench.fake.look(|objects| objects.attached[&2])
    );
}

#[test]
fn mappings_are_copies_of_guest_memory_with_their_permissions() {
    let bench = Bench::new();
    let (mover, _devices) = bench.group(&[1]);
    let space = bench.iommufd.new_space().unwrap();
    for (iova, permissions) in [(0, Permissions::READ), (0x1000, Permissions::WRITE), (0x2000, BOTH)] {
        space.map(Iova(iova), GuestAddress(0x3000), 0x1000, permissions).unwrap();
    }
    // Over the seam of two regions.
    space.map(Iova(0x10_0000), GuestAddress(0x6000), 0x4000, BOTH).unwrap();
    assert!(bench.reaches_nothing(1));
    mover.enter(space.id()).unwrap();
    let reached = bench.fake.reached(1);
    let host = bench.host(0x3000);
    assert_eq!(reached[&0], (0x1000, (host, Permissions::READ)));
    assert_eq!(reached[&0x1000], (0x1000, (host, Permissions::WRITE)));
    assert_eq!(reached[&0x2000], (0x1000, (host, BOTH)));
    assert_eq!(reached[&0x10_0000], (0x2000, (bench.host(0x6000), BOTH)));
    assert_eq!(reached[&0x10_2000], (0x2000, (bench.host(0x8000), BOTH)));

    space.unmap(Iova(0x10_0000), 0x4000).unwrap();
    space.unmap(Iova(0x1000), 0x1000).unwrap();
    assert_eq!(bench.fake.reached(1).keys().copied().collect::<Vec<_>>(), [0, 0x2000]);
    space.unmap_all();
    assert!(bench.reaches_nothing(1));
    space.unmap_all();
}

#[test]
fn the_kernels_refusals_have_their_meaning() {
    let bench = Bench::new();
    let (_mover, _devices) = bench.group(&[1]);
    let space = bench.iommufd.new_space().unwrap();
    let map = |iova, guest, length| space.map(Iova(iova), GuestAddress(guest), length, BOTH);
    assert_eq!(map(0, 0xF000, 0x2000), Err(MapError::NotMemory(GuestAddress(0xF000))));
    map(0, 0, 0x2000).unwrap();
    assert!(matches!(map(0x1000, 0, 0x1000), Err(MapError::Host(text)) if text.contains("mapped already")));
    let refusal = |errno| {
        bench.fake.look(|objects| objects.copies_fail = Some(errno));
        map(0x8000, 0, 0x1000).unwrap_err()
    };
    assert_eq!(refusal(libc::EFAULT), MapError::NotMemory(GuestAddress(0)));
    assert_eq!(refusal(libc::EINVAL), MapError::Unusable(Iova(0x8000)));
    assert_eq!(refusal(libc::ENOSPC), MapError::Full);
    assert!(matches!(refusal(libc::ENOMEM), MapError::Host(text) if text.contains("page tables")));
}

#[test]
fn what_the_devices_cannot_use_is_never_mapped() {
    let bench = Bench::new();
    let (_mover, _devices) = bench.group(&[1]);
    let space = bench.iommufd.new_space().unwrap();
    for (iova, length) in [
        (0xFEE0_0000, 0x1000),
        (0xFEDF_F000, 0x2000),
        (0xFEEF_F000, 0x2000),
        (1 << 39, 0x1000),
        (u64::MAX - 0xFFF, 0x2000),
        (0, 0),
    ] {
        assert_eq!(space.map(Iova(iova), GuestAddress(0), length, BOTH), Err(MapError::Unusable(Iova(iova))));
    }
    space.map(Iova(0xFEDF_F000), GuestAddress(0), 0x1000, BOTH).unwrap();
    // A device that can use less narrows it for all, also for spaces there are.
    bench.fake.look(|objects| objects.ranges = vec![(0x1000, 0xFFFF_FFFF)]);
    let (_other, _more) = bench.group(&[2]);
    assert_eq!(bench.iommufd.usable(), Ranges(vec![(0x1000, 0xFEDF_FFFF), (0xFEF0_0000, 0xFFFF_FFFF)]));
    assert!(space.map(Iova(0), GuestAddress(0), 0x1000, BOTH).is_err());
    assert!(space.map(Iova(1 << 32), GuestAddress(0), 0x1000, BOTH).is_err());
}

#[test]
fn an_unmap_that_is_not_whole_is_an_error() {
    let bench = Bench::new();
    let space = bench.iommufd.new_space().unwrap();
    space.map(Iova(0), GuestAddress(0), 0x2000, BOTH).unwrap();
    assert!(space.unmap(Iova(0), 0x1000).is_err());
    assert!(space.unmap(Iova(0x4000), 0x1000).is_err());
    assert!(space.unmap(Iova(0), 0x3000).is_err(), "the last named it whole, and more");
}

#[test]
fn a_space_is_shared_by_all_groups_in_it_and_goes_with_the_last() {
    let bench = Bench::new();
    let (one, _devices) = bench.group(&[1]);
    let (two, _more) = bench.group(&[2]);
    let space = bench.iommufd.new_space().unwrap();
    let ioas = space.id().0;
    space.map(Iova(0), GuestAddress(0), 0x1000, BOTH).unwrap();
    one.enter(space.id()).unwrap();
    two.enter(space.id()).unwrap();
    assert_eq!(bench.fake.reached(1), bench.fake.reached(2));
    assert_eq!(bench.fake.look(|objects| objects.tables.values().filter(|table| table.0 == ioas).count()), 1);
    drop(space);
    assert!(bench.fake.look(|objects| objects.ioases.contains_key(&ioas)), "the host would refuse");
    one.block();
    assert!(bench.reaches_nothing(1) && !bench.reaches_nothing(2));
    two.block();
    assert!(!bench.fake.look(|objects| objects.ioases.contains_key(&ioas)));
    assert!(one.enter(SpaceId(ioas)).is_err());
}

#[test]
fn a_switch_is_one_replacement() {
    let bench = Bench::new();
    let (mover, _devices) = bench.group(&[1]);
    let spaces = [(); 2].map(|()| bench.iommufd.new_space().unwrap());
    mover.enter(spaces[0].id()).unwrap();
    let before = bench.fake.look(|objects| objects.attachments.len());
    mover.enter(spaces[1].id()).unwrap();
    assert_eq!(bench.fake.look(|objects| objects.attachments.len()), before + 1);
}

#[test]
fn iommus_of_two_kinds_have_page_tables_of_their_own_over_one_space() {
    let bench = Bench::new();
    let (one, _devices) = bench.group(&[1]);
    let (other, _more) = bench.group(&[11]);
    let space = bench.iommufd.new_space().unwrap();
    space.map(Iova(0), GuestAddress(0), 0x1000, BOTH).unwrap();
    one.enter(space.id()).unwrap();
    other.enter(space.id()).unwrap();
    assert_eq!(bench.fake.reached(1), bench.fake.reached(11));
    assert_ne!(
        bench.fake.look(|objects| objects.attached[&1]),
        bench.fake.look(|objects| objects.attached[&11])
    );
}

#[test]
fn a_group_that_cannot_enter_stays_where_it_was_whole() {
    let bench = Bench::new();
    let (mover, _devices) = bench.group(&[1, 2]);
    let from = bench.iommufd.new_space().unwrap();
    from.map(Iova(0), GuestAddress(0), 0x1000, BOTH).unwrap();
    mover.enter(from.id()).unwrap();
    let to = bench.iommufd.new_space().unwrap();
    let stays = bench.fake.look(|objects| objects.attached[&2]);
    bench.fake.look(|objects| objects.stubborn = Some((2, stays)));
    let error = mover.enter(to.id()).unwrap_err().to_string();
    assert!(error.contains("reserved region"), "{error}");
    assert_eq!(bench.fake.look(|objects| (objects.attached[&1], objects.attached[&2])), (stays, stays));
}

#[test]
fn a_group_that_cannot_be_put_into_the_blocked_page_table_is_detached() {
    let bench = Bench::new();
    let (mover, _devices) = bench.group(&[1, 2]);
    let space = bench.iommufd.new_space().unwrap();
    space.map(Iova(0), GuestAddress(0), 0x1000, BOTH).unwrap();
    mover.enter(space.id()).unwrap();
    let stays = bench.fake.look(|objects| objects.attached[&2]);
    bench.fake.look(|objects| objects.stubborn = Some((2, stays)));
    mover.block();
    assert!(bench.reaches_nothing(1) && bench.reaches_nothing(2));
    bench.fake.look(|objects| objects.stubborn = None);
    mover.enter(space.id()).unwrap();
    assert_eq!(bench.fake.reached(2).len(), 1, "and comes back");
}

#[test]
fn a_device_that_joins_a_group_goes_where_the_others_are() {
    let bench = Bench::new();
    let (mover, devices) = bench.group(&[1]);
    let space = bench.iommufd.new_space().unwrap();
    space.map(Iova(0), GuestAddress(0), 0x1000, BOTH).unwrap();
    mover.enter(space.id()).unwrap();
    let late = bench.fake.device(2, 0);
    mover.0.add(&late).unwrap();
    assert_eq!(bench.fake.reached(2).len(), 1);
    drop((devices, late));
    // Nobody is in it any more, so who comes now starts from the beginning.
    let next = bench.fake.device(3, 0);
    mover.0.add(&next).unwrap();
    assert!(bench.reaches_nothing(3));
}

#[test]
fn everything_is_given_back_in_an_order_that_the_host_takes() {
    let bench = Bench::new();
    let (mover, devices) = bench.group(&[1, 2]);
    let space = bench.iommufd.new_space().unwrap();
    space.map(Iova(0), GuestAddress(0), 0x1000, BOTH).unwrap();
    mover.enter(space.id()).unwrap();
    let Bench { fake, iommufd, .. } = bench;
    drop((space, devices, mover, iommufd));
    fake.look(|objects| {
        assert!(objects.ioases.is_empty() && objects.tables.is_empty() && objects.attached.is_empty());
    });
}

#[test]
fn what_is_read_only_is_mapped_so() {
    let bench = Bench::over(read_only_memory());
    let ram = bench.iommufd.ram.ioas();
    let mappings = bench.fake.look(|objects| objects.ioases[&ram].clone());
    let permissions = |address: u64| mappings[&address].1.1;
    assert_eq!((permissions(0), permissions(0x20_0000)), (BOTH, Permissions::READ));
}

#[test]
fn where_nothing_is_tracked_page_tables_are_plain() {
    use std::cell::RefCell;
    let asked = RefCell::new(Vec::new());
    let kernel = |refusal: Option<i32>| {
        asked.borrow_mut().clear();
        tracking_if_possible(|flags| {
            asked.borrow_mut().push(flags);
            match refusal.filter(|_| flags != 0) {
                Some(errno) => Err(io::Error::from_raw_os_error(errno)),
                None => Ok(7),
            }
        })
    };
    assert_eq!(kernel(None).unwrap(), 7);
    assert_eq!(*asked.borrow(), [2]);
    for errno in [libc::EOPNOTSUPP, libc::EINVAL] {
        assert_eq!(kernel(Some(errno)).unwrap(), 7);
        assert_eq!(*asked.borrow(), [2, 0]);
    }
    // Any other reason is no reason to want less.
    assert_eq!(kernel(Some(libc::ENOMEM)).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
}
