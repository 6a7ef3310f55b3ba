//! Groups: of several functions, and such as share address spaces.

use super::support::world::{Act, World};
use super::*;
use crate::spec::fault::FaultReason;
use crate::{Access, HostIommu, SpaceId};

const CONTEXT: Invalidation = Invalidation::ContextDevice { source: SOURCE, mask: 0 };
const CONTEXT_OF_OTHER: Invalidation = Invalidation::ContextDevice { source: OTHER, mask: 0 };
const DOMAIN_FLUSH: Invalidation = Invalidation::IotlbDomain(DOMAIN);

/// A host whose groups move.
struct Hosted {
    world: World,
    iommu: Arc<dyn HostIommu>,
}

/// A function that is alone in its group.
struct Single {
    number: usize,
    device: Arc<Device>,
    attachment: Attachment,
}

impl Hosted {
    fn new() -> Self {
        let world = World::new(&RAM);
        let iommu = world.iommu();
        Self { world, iommu }
    }

    fn attach(&self, scene: &Scene, source: SourceId) -> Single {
        let (number, dma) = self.world.movable(&self.iommu);
        let device = Device::new(source);
        let group = scene.shadow.group(dma, ram());
        let attachment = scene.shadow.attach(device.clone(), &group);
        Single { number, device, attachment }
    }

    /// What has been done to which space, without the mappings.
    fn moves(&self) -> Vec<Act> {
        let is_move = |act: &Act| !matches!(act, Act::Map(..) | Act::Unmap { .. } | Act::UnmapAll(_));
        self.world.acts().into_iter().filter(is_move).collect()
    }

    #[track_caller]
    fn assert_exact(&self, singles: &[&Single]) {
        self.world.assert_lawful();
        for single in singles {
            let audit = single.attachment.audit();
            assert!(audit.is_exact(), "{audit:?}");
        }
    }
}

fn ram() -> Vec<(GuestAddress, u64)> {
    RAM.iter().map(|range| (GuestAddress(range.start), range.end - range.start)).collect()
}

/// Translation is on; two functions, each in a group of its own, are behind one table.
fn two_in_a_domain() -> (Scene, Hosted, [Single; 2], Table) {
    let mut scene = Scene::new();
    let table = scene.guest.table(4);
    for source in [SOURCE, OTHER] {
        scene.guest.set_domain(source, &table, DOMAIN.0);
    }
    scene.enable();
    let host = Hosted::new();
    let singles = [SOURCE, OTHER].map(|source| host.attach(&scene, source));
    (scene, host, singles, table)
}

fn denied(source: SourceId) -> ShadowFault {
    ShadowFault { source, pasid: None, iova: Iova(0), access: Access::Read, reason: FaultReason::ReadDenied }
}

#[test]
fn groups_that_are_treated_alike_share_a_space() {
    let (scene, host, [nvme, nic], table) = two_in_a_domain();
    let space = SpaceId(0);
    let enter = |single: &Single| Act::Enter { group: single.number, space };
    assert_eq!(host.moves(), [Act::NewSpace(space), enter(&nvme), enter(&nic)]);
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 4);
    scene.announce_pages(0x10_0000, 4);
    let mapping = extent(0x10_0000, 0x20_0000, 4 * PAGE, BOTH);
    assert_eq!(host.world.acts(), [Act::Map(space, mapping)], "once for both");
    assert_eq!(nvme.attachment.statistics().seats, 2);
    let total = scene.shadow.statistics();
    assert_eq!((total.spaces, total.seats, total.maps, total.bytes), (1, 2, 1, 4 * PAGE));
    host.assert_exact(&[&nvme, &nic]);
}

#[test]
fn the_same_table_under_two_names_is_two_spaces() {
    let (scene, host, [nvme, nic], table) = two_in_a_domain();
    scene.guest.set_domain(OTHER, &table, 9);
    scene.announce(CONTEXT_OF_OTHER);
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    assert_eq!(host.world.mappings(nvme.number).len(), 1);
    assert_eq!(host.world.mappings(nic.number), [], "this has been announced to another domain");
    scene.announce(Invalidation::IotlbDomain(DomainId(9)));
    host.assert_exact(&[&nvme, &nic]);
}

