//! Fault points: places where a test makes the process die, as a power cut would.
//!
//! Compiled to nothing unless the feature `faults` is on. With it, the environment variable `MUSTER_FAULT=name` (or
//! `name:2` for the second passage) makes the process kill itself with SIGKILL at the point of that name.
//! [`POINTS`] and [`SETTINGS_POINTS`] list every point; tests walk the lists.

/// Every fault point of the agent, in the order in which an upgrade, and its own removal, passes them.
pub const POINTS: [&str; 19] = [
    "upgrade.accepted",
    "upgrade.during_download",
    "upgrade.after_download",
    "upgrade.after_unpack",
    "upgrade.before_stop",
    "upgrade.after_stop",
    "upgrade.after_switch",
    "upgrade.after_start",
    "upgrade.before_confirm",
    "rollback.before_stop",
    "rollback.after_switch",
    "rollback.after_start",
    "uninstall.accepted",
    "uninstall.after_component",
    "uninstall.before_report",
    "uninstall.after_report",
    "uninstall.before_erase",
    "uninstall.after_identity",
    "uninstall.after_service",
];

/// Every fault point on the way of changed connection settings: tried and confirmed, or tried and taken back.
pub const SETTINGS_POINTS: [&str; 7] = [
    "settings.before_trial",
    "settings.on_trial",
    "settings.before_confirm",
    "settings.before_take_back",
    "settings.take_back",
    "settings.half_taken_back",
    "settings.taken_back",
];

/// Every fault point of the agent on the way to another certificate, in the order in which it passes them.
pub const RENEWAL_POINTS: [&str; 6] = [
    "renew.key_made",
    "renew.answered",
    "renew.certificate_stored",
    "renew.proven",
    "renew.before_swap",
    "renew.swapped",
];

/// The fault point of the agent between trusting another authority and saying so.
pub const TRUST_POINTS: [&str; 1] = ["trust.stored"];

/// Every fault point of the server on the way to another certificate of a connector.
pub const SERVER_RENEWAL_POINTS: [&str; 3] = ["server.renew.issued", "server.prove.before", "server.prove.after"];

/// Every fault point of the server inside a phase of a rotation of the authority: behind each change of the authority's
/// files (there are several, so the passage counts), between the server's own key and certificate, behind that, and behind
/// the certificate of each operator.
pub const SERVER_AUTHORITY_POINTS: [&str; 4] =
    ["server.ca.file", "server.ca.own_key", "server.ca.own_certificate", "server.ca.operator"];

/// Dies here when the environment asks for it; nothing at all without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(name: &str) {
    let _ = name;
}

/// Dies here when the environment asks for it.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let lists: [&[&str]; 6] =
        [&POINTS, &SETTINGS_POINTS, &RENEWAL_POINTS, &TRUST_POINTS, &SERVER_RENEWAL_POINTS, &SERVER_AUTHORITY_POINTS];
    debug_assert!(lists.iter().any(|list| list.contains(&name)), "{name} is not listed");
    #[expect(clippy::disallowed_methods, reason = "a fault is asked for by the environment")]
    let Ok(wanted) = std::env::var("MUSTER_FAULT") else { return };
    let (wanted, nth) = match wanted.split_once(':') {
        Some((wanted, nth)) => (wanted.to_owned(), nth.parse().unwrap_or(1)),
        None => (wanted, 1),
    };
    if wanted == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        // abort() would unwind nothing either, but SIGKILL is what an operator's `kill -9` sends.
        let _ = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
        std::process::abort();
    }
}

/// By how much the clock of this process is wrong, in milliseconds: nothing without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn clock_error_ms() -> i64 {
    0
}

/// By how much the clock of this process is wrong, in milliseconds: `MUSTER_CLOCK_ERROR_S`, read once.
#[cfg(feature = "faults")]
pub fn clock_error_ms() -> i64 {
    use std::sync::OnceLock;
    static ERROR: OnceLock<i64> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "a fault is asked for by the environment")]
    let read = || std::env::var("MUSTER_CLOCK_ERROR_S").ok()?.parse::<i64>().ok();
    *ERROR.get_or_init(|| read().unwrap_or(0).saturating_mul(1000))
}
