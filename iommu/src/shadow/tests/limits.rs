//! Hostile tables, and a host that refuses.

use super::support::guest::{PAGE_1G, PAGE_2M};
use super::*;
use crate::Access;
use crate::spec::fault::FaultReason;

fn fault(iova: u64, access: Access, reason: FaultReason) -> ShadowFault {
    ShadowFault { source: SOURCE, pasid: None, iova: Iova(iova), access, reason }
}

fn read_fault(iova: u64) -> ShadowFault {
    fault(iova, Access::Read, FaultReason::ReadDenied)
}

/// A known mistake: a table that points to itself seems to map 2^36 pages.
#[test]
fn a_table_that_points_to_itself_ends_at_a_limit() {
    let (scene, nvme, table) = Scene::translating();
    // The first entry of each level is the top table itself, so the lowest addresses are its own pages.
    scene.guest.write(table.root, table.root | 3);
    scene.guest.write(table.root + 8, table.root | 3);
    let faults = scene.announce(Invalidation::IotlbDomain(DOMAIN));
    assert_eq!(faults, [], "16 leaves are no reason to stop");
    nvme.assert_exact();

    for index in 0..512 {
        scene.guest.write(table.root + index * 8, table.root | 3);
    }
    nvme.host.set_limit(usize::MAX);
    let faults = scene.announce(Invalidation::IotlbDomain(DOMAIN));
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].reason, FaultReason::SecondStageUnreadable);
    let again = scene.announce(Invalidation::IotlbDomain(DOMAIN));
    assert_eq!(again, [], "it is recorded once");
    nvme.host.assert_lawful();

    let mappings = nvme.host.mappings();
    let end = mappings.last().map(|last| last.iova.0 + last.length).unwrap();
    assert_eq!(faults[0].iova.0, end, "up to where the fault says, everything is mapped");
    assert!(nvme.attachment.audit().excess.is_empty());

    scene.guest.write(table.root, 0);
    for index in 0..512 {
        scene.guest.write(table.root + index * 8, 0);
    }
    scene.announce(Invalidation::IotlbDomain(DOMAIN));
    nvme.assert_exact();
}

/// The same where no leaf is ever reached: only empty tables, and no end of them.
#[test]
fn tables_without_leaves_end_at_a_limit_too() {
    let (scene, nvme, table) = Scene::translating();
    let [upper, lower, empty] = [(); 3].map(|()| scene.guest.page());
    for index in 0..512 {
        scene.guest.write(table.root + index * 8, upper | 3);
        scene.guest.write(upper + index * 8, lower | 3);
        scene.guest.write(lower + index * 8, empty | 3);
    }
    let faults = scene.announce(Invalidation::IotlbGlobal);
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].reason, FaultReason::SecondStageUnreadable);
    assert_eq!(nvme.host.calls(), []);
}

/// A page of 1 GiB costs the guest 8 bytes, and the host as much as a quarter of a million small ones.
#[test]
fn memory_is_mapped_only_so_many_times_over() {
    let (scene, nvme, table) = Scene::translating();
    for index in 0..512 {
        scene.guest.map(&table, index * PAGE_1G, 0, PAGE_1G, BOTH);
    }
    let faults = scene.announce(Invalidation::IotlbDomain(DOMAIN));
    assert_eq!(faults.len(), 1, "{faults:?}");
    let ram: u64 = RAM.iter().map(|range| range.end - range.start).sum();
    let mapped = nvme.statistics().bytes;
    assert!((3 * ram..=4 * ram).contains(&mapped), "{mapped:#x}");

    for index in 4..512 {
        scene.guest.unmap(&table, index * PAGE_1G, PAGE_1G);
    }
    assert_eq!(scene.announce(Invalidation::IotlbDomain(DOMAIN)), []);
    nvme.assert_exact();
}

