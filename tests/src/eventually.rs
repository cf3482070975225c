//! Waiting for a condition instead of for a while: as short as it can be, as long as it may be, and the last thing
//! that was seen in the failure.

use muster_runtime::clock::Clock;
use std::thread;
use std::time::Duration;

/// Looks again and again until the look succeeds, and returns what it found.
///
/// The look answers `Err` with what it saw instead; the last of these is in the panic.
#[track_caller]
pub fn eventually<T, S: std::fmt::Display>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, S>,
) -> T {
    let clock = Clock::system();
    let end = clock.instant() + deadline;
    loop {
        // Asked before the look, so that the last look is not earlier than the deadline.
        let late = clock.instant() >= end;
        match look() {
            Ok(found) => return found,
            Err(seen) if late => panic!("not within {} s: {what}; last seen: {seen}", deadline.as_secs_f64()),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_returned_and_what_comes_late_is_waited_for() {
        let mut looks = 0;
        let found = eventually("the third look", Duration::from_secs(10), || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err("too early") }
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "not within 0 s: a blue moon; last seen: a white one")]
    fn the_failure_names_what_was_seen_last() {
        eventually("a blue moon", Duration::ZERO, || Err::<(), _>("a white one"));
    }
}
