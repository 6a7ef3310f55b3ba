//! What every request costs, and what an invalidation costs: `cargo bench -p iommu --bench hot_path`.

mod figures;
mod setup;

use figures::Figures;
use iommu::Pasid;
use setup::{ALL_PAGES, FIRST_STAGE, FIRST_STAGE_PAGE, NESTED, PAGE, SOURCE, WAIT, World, far};

/// The address spaces that requests may name, with what to call them, and what a miss may cost there.
const SPACES: [(&str, Option<Pasid>, f64); 3] =
    [("second stage", None, 80.0), ("first stage", Some(FIRST_STAGE), 80.0), ("nested", Some(NESTED), 400.0)];

fn nothing<W>(_: &mut W) {}

fn hits(figures: &mut Figures) {
    let mut legacy = World::legacy();
    figures.time("IOTLB hit, legacy", Some(15.0), &mut legacy, nothing, |world, _| {
        world.write_from(SOURCE, None, 0x1234)
    });
    let mut scalable = World::scalable();
    for (name, pasid, _) in SPACES {
        let name = format!("IOTLB hit, scalable, {name}");
        figures.time(&name, Some(15.0), &mut scalable, nothing, |world, _| {
            world.write_from(SOURCE, pasid, 0x1234)
        });
    }
}

/// Requests to far pages find the context and nothing else that they need, except that nested ones
/// find where the second stage has the tables that they share.
fn forget(world: &mut World, pasid: Option<Pasid>) {
    world.submit(&[ALL_PAGES, WAIT]);
    world.write_from(SOURCE, pasid, 0);
}

fn misses(figures: &mut Figures) {
    let mut legacy = World::legacy();
    let far_pages = |pasid| move |world: &mut World, time| world.write_from(SOURCE, pasid, far(time));
    let name = "IOTLB miss, legacy, four levels";
    figures.time(name, Some(80.0), &mut legacy, |world| forget(world, None), far_pages(None));
    let name = "IOTLB miss, legacy, last table known";
    figures.time(
        name,
        Some(80.0),
        &mut legacy,
        |world| forget(world, None),
        |world, time| world.write_from(SOURCE, None, (time + 1) << 12),
    );
    let mut scalable = World::scalable();
    for (name, pasid, limit) in SPACES {
        let name = format!("IOTLB miss, scalable, {name}, four levels");
        figures.time(&name, Some(limit), &mut scalable, |world| forget(world, pasid), far_pages(pasid));
    }
}

fn interrupts(figures: &mut Figures) {
    let mut world = World::legacy();
    figures.time("Interrupt remapped", Some(15.0), &mut world, nothing, |world, _| world.remap());
}

fn invalidations(figures: &mut Figures) {
    let mut world = World::legacy();
    let mut bell = world.repeat(&[PAGE, WAIT]);
    let name = "Page-selective descriptor and wait, nothing remembered";
    figures.time(name, Some(150.0), &mut bell, nothing, |bell, _| bell.ring());
    let name = "Page-selective descriptor and wait, and the page used";
    figures.time(name, None, &mut bell, nothing, |bell, _| {
        bell.ring();
        bell.world.write_from(SOURCE, None, 0x1234)
    });
    let mut world = World::scalable();
    let mut bell = world.repeat(&[FIRST_STAGE_PAGE, WAIT]);
    let name = "PASID-based page-selective descriptor and wait, and the page used";
    figures.time(name, None, &mut bell, nothing, |bell, _| {
        bell.ring();
        bell.world.write_from(SOURCE, Some(FIRST_STAGE), 0x1234)
    });
    // 24 entries of tables.
    let mut bell = world.repeat(&[ALL_PAGES, WAIT]);
    let name = "Global descriptor and wait, and a nested request with nothing remembered";
    figures.time(name, None, &mut bell, nothing, |bell, _| {
        bell.ring();
        bell.world.write_from(SOURCE, Some(NESTED), far(1))
    });
    let name = "Global descriptor and wait, nothing remembered";
    figures.time(name, None, &mut bell, nothing, |bell, _| bell.ring());
}

fn main() {
    let mut figures = Figures::new();
    hits(&mut figures);
    misses(&mut figures);
    interrupts(&mut figures);
    invalidations(&mut figures);
    figures.print();
}