#[test]
fn what_a_limit_hides_is_not_left_mapped() {
    let (scene, nvme, table) = Scene::translating();
    let high = 1 << 40;
    scene.map_pages(&table, high, 0x20_0000, 1);
    scene.announce_pages(high, 1);
    let [upper, lower, empty] = [(); 3].map(|()| scene.guest.page());
    scene.guest.write(table.root, upper | 3);
    for index in 0..512 {
        scene.guest.write(upper + index * 8, lower | 3);
        scene.guest.write(lower + index * 8, empty | 3);
    }
    scene.announce(Invalidation::IotlbDomain(DOMAIN));
    assert_eq!(nvme.host.mappings(), [], "nobody has looked whether the tables still map it");
}

/// A known mistake: an address beyond the width of the context entry aliases a low one.
#[test]
fn addresses_beyond_the_width_are_not_aliased() {
    let mut scene = Scene::new();
    let table = scene.guest.table(3);
    scene.guest.set_domain(SOURCE, &table, DOMAIN.0);
    scene.enable();
    let nvme = scene.attach(SOURCE);
    scene.guest.map(&table, 0x10_0000, 0x20_0000, PAGE, BOTH);
    for address in [1 << 39, 1 << 47, 1 << 48, 1 << 63] {
        scene.announce_pages(address + 0x10_0000, 1);
        assert_eq!(nvme.host.calls(), []);
    }
    scene.announce(Invalidation::IotlbDomain(DOMAIN));
    assert_eq!(nvme.host.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, BOTH)]);
}

#[test]
fn a_wider_table_than_the_unit_has_is_followed_as_far_as_the_unit_reaches() {
    let (scene, nvme, table) = Scene::translating();
    scene.guest.map(&table, (1 << 48) - PAGE, 0x20_0000, PAGE, BOTH);
    scene.announce_pages((1 << 48) - PAGE, 1);
    assert_eq!(nvme.host.mappings().len(), 1);

    // A unit of 39 bits has no table of 48.
    let mut scene = Scene::with(Capabilities::legacy(39));
    let table = scene.guest.table(4);
    scene.guest.map(&table, 0, 0x20_0000, PAGE, BOTH);
    scene.guest.set_domain(SOURCE, &table, DOMAIN.0);
    scene.enable();
    assert_eq!(scene.attach(SOURCE).host.mappings(), []);
}

#[test]
fn the_largest_ranges_do_not_overflow() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    for address_mask in [18, 36, 50, 51] {
        let iova = Iova(u64::MAX);
        scene.announce(Invalidation::IotlbPages { domain: DOMAIN, iova, address_mask, hint: false });
        assert_eq!(nvme.host.calls(), [], "the other end of the address space");
    }
    let iova = Iova(u64::MAX);
    scene.announce(Invalidation::IotlbPages { domain: DOMAIN, iova, address_mask: 255, hint: false });
    assert_eq!(nvme.host.calls().len(), 1);
    nvme.assert_exact();
}

#[test]
fn the_interrupt_range_is_never_mapped() {
    let (scene, nvme, table) = Scene::translating();
    scene.guest.map(&table, 0xFEE0_0000, 0x20_0000, PAGE, BOTH);
    scene.announce_pages(0xFEE0_0000, 1);
    assert_eq!(nvme.host.calls(), []);

    scene.guest.map(&table, 3 * PAGE_1G, PAGE_1G, PAGE_1G, BOTH);
    scene.announce(Invalidation::IotlbDomain(DOMAIN));
    let below = 0xFEE0_0000 - 3 * PAGE_1G;
    let above = 0xFEF0_0000 - 3 * PAGE_1G;
    assert_eq!(
        nvme.host.calls(),
        [map(3 * PAGE_1G, PAGE_1G, below), map(0xFEF0_0000, PAGE_1G + above, PAGE_1G - above)]
    );
    nvme.assert_exact();
}

