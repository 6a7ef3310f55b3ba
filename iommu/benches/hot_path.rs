//! What every request costs, and what an invalidation costs: `cargo bench -p iommu --bench hot_path`.

mod setup;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use iommu::Pasid;

use setup::{ALL_PAGES, FAR, FIRST_STAGE, FIRST_STAGE_PAGE, NESTED, OTHER, PAGE, PAGES, REGION, REGIONS};
use setup::{SOURCE, WAIT, World};

/// The address spaces that requests may name, with what to call them.
const SPACES: [(&str, Option<Pasid>); 3] =
    [("second stage", None), ("first stage", Some(FIRST_STAGE)), ("nested", Some(NESTED))];

fn hits(criterion: &mut Criterion) {
    let world = World::legacy();
    criterion.bench_function("IOTLB hit, legacy", |bencher| {
        bencher.iter(|| world.write_from(SOURCE, None, 0x1234));
    });

    criterion.bench_function("IOTLB hit, legacy, while another thread hits too", |bencher| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    world.write_from(OTHER, None, 0x5678);
                }
            });
            bencher.iter(|| world.write_from(SOURCE, None, 0x1234));
            done.store(true, Ordering::Relaxed);
        });
    });

    let world = World::scalable();
    for (name, pasid) in SPACES {
        criterion.bench_function(&format!("IOTLB hit, scalable, {name}"), |bencher| {
            bencher.iter(|| world.write_from(SOURCE, pasid, 0x1234));
        });
    }
}

fn misses(criterion: &mut Criterion) {
    let world = World::legacy();
    criterion.bench_function("IOTLB miss, legacy, four levels", |bencher| {
        let mut region = 0;
        bencher.iter(|| {
            region = (region + 1) % REGIONS;
            world.write_from(SOURCE, None, FAR + region * REGION)
        });
    });

    criterion.bench_function("IOTLB miss, legacy, last table known", |bencher| {
        let mut page = 0;
        bencher.iter(|| {
            page = (page + 1) % PAGES;
            world.write_from(SOURCE, None, page << 12)
        });
    });

    let mut world = World::scalable();
    for (name, pasid) in SPACES {
        criterion.bench_function(&format!("IOTLB miss, scalable, {name}, four levels"), |bencher| {
            let mut region = 0;
            bencher.iter(|| {
                region = (region + 1) % REGIONS;
                world.write_from(SOURCE, pasid, FAR + region * REGION)
            });
        });
    }

    // 24 entries; the clock is read once for every request and counts too.
    criterion.bench_function("IOTLB miss, nested, nothing known of either stage", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                world.submit(&[ALL_PAGES, WAIT]);
                let started = Instant::now();
                world.write_from(SOURCE, Some(NESTED), FAR);
                spent += started.elapsed();
            }
            spent
        });
    });
}

fn interrupt(criterion: &mut Criterion) {
    let world = World::legacy();
    criterion.bench_function("Interrupt remapped", |bencher| bencher.iter(|| world.remap()));
}

fn invalidations(criterion: &mut Criterion) {
    let mut world = World::legacy();
    criterion.bench_function("Page-selective descriptor and wait, nothing cached", |bencher| {
        bencher.iter(|| world.submit(&[PAGE, WAIT]));
    });
    criterion.bench_function("Page-selective descriptor and wait, and the page used again", |bencher| {
        bencher.iter(|| {
            world.submit(&[PAGE, WAIT]);
            world.write_from(SOURCE, None, 0x1234)
        });
    });

    let mut world = World::scalable();
    criterion.bench_function(
        "PASID-based page-selective descriptor and wait, and the page used",
        |bencher| {
            bencher.iter(|| {
                world.submit(&[FIRST_STAGE_PAGE, WAIT]);
                world.write_from(SOURCE, Some(FIRST_STAGE), 0x1234)
            });
        },
    );
}

criterion_group!(hot_path, hits, misses, interrupt, invalidations);
criterion_main!(hot_path);
