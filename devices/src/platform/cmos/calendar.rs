//! Dates and times of day, and how the clock's registers hold them.

/// A moment in the proleptic Gregorian calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: i64,
    /// 1 to 31.
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

const DAY: i64 = 24 * 60 * 60;
/// Days in 400 years, after which the calendar repeats.
const ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const TO_1970: i64 = 719_468;

impl Moment {
    /// The moment `seconds` after 1970-01-01 00:00.
    pub(super) fn from_seconds(seconds: i64) -> Self {
        let (days, time) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        // Years are counted from March, so that the leap day comes last.
        let days = days + TO_1970;
        let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        // Take the leap days out: one in 4 years, none in 100, one in 400.
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months from March have 31, 30, 31, 30, 31 days, over and over: 153 in five.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let next_year = month_from_march >= 10;
        Self {
            year: era * 400 + year_of_era + i64::from(next_year),
            month: if next_year { month_from_march - 9 } else { month_from_march + 3 },
            day,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }

    /// Seconds since 1970-01-01 00:00. Fields out of their range carry over; a month counts as the nearest
    /// that exists.
    pub(super) fn to_seconds(self) -> i64 {
        let month = self.month.clamp(1, 12);
        let (year, month_from_march) =
            if month > 2 { (self.year, month - 3) } else { (self.year - 1, month + 9) };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * month_from_march + 2) / 5 + self.day - 1;
        let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * ERA + day_of_era - TO_1970;
        days * DAY + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// The day of the week, from 1 for Sunday.
    pub(super) fn weekday(self) -> i64 {
        // 1970-01-01 was a Thursday.
        (self.to_seconds().div_euclid(DAY) + 4).rem_euclid(7) + 1
    }
}

/// How numbers stand in the registers: what register B says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// Plain binary and not binary-coded decimal.
    pub(super) binary: bool,
    /// Hours from 0 to 23 and not from 1 to 12 with bit 7 for the afternoon.
    pub(super) hours_24: bool,
}

const AFTERNOON: u8 = 0x80;

impl Format {
    /// Of `number`, what two digits can hold.
    pub(super) fn encode(self, number: i64) -> u8 {
        let number = number.rem_euclid(100) as u8;
        if self.binary { number } else { number / 10 * 16 + number % 10 }
    }

    pub(super) fn decode(self, byte: u8) -> i64 {
        if self.binary { byte.into() } else { i64::from(byte >> 4) * 10 + i64::from(byte & 0xF) }
    }

    pub(super) fn encode_hour(self, hour: i64) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let shown = self.encode(if hour % 12 == 0 { 12 } else { hour % 12 });
        if hour >= 12 { shown | AFTERNOON } else { shown }
    }

    pub(super) fn decode_hour(self, byte: u8) -> i64 {
        if self.hours_24 {
            return self.decode(byte);
        }
        let hour = self.decode(byte & !AFTERNOON) % 12;
        if byte & AFTERNOON == 0 { hour } else { hour + 12 }
    }
}

#[cfg(test)]
mod tests;