#[test]
fn a_space_is_filled_before_it_is_entered_and_the_old_one_goes_after() {
    let (scene, host, [nvme, _nic], table) = two_in_a_domain();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 2);
    scene.announce_pages(0x10_0000, 2);
    let next = scene.guest.table(4);
    scene.map_pages(&next, 0x30_0000, 0x80_0000, 1);
    scene.guest.set_domain(SOURCE, &next, 9);
    host.world.acts();
    scene.announce(CONTEXT);
    let (old, new) = (SpaceId(0), SpaceId(1));
    let filled = Act::Map(new, extent(0x30_0000, 0x80_0000, PAGE, BOTH));
    let entered = Act::Enter { group: nvme.number, space: new };
    assert_eq!(host.world.acts(), [Act::NewSpace(new), filled, entered], "the other one stays in the old");

    scene.guest.set_domain(OTHER, &next, 9);
    scene.announce(CONTEXT_OF_OTHER);
    let entered = Act::Enter { group: 1, space: new };
    assert_eq!(host.world.acts(), [entered, Act::DropSpace(old)], "and is the last to leave it");
    let total = scene.shadow.statistics();
    assert_eq!((total.spaces, total.seats, total.moves, total.maps), (1, 2, 4, 2));
}

#[test]
fn a_space_that_is_there_is_compared_before_it_is_entered() {
    let (scene, host, [nvme, nic], table) = two_in_a_domain();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    scene.guest.clear_context(OTHER);
    scene.announce(CONTEXT_OF_OTHER);
    host.world.acts();
    // Nobody has announced these; who comes in is to find them.
    scene.map_pages(&table, 0x50_0000, 0x60_0000, 1);
    scene.unmap_pages(&table, 0x10_0000, 1);
    scene.guest.set_domain(OTHER, &table, DOMAIN.0);
    scene.announce(CONTEXT_OF_OTHER);
    let space = SpaceId(0);
    assert_eq!(
        host.world.acts(),
        [
            Act::Unmap { space, iova: 0x10_0000, length: PAGE },
            Act::Map(space, extent(0x50_0000, 0x60_0000, PAGE, BOTH)),
            Act::Enter { group: nic.number, space },
        ]
    );
    host.assert_exact(&[&nvme, &nic]);
}

#[test]
fn a_new_name_for_a_table_moves_nobody_who_is_alone() {
    let (scene, host, [nvme, nic], table) = two_in_a_domain();
    scene.guest.clear_context(OTHER);
    scene.announce(CONTEXT_OF_OTHER);
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 4);
    scene.announce_pages(0x10_0000, 4);
    host.world.acts();
    scene.guest.set_domain(SOURCE, &table, 9);
    scene.announce(CONTEXT);
    assert_eq!(host.world.acts(), []);
    // The first name is free for a space of its own.
    scene.guest.set_domain(OTHER, &table, DOMAIN.0);
    scene.announce(CONTEXT_OF_OTHER);
    assert_eq!(scene.shadow.statistics().spaces, 2);
    host.assert_exact(&[&nvme, &nic]);
}

#[test]
fn memory_that_is_not_translated_is_one_space_for_all() {
    let scene = Scene::new();
    let host = Hosted::new();
    let singles = [SOURCE, OTHER].map(|source| host.attach(&scene, source));
    for single in &singles {
        single.device.set_bus_master(true);
        single.attachment.refresh();
    }
    let maps = host.world.acts().iter().filter(|act| matches!(act, Act::Map(..))).count();
    assert_eq!(maps, RAM.len(), "mapped once for both");
    assert_eq!(singles[0].attachment.statistics().seats, 2);
    singles[0].device.set_bus_master(false);
    singles[0].attachment.refresh();
    assert_eq!(host.world.acts(), [Act::Block { group: 0 }]);
    assert_eq!(host.world.mappings(1).len(), RAM.len());
    let [first, second] = singles;
    drop(second);
    assert_eq!(host.moves(), [Act::Block { group: 1 }, Act::DropSpace(SpaceId(0)), Act::Block { group: 1 }]);
    drop(first);
    assert_eq!(host.world.spaces(), 0);
    host.world.assert_lawful();
}

/// What passes through has a domain too, but no table.
#[test]
fn pass_through_in_two_domains_is_one_space() {
    let mut scene = Scene::new();
    scene.guest.set_pass_through(SOURCE, 3);
    scene.guest.set_pass_through(OTHER, 4);
    scene.enable();
    let host = Hosted::new();
    for single in [SOURCE, OTHER].map(|source| host.attach(&scene, source)) {
        single.device.set_bus_master(true);
        single.attachment.refresh();
        assert_eq!(scene.shadow.statistics().spaces, 1);
        std::mem::forget(single);
    }
    assert_eq!(scene.shadow.statistics().seats, 2);
}

