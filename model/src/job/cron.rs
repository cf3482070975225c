//! Times that come again: cron expressions, in UTC, to the minute.
//!
//! ```text
//!  minute hour day-of-month month day-of-week          as cron has it: 0 and 7 are Sunday
//!  minute hour day-of-month month day-of-week year     as AWS has it: 1 is Sunday; also inside cron( … )
//! ```
//!
//! A field is `*`, `?`, a value, a range, a step (`*/5`, `10-50/20`) or a list of these; months and days have their
//! English names of three letters. `L`, `W` and `#` are refused. When both day fields are restricted, either is enough.

use muster_wire::time::{Civil, Timestamp};
use std::time::Duration;

/// A cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: Option<u64>,
    months: u64,
    weekdays: Option<u64>,
    /// First and last year, and the step between.
    years: Vec<(i64, i64, i64)>,
}

impl Cron {
    /// Reads an expression. Errors: what is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = text.trim();
        let inner = bare.strip_prefix("cron(").map(|rest| rest.strip_suffix(')').ok_or("a ) is missing"));
        let inner = inner.transpose()?.unwrap_or(bare);
        let fields: Vec<&str> = inner.split_ascii_whitespace().collect();
        let (fields, year) = match fields.as_slice() {
            [minute, hour, day, month, weekday] => ([*minute, *hour, *day, *month, *weekday], None),
            [minute, hour, day, month, weekday, year] => ([*minute, *hour, *day, *month, *weekday], Some(*year)),
            other => return Err(format!("it has {} fields; use minute hour day month weekday [year]", other.len())),
        };
        let [minute, hour, day, month, weekday] = fields;
        // With a year it is AWS's form, whose week begins with 1.
        let week = if year.is_some() { WEEK_OF_AWS } else { WEEK_OF_CRON };
        let weekdays = set(weekday, &week)?.map(|days| {
            let aws = year.is_some();
            (0..8)
                .filter(|day| days & (1 << day) != 0)
                .fold(0, |all, day| all | 1u64 << if aws { day - 1 } else { day % 7 })
        });
        Ok(Self {
            minutes: set(minute, &Field::plain("minute", 0, 59))?.unwrap_or(u64::MAX),
            hours: set(hour, &Field::plain("hour", 0, 23))?.unwrap_or(u64::MAX),
            days: set(day, &Field::plain("day", 1, 31))?,
            months: set(month, &MONTHS)?.unwrap_or(u64::MAX),
            weekdays,
            years: year.map(years).transpose()?.unwrap_or_default(),
        })
    }

    /// The first matching minute that does not begin before `from`; `None` when there is none in the next [`YEARS`].
    #[must_use]
    pub fn at_or_after(&self, from: Timestamp) -> Option<Timestamp> {
        let first = from.millis().div_euclid(MINUTE_MS) + i64::from(from.millis().rem_euclid(MINUTE_MS) != 0);
        let begin = Timestamp::from_millis(first * MINUTE_MS);
        let midnight = begin.epoch_seconds().div_euclid(DAY_S) * DAY_S;
        (0..YEARS * 366).find_map(|day| {
            let day_begin = Timestamp::from_seconds(midnight + day * DAY_S);
            if !self.on_day(&Civil::from(day_begin)) {
                return None;
            }
            let skipped = begin.since(day_begin).as_secs() / 60;
            (skipped.min(DAY_MINUTES)..DAY_MINUTES)
                .find(|minute| self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1)
                .map(|minute| day_begin.plus(Duration::from_secs(minute * 60)))
        })
    }

    fn on_day(&self, day: &Civil) -> bool {
        let year = self.years.is_empty()
            || self
                .years
                .iter()
                .any(|(first, last, step)| (*first..=*last).contains(&day.year) && (day.year - first) % step == 0);
        let of_month = |days: u64| days >> day.day & 1 == 1;
        let of_week = |days: u64| days >> day.weekday() & 1 == 1;
        let matches = match (self.days, self.weekdays) {
            (None, None) => true,
            (Some(days), None) => of_month(days),
            (None, Some(days)) => of_week(days),
            (Some(days), Some(weekdays)) => of_month(days) || of_week(weekdays),
        };
        year && self.months >> day.month & 1 == 1 && matches
    }
}

/// How far ahead a match is looked for; longer than from one 29 February to the next.
pub const YEARS: i64 = 9;
const DAY_S: i64 = 86_400;
const DAY_MINUTES: u64 = 1440;
const MINUTE_MS: i64 = 60_000;

struct Field {
    name: &'static str,
    first: u64,
    last: u64,
    words: &'static [&'static str],
}

impl Field {
    const fn plain(name: &'static str, first: u64, last: u64) -> Self {
        Self { name, first, last, words: &[] }
    }
}

