use proptest::prelude::*;

use super::*;
use crate::testing::Probe;
use crate::{BusNumber, Location};

fn decoder(bar: usize) -> Decoder {
    let location = Location::new(BusNumber::new(0), 0, 0);
    Decoder { function: Probe::new(location, 0, &[]), bar, base: 0, _held: Held::default() }
}

fn span(first: u64, last: u64) -> Span {
    Span::new(first, last).unwrap()
}

fn bar_at(ranges: &Ranges, address: u64) -> Option<usize> {
    ranges.first_piece(address, 1).target.map(|target| target.bar)
}

#[test]
fn who_comes_later_gets_the_gaps() {
    let mut ranges = Ranges::default();
    assert_eq!(ranges.claim(span(10, 19), &decoder(1)), 10);
    assert_eq!(ranges.claim(span(30, 39), &decoder(1)), 10);
    assert_eq!(ranges.claim(span(5, 44), &decoder(2)), 5 + 10 + 5);
    assert_eq!(ranges.claim(span(12, 35), &decoder(3)), 0);
    let found: Vec<_> = [4, 5, 9, 10, 19, 20, 29, 30, 39, 40, 44, 45].map(|at| bar_at(&ranges, at)).into();
    let expected = [0, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2, 0].map(|bar| (bar != 0).then_some(bar));
    assert_eq!(found, expected);
}

#[test]
fn the_ends_of_the_address_space_can_be_claimed() {
    let mut ranges = Ranges::default();
    assert_eq!(ranges.claim(span(u64::MAX - 1, u64::MAX), &decoder(1)), 2);
    assert_eq!(ranges.claim(span(0, 0), &decoder(2)), 1);
    assert_eq!(ranges.claim(span(1, u64::MAX), &decoder(3)), u64::MAX - 2);
    assert_eq!([0, 1, u64::MAX].map(|at| bar_at(&ranges, at)), [Some(2), Some(3), Some(1)]);
}

#[test]
fn pieces_end_where_somebody_else_begins() {
    let mut ranges = Ranges::default();
    ranges.claim(span(8, 11), &decoder(1));
    ranges.claim(span(12, 100), &decoder(2));
    let length = |at, length| ranges.first_piece(at, length).length;
    assert_eq!((length(8, 4), length(9, 8), length(12, 50), length(100, 2)), (4, 3, 8, 1));
    assert_eq!(length(7, 4), 1);
}

proptest! {
    #[test]
    fn every_address_goes_to_the_first_who_claimed_it(
        claims in proptest::collection::vec((0u64..64, 0u64..32), 1..12),
    ) {
        let mut ranges = Ranges::default();
        let mut model = [None; 100];
        for (bar, (first, length)) in claims.into_iter().enumerate() {
            let span = span(first, first + length);
            let mut claimed = 0;
            for owner in &mut model[first as usize..=(first + length) as usize] {
                claimed += u64::from(owner.is_none());
                owner.get_or_insert(bar);
            }
            prop_assert_eq!(ranges.claim(span, &decoder(bar)), claimed);
        }
        for (address, owner) in (0..).zip(model) {
            prop_assert_eq!(bar_at(&ranges, address), owner);
        }
    }
}
