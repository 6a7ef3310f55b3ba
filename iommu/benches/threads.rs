//! How much more two threads do than one: `cargo bench -p iommu --bench threads`.
//!
//! Whoever else uses the machine takes processors away, so there are many short turns of one thread and of two,
//! and the quickest of each count. A turn of two lasts from when the first begins to when the last ends.

mod setup;

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use iommu::{Pasid, SourceId};
use setup::{FIRST_STAGE, NESTED, OTHER, SOURCE, World};

const TURNS: u32 = 6_000;
/// Some 20 µs: turns of two must fit in where both threads have a processor.
const REQUESTS: u32 = 2_000;

/// The quickest turn of so many threads, each with a function and a page of its own.
fn quickest(world: &World, pasid: Option<Pasid>, threads: u32) -> Duration {
    let sources: [(SourceId, u64); 2] = [(SOURCE, 0x1234), (OTHER, 0x5678)];
    let arrived = AtomicU32::new(0);
    let turns = |(source, iova): (SourceId, u64)| {
        let arrived = &arrived;
        move || -> Vec<(Instant, Instant)> {
            let turn = |number: u32| {
                arrived.fetch_add(1, Ordering::AcqRel);
                while arrived.load(Ordering::Acquire) < number * threads {
                    spin_loop();
                }
                let started = Instant::now();
                for _ in 0..REQUESTS {
                    world.write_from(source, pasid, iova);
                }
                (started, Instant::now())
            };
            (1..=TURNS).map(turn).collect()
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> =
            sources[..threads as usize].iter().map(|source| scope.spawn(turns(*source))).collect();
        let done = running.into_iter().map(|thread| thread.join().expect("No thread panics"));
        let both = done.reduce(|one, other| {
            one.into_iter().zip(other).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))).collect()
        });
        both.into_iter().flatten().map(|(start, end)| end - start).min().unwrap_or_default()
    })
}

fn main() {
    let legacy = World::legacy();
    let scalable = World::scalable();
    println!("| IOTLB hits | one thread, M/s | two threads, M/s | ratio |\n|---|---:|---:|---:|");
    for (name, world, pasid) in [
        ("legacy", &legacy, None),
        ("first stage", &scalable, Some(FIRST_STAGE)),
        ("nested", &scalable, Some(NESTED)),
    ] {
        let rate = |threads: u32| {
            let turn = quickest(world, pasid, threads);
            f64::from(threads) * f64::from(REQUESTS) / turn.as_secs_f64() / 1e6
        };
        let [one, two] = [1, 2].map(rate);
        println!("| {name} | {one:.1} | {two:.1} | {:.2} |", two / one);
    }
}
