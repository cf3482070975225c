//! Tells when one identity runs in two places: a copied state folder, a cloned machine, a backup restored beside the
//! original.
//!
//! An agent counts its attempts to connect, durably and before each attempt, and says on every connection which
//! installation it is and how far it has counted. One place alone counts upwards, so of two connections the later one has
//! the higher count. A copy repeats a count or goes back, at the latest when the second of the two connects again.
//!
//! | the later connection says | meaning |
//! |---|---|
//! | the same installation, a higher count | one place |
//! | the same installation, the same or a lower count | two places, or one whose state was restored |
//! | another installation, without a new enrolment | two places |
//! | something while another connection of an agent stands, under another client id | two places |
//!
//! Refuses to judge clients that say nothing of this kind: device SDKs, and agents that could not write their count.

use super::views::Link;
use crate::records::{Sighting, Suspicion};
use muster_wire::enrol::Installation;
use muster_wire::time::Timestamp;

/// What a report means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// One place; this is what is known of it now.
    One(Sighting),
    /// A straggler of an older connection: nothing new.
    Old,
    /// Two places; why.
    Two(String),
}

/// Judges what the connection `session` says against what was heard last, of the same incarnation.
pub(super) fn judge(last: &Sighting, session: u64, told: &Installation) -> Judgement {
    let one =
        Judgement::One(Sighting { installation: told.id.clone(), counter: told.session, session, ..last.clone() });
    if last.installation.is_empty() {
        return one;
    }
    if last.installation != told.id {
        return Judgement::Two("another installation connected with its identity".to_owned());
    }
    let (later, earlier) = (session > last.session, session < last.session);
    match told.session.cmp(&last.counter) {
        std::cmp::Ordering::Greater => one,
        std::cmp::Ordering::Equal if later || earlier => {
            Judgement::Two(format!("its session {} was begun twice", told.session))
        }
        std::cmp::Ordering::Equal => Judgement::Old,
        std::cmp::Ordering::Less if later => Judgement::Two(format!(
            "its session counter went back from {} to {}: its state was copied or restored",
            last.counter, told.session
        )),
        std::cmp::Ordering::Less => Judgement::Old,
    }
}

impl Link {
    /// Takes in what the connection `session` says of where the identity runs. Returns whether there is anything to keep.
    pub(super) fn sighted(&mut self, session: u64, client_id: &str, told: &Installation, now: Timestamp) -> bool {
        // Connections that have ended say nothing any more.
        self.agents.retain(|agent, _| self.sessions.contains_key(agent));
        let beside = self.agents.iter().any(|(agent, client)| *agent != session && **client != *client_id);
        self.agents.insert(session, client_id.into());
        let judgement = match judge(&self.sighting, session, told) {
            Judgement::One(_) if beside => Judgement::Two("two agents are connected as it at the same time".to_owned()),
            judgement => judgement,
        };
        match judgement {
            Judgement::One(sighting) => {
                self.sighting = sighting;
                true
            }
            Judgement::Old => false,
            // The first reason stays.
            Judgement::Two(_) if self.sighting.suspicion.is_some() => false,
            Judgement::Two(why) => {
                self.sighting.suspicion = Some(Suspicion { since: now, why });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: &str, session: u64) -> Installation {
        Installation { id: id.into(), session }
    }

    fn last(counter: u64, session: u64) -> Sighting {
        Sighting { installation: "a".into(), counter, session, ..Sighting::default() }
    }

    #[test]
    fn one_place_counts_upwards_and_two_do_not() {
        let verdict = |last: &Sighting, session, told: Installation| match judge(last, session, &told) {
            Judgement::One(_) => "one",
            Judgement::Old => "old",
            Judgement::Two(_) => "two",
        };
        assert_eq!(verdict(&Sighting::default(), 1, told("a", 7)), "one", "the first report is believed");
        for (session, counter, expected) in [
            (11, 6, "one"),
            (11, 9, "one"),
            (11, 5, "two"),
            (11, 4, "two"),
            (10, 5, "old"),
            (9, 4, "old"),
            (9, 5, "two"),
            // The server's clock was set back, and session numbers with it.
            (9, 6, "one"),
        ] {
            assert_eq!(verdict(&last(5, 10), session, told("a", counter)), expected, "{session} {counter}");
        }
        assert_eq!(verdict(&last(5, 10), 11, told("b", 1)), "two");
        assert_eq!(verdict(&last(5, 10), 11, told("b", 100)), "two");
    }

    #[test]
    fn a_copy_is_found_by_the_third_connection_whoever_comes_first() {
        // Both places count on from the same state; each connection takes the other one over.
        for order in ["aba", "abb", "baa", "bab"] {
            let mut counts = std::collections::BTreeMap::from([('a', 5), ('b', 5)]);
            let mut known = last(5, 1);
            let found = order.chars().zip(2..).any(|(place, session)| {
                let count = counts.entry(place).or_insert(5);
                *count += 1;
                match judge(&known, session, &told("a", *count)) {
                    Judgement::One(sighting) => known = sighting,
                    Judgement::Old => {}
                    Judgement::Two(_) => return true,
                }
                false
            });
            assert!(found, "{order}");
        }
    }
}
