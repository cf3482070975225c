//! Wakes: things whose timers are due, and every connector now and then, since a lost wake-up must only cost time.

use super::Shared;
use muster_bus::{Inbound, Requests, Submitted};
use muster_wire::id::ThingName;
use muster_wire::limits::RESCAN_INTERVAL;
use muster_wire::time::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How exact a timer is.
const TICK: Duration = Duration::from_millis(250);

/// The moments at which things want to be looked at.
#[derive(Default)]
pub(super) struct Timers {
    due: Mutex<Due>,
    stopped: Condvar,
}

/// One moment for each thing: the earliest. A look at the thing sets the next one.
#[derive(Default)]
struct Due {
    at: BTreeSet<(Timestamp, ThingName)>,
    of: HashMap<ThingName, Timestamp>,
    stop: bool,
}

impl Timers {
    /// Looks at `thing` at that moment. A moment that is no longer of interest does no harm.
    pub(super) fn set(&self, at: Timestamp, thing: &ThingName) {
        let mut due = self.lock();
        match due.of.get(thing).copied() {
            Some(known) if known <= at => return,
            Some(known) => drop(due.at.remove(&(known, thing.clone()))),
            None => {}
        }
        due.of.insert(thing.clone(), at);
        due.at.insert((at, thing.clone()));
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.stopped.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits one tick. Returns the things that are due, or `None` when it is time to stop.
    fn wait(&self, now: impl Fn() -> Timestamp) -> Option<Vec<ThingName>> {
        let due = self.lock();
        let (mut due, _) =
            self.stopped.wait_timeout_while(due, TICK, |due| !due.stop).unwrap_or_else(PoisonError::into_inner);
        if due.stop {
            return None;
        }
        let now = now();
        let mut things = Vec::new();
        while due.at.first().is_some_and(|(at, _)| *at <= now) {
            things.extend(due.at.pop_first().map(|(_, thing)| thing));
        }
        for thing in &things {
            due.of.remove(thing);
        }
        Some(things)
    }
}

/// The ticker's whole life.
pub(super) fn tick(shared: &Shared) {
    let mut next_scan = shared.clock.now().plus(RESCAN_INTERVAL);
    while let Some(things) = shared.timers.wait(|| shared.clock.now()) {
        for thing in things {
            wake(shared, &thing);
        }
        shared.agenda.tick(shared.clock.now());
        if shared.clock.now() >= next_scan {
            next_scan = shared.clock.now().plus(RESCAN_INTERVAL);
            let connectors: Vec<ThingName> = shared.fleet().connectors.keys().cloned().collect();
            for thing in connectors {
                wake(shared, &thing);
            }
        }
    }
}

/// Asks for a look. A full inbox means that the worker is busy: the next scan asks again.
pub(super) fn wake(shared: &Shared, thing: &ThingName) {
    match shared.bus.submit(Inbound::Wake(thing.clone())) {
        Ok(Submitted::Queued) | Err(_) => {}
        Ok(Submitted::Full(_)) => shared.timers.set(shared.clock.now().plus(TICK), thing),
    }
}
