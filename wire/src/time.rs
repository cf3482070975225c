//! The one stored or sent time: milliseconds since 1970-01-01T00:00:00Z.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A moment, in milliseconds since the Unix epoch, UTC. For what is stored or sent; never for waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the Unix epoch.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch: the unit of AWS shadow and job messages.
    #[must_use]
    pub const fn epoch_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment plus `duration`.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long before this moment `earlier` was; zero when it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with seconds, for example `2026-01-31T08:15:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.epoch_seconds();
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
    }
}

/// A moment as a calendar and a clock in UTC show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// Year.
    pub year: i64,
    /// Month, from 1.
    pub month: i64,
    /// Day of the month, from 1.
    pub day: i64,
    /// Hour of the day, from 0.
    pub hour: i64,
    /// Minute of the hour.
    pub minute: i64,
    /// Second of the minute.
    pub second: i64,
}

impl Civil {
    /// Day of the week: 0 is Sunday.
    #[must_use]
    pub fn weekday(&self) -> i64 {
        // 1970-01-01 was a Thursday.
        (days_from_civil(self.year, self.month, self.day) + 4).rem_euclid(7)
    }
}

impl From<Timestamp> for Civil {
    fn from(at: Timestamp) -> Self {
        let seconds = at.epoch_seconds();
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        Self { year, month, day, hour: of_day / 3600, minute: of_day / 60 % 60, second: of_day % 60 }
    }
}

impl Timestamp {
    /// Reads `YYYY-MM-DD HH:MM` or `YYYY-MM-DDTHH:MM:SSZ`, both UTC. `None` when the text is neither, or no such day.
    #[must_use]
    pub fn from_utc(text: &str) -> Option<Self> {
        let (date, time) = text.split_once([' ', 'T'])?;
        let zulu = text.as_bytes().get(10) == Some(&b'T');
        let time = if zulu { time.strip_suffix('Z')? } else { time };
        let number = |text: &str, digits: usize| -> Option<i64> {
            let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
            if plain { text.parse().ok() } else { None }
        };
        let mut date = date.split('-');
        let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
        let mut time = time.split(':');
        let (hour, minute) = (number(time.next()?, 2)?, number(time.next()?, 2)?);
        let second = if zulu { number(time.next()?, 2)? } else { 0 };
        let days = days_from_civil(year, month, day);
        let real = date.next().is_none() && time.next().is_none() && civil_from_days(days) == (year, month, day);
        let fits = hour < 24 && minute < 60 && second < 60;
        (real && fits).then(|| Self::from_seconds(days * 86_400 + hour * 3600 + minute * 60 + second))
    }
}

/// The day number of a date; what [`civil_from_days`] takes apart.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a day number since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Eras of 400 years make the leap rule periodic; years start in March so that the leap day is the last one.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ];
        for (millis, text) in cases {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
    }

    #[test]
    fn reads_what_it_prints_and_the_short_form() {
        for millis in [0, 951_782_400_000, 1_735_689_599_000, 4_107_542_400_000, -1000] {
            let at = Timestamp::from_millis(millis);
            assert_eq!(Timestamp::from_utc(&at.to_string()), Some(at));
        }
        let short = Timestamp::from_utc("2026-03-01 04:05").map(|at| at.to_string());
        assert_eq!(short.as_deref(), Some("2026-03-01T04:05:00Z"));
        for bad in
            ["2026-02-29 00:00", "2026-13-01 00:00", "2026-01-01 24:00", "2026-01-01", "2026-01-01T00:00:00", "x"]
        {
            assert_eq!(Timestamp::from_utc(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_days_of_the_week_go_on() {
        let sunday = Timestamp::from_seconds(1_800_000_000 - 1_800_000_000 % 86_400);
        let days: Vec<i64> =
            (0..8).map(|day| Civil::from(sunday.plus(Duration::from_secs(day * 86_400))).weekday()).collect();
        // 2027-01-15 is a Friday.
        assert_eq!(days, [5, 6, 0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn since_is_zero_when_the_clock_went_back() {
        let (early, late) = (Timestamp::from_seconds(10), Timestamp::from_seconds(12));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
