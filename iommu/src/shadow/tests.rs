use std::ops::Range;
use std::sync::Arc;

use super::*;
use crate::{DomainId, Iova, MapError, Permissions, SourceId};
use support::fake_host::{Call, FakeHost};
use support::guest::{Device, Guest, Memory, PAGE, RAM, Table};

#[path = "../../tests/support/mod.rs"]
mod support;

mod batches;
mod cost;
mod flushes;
mod groups;
mod limits;
mod nested;
mod pasids;
mod peers;
mod property;
mod regime_property;
mod regimes;
mod scalable;

const SOURCE: SourceId = SourceId(0x0010);
const OTHER: SourceId = SourceId(0x0018);
const DOMAIN: DomainId = DomainId(7);
const READ: Permissions = Permissions::READ;
const BOTH: Permissions = Permissions::READ_WRITE;

/// A guest, a shadow of its tables, and assigned functions.
struct Scene {
    guest: Guest,
    shadow: Shadow<Memory>,
    view: View,
    protected: Arc<ProtectedRegions>,
}

/// An assigned function and its host.
struct Assigned {
    device: Arc<Device>,
    host: FakeHost,
    attachment: Attachment,
}

impl Scene {
    /// Translation is off.
    fn new() -> Self {
        Self::with(Capabilities::legacy(48))
    }

    fn with(capabilities: Capabilities) -> Self {
        let guest = Guest::new();
        let protected = Arc::<ProtectedRegions>::default();
        let shadow = Shadow::new(Arc::new(guest.memory.clone()), &capabilities, protected.clone());
        let view = View { translating: false, root: RootPointer::default(), capabilities };
        Self { guest, shadow, view, protected }
    }

    /// Translation is on, and the first function is behind an empty table of 4 levels.
    fn translating() -> (Self, Assigned, Table) {
        let mut scene = Self::new();
        let table = scene.guest.table(4);
        scene.guest.set_domain(SOURCE, &table, DOMAIN.0);
        scene.enable();
        let assigned = scene.attach(SOURCE);
        (scene, assigned, table)
    }

    fn attach(&self, source: SourceId) -> Assigned {
        let device = Device::new(source);
        let (host, dma) = FakeHost::new(&RAM);
        let ram = RAM.iter().map(|range| (GuestAddress(range.start), range.end - range.start)).collect();
        let group = self.shadow.group(dma, ram);
        let attachment = self.shadow.attach(device.clone(), &group);
        Assigned { device, host, attachment }
    }

    fn enable(&mut self) -> Vec<ShadowFault> {
        self.view.translating = true;
        self.view.root = RootPointer(self.guest.root);
        self.announce(Invalidation::Everything)
    }

    fn announce(&self, what: Invalidation) -> Vec<ShadowFault> {
        self.shadow.apply(&self.view, &[what])
    }

    /// Announces `pages` pages from `iova` on, a power of two, aligned.
    fn announce_pages(&self, iova: u64, pages: u64) -> Vec<ShadowFault> {
        self.announce(page_selective(iova, pages))
    }

    /// Maps `count` pages of 4 KiB, contiguous on both sides.
    fn map_pages(&self, table: &Table, iova: u64, guest: u64, count: u64) {
        for offset in (0..count).map(|index| index * PAGE) {
            self.guest.map(table, iova + offset, guest + offset, PAGE, BOTH);
        }
    }

    fn unmap_pages(&self, table: &Table, iova: u64, count: u64) {
        for index in 0..count {
            self.guest.unmap(table, iova + index * PAGE, PAGE);
        }
    }
}

impl Assigned {
    /// What the host maps agrees with the tables, and no rule was broken on the way.
    #[track_caller]
    fn assert_exact(&self) {
        self.host.assert_lawful();
        let audit = self.attachment.audit();
        assert!(audit.is_exact(), "{audit:?}");
        let statistics = self.attachment.statistics();
        let mappings = self.host.mappings();
        assert_eq!(statistics.extents, mappings.len() as u64);
        assert_eq!(statistics.bytes, mappings.iter().map(|mapping| mapping.length).sum::<u64>());
    }

    fn statistics(&self) -> Statistics {
        self.attachment.statistics()
    }
}

fn page_selective(iova: u64, pages: u64) -> Invalidation {
    assert!(pages.is_power_of_two() && iova.is_multiple_of(pages * PAGE));
    let address_mask = pages.trailing_zeros() as u8;
    Invalidation::IotlbPages { domain: DOMAIN, iova: Iova(iova), address_mask, hint: false }
}

fn extent(iova: u64, guest: u64, length: u64, permissions: Permissions) -> Extent {
    Extent { iova: Iova(iova), guest: GuestAddress(guest), length, permissions }
}

fn map(iova: u64, guest: u64, length: u64) -> Call {
    Call::Map(extent(iova, guest, length, BOTH))
}

fn unmap(iova: u64, length: u64) -> Call {
    Call::Unmap { iova, length }
}

fn host_error() -> MapError {
    MapError::Host("as a test asked".into())
}
