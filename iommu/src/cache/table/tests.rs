use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;

fn filled(keys: impl IntoIterator<Item = u64>) -> Table<2> {
    let table = Table::new(4);
    for key in keys {
        table.fill(table.epoch(), key, [key, !key]);
    }
    table
}

#[test]
fn what_is_put_in_is_found_until_it_is_taken_out() {
    let table = filled(1..=20);
    assert!((1..=20).all(|key| table.get(key) == Some([key, !key])));
    assert_eq!(table.get(21), None);
    table.evict_keys([3, 21]);
    table.evict(|key, value| key % 2 == 0 && value == [key, !key]);
    for key in 1..=20 {
        assert_eq!(table.get(key).is_some(), key % 2 == 1 && key != 3, "{key}");
    }
}

#[test]
fn a_value_put_in_again_replaces_the_first() {
    let table = filled([7]);
    table.fill(table.epoch(), 7, [1, 2]);
    assert_eq!(table.get(7), Some([1, 2]));
    table.evict_keys([7]);
    assert_eq!(table.get(7), None);
}

#[test]
fn it_holds_no_more_than_its_slots_and_goes_on_taking_new_values() {
    let table = filled(1..=10_000);
    let found = (1..=10_000).filter(|key| table.get(*key).is_some()).count();
    assert!(found <= 16 * WAYS);
    assert_eq!(table.get(10_000), Some([10_000, !10_000]));
    table.evict(|_, _| true);
    assert!((1..=10_000).all(|key| table.get(key).is_none()));
}

#[test]
fn a_value_looked_up_before_an_eviction_is_not_put_in_after_it() {
    let table = Table::<1>::new(4);
    // Nothing is in the cache: the eviction counts all the same.
    let epoch = table.epoch();
    table.evict_keys([1]);
    table.fill(epoch, 7, [1]);
    assert_eq!(table.get(7), None);
    let epoch = table.epoch();
    table.evict(|_, _| false);
    table.fill(epoch, 7, [1]);
    assert_eq!(table.get(7), None);
}

#[test]
fn a_reader_sees_a_whole_value_or_none() {
    let table = Table::<2>::new(1);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for key in 1..40 {
                        if let Some([one, other]) = table.get(key) {
                            assert_eq!((one % 64, other), (key, !one), "{key}");
                        }
                    }
                }
            });
        }
        for round in 0..100_000 {
            let key = round % 39 + 1;
            let value = round * 64 + key;
            table.fill(table.epoch(), key, [value, !value]);
            if round % 16 == 0 {
                table.evict_keys([key]);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