#[test]
fn no_translation_ends_in_the_interrupt_range() {
    let (scene, nvme, table) = Scene::translating();
    let host = &nvme.host;
    scene.guest.map(&table, 0x10_0000, 0xFEE0_0000, PAGE, BOTH);
    scene.guest.map(&table, 0x10_1000, 0xFEEF_F000, PAGE, BOTH);
    assert_eq!(scene.announce_pages(0x10_0000, 2), [], "it is the DMA that would be a fault");
    assert_eq!(host.calls(), []);
    scene.guest.map(&table, PAGE_2M, 0xFEE0_0000, PAGE_2M, BOTH);
    scene.announce_pages(PAGE_2M, 512);
    assert_eq!(host.calls(), [], "the upper half is no memory of this guest");
    assert_eq!(nvme.attachment.audit().refused, [extent(0x30_0000, 0xFEF0_0000, 0x10_0000, BOTH)]);
}

#[test]
fn reserved_bits_and_wild_pointers_map_nothing() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 2);
    scene.guest.map(&table, PAGE_2M, 0x40_1000, PAGE_2M, BOTH);
    scene.guest.write(scene.guest.entry(&table, 0x10_1000, 1), 0x20_1003 | 1 << 48);
    scene.guest.write(scene.guest.entry(&table, PAGE_1G, 3), 0xA000_0000_0003);
    scene.guest.write(scene.guest.entry(&table, 1 << 39, 4), 0x83);
    assert_eq!(scene.announce(Invalidation::IotlbDomain(DOMAIN)), []);
    assert_eq!(nvme.host.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, BOTH)]);
}

#[test]
fn permissions_are_those_of_every_level() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    let middle = scene.guest.entry(&table, 0x10_0000, 2);
    scene.guest.write(middle, scene.guest.read(middle) & !2);
    scene.announce_pages(0x10_0000, 1);
    assert_eq!(nvme.host.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, READ)]);
}

#[test]
fn a_target_that_is_not_memory_is_a_fault_once_and_nothing_more() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0xE000_0000, 1);
    scene.map_pages(&table, 0x10_1000, 0x20_0000, 1);
    assert_eq!(scene.announce_pages(0x10_0000, 2), [read_fault(0x10_0000)]);
    assert_eq!(nvme.host.mappings(), [extent(0x10_1000, 0x20_0000, PAGE, BOTH)]);
    assert_eq!(scene.announce(Invalidation::IotlbDomain(DOMAIN)), []);
    assert_eq!(nvme.statistics().retries, 1);
    assert_eq!(nvme.statistics().failed, 2);

    scene.unmap_pages(&table, 0x10_0000, 1);
    assert_eq!(scene.announce_pages(0x10_0000, 1), []);
    nvme.assert_exact();
    scene.guest.map(&table, 0x10_0000, 0xE000_0000, PAGE, Permissions::WRITE);
    let denied = fault(0x10_0000, Access::Write, FaultReason::WriteDenied);
    assert_eq!(scene.announce_pages(0x10_0000, 1), [denied], "a new mapping is a new fault");
}

#[test]
fn pages_beside_one_that_is_not_memory_are_mapped() {
    let (scene, nvme, table) = Scene::translating();
    // The last two pages of memory below 3 GiB, and two beyond.
    scene.map_pages(&table, 0x10_0000, 0xBFFF_E000, 4);
    let faults = scene.announce_pages(0x10_0000, 4);
    assert_eq!(faults, [read_fault(0x10_2000), read_fault(0x10_3000)]);
    assert_eq!(nvme.host.mappings().len(), 2);
    assert_eq!(scene.announce_pages(0x10_0000, 4), []);
    nvme.host.assert_lawful();
}

#[test]
fn a_refused_mapping_is_retried_by_the_flush_that_covers_it() {
    let (scene, nvme, table) = Scene::translating();
    nvme.host.refuse_next([Some(host_error())]);
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 4);
    assert_eq!(scene.announce_pages(0x10_0000, 4), [read_fault(0x10_0000)]);
    let audit = nvme.attachment.audit();
    assert_eq!((audit.refused.len(), audit.missing.len()), (4, 0), "the audit knows of all four leaves");
    scene.announce_pages(0x20_0000, 4);
    assert_eq!(nvme.host.calls(), [], "not this one");
    assert_eq!(scene.announce_pages(0x10_0000, 4), []);
    assert_eq!(nvme.host.calls(), [map(0x10_0000, 0x20_0000, 4 * PAGE)]);
    assert_eq!(nvme.statistics().retries, 1);
    nvme.assert_exact();
}

