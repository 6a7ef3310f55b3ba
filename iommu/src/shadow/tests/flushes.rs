//! What an invalidation of the IOTLB comes to on the host, and what it leaves alone.

use super::support::guest::{PAGE_1G, PAGE_2M};
use super::*;

const DOMAIN_FLUSH: Invalidation = Invalidation::IotlbDomain(DOMAIN);

#[test]
fn what_one_descriptor_names_is_one_mapping() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x1F_8000, 0x30_0000, 16);
    scene.announce_pages(0x1F_0000, 16);
    assert_eq!(nvme.host.calls(), [map(0x1F_8000, 0x30_0000, 8 * PAGE)], "the range ends there");
    scene.announce_pages(0x20_0000, 16);
    assert_eq!(nvme.host.calls(), [map(0x20_0000, 0x30_8000, 8 * PAGE)]);
    nvme.assert_exact();

    scene.unmap_pages(&table, 0x1F_8000, 8);
    scene.announce_pages(0x1F_8000, 8);
    assert_eq!(nvme.host.calls(), [unmap(0x1F_8000, 8 * PAGE)]);
    assert_eq!(nvme.statistics().splits, 0);
    nvme.assert_exact();
}

#[test]
fn pages_that_do_not_continue_each_other_are_mappings_of_their_own() {
    let (scene, nvme, table) = Scene::translating();
    scene.guest.map(&table, 0x10_0000, 0x50_0000, PAGE, BOTH);
    scene.guest.map(&table, 0x10_1000, 0x50_1000, PAGE, READ);
    scene.guest.map(&table, 0x10_2000, 0x50_3000, PAGE, READ);
    scene.announce_pages(0x10_0000, 4);
    assert_eq!(
        nvme.host.calls(),
        [
            map(0x10_0000, 0x50_0000, PAGE),
            Call::Map(extent(0x10_1000, 0x50_1000, PAGE, READ)),
            Call::Map(extent(0x10_2000, 0x50_3000, PAGE, READ)),
        ]
    );
}

#[test]
fn a_domain_flush_makes_one_mapping_of_each_leaf() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x1F_E000, 0x3F_E000, 2);
    scene.guest.map(&table, PAGE_2M, 0x40_0000, PAGE_2M, BOTH);
    scene.announce(DOMAIN_FLUSH);
    assert_eq!(
        nvme.host.calls(),
        [map(0x1F_E000, 0x3F_E000, PAGE), map(0x1F_F000, 0x3F_F000, PAGE), map(PAGE_2M, 0x40_0000, PAGE_2M)]
    );
    scene.guest.unmap(&table, 0x1F_F000, PAGE);
    scene.announce(DOMAIN_FLUSH);
    assert_eq!(nvme.host.calls(), [unmap(0x1F_F000, PAGE)], "each leaf goes alone");
}

/// A known mistake: a flush that begins by unmapping everything makes unrelated DMA fail.
#[test]
fn a_flush_unmaps_only_what_has_changed() {
    let (scene, nvme, table) = Scene::translating();
    let other = scene.attach(OTHER);
    let other_table = scene.guest.table(4);
    scene.guest.set_domain(OTHER, &other_table, 9);
    scene.map_pages(&other_table, 0x10_0000, 0x90_0000, 16);
    scene.announce(Invalidation::ContextDevice { source: OTHER, mask: 0 });
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 16);
    scene.announce_pages(0x10_0000, 16);
    scene.map_pages(&table, 0x40_0000, 0x60_0000, 2);
    scene.announce(DOMAIN_FLUSH);
    nvme.host.calls();
    other.host.calls();

    for what in [DOMAIN_FLUSH, Invalidation::IotlbGlobal, Invalidation::Everything] {
        scene.unmap_pages(&table, 0x40_0000, 1);
        scene.announce(what);
        assert_eq!(nvme.host.calls(), [unmap(0x40_0000, PAGE)], "{what:?}");
        scene.map_pages(&table, 0x40_0000, 0x60_0000, 1);
        scene.announce(what);
        assert_eq!(nvme.host.calls(), [map(0x40_0000, 0x60_0000, PAGE)], "{what:?}");
    }
    assert_eq!(other.host.calls(), []);
    nvme.assert_exact();
    other.assert_exact();
}

