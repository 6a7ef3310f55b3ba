//! BARs as targets: they come and go with no announcement of the guest's.

use super::*;
use crate::Extent;

/// Where a guest has a BAR; RAM is far below.
const BAR: u64 = 0xE000_0000;
const LENGTH: u64 = 4 * PAGE;
const TARGET: Range<u64> = BAR..BAR + LENGTH;
const IOVA: u64 = 0x10_0000;
const OF_TABLE: Extent =
    Extent { iova: Iova(IOVA), guest: GuestAddress(BAR), length: LENGTH, permissions: BOTH };
const OF_ITSELF: Extent = Extent { iova: Iova(BAR), ..OF_TABLE };

impl Scene {
    /// The guest sees a BAR that the host can map.
    fn show(&self, assigned: &Assigned, target: &Range<u64>) {
        assigned.host.show(target.clone());
        self.shadow.add_peer(target);
    }

    fn hide(&self, assigned: &Assigned, target: &Range<u64>) {
        assigned.host.hide(target);
        self.shadow.remove_peer(target);
    }
}

/// A function whose table leads to a BAR that is shown.
fn with_a_mapped_bar() -> (Scene, Assigned, Table) {
    let (scene, assigned, table) = Scene::translating();
    scene.show(&assigned, &TARGET);
    scene.map_pages(&table, IOVA, BAR, 4);
    assert_eq!(scene.announce_pages(IOVA, 4), []);
    assert_eq!(assigned.host.mappings(), [OF_TABLE]);
    (scene, assigned, table)
}

/// The faults that the guest is told of next.
fn faults(scene: &Scene) -> Vec<ShadowFault> {
    scene.announce(Invalidation::IotlbDomain(DomainId(99)))
}

#[test]
fn what_a_table_maps_of_a_bar_goes_with_it_and_comes_back() {
    let (scene, assigned, _table) = with_a_mapped_bar();
    assigned.host.calls();
    scene.hide(&assigned, &TARGET);
    assert_eq!(assigned.host.calls(), [Call::Unmap { iova: IOVA, length: LENGTH }]);
    assert_eq!(assigned.host.mappings(), []);
    scene.show(&assigned, &TARGET);
    assert_eq!(assigned.host.mappings(), [OF_TABLE]);
    assigned.assert_exact();
    assert_eq!(faults(&scene), [], "a BAR may come and go");
}

#[test]
fn what_a_table_does_not_say_any_more_does_not_come_back() {
    let (scene, assigned, table) = with_a_mapped_bar();
    scene.hide(&assigned, &TARGET);
    scene.unmap_pages(&table, IOVA, 2);
    scene.announce_pages(IOVA, 2);
    scene.show(&assigned, &TARGET);
    let rest = OF_TABLE.clipped(&(IOVA + 2 * PAGE..u64::MAX)).unwrap();
    assert_eq!(assigned.host.mappings(), [rest]);
    assigned.assert_exact();
}

#[test]
fn a_bar_that_a_table_led_to_before_it_was_there_is_mapped_when_it_appears() {
    let (scene, assigned, table) = Scene::translating();
    scene.map_pages(&table, IOVA, BAR, 4);
    assert_eq!(scene.announce_pages(IOVA, 4).len(), 4, "it led nowhere");
    scene.show(&assigned, &TARGET);
    assigned.assert_exact();
    assert_eq!(assigned.host.mappings().iter().map(|extent| extent.length).sum::<u64>(), LENGTH);
    assert_eq!(faults(&scene), []);
}

#[test]
fn a_bar_that_moves_takes_its_mappings_from_the_old_place_and_not_to_the_new_one() {
    let (scene, assigned, table) = with_a_mapped_bar();
    let elsewhere = BAR + 0x100_0000..BAR + 0x100_0000 + LENGTH;
    scene.hide(&assigned, &TARGET);
    scene.show(&assigned, &elsewhere);
    assert_eq!(assigned.host.mappings(), []);
    // Until the guest's tables say so.
    scene.map_pages(&table, IOVA, elsewhere.start, 4);
    scene.announce_pages(IOVA, 4);
    assert_eq!(assigned.host.mappings(), [Extent { guest: GuestAddress(elsewhere.start), ..OF_TABLE }]);
    assigned.assert_exact();
}

#[test]
fn a_neighbour_that_shares_a_mapping_with_what_goes_stays() {
    let (scene, assigned, table) = Scene::translating();
    let (first, second) = (BAR..BAR + 2 * PAGE, BAR + 2 * PAGE..BAR + 4 * PAGE);
    scene.show(&assigned, &first);
    scene.show(&assigned, &second);
    scene.map_pages(&table, IOVA, BAR, 4);
    scene.announce_pages(IOVA, 4);
    assert_eq!(assigned.host.mappings().len(), 1, "one mapping for both");
    scene.hide(&assigned, &first);
    let reached: Vec<_> = assigned.host.mappings().iter().map(Extent::range).collect();
    assert_eq!(reached.first().unwrap().start, IOVA + 2 * PAGE);
    assert_eq!(reached.last().unwrap().end, IOVA + 4 * PAGE);
    scene.show(&assigned, &first);
    assigned.assert_exact();
    assert_eq!(faults(&scene), []);
}

