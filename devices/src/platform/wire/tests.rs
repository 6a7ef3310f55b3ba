use super::*;
use crate::platform::testing::RecordedLine;

#[test]
fn a_wire_stays_asserted_until_the_last_device_lets_go() {
    let input = RecordedLine::new();
    let wire = Wire::new(vec![input.clone()]);
    let (first, second) = (wire.share(), wire.share());
    first.set(true);
    first.set(true);
    second.set(true);
    first.set(false);
    assert_eq!(input.taken(), [true]);
    second.set(false);
    second.set(false);
    assert_eq!(input.taken(), [false]);
}

#[test]
fn a_device_that_goes_away_lets_go() {
    let input = RecordedLine::new();
    let share = Wire::new(vec![input.clone()]).share();
    share.set(true);
    drop(share);
    assert_eq!(input.taken(), [true, false]);
}
