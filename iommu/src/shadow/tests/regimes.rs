//! Which table a function is behind, and the way from one to another.

use super::*;

const CONTEXT: Invalidation = Invalidation::ContextDevice { source: SOURCE, mask: 0 };

fn whole_ram() -> Vec<Call> {
    RAM.iter().map(|range| map(range.start, range.start, range.end - range.start)).collect()
}

#[test]
fn untranslated_memory_is_mapped_only_while_the_function_is_bus_master() {
    let scene = Scene::new();
    let nvme = scene.attach(SOURCE);
    assert_eq!(nvme.host.calls(), []);

    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    assert_eq!(nvme.host.calls(), whole_ram(), "one call for each region");
    nvme.attachment.refresh();
    assert_eq!(nvme.host.calls(), [], "nothing has changed");

    nvme.device.set_bus_master(false);
    nvme.attachment.refresh();
    assert_eq!(nvme.host.calls(), [Call::UnmapAll]);
    nvme.assert_exact();
}

#[test]
fn untranslated_memory_that_is_protected_is_not_mapped() {
    let scene = Scene::new();
    let nvme = scene.attach(SOURCE);
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    nvme.host.calls();
    let last = RAM.last().unwrap();
    let (start, end) = (last.start, last.end);
    scene.protected.set([start..start + PAGE, end - 2 * PAGE..end - PAGE]);
    scene.announce(Invalidation::Everything);
    let mapped: Vec<_> = nvme.host.mappings().iter().map(|extent| (extent.iova.0, extent.length)).collect();
    let last = [(start + PAGE, end - start - 3 * PAGE), (end - PAGE, PAGE)];
    assert_eq!(mapped[mapped.len() - 2..], last);
    nvme.assert_exact();
    scene.protected.set([0..0, 0..0]);
    scene.announce(Invalidation::Everything);
    assert_eq!(nvme.host.mappings().last().unwrap().end(), end);
    nvme.assert_exact();
}

#[test]
fn memory_around_the_interrupt_range_leaves_it_out() {
    let device = Device::new(SOURCE);
    device.set_bus_master(true);
    let (host, dma) = FakeHost::new(&[0..0xFEE0_0000, 0xFEF0_0000..0x2_0000_0000]);
    let ram = vec![(GuestAddress(0), 0x2_0000_0000)];
    let scene = Scene::new();
    let group = scene.shadow.group(dma, ram);
    let _attachment = scene.shadow.attach(device, &group);
    assert_eq!(
        host.calls(),
        [map(0, 0, 0xFEE0_0000), map(0xFEF0_0000, 0xFEF0_0000, 0x2_0000_0000 - 0xFEF0_0000)]
    );
}

#[test]
fn switching_translation_on_takes_memory_away_before_tables_count() {
    let mut scene = Scene::new();
    let table = scene.guest.table(4);
    scene.guest.set_domain(SOURCE, &table, DOMAIN.0);
    scene.guest.map(&table, 0x5000, 0x9000, PAGE, BOTH);
    let nvme = scene.attach(SOURCE);
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    nvme.host.calls();

    scene.enable();
    assert_eq!(nvme.host.calls(), [Call::UnmapAll, map(0x5000, 0x9000, PAGE)]);
    nvme.assert_exact();

    scene.view.translating = false;
    assert_eq!(scene.announce(Invalidation::Everything), []);
    assert_eq!(nvme.host.calls(), [&[Call::UnmapAll][..], &whole_ram()].concat());
    nvme.assert_exact();
}

#[test]
fn a_function_without_context_entry_reaches_nothing() {
    let mut scene = Scene::new();
    let nvme = scene.attach(SOURCE);
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    scene.enable();
    assert_eq!(nvme.host.mappings(), []);
}

#[test]
fn a_change_of_domain_is_never_open() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 4);
    scene.announce_pages(0x10_0000, 4);
    let next = scene.guest.table(4);
    scene.map_pages(&next, 0x10_2000, 0x80_0000, 4);
    scene.guest.set_domain(SOURCE, &next, 9);
    nvme.host.calls();

    assert_eq!(scene.announce(CONTEXT), []);
    let calls = nvme.host.calls();
    assert_eq!(calls[0], Call::UnmapAll, "nothing of the old is left when the first of the new comes");
    assert_eq!(calls.len(), 5, "one mapping for each leaf");
    nvme.assert_exact();

    scene.map_pages(&next, 0x30_0000, 0x90_0000, 1);
    scene.announce_pages(0x30_0000, 1);
    assert_eq!(nvme.host.calls(), [], "the old domain's name no longer means this function");
}

