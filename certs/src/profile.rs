//! How long each kind of certificate lives, and why.
//!
//! These are defaults: whoever calls the authority may pass another lifetime.

use std::time::Duration;

use muster_wire::limits;

use crate::identity::Role;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far before "now" a certificate begins: a host whose clock is a little slow must not refuse
/// a certificate that was made a second ago.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// The same for a certificate of this life: of a short one only a tenth, so that half of its life is still ahead.
pub const fn backdate(lifetime: Duration) -> Duration {
    let tenth = lifetime.as_secs() / 10;
    if tenth < BACKDATE.as_secs() { Duration::from_secs(tenth) } else { BACKDATE }
}

/// The authority itself: longer than the hardware it serves usually lives, because every host carries it.
pub const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3653);

/// Server certificates: 825 days is the longest that Apple's TLS accepts even under a private authority.
pub const SERVER_LIFETIME: Duration = DAY.saturating_mul(825);

/// Connectors, 30 days: agents renew at half of the life, so a host may be off for two weeks without notice; a stolen
/// disk image is worthless within a month even if nobody revokes its certificate.
pub const CONNECTOR_LIFETIME: Duration = limits::CERTIFICATE_LIFE;

/// Operators and observers: a person has to fetch a new one by hand, so once a year. Nothing is
/// revoked yet: the certificate of somebody who leaves is good until it ends.
pub const OPERATOR_LIFETIME: Duration = DAY.saturating_mul(365);

/// Services (parts of Muster that talk to each other): placed by an operator, hence the same rhythm.
pub const SERVICE_LIFETIME: Duration = OPERATOR_LIFETIME;

/// The default lifetime of a certificate for this role.
pub const fn lifetime(role: Role) -> Duration {
    match role {
        Role::Connector => CONNECTOR_LIFETIME,
        Role::Operator | Role::Observer => OPERATOR_LIFETIME,
        Role::Service => SERVICE_LIFETIME,
        Role::Claim => limits::CLAIM_LIFE,
        Role::Provisioned => limits::PROVISIONED_CERTIFICATE_LIFE,
    }
}

// Renewal happens at half of the life; the back-dating must not eat a noticeable part of it.
const _: () = assert!(BACKDATE.as_secs() * 1000 < CONNECTOR_LIFETIME.as_secs());
const _: () = assert!(SERVER_LIFETIME.as_secs() < AUTHORITY_LIFETIME.as_secs());
