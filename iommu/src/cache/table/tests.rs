use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::table::*;

type Pairs = Table<2, 2>;

const fn key(number: u64) -> [u64; 2] {
    [number, number * 3]
}

fn filled(numbers: impl IntoIterator<Item = u64>) -> (Keeper, Pairs) {
    let (keeper, table) = (Keeper::default(), Table::new(4));
    for number in numbers {
        fill(&keeper, &table, number, [number, !number]);
    }
    (keeper, table)
}

fn fill(keeper: &Keeper, table: &Pairs, number: u64, value: [u64; 2]) {
    table.fill(&mut keeper.fill(keeper.epoch()).unwrap(), key(number), value);
}

#[test]
fn what_is_put_in_is_found_until_it_is_taken_out() {
    let (keeper, table) = filled(1..=20);
    assert!((1..=20).all(|number| table.get(key(number)) == Some([number, !number])));
    // Both words of a key count.
    assert_eq!(table.get([1, 6]), None);
    assert_eq!(table.get([2, 3]), None);
    assert_eq!(table.get(key(21)), None);
    let mut change = keeper.evict();
    table.evict_key(&mut change, key(3));
    table.evict_key(&mut change, key(21));
    table.evict(&mut change, |[number, _], value| number % 2 == 0 && value == [number, !number]);
    for number in 1..=20 {
        assert_eq!(table.get(key(number)).is_some(), number % 2 == 1 && number != 3, "{number}");
    }
    assert!(!table.is_empty());
    table.evict(&mut change, |_, _| true);
    assert!(table.is_empty());
}

#[test]
fn a_value_put_in_again_replaces_the_first() {
    let (keeper, table) = filled([7]);
    fill(&keeper, &table, 7, [1, 2]);
    assert_eq!(table.get(key(7)), Some([1, 2]));
    table.evict_key(&mut keeper.evict(), key(7));
    assert_eq!(table.get(key(7)), None);
    assert!(table.is_empty());
}

#[test]
fn it_holds_no_more_than_its_slots_and_goes_on_taking_new_values() {
    let (keeper, table) = filled(1..=10_000);
    let found = (1..=10_000).filter(|number| table.get(key(*number)).is_some()).count();
    assert!(found <= 16 * WAYS);
    assert_eq!(table.get(key(10_000)), Some([10_000, !10_000]));
    table.evict(&mut keeper.evict(), |_, _| true);
    assert!((1..=10_000).all(|number| table.get(key(number)).is_none()));
    assert!(table.is_empty());
}

#[test]
fn a_value_looked_up_before_an_eviction_is_not_put_in_after_it() {
    let keeper = Keeper::default();
    let epoch = keeper.epoch();
    assert!(keeper.fill(epoch).is_some());
    // Whatever it takes out, and if it is nothing: the eviction counts.
    drop(keeper.evict());
    assert!(keeper.fill(epoch).is_none());
    assert!(keeper.fill(keeper.epoch()).is_some());
}

#[test]
fn nobody_waits_to_put_something_in() {
    let keeper = Keeper::default();
    let change = keeper.evict();
    assert!(keeper.fill(keeper.epoch()).is_none());
    drop(change);
    assert!(keeper.fill(keeper.epoch()).is_some());
}

#[test]
fn a_reader_sees_a_whole_value_or_none() {
    let (keeper, table) = (Keeper::default(), Pairs::new(1));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for number in 1..40 {
                        if let Some([one, other]) = table.get(key(number)) {
                            assert_eq!((one % 64, other), (number, !one), "{number}");
                        }
                    }
                }
            });
        }
        for round in 0..100_000 {
            let number = round % 39 + 1;
            let value = round * 64 + number;
            fill(&keeper, &table, number, [value, !value]);
            if round % 16 == 0 {
                table.evict_key(&mut keeper.evict(), key(number));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