#[test]
fn ram_keeps_its_mappings_when_a_bar_goes() {
    let (scene, assigned, table) = with_a_mapped_bar();
    scene.map_pages(&table, 0x50_0000, 0x1000, 2);
    scene.announce_pages(0x50_0000, 2);
    assigned.host.calls();
    scene.hide(&assigned, &TARGET);
    assert_eq!(assigned.host.calls(), [Call::Unmap { iova: IOVA, length: LENGTH }]);
    assert_eq!(assigned.host.mappings().len(), 1);
}

#[test]
fn addresses_that_are_not_translated_reach_bars_as_they_come_and_go() {
    let scene = Scene::new();
    let assigned = scene.attach(SOURCE);
    assigned.device.set_bus_master(true);
    assigned.attachment.refresh();
    let ram = assigned.host.mappings();
    assigned.host.calls();
    scene.show(&assigned, &TARGET);
    assert_eq!(assigned.host.calls(), [Call::Map(OF_ITSELF)]);
    assigned.assert_exact();
    scene.hide(&assigned, &TARGET);
    assert_eq!(assigned.host.calls(), [Call::Unmap { iova: BAR, length: LENGTH }]);
    assert_eq!(assigned.host.mappings(), ram);
    assigned.assert_exact();
}

#[test]
fn a_bar_that_the_host_does_not_map_is_no_fault_of_a_guest_that_did_not_ask() {
    let scene = Scene::new();
    let assigned = scene.attach(SOURCE);
    assigned.device.set_bus_master(true);
    assigned.attachment.refresh();
    scene.shadow.add_peer(&TARGET);
    assert_eq!(faults(&scene), []);
    assert_eq!(assigned.attachment.audit().refused, [OF_ITSELF]);
}

#[test]
fn a_bar_in_the_interrupt_range_is_nobodys_target() {
    let window = 0xFEE0_0000..0xFEE0_0000 + LENGTH;
    let (scene, assigned, table) = Scene::translating();
    scene.show(&assigned, &window);
    scene.map_pages(&table, IOVA, window.start, 4);
    assert_eq!(scene.announce_pages(IOVA, 4), []);
    // Nor are addresses in it, whatever they lead to.
    scene.show(&assigned, &TARGET);
    scene.map_pages(&table, window.start, BAR, 4);
    scene.announce_pages(window.start, 4);
    assert_eq!(assigned.host.mappings(), []);

    let plain = Scene::new();
    let assigned = plain.attach(SOURCE);
    assigned.device.set_bus_master(true);
    assigned.attachment.refresh();
    let ram = assigned.host.mappings();
    plain.show(&assigned, &window);
    assert_eq!(assigned.host.mappings(), ram);
    assigned.assert_exact();
}

#[test]
fn an_address_that_the_host_reserves_is_a_fault_and_its_neighbours_are_mapped() {
    let (scene, assigned, table) = Scene::translating();
    scene.map_pages(&table, IOVA, 0x1000, 3);
    // The run as a whole, then the second page of it alone.
    let reserved = || Some(MapError::Unusable(Iova(IOVA + PAGE)));
    assigned.host.refuse_next([reserved(), None, reserved(), None]);
    let faults = scene.announce_pages(IOVA, 4);
    assert_eq!(faults.iter().map(|fault| fault.iova).collect::<Vec<_>>(), [Iova(IOVA + PAGE)]);
    let mapped: Vec<_> = assigned.host.mappings().iter().map(Extent::start).collect();
    assert_eq!(mapped, [IOVA, IOVA + 2 * PAGE]);
}

#[test]
fn protected_memory_covers_bars_too() {
    let scene = Scene::new();
    let assigned = scene.attach(SOURCE);
    assigned.device.set_bus_master(true);
    assigned.attachment.refresh();
    let ram = assigned.host.mappings();
    scene.protected.set([0..0, BAR..BAR + LENGTH]);
    scene.show(&assigned, &TARGET);
    assert_eq!(assigned.host.mappings(), ram);
}

#[test]
fn a_host_that_fails_to_take_a_bar_away_has_everything_taken_away_first() {
    let (scene, assigned, table) = with_a_mapped_bar();
    scene.map_pages(&table, 0x50_0000, 0x1000, 2);
    scene.announce_pages(0x50_0000, 2);
    assigned.host.refuse_next([Some(MapError::Host("no".into()))]);
    scene.hide(&assigned, &TARGET);
    let left: Vec<_> = assigned.host.mappings().iter().map(|extent| extent.guest.0).collect();
    assert!(left.iter().all(|guest| *guest < BAR) && !left.is_empty(), "{left:#x?}");
    assigned.host.assert_lawful();
}

#[test]
fn more_refusals_than_are_remembered_are_asked_for_again_all_the_same() {
    let (scene, assigned, table) = Scene::translating();
    let target = BAR..BAR + 5000 * PAGE;
    for index in 0..5000 {
        // Not in a row, so that each is refused for itself.
        scene.guest.map(&table, 2 * index * PAGE, BAR + index * PAGE, PAGE, BOTH);
    }
    scene.announce(Invalidation::IotlbDomain(DOMAIN));
    assert_eq!(assigned.host.mappings(), []);
    scene.show(&assigned, &target);
    assert_eq!(assigned.host.mappings().len(), 5000);
    scene.hide(&assigned, &target);
    assert_eq!(assigned.host.mappings(), []);
}
