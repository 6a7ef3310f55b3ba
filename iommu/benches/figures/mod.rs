//! Figures that hold on a machine that others use too: work is timed in batches far shorter than a turn of
//! the scheduler, and only the quickest batch of each sample counts.
#![allow(dead_code, reason = "not every benchmark uses all of it")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;

/// How often work is done between two looks at the clock.
pub(crate) const BATCH: u32 = 400;

/// What has been measured, for a table at the end.
pub(crate) struct Figures {
    criterion: Criterion,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    /// In nanoseconds.
    limit: Option<f64>,
    /// The quickest batch of each sample, in nanoseconds for each time that the work was done.
    samples: Vec<f64>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        let criterion = Criterion::default()
            .without_plots()
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(2))
            .configure_from_args();
        Self { criterion, lines: Vec::new() }
    }

    /// Times work that takes long, each time by itself.
    pub(crate) fn time_long<W, R>(&mut self, name: &str, world: &mut W, mut work: impl FnMut(&mut W) -> R) {
        let mut samples = Vec::new();
        self.criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let each = (0..times).map(|_| {
                    let started = Instant::now();
                    black_box(work(world));
                    started.elapsed()
                });
                let quickest = each.min().unwrap_or_default();
                samples.push(quickest.as_secs_f64() * 1e9);
                quickest * times as u32
            });
        });
        self.lines.push(Line { name: name.to_owned(), limit: None, samples });
    }

    /// Times `work` on `world`, which should take no more than `limit` nanoseconds. Before each batch, and
    /// not timed, the world is prepared; then work is told which time of the batch it is.
    pub(crate) fn time<W, R>(
        &mut self,
        name: &str,
        limit: Option<f64>,
        world: &mut W,
        mut prepare: impl FnMut(&mut W),
        mut work: impl FnMut(&mut W, u64) -> R,
    ) {
        let mut batch = |length| {
            prepare(world);
            let started = Instant::now();
            for time in 0..u64::from(length) {
                black_box(work(world, time));
            }
            started.elapsed()
        };
        let mut samples = Vec::new();
        self.criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let length = times.min(u64::from(BATCH)) as u32;
                let batches = times / u64::from(length);
                let quickest = (0..batches).map(|_| batch(length)).min().unwrap_or_default();
                if length == BATCH {
                    samples.push(quickest.as_secs_f64() / f64::from(length) * 1e9);
                }
                quickest * batches as u32
            });
        });
        if !samples.is_empty() {
            self.lines.push(Line { name: name.to_owned(), limit, samples });
        }
    }

    /// Prints the table.
    pub(crate) fn print(self) {
        self.criterion.final_summary();
        println!("\n| path | limit, ns | best, ns | median, ns |\n|---|---:|---:|---:|");
        for Line { name, limit, mut samples } in self.lines {
            samples.sort_by(f64::total_cmp);
            let limit = limit.map(|limit| format!("{limit:.0}")).unwrap_or_default();
            let [best, median] = [samples[0], samples[samples.len() / 2]];
            println!("| {name} | {limit} | {best:.1} | {median:.1} |");
        }
    }
}