#[test]
fn a_group_that_is_not_let_in_is_blocked_told_once_and_tried_again() {
    let (scene, host, [nvme, nic], table) = two_in_a_domain();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    let next = scene.guest.table(4);
    scene.guest.set_domain(SOURCE, &next, 9);
    host.world.acts();
    // The space is made, but may not be entered.
    host.world.refuse_next([None, Some(host_error())]);
    assert_eq!(scene.announce(CONTEXT), [denied(SOURCE)]);
    let (old, new) = (SpaceId(0), SpaceId(1));
    let group = nvme.number;
    assert_eq!(host.world.acts(), [Act::NewSpace(new), Act::DropSpace(new), Act::Block { group }]);
    assert_eq!(host.world.mappings(group), []);
    assert_eq!(nvme.attachment.statistics().refused_moves, 1);

    // An invalidation of others is no occasion; one of its domain is. Now not even a space is made.
    assert_eq!(scene.announce(DOMAIN_FLUSH), []);
    assert_eq!(host.world.acts(), []);
    host.world.refuse_next([Some(host_error())]);
    assert_eq!(scene.announce(Invalidation::IotlbDomain(DomainId(9))), [], "it has been told");
    assert_eq!(host.world.acts(), [Act::Block { group }]);
    scene.map_pages(&next, 0x10_0000, 0x70_0000, 1);
    assert_eq!(nvme.attachment.audit().refused, [extent(0x10_0000, 0x70_0000, PAGE, BOTH)]);

    scene.announce(Invalidation::IotlbDomain(DomainId(9)));
    assert_eq!(host.world.reach().place(group), Some(SpaceId(2)));
    assert_eq!(host.world.reach().place(nic.number), Some(old));
    let statistics = scene.shadow.statistics();
    assert_eq!((statistics.refused_moves, statistics.moves, statistics.spaces), (2, 3, 2));
    host.assert_exact(&[&nvme, &nic]);
}

#[test]
fn a_refused_mapping_is_told_to_all_whom_it_concerns_each_once() {
    let (scene, host, singles, table) = two_in_a_domain();
    scene.map_pages(&table, 0x10_0000, 0xE000_0000, 1);
    let fault = |source| ShadowFault { iova: Iova(0x10_0000), ..denied(source) };
    assert_eq!(scene.announce_pages(0x10_0000, 1), [fault(SOURCE), fault(OTHER)]);
    assert_eq!(scene.announce(DOMAIN_FLUSH), []);
    let third = SourceId(0x0020);
    scene.guest.set_domain(third, &table, DOMAIN.0);
    let newcomer = host.attach(&scene, third);
    assert_eq!(scene.announce(Invalidation::IotlbDomain(DomainId(9))), [fault(third)]);
    assert_eq!(newcomer.attachment.statistics().seats, 3);
    assert_eq!(singles[0].attachment.audit().refused.len(), 1);
}

#[test]
fn spaces_of_different_hosts_are_not_shared() {
    let (scene, host, [nvme, _nic], table) = two_in_a_domain();
    let elsewhere = Hosted::new();
    let third = SourceId(0x0020);
    scene.guest.set_domain(third, &table, DOMAIN.0);
    let guest = elsewhere.attach(&scene, third);
    assert_eq!(guest.attachment.statistics().seats, 1);
    assert_eq!(nvme.attachment.statistics().seats, 2);
    assert_eq!((host.world.spaces(), elsewhere.world.spaces()), (1, 1));
}

/// Two functions that the host cannot tell apart, by its rules of either kind.
struct Pair {
    world: World,
    number: usize,
    devices: [Arc<Device>; 2],
    attachments: [Attachment; 2],
}

impl Pair {
    fn both_kinds(scene: &Scene) -> [Self; 2] {
        [false, true].map(|movable| {
            let world = World::new(&RAM);
            let (number, dma) = if movable { world.movable(&world.iommu()) } else { world.fixed() };
            let group = scene.shadow.group(dma, ram());
            let devices = [SOURCE, OTHER].map(Device::new);
            let attachments = [0, 1].map(|index| scene.shadow.attach(devices[index].clone(), &group));
            Self { world, number, devices, attachments }
        })
    }

    fn set_bus_master(&self, index: usize, on: bool) {
        self.devices[index].set_bus_master(on);
        self.attachments[index].refresh();
    }

    fn mappings(&self) -> Vec<Extent> {
        self.world.mappings(self.number)
    }
}

