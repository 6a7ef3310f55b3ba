//! Arguments and order only: devices reach BARs, or get faults, in the rig's session `peers`.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use devices::VtdUnit;
use devices::vfio::Mapping;
use iommu::{
    Attachment, Capabilities, GuestAddress, HostDma, HostGroup as _, HostIommu as _, HostMapper, Iova,
    MapError, Permissions,
};
use rustix::fs::fstat;

use super::super::tests::Bench;
use super::*;
use crate::host_dma::peers::{Finder, Mapper, Peers};
use crate::host_dma::testing::{BAR, LENGTH, Nvme, bar_file};

const BOTH: Permissions = Permissions::READ_WRITE;
const RAM: u64 = 0x1_0000;

fn file() -> OwnedFd {
    bar_file().into()
}

/// What the fake notes as the target of a file.
fn number(file: &OwnedFd) -> u64 {
    fstat(file).unwrap().st_ino
}

/// A BAR of which `file` is the dma-buf.
fn bar(file: &OwnedFd) -> Arc<Mapping> {
    let (memory, dma_buf) = (File::from(file.try_clone().unwrap()), file.try_clone().unwrap());
    Arc::new(Mapping::new(&memory, 0, LENGTH).unwrap().exported_by(move || dma_buf.try_clone()))
}

/// Device 1 behind a unit that translates nothing.
fn behind_a_unit(bench: &Bench) -> (Arc<VtdUnit>, Attachment, impl Sized) {
    let unit = Arc::new(VtdUnit::new(Arc::default(), Capabilities::legacy(48)));
    let (mover, devices) = bench.group(&[1]);
    let dma = HostDma::Movable { iommu: bench.iommufd.clone(), group: Box::new(mover) };
    let group = unit.group(dma, vec![(GuestAddress(0), RAM)]);
    let attachment = unit.attach(Arc::new(Nvme), &group);
    (unit, attachment, devices)
}

#[test]
fn a_bar_is_copied_from_as_ram_is() {
    let bench = Bench::new();
    let (mover, _devices) = bench.group(&[1]);
    let (space, file) = (bench.iommufd.new_space().unwrap(), file());
    mover.enter(space.id()).unwrap();
    // Right behind RAM, so that one mapping can lead to both.
    bench.iommufd.show(RAM, file.as_fd(), LENGTH).unwrap();
    space.map(Iova(0x5000), GuestAddress(RAM + 0x1000), 0x2000, Permissions::READ).unwrap();
    space.map(Iova(0x10_0000), GuestAddress(RAM - 0x1000), 0x2000, BOTH).unwrap();
    let reached = bench.fake.reached(1);
    assert_eq!(reached[&0x5000], (0x2000, (number(&file) + 0x1000, Permissions::READ)));
    assert_eq!(reached[&0x10_1000], (0x1000, (number(&file), BOTH)));
    assert_eq!(reached[&0x10_0000].0, 0x1000);
}

#[test]
fn a_bar_that_moves_is_copied_from_where_it_is_and_nowhere_else() {
    let bench = Bench::new();
    let (_mover, _devices) = bench.group(&[1]);
    let (space, file) = (bench.iommufd.new_space().unwrap(), file());
    bench.iommufd.show(BAR, file.as_fd(), LENGTH).unwrap();
    bench.iommufd.hide(BAR, LENGTH);
    assert_eq!(
        space.map(Iova(0), GuestAddress(BAR), 0x1000, BOTH),
        Err(MapError::NotMemory(GuestAddress(BAR)))
    );
    bench.iommufd.show(BAR + LENGTH, file.as_fd(), LENGTH).unwrap();
    assert!(space.map(Iova(0), GuestAddress(BAR), LENGTH, BOTH).is_err());
    space.map(Iova(0), GuestAddress(BAR + LENGTH), LENGTH, BOTH).unwrap();
}

