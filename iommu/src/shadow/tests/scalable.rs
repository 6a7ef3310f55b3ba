//! Assigned functions in scalable mode: what is followed, what is not, and which invalidations say so.

use super::*;
use crate::spec::fault::FaultReason;
use crate::{Access, Feature, Pasid, Profile};

/// What stands for the function's requests without PASID.
pub(super) const RID_PASID: Pasid = Pasid(0x43);
const PASID_ENTRY: Invalidation = Invalidation::PasidCachePasid(DOMAIN, RID_PASID);

/// Bits of a PASID table entry.
const FPD: u64 = 1 << 1;
pub(super) const WIDTH_48: u64 = 2 << 2;
pub(super) const FIRST_STAGE: u64 = 1 << 6;
pub(super) const SECOND_STAGE: u64 = 2 << 6;
const NESTED: u64 = 3 << 6;
pub(super) const PASS_THROUGH: u64 = 4 << 6;
const SECOND_STAGE_DIRTY: u64 = 1 << 9;

impl Scene {
    /// Translation is on in scalable mode, and the first function has a context entry, but no PASIDs.
    fn scalable() -> (Self, Assigned, Table) {
        Self::scalable_with(Capabilities::new(Profile::SecondStage, 48))
    }

    pub(super) fn scalable_with(capabilities: Capabilities) -> (Self, Assigned, Table) {
        let mut scene = Self::with(capabilities);
        let (context_table, directory, pasid_table) =
            (scene.guest.page(), scene.guest.page(), scene.guest.page());
        scene.guest.write(scene.guest.root, context_table | 1);
        let context = context_table + u64::from(SOURCE.devfn()) * 32;
        scene.guest.write(context + 8, RID_PASID.0.into());
        scene.guest.write(context, directory | 1);
        scene.guest.write(directory + 8, pasid_table | 1);
        let table = scene.guest.table(4);
        scene.enable_scalable();
        let assigned = scene.attach(SOURCE);
        (scene, assigned, table)
    }

    /// The same with the function behind an empty second-stage table.
    fn second_stage() -> (Self, Assigned, Table) {
        let (scene, nvme, table) = Self::scalable();
        scene.set_pasid_entry(table.root | SECOND_STAGE | WIDTH_48, DOMAIN.0);
        assert_eq!(scene.announce(PASID_ENTRY), []);
        (scene, nvme, table)
    }

    pub(super) fn enable_scalable(&mut self) {
        self.view.translating = true;
        self.view.root = RootPointer(self.guest.root | 1 << 10);
        self.announce(Invalidation::Everything);
    }

    /// Writes the function's PASID table entry, the word that makes it present last.
    pub(super) fn set_pasid_entry(&self, low: u64, domain: u16) {
        let entry = self.pasid_entry();
        self.guest.write(entry + 8, domain.into());
        self.guest.write(entry, low | 1);
    }

    /// Writes the word of the entry that a first stage is in.
    pub(super) fn set_first_stage_word(&self, word: u64) {
        self.guest.write(self.pasid_entry() + 16, word);
    }

    pub(super) fn clear_pasid_entry(&self) {
        self.guest.write(self.pasid_entry(), 0);
    }

    fn pasid_entry(&self) -> u64 {
        let context_table = self.guest.read(self.guest.root) & !0xFFF;
        let directory = self.guest.read(context_table + u64::from(SOURCE.devfn()) * 32) & !0xFFF;
        (self.guest.read(directory + 8) & !0xFFF) + u64::from(RID_PASID.0 & 63) * 64
    }
}

#[test]
fn a_second_stage_is_followed_from_its_announcement_on() {
    let (scene, nvme, table) = Scene::scalable();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 2);
    scene.set_pasid_entry(table.root | SECOND_STAGE | WIDTH_48, DOMAIN.0);
    scene.announce(Invalidation::IotlbDomain(DOMAIN));
    scene.announce_pages(0x10_0000, 2);
    assert_eq!(nvme.host.calls(), [], "this has not announced the entry");
    assert_eq!(scene.announce(PASID_ENTRY), []);
    assert_eq!(nvme.host.calls(), [map(0x10_0000, 0x20_0000, PAGE), map(0x10_1000, 0x20_1000, PAGE)]);
    nvme.assert_exact();

    scene.map_pages(&table, 0x30_0000, 0x40_0000, 4);
    scene.announce_pages(0x30_0000, 4);
    assert_eq!(nvme.host.calls(), [map(0x30_0000, 0x40_0000, 4 * PAGE)]);
    scene.unmap_pages(&table, 0x10_0000, 2);
    scene.announce(Invalidation::IotlbDomain(DOMAIN));
    assert_eq!(nvme.host.calls(), [unmap(0x10_0000, 2 * PAGE)]);
    nvme.assert_exact();
}