#[test]
fn a_full_host_is_asked_once_and_takes_the_rest_when_it_has_room() {
    let (scene, nvme, table) = Scene::translating();
    nvme.host.set_limit(3);
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 16);
    assert_eq!(scene.announce(Invalidation::IotlbDomain(DOMAIN)), [read_fault(0x10_3000)]);
    assert_eq!(nvme.statistics().failed, 1, "the others would have been refused as well");
    assert_eq!(scene.announce(Invalidation::IotlbDomain(DOMAIN)), []);
    assert_eq!(nvme.host.mappings().len(), 3);

    nvme.host.set_limit(100);
    assert_eq!(scene.announce(Invalidation::IotlbDomain(DOMAIN)), []);
    assert_eq!(nvme.host.mappings().len(), 16);
    nvme.assert_exact();
}

#[test]
fn a_refused_remainder_of_a_split_leaves_nothing_stale() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 8);
    scene.announce_pages(0x10_0000, 8);
    scene.unmap_pages(&table, 0x10_4000, 1);
    // The unmap passes, the first of the two rests does not.
    nvme.host.refuse_next([None, Some(host_error())]);
    assert_eq!(scene.announce_pages(0x10_4000, 1), [read_fault(0x10_0000)]);
    assert_eq!(nvme.host.mappings(), [extent(0x10_5000, 0x20_5000, 3 * PAGE, BOTH)]);
    scene.announce(Invalidation::IotlbDomain(DOMAIN));
    nvme.assert_exact();
}

#[test]
fn a_failed_unmap_ends_in_an_empty_address_space_that_is_built_anew() {
    for page_selective in [false, true] {
        let (scene, nvme, table) = Scene::translating();
        scene.map_pages(&table, 0x10_0000, 0x20_0000, 4);
        scene.announce_pages(0x10_0000, 4);
        scene.map_pages(&table, 0x30_0000, 0x40_0000, 1);
        scene.announce_pages(0x30_0000, 1);
        nvme.host.calls();
        scene.unmap_pages(&table, 0x10_0000, 4);
        nvme.host.refuse_next([Some(host_error())]);
        if page_selective {
            scene.announce_pages(0x10_0000, 4);
        } else {
            scene.announce(Invalidation::IotlbDomain(DOMAIN));
        }
        assert_eq!(nvme.host.calls(), [Call::UnmapAll, map(0x30_0000, 0x40_0000, PAGE)]);
        assert_eq!(nvme.statistics().rebuilds, 1);
        nvme.assert_exact();
    }
}

#[test]
fn a_context_entry_that_disables_fault_processing_hides_faults() {
    let (scene, nvme, table) = Scene::translating();
    scene.guest.set_context(SOURCE, [table.root | 3, 2 | u64::from(DOMAIN.0) << 8]);
    scene.announce(Invalidation::ContextGlobal);
    scene.map_pages(&table, 0x10_0000, 0xE000_0000, 1);
    assert_eq!(scene.announce_pages(0x10_0000, 1), []);
    assert_eq!(nvme.statistics().failed, 1);
}

#[test]
fn a_failure_to_attach_is_told_with_the_next_invalidation() {
    let scene = Scene::new();
    let nvme = scene.attach(SOURCE);
    nvme.host.refuse_next([Some(host_error())]);
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    assert_eq!(scene.announce(Invalidation::IotlbGlobal), [read_fault(0)]);
    nvme.assert_exact();
}

#[test]
fn faults_are_no_more_than_a_unit_can_record() {
    let (scene, _nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x20_0000, 0xE000_0000, 512);
    assert_eq!(scene.announce(Invalidation::IotlbDomain(DOMAIN)).len(), 256);
}
