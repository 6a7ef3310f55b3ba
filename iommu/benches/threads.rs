//! How much more two threads do than one: `cargo bench -p iommu --bench threads`.
//!
//! One thread and two take turns on the same unit, so that whoever else uses the machine disturbs both
//! alike, and the best turn of each counts.

mod setup;

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use iommu::{Pasid, SourceId};
use setup::{FIRST_STAGE, NESTED, OTHER, SOURCE, World};

const TURNS: usize = 40;
const REQUESTS: u32 = 1_000_000;

/// How many million requests a second so many threads get through, each for a function and a page of its
/// own.
fn throughput(world: &World, pasid: Option<Pasid>, threads: u32) -> f64 {
    let sources: [(SourceId, u64); 2] = [(SOURCE, 0x1234), (OTHER, 0x5678)];
    let start = Barrier::new(threads as usize);
    let seconds = thread::scope(|scope| {
        let run = |(source, iova): (SourceId, u64)| {
            let start = &start;
            move || {
                world.write_from(source, pasid, iova);
                start.wait();
                let started = Instant::now();
                for _ in 0..REQUESTS {
                    world.write_from(source, pasid, iova);
                }
                started.elapsed().as_secs_f64()
            }
        };
        let threads: Vec<_> =
            sources[..threads as usize].iter().map(|source| scope.spawn(run(*source))).collect();
        threads.into_iter().map(|thread| thread.join().expect("No thread panics")).fold(0.0, f64::max)
    });
    f64::from(REQUESTS) * f64::from(threads) / seconds / 1e6
}

fn main() {
    let legacy = World::legacy();
    let scalable = World::scalable();
    for (name, world, pasid) in [
        ("legacy", &legacy, None),
        ("first stage", &scalable, Some(FIRST_STAGE)),
        ("nested", &scalable, Some(NESTED)),
    ] {
        let (mut one, mut two) = (0.0_f64, 0.0_f64);
        for _ in 0..TURNS {
            one = one.max(throughput(world, pasid, 1));
            two = two.max(throughput(world, pasid, 2));
        }
        println!(
            "IOTLB hits, {name}: one thread {one:.1} M/s, two threads {two:.1} M/s, ratio {:.2}",
            two / one
        );
    }
}
