//! What several invalidations before one wait come to on the host.

use super::support::guest::PAGE_2M;
use super::*;

impl Scene {
    /// Announces ranges (address, pages) together.
    fn announce_together(&self, ranges: &[(u64, u64)]) {
        let batch: Vec<_> = ranges.iter().map(|(iova, pages)| page_selective(*iova, *pages)).collect();
        self.announce_batch(&batch);
    }

    fn announce_batch(&self, batch: &[Invalidation]) {
        assert_eq!(self.shadow.apply(&self.view, batch), []);
    }
}

#[test]
fn what_goes_goes_before_anything_of_the_batch_comes() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 2);
    scene.map_pages(&table, 0x30_0000, 0x40_0000, 2);
    scene.announce_together(&[(0x30_0000, 2), (0x10_0000, 2)]);
    assert_eq!(nvme.host.calls(), [map(0x10_0000, 0x20_0000, 2 * PAGE), map(0x30_0000, 0x40_0000, 2 * PAGE)]);

    scene.map_pages(&table, 0x10_0000, 0x50_0000, 2);
    scene.unmap_pages(&table, 0x30_0000, 2);
    scene.map_pages(&table, 0x08_0000, 0x40_0000, 1);
    scene.announce_together(&[(0x08_0000, 1), (0x10_0000, 2), (0x30_0000, 2)]);
    assert_eq!(
        nvme.host.calls(),
        [
            unmap(0x10_0000, 2 * PAGE),
            unmap(0x30_0000, 2 * PAGE),
            map(0x08_0000, 0x40_0000, PAGE),
            map(0x10_0000, 0x50_0000, 2 * PAGE),
        ]
    );
    nvme.assert_exact();
}

#[test]
fn neighbours_are_mapped_apart_and_unmapped_together() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 8);
    scene.announce_together(&[(0x10_4000, 4), (0x10_0000, 4)]);
    assert_eq!(nvme.host.calls(), [map(0x10_0000, 0x20_0000, 4 * PAGE), map(0x10_4000, 0x20_4000, 4 * PAGE)]);
    scene.unmap_pages(&table, 0x10_0000, 8);
    scene.announce_together(&[(0x10_4000, 4), (0x10_0000, 4)]);
    assert_eq!(nvme.host.calls(), [unmap(0x10_0000, 8 * PAGE)]);
    nvme.assert_exact();
}

/// A range that was rounded up reaches over a neighbour's, which is still its own.
#[test]
fn a_range_within_another_stays_a_mapping_of_its_own() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 7);
    scene.announce_together(&[(0x10_0000, 8), (0x10_2000, 1), (0x10_0000, 8)]);
    assert_eq!(
        nvme.host.calls(),
        [
            map(0x10_0000, 0x20_0000, 2 * PAGE),
            map(0x10_2000, 0x20_2000, PAGE),
            map(0x10_3000, 0x20_3000, 4 * PAGE),
        ]
    );
    nvme.assert_exact();
}

#[test]
fn two_holes_in_one_mapping_are_one_split() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 16);
    scene.announce_pages(0x10_0000, 16);
    nvme.host.calls();
    scene.unmap_pages(&table, 0x10_3000, 1);
    scene.unmap_pages(&table, 0x10_8000, 2);
    // One more range, in which nothing has changed.
    scene.announce_together(&[(0x10_8000, 2), (0x10_3000, 1), (0x10_5000, 1)]);
    assert_eq!(
        nvme.host.calls(),
        [
            unmap(0x10_0000, 16 * PAGE),
            map(0x10_0000, 0x20_0000, 3 * PAGE),
            map(0x10_4000, 0x20_4000, 4 * PAGE),
            map(0x10_A000, 0x20_A000, 6 * PAGE),
        ]
    );
    assert_eq!(nvme.statistics().splits, 1);
    nvme.assert_exact();
}

#[test]
fn pages_of_one_large_page_are_that_page_once() {
    let (scene, nvme, table) = Scene::translating();
    scene.guest.map(&table, PAGE_2M, 0x40_0000, PAGE_2M, BOTH);
    scene.announce_together(&[(PAGE_2M + 0x5000, 1), (PAGE_2M + 0x9000, 1), (2 * PAGE_2M, 1)]);
    assert_eq!(nvme.host.calls(), [map(PAGE_2M, 0x40_0000, PAGE_2M)]);
    scene.guest.unmap(&table, PAGE_2M, PAGE_2M);
    scene.announce_together(&[(PAGE_2M + 0x5000, 1), (PAGE_2M + 0x9000, 1)]);
    assert_eq!(nvme.host.calls(), [unmap(PAGE_2M, PAGE_2M)]);
    nvme.assert_exact();
}

/// The moment at which a split interrupts DMA to pages that stay is between these two calls, and no longer.
#[test]
fn a_split_takes_pages_away_that_stay_for_one_moment() {
    let (scene, nvme, table) = Scene::translating();
    scene.guest.map(&table, PAGE_2M, 0x40_0000, PAGE_2M, BOTH);
    scene.announce_pages(PAGE_2M, 512);
    scene.guest.unmap(&table, PAGE_2M + 511 * PAGE, PAGE);
    nvme.host.calls();
    scene.announce_pages(PAGE_2M + 511 * PAGE, 1);
    assert_eq!(nvme.host.calls(), [unmap(PAGE_2M, PAGE_2M), map(PAGE_2M, 0x40_0000, 511 * PAGE)]);
    assert_eq!(nvme.statistics().splits, 1);
    // Merging needs none: what was small stays small until it goes.
    scene.guest.map(&table, PAGE_2M, 0x40_0000, PAGE_2M, BOTH);
    scene.announce_pages(PAGE_2M, 512);
    assert_eq!(nvme.host.calls(), [map(PAGE_2M + 511 * PAGE, 0x40_0000 + 511 * PAGE, PAGE)]);
    assert_eq!(nvme.statistics().splits, 1);
    nvme.assert_exact();
}

#[test]
fn a_flush_in_a_batch_covers_its_pages() {
    let (scene, nvme, table) = Scene::translating();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 2);
    let batch = [page_selective(0x10_0000, 2), Invalidation::IotlbDomain(DOMAIN)];
    scene.announce_batch(&batch);
    let leaves = [map(0x10_0000, 0x20_0000, PAGE), map(0x10_1000, 0x20_1000, PAGE)];
    assert_eq!(nvme.host.calls(), leaves, "a flush tells nothing of how the pages belong together");
    nvme.assert_exact();
}

#[test]
fn a_context_and_its_flush_look_at_the_table_once() {
    let (scene, nvme, table) = Scene::translating();
    let next = scene.guest.table(4);
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    scene.map_pages(&next, 0x30_0000, 0x40_0000, 1);
    scene.guest.set_domain(SOURCE, &next, 9);
    nvme.host.calls();
    let context = Invalidation::ContextDevice { source: SOURCE, mask: 0 };
    scene.announce_batch(&[context, Invalidation::IotlbDomain(DomainId(9))]);
    assert_eq!(nvme.host.calls(), [Call::UnmapAll, map(0x30_0000, 0x40_0000, PAGE)]);
    nvme.assert_exact();
}