#[test]
fn a_table_under_a_new_domain_keeps_what_it_maps() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 4);
    scene.announce_pages(0x10_0000, 4);
    scene.map_pages(&table, 0x50_0000, 0x60_0000, 1);
    scene.guest.set_domain(SOURCE, &table, 9);
    nvme.host.calls();
    scene.announce(CONTEXT);
    assert_eq!(nvme.host.calls(), [map(0x50_0000, 0x60_0000, PAGE)]);
    nvme.assert_exact();
}

#[test]
fn a_context_flush_that_changes_nothing_touches_nothing() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 4);
    scene.announce_pages(0x10_0000, 4);
    nvme.host.calls();
    for what in [CONTEXT, Invalidation::ContextGlobal, Invalidation::ContextDomain(DOMAIN)] {
        scene.announce(what);
    }
    assert_eq!(nvme.host.calls(), []);
}

#[test]
fn a_context_entry_counts_when_it_is_announced() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    scene.guest.clear_context(SOURCE);
    let of_another = Invalidation::ContextDevice { source: SourceId(0x0011), mask: 0 };
    scene.announce(of_another);
    scene.announce(Invalidation::ContextDomain(DomainId(8)));
    assert_eq!(nvme.host.mappings().len(), 1);

    let of_all_functions = Invalidation::ContextDevice { source: SourceId(0x0013), mask: 7 };
    scene.announce(of_all_functions);
    assert_eq!(nvme.host.mappings(), []);

    // Software announces an entry that was not present under domain 0.
    scene.guest.set_domain(SOURCE, &table, DOMAIN.0);
    scene.announce(Invalidation::ContextDomain(DomainId(0)));
    nvme.assert_exact();
    assert_eq!(nvme.host.mappings().len(), 1);
}

#[test]
fn pass_through_is_all_of_memory_under_bus_master() {
    let mut scene = Scene::new();
    scene.guest.set_pass_through(SOURCE, DOMAIN.0);
    scene.enable();
    let nvme = scene.attach(SOURCE);
    assert_eq!(nvme.host.calls(), []);
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    assert_eq!(nvme.host.calls(), whole_ram());
    scene.announce(Invalidation::IotlbDomain(DOMAIN));
    scene.announce_pages(0, 1);
    scene.announce(Invalidation::IotlbGlobal);
    assert_eq!(nvme.host.calls(), []);
}

#[test]
fn a_renumbered_function_is_behind_another_entry() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    let moved = SourceId(0x0510);
    nvme.device.renumber(moved);
    nvme.attachment.refresh();
    assert_eq!(nvme.host.mappings(), []);
    scene.guest.set_domain(moved, &table, DOMAIN.0);
    scene.announce(Invalidation::ContextDevice { source: moved, mask: 0 });
    assert_eq!(nvme.host.mappings().len(), 1);
}

#[test]
fn another_root_table_counts_when_it_is_taken_into_use() {
    let (mut scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    let new = scene.guest.page();
    let old = std::mem::replace(&mut scene.guest.root, new);
    scene.announce(Invalidation::ContextGlobal);
    assert_eq!(nvme.host.mappings().len(), 1, "the old root table is in use");
    scene.enable();
    assert_eq!(nvme.host.mappings(), [], "nothing is in the new one");
    scene.guest.root = old;
    scene.enable();
    assert_eq!(nvme.host.mappings().len(), 1);
}

#[test]
fn a_refresh_goes_by_what_the_unit_last_said() {
    let (_scene, nvme, _) = Scene::translating();
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    assert_eq!(nvme.host.calls(), [], "translation is on");
}

#[test]
fn detaching_takes_everything_away_for_good() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    let Assigned { host, attachment, .. } = nvme;
    drop(attachment);
    assert_eq!(host.mappings(), []);
    host.calls();
    scene.announce(Invalidation::Everything);
    assert_eq!(host.calls(), []);
}
