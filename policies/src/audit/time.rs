//! A moment of the record: RFC 3339, milliseconds, UTC.
//!
//! Reads no clock: whoever writes the record passes the time in.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z, shown as `2026-11-21T01:14:00.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    millis: u64,
}

/// 9999-12-31T23:59:59.999Z: RFC 3339 has four digits for a year.
const LAST: u64 = 253_402_300_799_999;
/// The text form; a zero stands for any digit.
const FORM: &str = "0000-00-00T00:00:00.000Z";

impl Timestamp {
    /// From milliseconds since 1970; later than the year 9999 is its last moment.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self {
            millis: if millis > LAST { LAST } else { millis },
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        self.millis
    }

    /// Parses exactly the form that this type shows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Whatever stands between the digits is compared, and the digits must be digits: nothing else has this form.
        let mut marks = text.bytes().zip(FORM.bytes());
        let fits = |(byte, form): (u8, u8)| match form {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        };
        if text.len() != FORM.len() || !marks.all(fits) {
            return None;
        }
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
        let date = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let days = days_from_civil(date.0, date.1, date.2)?;
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        // What does not come out as it went in was no day: the 31st of February.
        if civil_from_days(days) != date || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Self::from_unix_millis(seconds * 1_000 + number(20, 23)?))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        // A clock before 1970 is shown as 1970; the sequence number keeps the order.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Timestamp {
    /// The text form, as ASCII.
    #[must_use]
    pub fn text(self) -> [u8; FORM.len()] {
        let seconds = self.millis / 1_000;
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let mut rest = [
            (year, 1_000),
            (month, 10),
            (day, 10),
            (seconds / 3_600 % 24, 10),
            (seconds / 60 % 60, 10),
            (seconds % 60, 10),
            (self.millis % 1_000, 100),
        ]
        .into_iter()
        .flat_map(|(value, highest)| {
            std::iter::successors(Some(highest), |unit| (*unit > 1).then_some(unit / 10))
                .map(move |unit| value / unit % 10)
        });
        let mut text = [0; FORM.len()];
        for (slot, form) in text.iter_mut().zip(FORM.bytes()) {
            *slot = match form {
                b'0' => b'0' + u8::try_from(rest.next().unwrap_or(0)).unwrap_or(0),
                mark => mark,
            };
        }
        text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or(FORM))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a time of the record"))
    }
}

/// Days in the 400 years of the Gregorian cycle.
const CYCLE: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: u64 = 719_468;

/// Year, month and day of a day since 1970. Years are counted from March, so that the leap day is a year's last.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    let year = (day - day / 1_460 + day / 36_524 - day / (CYCLE - 1)) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let carry = if month <= 2 { 1 } else { 0 };
    (cycle * 400 + year + carry, month, day)
}

/// The inverse; `None` before 1970 or for a month that is none.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    let year = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day.checked_sub(1)?;
    let of_cycle = year % 400;
    let in_cycle = of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year;
    (year / 400 * CYCLE + in_cycle).checked_sub(EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_as_the_calendar_has_them() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_795_223_640_123, "2026-11-21T01:14:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let time = Timestamp::from_unix_millis(millis);
            assert_eq!(time.to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(time));
        }
    }

    #[test]
    fn every_day_of_four_centuries_reads_back_as_it_was_shown() {
        for day in 0..CYCLE {
            let time = Timestamp::from_unix_millis(day * 86_400_000 + 1);
            assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn what_is_not_shown_so_is_not_read() {
        for text in [
            "",
            "2026-11-21T01:14:00Z",
            "2026-11-21 01:14:00.123Z",
            "2026-11-21T01:14:00.123z",
            "2026-02-30T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-00-01T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:60:00.000Z",
            "2026-01-01T00:00:60.000Z",
            "2026-01-32T00:00:00.000Z",
            "2100-02-29T00:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "+026-01-01T00:00:00.000Z",
            "2026-11-21T01:14:00.123Zx",
            "2026-11-21T01:14:00.12\u{e9}",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