#[test]
fn what_the_host_keeps_for_itself_is_no_place_for_a_bar() {
    let bench = Bench::new();
    let (_mover, _devices) = bench.group(&[1]);
    for place in [0xFEE0_0000, 0xFEDF_F000, 1 << 39, u64::MAX - 0xFFF] {
        let error = bench.iommufd.show(place, file().as_fd(), LENGTH).unwrap_err();
        assert!(error.to_string().contains("keeps these addresses"), "{error}");
    }
    let ram = bench.iommufd.ram.ioas();
    assert_eq!(bench.fake.look(|objects| objects.ioases[&ram].range(BAR..).count()), 0);
}

#[test]
fn others_reach_a_bar_until_the_guest_does_not_see_it_any_more() {
    let bench = Bench::new();
    let (unit, _attachment, _devices) = behind_a_unit(&bench);
    let ram = bench.fake.reached(1);
    assert!(!ram.is_empty(), "addresses that are not translated reach RAM");
    let peers = Peers::new(Finder::Iommufd(bench.iommufd.clone()), Mapper::Unit(unit));
    let file = file();
    let reachable = peers.show(BAR, &bar(&file)).unwrap();
    assert_eq!(bench.fake.reached(1).get(&BAR), Some(&(LENGTH, (number(&file), BOTH))));

    bench.fake.look(|objects| objects.unmapped.clear());
    drop(reachable);
    assert_eq!(bench.fake.reached(1), ram);
    // Otherwise it could be copied again by someone else in between.
    let unmapped = bench.fake.look(|objects| objects.unmapped.clone());
    assert_eq!(unmapped.first(), Some(&(bench.iommufd.ram.ioas(), BAR)));
    assert_eq!(unmapped.len(), 2);

    // As after a reset, when the kernel has emptied all mappings there were: everything is made anew.
    let _shown = peers.show(BAR, &bar(&file)).unwrap();
    assert!(bench.fake.reached(1).contains_key(&BAR));
}

#[test]
fn a_kernel_that_does_not_map_bars_leaves_all_else_as_it_is() {
    let bench = Bench::new();
    let (unit, attachment, _devices) = behind_a_unit(&bench);
    let before = bench.fake.reached(1);
    let peers = Peers::new(Finder::Iommufd(bench.iommufd.clone()), Mapper::Unit(unit));
    for errno in [libc::ENOTTY, libc::EINVAL, libc::EOPNOTSUPP, libc::ENODEV] {
        bench.fake.look(|objects| objects.files_fail = Some(errno));
        assert!(peers.show(BAR, &bar(&file())).is_none());
    }
    bench.fake.look(|objects| objects.files_fail = None);
    // One that makes no dma-bufs.
    let file = file();
    assert!(peers.show(BAR, &Arc::new(Mapping::new(&file, 0, LENGTH).unwrap())).is_none());
    assert_eq!(bench.fake.reached(1), before);
    assert!(attachment.audit().is_exact(), "nobody asked for it");
}

#[test]
fn without_a_unit_each_address_of_a_bar_stands_for_itself() {
    let bench = Bench::new();
    let (mover, _devices) = bench.group(&[1]);
    let space: Arc<dyn iommu::HostSpace> = bench.iommufd.new_space().unwrap().into();
    mover.enter(space.id()).unwrap();
    let mapper: Arc<dyn HostMapper> = space;
    let peers = Peers::new(Finder::Iommufd(bench.iommufd.clone()), Mapper::Space(mapper));
    let file = file();
    let reachable = peers.show(BAR, &bar(&file)).unwrap();
    assert_eq!(bench.fake.reached(1).get(&BAR), Some(&(LENGTH, (number(&file), BOTH))));
    drop(reachable);
    assert!(bench.reaches_nothing(1));

    // What cannot be mapped for all is found by nobody.
    bench.fake.look(|objects| objects.copies_fail = Some(libc::EINVAL));
    assert!(peers.show(BAR, &bar(&file)).is_none());
    let ram = bench.iommufd.ram.ioas();
    assert!(!bench.fake.look(|objects| objects.ioases[&ram].contains_key(&BAR)));
}