#[test]
fn a_pasid_entry_counts_when_it_is_announced_under_what_it_says_or_said() {
    let (scene, nvme, table) = Scene::second_stage();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    let next = scene.guest.table(4);
    let next_domain = DomainId(9);
    scene.map_pages(&next, 0x10_0000, 0x80_0000, 1);
    scene.set_pasid_entry(next.root | SECOND_STAGE | WIDTH_48, next_domain.0);
    nvme.host.calls();
    for of_another in [
        Invalidation::PasidCachePasid(DOMAIN, Pasid(RID_PASID.0 + 1)),
        Invalidation::PasidCachePasid(DomainId(8), RID_PASID),
        Invalidation::PasidCacheDomain(DomainId(8)),
        Invalidation::PasidIotlb(DOMAIN, RID_PASID),
        Invalidation::IotlbDomain(next_domain),
    ] {
        scene.announce(of_another);
        assert_eq!(nvme.host.calls(), [], "{of_another:?}");
    }
    let replaced = [Call::UnmapAll, map(0x10_0000, 0x80_0000, PAGE)];
    let cleared = [Call::UnmapAll];
    let back = [map(0x10_0000, 0x80_0000, PAGE)];
    scene.announce(PASID_ENTRY);
    assert_eq!(nvme.host.calls(), replaced, "by what it said");
    for announcement in [
        Invalidation::PasidCachePasid(next_domain, RID_PASID),
        Invalidation::PasidCacheDomain(next_domain),
        Invalidation::PasidCacheGlobal,
        Invalidation::ContextGlobal,
        Invalidation::ContextDevice { source: SOURCE, mask: 0 },
    ] {
        scene.clear_pasid_entry();
        scene.announce(announcement);
        assert_eq!(nvme.host.calls(), cleared, "{announcement:?}");
        scene.set_pasid_entry(next.root | SECOND_STAGE | WIDTH_48, next_domain.0);
        scene.announce(announcement);
        assert_eq!(nvme.host.calls(), back, "{announcement:?}");
        nvme.assert_exact();
    }
}

/// With caching mode the unit might remember that an entry is not in order, so its replacement is announced by
/// what stood in it (§6.1).
#[test]
fn an_entry_that_is_not_in_order_is_replaced_under_its_own_name() {
    let (scene, nvme, table) = Scene::second_stage();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    let (reserved, other) = (1 << 10, DomainId(8));
    scene.set_pasid_entry(table.root | SECOND_STAGE | WIDTH_48 | reserved, other.0);
    scene.announce(PASID_ENTRY);
    assert_eq!(nvme.host.mappings(), []);
    scene.set_pasid_entry(table.root | SECOND_STAGE | WIDTH_48, DOMAIN.0);
    scene.announce(Invalidation::PasidCachePasid(other, RID_PASID));
    assert_eq!(nvme.host.mappings().len(), 1);
}

#[test]
fn an_announcement_that_changes_nothing_touches_nothing() {
    let (scene, nvme, table) = Scene::second_stage();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    nvme.host.calls();
    for what in [PASID_ENTRY, Invalidation::PasidCacheDomain(DOMAIN), Invalidation::PasidCacheGlobal] {
        scene.announce(what);
    }
    assert_eq!(nvme.host.calls(), []);
}

#[test]
fn pass_through_is_all_of_memory_under_bus_master() {
    let (scene, nvme, _) = Scene::scalable();
    scene.set_pasid_entry(PASS_THROUGH, DOMAIN.0);
    scene.announce(PASID_ENTRY);
    assert_eq!(nvme.host.mappings(), []);
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    let mapped: u64 = nvme.host.mappings().iter().map(|extent| extent.length).sum();
    assert_eq!(mapped, RAM.iter().map(|range| range.end - range.start).sum::<u64>());
    nvme.assert_exact();
    scene.clear_pasid_entry();
    scene.announce(PASID_ENTRY);
    assert_eq!(nvme.host.mappings(), []);
}

