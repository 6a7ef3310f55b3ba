//! Seconds of each fuzz target (`iommu/fuzz`) with every test run: the corpus, and random bytes.
//! `PORTCULLIS_FUZZ_SECONDS=3600 cargo nextest run --release -p iommu --test fuzz` goes on for longer, each time with
//! other bytes.

#[expect(unreachable_pub, reason = "In the package of the fuzz targets it is the library")]
#[path = "../fuzz/src/bodies.rs"]
mod bodies;
#[path = "../fuzz/src/machine.rs"]
mod machine;
#[path = "../fuzz/src/script.rs"]
mod script;
#[expect(unreachable_pub, reason = "In the package of the fuzz targets it is the library")]
#[path = "../fuzz/src/state.rs"]
mod state_body;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long each target gets random bytes, after its corpus, with every test run.
const TIME: Duration = Duration::from_secs(2);
/// Says in seconds how long instead.
const VARIABLE: &str = "PORTCULLIS_FUZZ_SECONDS";

/// Feeds a target; a panic is told with the input.
fn feed(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs: Vec<Vec<u8>> = Vec::new();
    for file in std::fs::read_dir(&corpus).expect("there is a corpus") {
        inputs.push(std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(inputs.len() >= 4, "{} has {} inputs", corpus.display(), inputs.len());
    for input in &inputs {
        run(target, input);
    }
    let longer = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    if longer.is_some() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        state ^= u64::from(now.subsec_nanos()) << 32 | now.as_secs();
    }
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let begin = Instant::now();
    while begin.elapsed() < longer.unwrap_or(TIME) {
        // New bytes, or an input with some of its bytes changed.
        let mut bytes = match random() % 3 {
            0 => (0..random() % 600).map(|_| random() as u8).collect(),
            _ => inputs[random() as usize % inputs.len()].clone(),
        };
        for _ in 0..random() % 6 {
            let length = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(random() as usize % length) {
                *byte = random() as u8;
            }
        }
        run(target, &bytes);
    }
}

fn run(target: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| target(input)) {
        eprintln!("the input: {input:02x?}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn registers() {
    feed("registers", bodies::registers);
}

#[test]
fn queue() {
    feed("queue", bodies::queue);
}

#[test]
fn tables() {
    feed("tables", bodies::tables);
}

#[test]
fn state() {
    feed("state", state_body::state);
}
