//! One request through a fresh unit: nothing is cached, so there is exactly one state of the tables.

mod ats;
mod legacy;
mod scalable;

use std::collections::BTreeSet;

use iommu::Access;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::generate::Seasoning;
use crate::trace::{Answer, Outcome};

/// As many cases as PROPTEST_CASES says; what fails is printed whole, so no seeds are kept.
pub fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, max_global_rejects: u32::MAX, ..ProptestConfig::default() }
}

/// Fewer cases, since each of them is many requests.
pub fn config_of_sequences() -> ProptestConfig {
    let config = config();
    ProptestConfig { cases: config.cases.div_ceil(4), max_shrink_iters: 300, ..config }
}

/// Puts plain tables of so many words through `check`, every bit turned around, one at a time.
pub fn for_each_bit(words: usize, check: impl Fn(u8, Access, Seasoning) -> Result<(), TestCaseError>) {
    for (word, bit) in (0..words).flat_map(|word| (0..64).map(move |bit| (word, bit))) {
        // Every width and access has its turn, though not with every bit.
        let width = if word % 2 == 0 { 48 } else { 57 };
        let access = if bit % 2 == 0 { Access::Write } else { Access::Read };
        match check(width, access, Seasoning::one_bit(word, bit)) {
            Ok(()) | Err(TestCaseError::Reject(_)) => {}
            Err(error) => panic!("word {word}, bit {bit}: {error}"),
        }
    }
}

/// Checks that `cases` bring about each of `reasons` as the only permitted one, and success.
pub fn assert_all_occur<C>(
    cases: &impl Strategy<Value = C>,
    reasons: &[u8],
    permitted: impl Fn(&C) -> Vec<Outcome>,
) {
    assert_all_seen(cases, reasons, |case| match permitted(case).as_slice() {
        [Outcome { answer: Answer::Blocked { reason, .. }, .. }] => Some(Err(*reason)),
        [Outcome { answer: Answer::Reaches { .. }, .. }] => Some(Ok(())),
        _ => None,
    });
}

/// Checks that `cases` bring about each of `reasons`, and success.
pub fn assert_all_seen<C>(
    cases: &impl Strategy<Value = C>,
    reasons: &[u8],
    outcome: impl Fn(&C) -> Option<Result<(), u8>>,
) {
    let mut runner = TestRunner::deterministic();
    let mut missing: BTreeSet<_> = reasons.iter().copied().collect();
    let mut succeeded = 0;
    for _ in 0..10_000 {
        if missing.is_empty() && succeeded > 100 {
            return;
        }
        match outcome(&cases.new_tree(&mut runner).unwrap().current()) {
            Some(Err(reason)) => _ = missing.remove(&reason),
            Some(Ok(())) => succeeded += 1,
            None => {}
        }
    }
    panic!("no case for {missing:x?}, and {succeeded} that succeed");
}