#[test]
fn a_page_flush_looks_only_at_its_range() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.map_pages(&table, 0x10_1000, 0x30_0000, 1);
    scene.announce_pages(0x10_1000, 1);
    assert_eq!(nvme.host.calls(), [map(0x10_1000, 0x30_0000, PAGE)]);
    scene.unmap_pages(&table, 0x10_1000, 1);
    scene.announce_pages(0x10_0000, 1);
    assert_eq!(nvme.host.calls(), [map(0x10_0000, 0x20_0000, PAGE)]);
    scene.announce_pages(0x10_1000, 1);
    assert_eq!(nvme.host.calls(), [unmap(0x10_1000, PAGE)]);
}

#[test]
fn a_page_flush_leaves_neighbours_in_its_range_alone() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    nvme.host.calls();
    // Three more pages that continue the first; the range is rounded up to four.
    scene.map_pages(&table, 0x10_1000, 0x20_1000, 3);
    scene.announce_pages(0x10_0000, 4);
    assert_eq!(nvme.host.calls(), [map(0x10_1000, 0x20_1000, 3 * PAGE)]);
    nvme.assert_exact();
}

#[test]
fn a_function_follows_only_its_own_domain() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce(Invalidation::IotlbDomain(DomainId(8)));
    let pages =
        Invalidation::IotlbPages { domain: DomainId(8), iova: Iova(0x10_0000), address_mask: 0, hint: true };
    scene.announce(pages);
    assert_eq!(nvme.host.calls(), []);
}

#[test]
fn two_functions_of_a_domain_are_both_brought_in_line() {
    let (scene, nvme, table) = Scene::translating();
    scene.guest.set_domain(OTHER, &table, DOMAIN.0);
    let other = scene.attach(OTHER);
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 4);
    scene.announce_pages(0x10_0000, 4);
    assert_eq!(nvme.host.calls(), other.host.calls());
    assert_eq!(other.host.mappings().len(), 1);
}

#[test]
fn fewer_permissions_are_unmapped_before_they_are_mapped() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    nvme.host.calls();
    scene.guest.map(&table, 0x10_0000, 0x20_0000, PAGE, READ);
    scene.announce_pages(0x10_0000, 1);
    assert_eq!(
        nvme.host.calls(),
        [unmap(0x10_0000, PAGE), Call::Map(extent(0x10_0000, 0x20_0000, PAGE, READ))]
    );
    nvme.assert_exact();
}

#[test]
fn everything_goes_before_anything_comes() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.map_pages(&table, 0x10_3000, 0x30_0000, 1);
    scene.announce(DOMAIN_FLUSH);
    nvme.host.calls();
    scene.map_pages(&table, 0x10_0000, 0x30_0000, 1);
    scene.map_pages(&table, 0x10_3000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 4);
    assert_eq!(
        nvme.host.calls(),
        [
            unmap(0x10_0000, PAGE),
            unmap(0x10_3000, PAGE),
            map(0x10_0000, 0x30_0000, PAGE),
            map(0x10_3000, 0x20_0000, PAGE),
        ]
    );
}

/// A known mistake: a large page that becomes small ones, and the other way round, in one flush.
#[test]
fn a_large_page_split_or_merged_is_never_unmapped_in_part() {
    let (scene, nvme, table) = Scene::translating();
    scene.guest.map(&table, PAGE_2M, 0x40_0000, PAGE_2M, BOTH);
    scene.announce_pages(PAGE_2M, 512);
    assert_eq!(nvme.host.calls(), [map(PAGE_2M, 0x40_0000, PAGE_2M)]);

    // The same in small pages: nothing changes for the device.
    scene.guest.entry(&table, PAGE_2M, 1);
    scene.announce_pages(PAGE_2M, 512);
    scene.announce_pages(PAGE_2M, 1);
    assert_eq!(nvme.host.calls(), []);

    // One of them goes: the host can only take the whole and map the rest again.
    scene.guest.unmap(&table, PAGE_2M + 5 * PAGE, PAGE);
    scene.announce_pages(PAGE_2M + 5 * PAGE, 1);
    assert_eq!(
        nvme.host.calls(),
        [
            unmap(PAGE_2M, PAGE_2M),
            map(PAGE_2M, 0x40_0000, 5 * PAGE),
            map(PAGE_2M + 6 * PAGE, 0x40_6000, PAGE_2M - 6 * PAGE),
        ]
    );
    assert_eq!(nvme.statistics().splits, 1);
    nvme.assert_exact();

    // And a large page again, elsewhere.
    scene.guest.map(&table, PAGE_2M, 0x80_0000, PAGE_2M, BOTH);
    scene.announce_pages(PAGE_2M, 512);
    assert_eq!(
        nvme.host.calls(),
        [
            unmap(PAGE_2M, 5 * PAGE),
            unmap(PAGE_2M + 6 * PAGE, PAGE_2M - 6 * PAGE),
            map(PAGE_2M, 0x80_0000, PAGE_2M)
        ]
    );
    nvme.assert_exact();
}

