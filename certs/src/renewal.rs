//! When a certificate is renewed. Pure: the time is an argument, and so is chance.
//!
//! ```text
//! not_before ───────────── half ── ± a tenth of the life ──────────── not_after ──▶
//!   keep                     renew; retried until it is done             ask to be let in again
//! ```
//! The half leaves as much time again for trying. The spread keeps a fleet that was installed together from renewing
//! together.

use std::time::Duration;

use crate::certificate::CertificateFacts;

/// What to do about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing until this second.
    At(i64),
    /// Renew now.
    Now,
    /// It has ended; renewing needs somebody's yes.
    Ended,
    /// It begins in the future: a clock is wrong, and renewing would not help.
    NotYet,
}

/// The share of the life by which a renewal is moved at most, to either side of the half.
const SPREAD: f64 = 0.1;

/// Says what to do at `now`. `fraction` (0 to 1) is drawn once for each certificate and decides where in the spread its
/// renewal lies.
pub fn due(facts: &CertificateFacts, now: i64, fraction: f64) -> Due {
    let at = renew_at(facts, fraction);
    if now > facts.not_after {
        Due::Ended
    } else if now < facts.not_before {
        Due::NotYet
    } else if now >= at {
        Due::Now
    } else {
        Due::At(at)
    }
}

/// The second at which the renewal of a certificate lies.
pub fn renew_at(facts: &CertificateFacts, fraction: f64) -> i64 {
    let life = facts.not_after.saturating_sub(facts.not_before).max(0);
    let share = 0.5 - SPREAD + 2.0 * SPREAD * fraction.clamp(0.0, 1.0);
    facts.not_before.saturating_add(Duration::from_secs(life.unsigned_abs()).mul_f64(share).as_secs() as i64)
}

/// How soon after a certificate of this life was issued another one is issued for the same holder. A holder that asks
/// more often is in a loop.
pub const fn least_interval(life: Duration) -> Duration {
    // A twentieth: 36 hours of 30 days. A forced renewal is told when to come back.
    Duration::from_secs(life.as_secs() / 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(not_before: i64, life: i64) -> CertificateFacts {
        CertificateFacts { id: String::new(), not_before, not_after: not_before + life }
    }

    proptest! {
        #[test]
        fn a_renewal_lies_inside_the_life_and_leaves_time_to_try(
            begin in 0..4_000_000_000_i64, life in 10..100_000_000_i64, fraction in 0.0..=1.0_f64,
        ) {
            let certificate = facts(begin, life);
            let at = renew_at(&certificate, fraction);
            prop_assert!(at > begin && at < certificate.not_after);
            // At least a third of the life is left, and at least a third is used.
            prop_assert!(3 * (certificate.not_after - at) >= life && 3 * (at - begin) >= life);
        }

        #[test]
        fn every_moment_has_one_answer_and_time_only_moves_it_forward(
            begin in 0..4_000_000_000_i64, life in 10..100_000_000_i64, fraction in 0.0..=1.0_f64,
            (first, second) in (-200_000_000..200_000_000_i64, 0..200_000_000_i64),
        ) {
            let certificate = facts(begin, life);
            let order = |due: Due| match due {
                Due::NotYet => 0,
                Due::At(_) => 1,
                Due::Now => 2,
                Due::Ended => 3,
            };
            let (early, late) = (begin + first, begin + first + second);
            prop_assert!(order(due(&certificate, early, fraction)) <= order(due(&certificate, late, fraction)));
            if let Due::At(at) = due(&certificate, early, fraction) {
                prop_assert!(at > early);
                prop_assert_eq!(due(&certificate, at, fraction), Due::Now);
            }
        }

        #[test]
        fn a_renewed_certificate_is_not_due_at_once_and_not_too_soon_for_the_issuer(
            now in 1_000_000_000..4_000_000_000_i64, seconds in 10..100_000_000_u64, fraction in 0.0..=1.0_f64,
        ) {
            let life = Duration::from_secs(seconds);
            let backdate = crate::profile::backdate(life).as_secs() as i64;
            let fresh = facts(now - backdate, seconds as i64 + backdate);
            let Due::At(at) = due(&fresh, now, fraction) else { return Err(TestCaseError::fail("due at once")) };
            prop_assert!(at >= now + least_interval(life).as_secs() as i64);
        }
    }
}
