use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use super::*;

/// The numbers that so many threads get which live at the same time.
fn numbers(threads: usize) -> Vec<Option<usize>> {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let ask = || {
            let number = of_this_thread();
            barrier.wait();
            assert_eq!(of_this_thread(), number);
            number
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn no_two_threads_have_the_same_number_and_what_ended_threads_had_is_free_again() {
    // Other tests may have threads too, where all run in one process.
    for _ in 0..20 {
        let numbers = numbers(LIMIT / 4);
        let distinct: BTreeSet<_> = numbers.iter().flatten().collect();
        assert_eq!(distinct.len(), LIMIT / 4);
    }
    // When there are no more, threads go without.
    let numbers = numbers(LIMIT + 8);
    let distinct: BTreeSet<_> = numbers.iter().flatten().collect();
    assert_eq!(distinct.len(), numbers.iter().flatten().count());
    assert!(distinct.len() <= LIMIT && numbers.contains(&None));
}