#[test]
fn small_mappings_that_become_a_large_page_stay() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, PAGE_2M, 0x40_0000, 512);
    scene.announce(DOMAIN_FLUSH);
    assert_eq!(nvme.host.calls().len(), 512);
    scene.guest.map(&table, PAGE_2M, 0x40_0000, PAGE_2M, BOTH);
    scene.announce_pages(PAGE_2M, 512);
    scene.announce(DOMAIN_FLUSH);
    assert_eq!(nvme.host.calls(), []);
    scene.guest.unmap(&table, PAGE_2M, PAGE_2M);
    scene.announce_pages(PAGE_2M, 512);
    assert_eq!(nvme.host.calls(), [unmap(PAGE_2M, PAGE_2M)], "adjacent mappings go in one call");
    nvme.assert_exact();
}

#[test]
fn one_page_of_a_large_one_names_all_of_it() {
    let (scene, nvme, table) = Scene::translating();
    scene.guest.map(&table, PAGE_1G, PAGE_1G, PAGE_1G, BOTH);
    scene.announce_pages(PAGE_1G + 0x5000, 1);
    assert_eq!(nvme.host.calls(), [map(PAGE_1G, PAGE_1G, PAGE_1G)]);
    scene.guest.unmap(&table, PAGE_1G, PAGE_1G);
    scene.announce_pages(PAGE_1G + 0x7000, 1);
    assert_eq!(nvme.host.calls(), [unmap(PAGE_1G, PAGE_1G)]);
}

#[test]
fn a_mapping_across_the_edge_of_the_range_is_mapped_again_outside_it() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 8);
    scene.announce_pages(0x10_0000, 8);
    nvme.host.calls();
    scene.unmap_pages(&table, 0x10_4000, 2);
    scene.announce_pages(0x10_4000, 2);
    assert_eq!(
        nvme.host.calls(),
        [
            unmap(0x10_0000, 8 * PAGE),
            map(0x10_0000, 0x20_0000, 4 * PAGE),
            map(0x10_6000, 0x20_6000, 2 * PAGE)
        ]
    );
    nvme.assert_exact();
}

#[test]
fn the_rest_of_a_split_mapping_is_read_anew() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 8);
    scene.announce_pages(0x10_0000, 8);
    nvme.host.calls();
    // Page 7 has changed as well, but that is announced later.
    scene.unmap_pages(&table, 0x10_0000, 1);
    scene.unmap_pages(&table, 0x10_7000, 1);
    scene.announce_pages(0x10_0000, 1);
    assert_eq!(nvme.host.calls(), [unmap(0x10_0000, 8 * PAGE), map(0x10_1000, 0x20_1000, 6 * PAGE)]);
    scene.announce_pages(0x10_7000, 1);
    assert_eq!(nvme.host.calls(), []);
    nvme.assert_exact();
}

#[test]
fn the_rest_of_a_split_mapping_is_no_more_than_it_was() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, PAGE_2M - PAGE, 0x30_0000, 2);
    scene.announce_pages(0, 1024);
    scene.map_pages(&table, PAGE_2M + 0x8000, 0x90_0000, 1);
    scene.announce_pages(PAGE_2M + 0x8000, 1);
    nvme.host.calls();
    // The second page of the first mapping is now a part of a large page, which is announced later.
    scene.unmap_pages(&table, PAGE_2M - PAGE, 1);
    scene.guest.map(&table, PAGE_2M, 0x40_0000, PAGE_2M, BOTH);
    scene.announce_pages(PAGE_2M - PAGE, 1);
    assert_eq!(nvme.host.calls(), [unmap(PAGE_2M - PAGE, 2 * PAGE), map(PAGE_2M, 0x40_0000, PAGE)]);
    nvme.host.assert_lawful();
    scene.announce_pages(PAGE_2M, 512);
    assert_eq!(
        nvme.host.calls(),
        [unmap(PAGE_2M + 0x8000, PAGE), map(PAGE_2M + PAGE, 0x40_1000, PAGE_2M - PAGE)]
    );
    nvme.assert_exact();
}
