use std::collections::BTreeMap;
use std::sync::Mutex;

use devices::GuestRam;
use iommu::{Capabilities, HostDma, HostMapper, Iova, MapError, Permissions};

use super::*;
use crate::host_dma::testing::{BAR, LENGTH, Nvme, bar_file};

const RAM: u64 = 0x10_0000;

/// What is mapped: length, and address in this process.
type Mapped = Arc<Mutex<BTreeMap<u64, (u64, u64)>>>;

/// A host that maps what guest addresses lead to.
struct FakeMapper {
    targets: Arc<Targets>,
    mapped: Mapped,
}

impl HostMapper for FakeMapper {
    fn map(&self, iova: Iova, guest: GuestAddress, length: u64, _: Permissions) -> Result<(), MapError> {
        let pieces = self.targets.pieces(guest, length)?;
        self.mapped.lock().unwrap().insert(iova.0, (length, pieces[0].host));
        Ok(())
    }

    fn unmap(&self, iova: Iova, length: u64) -> Result<(), MapError> {
        let gone = self.targets.pieces(GuestAddress(BAR), LENGTH).is_err();
        assert!(gone, "it could be mapped again by someone else at this moment");
        assert_eq!(self.mapped.lock().unwrap().remove(&iova.0).unwrap().0, length);
        Ok(())
    }

    fn unmap_all(&self) {
        self.mapped.lock().unwrap().clear();
    }
}

/// A BAR and what it is reached by, checked until the guest does not see it any more.
fn show_and_hide(finder: Finder, mapper: Mapper, mapped: &Mapped) {
    let bar = Arc::new(Mapping::new(bar_file(), 0, LENGTH).unwrap());
    let before: Vec<_> = mapped.lock().unwrap().keys().copied().collect();
    let reachable = Peers::new(finder, mapper).show(BAR, &bar).unwrap();
    assert_eq!(mapped.lock().unwrap().get(&BAR), Some(&(LENGTH, bar.address() as u64)));
    drop(reachable);
    assert_eq!(mapped.lock().unwrap().keys().copied().collect::<Vec<_>>(), before);
    assert_eq!(Arc::strong_count(&bar), 1, "nobody holds on to it");
}

#[test]
fn others_reach_a_bar_until_the_guest_does_not_see_it_any_more() {
    let ram = Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap());
    let unit = Arc::new(VtdUnit::new(ram.clone(), Capabilities::legacy(48)));
    let targets = Arc::new(Targets::new(ram));
    let mapped = Mapped::default();
    let mapper = FakeMapper { targets: targets.clone(), mapped: mapped.clone() };
    let group = unit.group(HostDma::Fixed(Box::new(mapper)), vec![(GuestAddress(0), RAM)]);
    let _attachment = unit.attach(Arc::new(Nvme), &group);
    assert_eq!(mapped.lock().unwrap().len(), 1, "addresses that are not translated reach RAM");
    show_and_hide(Finder::Program(targets), Mapper::Unit(unit), &mapped);
}

#[test]
fn without_a_unit_all_reach_a_bar_at_its_own_address_until_then() {
    let ram = Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap());
    let targets = Arc::new(Targets::new(ram));
    let mapped = Mapped::default();
    let space = Arc::new(FakeMapper { targets: targets.clone(), mapped: mapped.clone() });
    show_and_hide(Finder::Program(targets), Mapper::Space(space), &mapped);
}
