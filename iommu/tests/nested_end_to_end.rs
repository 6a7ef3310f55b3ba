//! A unit driven as Linux drives it with first-stage tables, on a host whose own unit walks them.

use std::sync::{Arc, Mutex};

use iommu::{
    Capabilities, FirstStage, Forget, GuestAddress, HostDma, HostGroup, HostIommu, HostSpace, Iova, MapError,
    NestedSpace, Profile, SpaceId,
};
use support::guest::{Device, Memory, RAM};
use support::machine::*;
use support::world::World;

mod support;

/// A first-stage table, whose content nobody but the host's unit reads.
const TABLE: u64 = 0x7000;

/// What the host was asked for, and whether the guest had been told by then that it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Nest(FirstStage),
    Enter,
    Block,
    Forget(Vec<Forget>),
}

#[derive(Clone)]
struct Host {
    spaces: Arc<dyn HostIommu>,
    memory: Memory,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// Where the guest is told next.
    status: Option<u64>,
}

impl Host {
    fn note(&self, asked: Asked) {
        let mut state = self.state.lock().unwrap();
        if let Some(status) = state.status {
            assert_eq!(read_status(&self.memory, status), IN_USE, "told before {asked:?}");
        }
        state.asked.push(asked);
    }

    /// What is asked for by the time that these are done.
    fn during(&self, machine: &Machine, descriptors: &[Descriptor]) -> Vec<Asked> {
        self.state.lock().unwrap().status = Some(machine.next_status(descriptors.len() as u64));
        machine.submit(descriptors);
        let mut state = self.state.lock().unwrap();
        state.status = None;
        std::mem::take(&mut state.asked)
    }
}

impl HostIommu for Host {
    fn new_space(&self) -> Result<Box<dyn HostSpace>, MapError> {
        self.spaces.new_space()
    }

    fn nests(&self) -> bool {
        true
    }

    fn nest(&self, table: FirstStage) -> Result<Box<dyn NestedSpace>, MapError> {
        self.note(Asked::Nest(table));
        Ok(Box::new(self.clone()))
    }
}

impl NestedSpace for Host {
    fn id(&self) -> SpaceId {
        SpaceId(1000)
    }

    fn forget(&self, what: &[Forget]) -> Result<(), MapError> {
        self.note(Asked::Forget(what.to_vec()));
        Ok(())
    }
}

impl HostGroup for Host {
    fn enter(&self, _space: SpaceId) -> Result<(), MapError> {
        self.note(Asked::Enter);
        Ok(())
    }

    fn block(&self) {
        self.note(Asked::Block);
    }
}

fn pasid_iotlb_page(iova: u64) -> Descriptor {
    [6 | 3 << 4 | u64::from(DOMAIN) << 16, iova]
}

fn page(iova: u64) -> Forget {
    Forget::Pages { iova: Iova(iova), count: 1, leaves: false }
}

#[test]
fn the_hosts_unit_walks_and_forgets_before_a_linux_driver_is_told() {
    let machine = Machine::with(Capabilities::new(Profile::Nested, 48));
    let guest = &machine.guest;
    let [contexts, directory, entries] = [(); 3].map(|()| guest.page());
    guest.write(guest.root + u64::from(NVME.bus()) * 16, contexts | 1);
    guest.write(directory, entries | 1);
    let context = contexts + u64::from(NVME.devfn()) * 32;
    let host = Host { spaces: World::new(&RAM).iommu(), memory: guest.memory.clone(), state: Arc::default() };
    let dma = HostDma::Movable { iommu: Arc::new(host.clone()), group: Box::new(host.clone()) };
    let ram = RAM.iter().map(|range| (GuestAddress(range.start), range.end - range.start)).collect();
    let group = machine.unit.group(dma, ram);
    let attachment = machine.unit.attach(Device::new(NVME), &group);
    machine.bring_up();
    host.state.lock().unwrap().asked.clear();

    guest.write(context, directory | 1);
    assert_eq!(host.during(&machine, &[context_device(0, NVME), iotlb_domain(0)]), []);
    guest.write(entries + 16, TABLE | 1 << 4);
    guest.write(entries + 8, DOMAIN.into());
    guest.write(entries, 1 << 6 | 1);
    let table = FirstStage {
        table: GuestAddress(TABLE),
        levels: 4,
        supervisor: false,
        write_protect: true,
        extended_accessed: false,
    };
    let announced = host.during(&machine, &[pasid_cache(DOMAIN, 0), pasid_iotlb(DOMAIN, 0)]);
    assert_eq!(announced[..2], [Asked::Nest(table), Asked::Enter], "{announced:?}");

    // A request of several pieces is taken back.
    let pieces = [pasid_iotlb_page(0x1000), pasid_iotlb_page(0x8000), pasid_iotlb_page(0x3000)];
    let forgotten = vec![page(0x1000), page(0x8000), page(0x3000)];
    assert_eq!(host.during(&machine, &pieces), [Asked::Forget(forgotten)]);
    let all = vec![Forget::Everything];
    assert_eq!(host.during(&machine, &[pasid_iotlb(DOMAIN, 0)]), [Asked::Forget(all.clone())]);
    assert_eq!(host.during(&machine, &[IOTLB_GLOBAL]), [Asked::Forget(all)]);
    assert!(attachment.audit().is_exact());

    guest.write(entries, 0);
    let released = host.during(&machine, &[pasid_cache(DOMAIN, 0), pasid_iotlb(DOMAIN, 0)]);
    assert_eq!(released, [Asked::Block]);
    assert!(attachment.audit().is_exact());
}
