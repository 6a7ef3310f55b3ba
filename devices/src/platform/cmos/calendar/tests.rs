use proptest::prelude::*;

use super::*;

fn moment(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Moment {
    Moment { year, month, day, hour, minute, second }
}

#[test]
fn known_moments() {
    for (seconds, expected, weekday) in [
        (0, moment(1970, 1, 1, 0, 0, 0), 5),
        (951_782_399, moment(2000, 2, 28, 23, 59, 59), 2),
        (951_782_400, moment(2000, 2, 29, 0, 0, 0), 3),
        (4_107_542_399, moment(2100, 2, 28, 23, 59, 59), 1),
        (4_107_542_400, moment(2100, 3, 1, 0, 0, 0), 2),
        (-1, moment(1969, 12, 31, 23, 59, 59), 4),
    ] {
        assert_eq!(Moment::from_seconds(seconds), expected);
        assert_eq!(expected.to_seconds(), seconds);
        assert_eq!(expected.weekday(), weekday);
    }
}

#[test]
fn noon_and_midnight_on_a_twelve_hour_clock() {
    let format = Format { binary: false, hours_24: false };
    for (hour, byte) in [(0, 0x12), (1, 0x01), (11, 0x11), (12, 0x92), (13, 0x81), (23, 0x91)] {
        assert_eq!(format.encode_hour(hour), byte);
        assert_eq!(format.decode_hour(byte), hour);
    }
}

proptest! {
    #[test]
    fn seconds_and_moments_are_inverse(seconds in -100_000_000_000_i64..1_000_000_000_000) {
        let moment = Moment::from_seconds(seconds);
        prop_assert_eq!(moment.to_seconds(), seconds);
        prop_assert!((1..=12).contains(&moment.month) && (1..=31).contains(&moment.day));
    }

    #[test]
    fn numbers_survive_every_format(number in 0_i64..100, hour in 0_i64..24, binary: bool, hours_24: bool) {
        let format = Format { binary, hours_24 };
        prop_assert_eq!(format.decode(format.encode(number)), number);
        prop_assert_eq!(format.decode_hour(format.encode_hour(hour)), hour);
    }
}