#[test]
fn functions_of_a_group_that_are_treated_alike_reach_what_the_tables_say() {
    let mut scene = Scene::new();
    let table = scene.guest.table(4);
    scene.guest.set_domain(SOURCE, &table, DOMAIN.0);
    scene.guest.set_domain(OTHER, &table, DOMAIN.0);
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.enable();
    for pair in Pair::both_kinds(&scene) {
        pair.set_bus_master(0, true);
        pair.set_bus_master(1, true);
        assert_eq!(pair.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, BOTH)]);
        assert!(pair.attachments[0].audit().is_exact());
        let [first, second] = pair.attachments;
        drop(first);
        assert_eq!(pair.world.mappings(pair.number).len(), 1, "the other one is still there");
        drop(second);
        assert_eq!(pair.world.mappings(pair.number), []);
        pair.world.assert_lawful();
    }
}

#[test]
fn functions_of_a_group_that_contradict_each_other_reach_nothing_and_the_guest_is_told() {
    for kind in 0..2 {
        let mut scene = Scene::new();
        let [one, another] = [(); 2].map(|()| scene.guest.table(4));
        scene.map_pages(&one, 0x10_0000, 0x20_0000, 1);
        scene.map_pages(&another, 0x10_0000, 0x80_0000, 1);
        scene.guest.set_domain(SOURCE, &one, DOMAIN.0);
        scene.guest.set_domain(OTHER, &another, 9);
        scene.enable();
        let pair = Pair::both_kinds(&scene).into_iter().nth(kind).unwrap();
        assert_eq!(pair.mappings(), [], "nobody needs anything, and they differ");
        assert_eq!(scene.announce(Invalidation::IotlbGlobal), [], "which is no fault yet");

        pair.set_bus_master(0, true);
        assert_eq!(pair.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, BOTH)]);
        pair.set_bus_master(1, true);
        assert_eq!(pair.mappings(), []);
        let fault = |source| ShadowFault { reason: FaultReason::ContextInvalid, ..denied(source) };
        assert_eq!(scene.announce(Invalidation::IotlbGlobal), [fault(SOURCE), fault(OTHER)]);
        assert_eq!(scene.announce(Invalidation::IotlbGlobal), [], "told once");
        assert!(pair.attachments[0].audit().is_exact());

        // The guest puts both behind one table.
        scene.guest.set_domain(OTHER, &one, DOMAIN.0);
        assert_eq!(scene.announce(CONTEXT_OF_OTHER), []);
        assert_eq!(pair.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, BOTH)]);
        // And takes one away.
        scene.guest.clear_context(OTHER);
        assert_eq!(scene.announce(CONTEXT_OF_OTHER), [fault(SOURCE), fault(OTHER)]);
        assert_eq!(pair.mappings(), [], "what one may not reach, the other does not");
        pair.set_bus_master(1, false);
        assert_eq!(pair.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, BOTH)], "it sends nothing now");
        pair.world.assert_lawful();
    }
}

/// A context entry is looked at when it is announced, and only the one that is.
#[test]
fn only_the_function_that_is_named_is_looked_at_again() {
    let mut scene = Scene::new();
    let [one, another] = [(); 2].map(|()| scene.guest.table(4));
    scene.map_pages(&another, 0x10_0000, 0x80_0000, 1);
    scene.guest.set_domain(SOURCE, &one, DOMAIN.0);
    scene.guest.set_domain(OTHER, &one, DOMAIN.0);
    scene.enable();
    let [fixed, movable] = Pair::both_kinds(&scene);
    for pair in [&fixed, &movable] {
        pair.set_bus_master(0, true);
        pair.set_bus_master(1, true);
    }
    scene.guest.set_domain(SOURCE, &another, 9);
    scene.guest.set_domain(OTHER, &another, 9);
    scene.announce(CONTEXT);
    assert_eq!((fixed.mappings(), movable.mappings()), (vec![], vec![]), "they differ until both are known");
    scene.announce(CONTEXT_OF_OTHER);
    let mapped = [extent(0x10_0000, 0x80_0000, PAGE, BOTH)];
    assert_eq!(fixed.mappings(), mapped);
    assert_eq!(movable.mappings(), mapped);
}

#[test]
#[should_panic(expected = "the unit that knows its group")]
fn a_group_of_another_unit_is_refused() {
    let (_, dma) = World::new(&RAM).fixed();
    let group = Scene::new().shadow.group(dma, ram());
    Scene::new().shadow.attach(Device::new(SOURCE), &group);
}