const MONTHS: Field = Field {
    name: "month",
    first: 1,
    last: 12,
    words: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const WEEK_OF_CRON: Field = Field { name: "weekday", first: 0, last: 7, words: DAYS };
const WEEK_OF_AWS: Field = Field { name: "weekday", first: 1, last: 7, words: DAYS };

/// The values of a field as bits; `None` when any value will do.
fn set(text: &str, field: &Field) -> Result<Option<u64>, String> {
    if matches!(text, "*" | "?") {
        return Ok(None);
    }
    let mut bits = 0u64;
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(number(step, field)?)),
            None => (item, None),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (field.first, field.last),
            (_, Some((first, last))) => (value(first, field)?, value(last, field)?),
            // `5/10` begins at 5 and goes to the end.
            (one, None) => (value(one, field)?, if step.is_some() { field.last } else { value(one, field)? }),
        };
        let step = step.unwrap_or(1);
        if step == 0 || first > last {
            return Err(format!("{item:?} is no {}", field.name));
        }
        bits = (first..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX)).fold(bits, |bits, n| bits | 1 << n);
    }
    Ok(Some(bits))
}

fn value(text: &str, field: &Field) -> Result<u64, String> {
    let word = field.words.iter().position(|word| word.eq_ignore_ascii_case(text));
    let value = match word {
        Some(at) => field.first + at as u64,
        None => number(text, field)?,
    };
    if (field.first..=field.last).contains(&value) {
        Ok(value)
    } else {
        Err(format!("{text:?} is no {}; use {} to {}", field.name, field.first, field.last))
    }
}

fn number(text: &str, field: &Field) -> Result<u64, String> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| format!("{text:?} is no {}", field.name))
}

fn years(text: &str) -> Result<Vec<(i64, i64, i64)>, String> {
    if matches!(text, "*" | "?") {
        return Ok(Vec::new());
    }
    let field = Field::plain("year", 1970, 2199);
    let signed = |year: u64| i64::try_from(year).unwrap_or(0);
    text.split(',')
        .map(|item| {
            let (range, step) =
                item.split_once('/').map_or((item, Ok(1)), |(range, step)| (range, number(step, &field)));
            let (first, last) = match (range, range.split_once('-')) {
                ("*", _) => (field.first, field.last),
                (_, Some((first, last))) => (value(first, &field)?, value(last, &field)?),
                (one, None) => (value(one, &field)?, if range == item { value(one, &field)? } else { field.last }),
            };
            match step? {
                0 => Err(format!("{item:?} is no year")),
                step => Ok((signed(first), signed(last), signed(step))),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_utc(text).unwrap()
    }

    #[track_caller]
    fn check(expression: &str, from: &str, next: &str) {
        let found = Cron::parse(expression).unwrap().at_or_after(at(from));
        assert_eq!(found, Some(at(next)), "{expression} from {from}: {found:?}");
    }

    #[test]
    fn the_next_time_is_found() {
        check("30 2 * * *", "2026-01-31 02:30", "2026-01-31 02:30");
        check("30 2 * * *", "2026-01-31T02:30:01Z", "2026-02-01 02:30");
        check("*/15 * * * *", "2026-01-31 02:46", "2026-01-31 03:00");
        check("5/20 8-9 * * *", "2026-01-31 08:46", "2026-01-31 09:05");
        check("0 18 ? * MON *", "2026-01-31 00:00", "2026-02-02 18:00");
        check("cron(0 18 ? * 2 *)", "2026-01-31 00:00", "2026-02-02 18:00");
        check("0 18 * * 1", "2026-01-31 00:00", "2026-02-02 18:00");
        check("0 0 * * 7", "2026-01-31 00:00", "2026-02-01 00:00");
        check("0 0 29 FEB *", "2026-01-01 00:00", "2028-02-29 00:00");
        check("0 0 31 * ? 2027,2030-2032/2", "2026-01-01 00:00", "2027-01-31 00:00");
        check("0 0 13 * FRI", "2026-01-31 00:00", "2026-02-06 00:00");
        check("0 12 1,15 * *", "2026-01-02 00:00", "2026-01-15 12:00");
        assert_eq!(Cron::parse("0 0 1 1 ? 2020").unwrap().at_or_after(at("2026-01-01 00:00")), None);
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        for (text, problem) in [
            ("* * *", "it has 3 fields"),
            ("60 * * * *", "\"60\" is no minute; use 0 to 59"),
            ("* * 0 * *", "\"0\" is no day; use 1 to 31"),
            ("* * L * *", "\"L\" is no day"),
            ("* * * XXX *", "\"XXX\" is no month"),
            ("* * * * 0 *", "\"0\" is no weekday; use 1 to 7"),
            ("*/0 * * * *", "\"*/0\" is no minute"),
            ("5-1 * * * *", "\"5-1\" is no minute"),
            ("cron(* * * * *", "a ) is missing"),
            ("* * * * * 99999", "\"99999\" is no year"),
        ] {
            let error = Cron::parse(text).unwrap_err();
            assert!(error.starts_with(problem), "{text}: {error}");
        }
    }
}
