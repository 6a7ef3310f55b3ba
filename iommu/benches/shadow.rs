//! What it costs to have a host follow the guest's tables, without what the host itself takes:
//! `cargo bench -p iommu --bench shadow`.

mod figures;
mod setup;

use std::sync::Arc;

use figures::Figures;
use iommu::{
    AssignedFunction, Attachment, GuestAddress, HostDma, HostMapper, Iova, MapError, Permissions, SourceId,
};
use setup::{Bell, DOMAIN, PAGES, SOURCE, WAIT, World};

/// A host that agrees to everything and does nothing.
struct Agreeable;

impl HostMapper for Agreeable {
    fn map(&self, _: Iova, _: GuestAddress, _: u64, _: Permissions) -> Result<(), MapError> {
        Ok(())
    }

    fn unmap(&self, _: Iova, _: u64) -> Result<(), MapError> {
        Ok(())
    }

    fn unmap_all(&self) {}
}

struct Function;

impl AssignedFunction for Function {
    fn source_id(&self) -> SourceId {
        SOURCE
    }

    fn bus_master(&self) -> bool {
        true
    }
}

/// The small pages that come and go are the last ones.
const COMING: u64 = 32;
const FREE: u64 = (PAGES - COMING) << 12;

const fn pages(iova: u64, order: u64) -> [u64; 2] {
    [2 | 3 << 4 | DOMAIN << 16, iova | order]
}

const DOMAIN_FLUSH: [u64; 2] = [2 | 2 << 4 | DOMAIN << 16, 0];

/// The same world, where an assigned function is behind the tables.
fn shadowed() -> (World, Attachment) {
    let world = World::legacy();
    for page in 0..COMING {
        world.map(FREE + (page << 12), None);
    }
    // The tables map the same few pages over and over.
    let ram = vec![(GuestAddress(0), 1 << 32)];
    let group = world.unit.group(HostDma::Fixed(Box::new(Agreeable)), ram);
    let attachment = world.unit.attach(Arc::new(Function), &group);
    (world, attachment)
}

/// Maps 2^`order` pages, `stride` apart in guest memory, and unmaps them.
fn come_and_go(bell: &mut Bell<'_>, order: u64, stride: u64) {
    let count = 1 << order;
    for page in 0..count {
        bell.world.map(FREE + (page << 12), Some(page * stride));
    }
    bell.ring();
    for page in 0..count {
        bell.world.map(FREE + (page << 12), None);
    }
    bell.ring();
}

fn main() {
    let mut figures = Figures::new();
    let (mut world, _attached) = shadowed();
    let cases = [
        ("A page mapped and unmapped", 0, 0x1000),
        ("32 pages in one piece mapped and unmapped", 5, 0x1000),
        ("32 pages in 32 pieces mapped and unmapped", 5, 0x2000),
    ];
    for (name, order, stride) in cases {
        let mut bell = world.repeat(&[pages(FREE, order), WAIT]);
        figures.time(name, None, &mut bell, |_| (), |bell, _| come_and_go(bell, order, stride));
    }
    let name = format!(
        "Domain flush, {} small pages mapped, nothing changed",
        world.unit.shadow_statistics().extents
    );
    let mut bell = world.repeat(&[DOMAIN_FLUSH, WAIT]);
    figures.time_long(&name, &mut bell, Bell::ring);
    figures.print();
}
