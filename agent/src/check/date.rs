//! The date that a server gives with every answer.

use muster_wire::time::Timestamp;

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that RFC 9110 lets a server send.
pub fn parse(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let (day, year) = (day.parse::<i64>().ok()?, year.parse::<i64>().ok()?);
    let clock: Vec<i64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hour, minute, second] = clock[..] else { return None };
    let in_range = (1..=31).contains(&day) && (1970..10_000).contains(&year) && hour < 24 && minute < 60 && second < 61;
    if !in_range || hour < 0 || minute < 0 || second < 0 {
        return None;
    }
    // Days since 1970 of a date whose year begins in March, after Howard Hinnant's `days_from_civil`.
    let month = i64::try_from(month).ok()? + 1;
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(Timestamp::from_seconds(((days * 24 + hour) * 60 + minute) * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_nonsense_is_not() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Sun, 22 Nov 2026 05:03:39 GMT", 1_795_323_819),
        ] {
            assert_eq!(parse(text), Some(Timestamp::from_seconds(seconds)), "{text}");
        }
        for bad in ["", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Abc 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