/// The host would go by none of these as the guest means them: no request may reach memory through what was
/// there before, or through a first stage taken for a second.
#[test]
fn behind_tables_that_are_not_followed_nothing_is_reached() {
    let full = Capabilities::new(Profile::Full, 48).with(Feature::CachingMode);
    let (scene, nvme, table) = Scene::scalable_with(full);
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    let followed = table.root | SECOND_STAGE | WIDTH_48;
    for unfollowed in [
        FIRST_STAGE | WIDTH_48,
        table.root | NESTED | WIDTH_48,
        table.root | SECOND_STAGE | SECOND_STAGE_DIRTY | WIDTH_48,
    ] {
        scene.set_pasid_entry(followed, DOMAIN.0);
        assert_eq!(scene.announce(PASID_ENTRY), []);
        assert_eq!(nvme.host.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, BOTH)]);
        scene.set_pasid_entry(unfollowed, DOMAIN.0);
        let reason = FaultReason::PasidEntryInvalid;
        let fault = ShadowFault { source: SOURCE, pasid: None, iova: Iova(0), access: Access::Read, reason };
        assert_eq!(scene.announce(PASID_ENTRY), [fault], "the guest is told");
        assert_eq!(nvme.host.mappings(), []);
        for what in
            [PASID_ENTRY, Invalidation::IotlbDomain(DOMAIN), Invalidation::PasidIotlb(DOMAIN, RID_PASID)]
        {
            assert_eq!(scene.announce(what), [], "and told once");
        }
        assert_eq!(scene.announce_pages(0x10_0000, 1), []);
        assert_eq!(nvme.host.mappings(), []);
        nvme.assert_exact();
    }
}

#[test]
fn faults_have_the_names_of_scalable_mode() {
    let (scene, nvme, table) = Scene::second_stage();
    let reasons = |faults: Vec<ShadowFault>| faults.iter().map(|fault| fault.reason).collect::<Vec<_>>();
    scene.map_pages(&table, 0x10_0000, 0xE000_0000, 1);
    scene.guest.map(&table, 0x10_1000, 0xE000_0000, PAGE, Permissions::WRITE);
    let denied = [FaultReason::ScalableReadDenied, FaultReason::ScalableWriteDenied];
    assert_eq!(reasons(scene.announce_pages(0x10_0000, 2)), denied);
    for index in 0..512 {
        scene.guest.write(table.root + index * 8, table.root | 3);
    }
    nvme.host.set_limit(usize::MAX);
    let limit = [FaultReason::ScalableSecondStageUnreadable];
    assert_eq!(reasons(scene.announce(Invalidation::IotlbDomain(DOMAIN))), limit);
}

#[test]
fn a_pasid_entry_that_disables_fault_processing_hides_faults() {
    let (scene, nvme, table) = Scene::scalable();
    scene.map_pages(&table, 0x10_0000, 0xE000_0000, 1);
    scene.set_pasid_entry(table.root | SECOND_STAGE | WIDTH_48 | FPD, DOMAIN.0);
    assert_eq!(scene.announce(PASID_ENTRY), []);
    assert_eq!(nvme.statistics().failed, 1);
}

#[test]
fn another_mode_counts_when_its_root_table_is_taken_into_use() {
    let (mut scene, nvme, table) = Scene::second_stage();
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    scene.announce_pages(0x10_0000, 1);
    let legacy_root = scene.guest.page();
    let scalable_root = std::mem::replace(&mut scene.guest.root, legacy_root);
    let legacy = scene.guest.table(4);
    scene.map_pages(&legacy, 0x50_0000, 0x60_0000, 1);
    scene.guest.set_domain(SOURCE, &legacy, DOMAIN.0);
    scene.announce(PASID_ENTRY);
    assert_eq!(nvme.host.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, BOTH)]);
    scene.enable();
    assert_eq!(nvme.host.mappings(), [extent(0x50_0000, 0x60_0000, PAGE, BOTH)]);
    nvme.assert_exact();
    scene.guest.root = scalable_root;
    scene.enable_scalable();
    assert_eq!(nvme.host.mappings(), [extent(0x10_0000, 0x20_0000, PAGE, BOTH)]);
    // Abort mode, and one that there is not: nothing is reached.
    for mode in [2, 3] {
        scene.view.root = RootPointer(scene.guest.root | mode << 10);
        scene.announce(Invalidation::Everything);
        assert_eq!(nvme.host.mappings(), []);
    }
}
