//! Who is who: the fleet's certificate authority, the identities that it vouches for, enrolment tokens, package
//! signatures, and the TLS settings that hold all of it to account.
//!
//! Nothing here reads a clock or opens a socket: time is an argument (Unix seconds), and only [`store`] and [`vault`]
//! touch files.
//!
//! | module | subject |
//! |---|---|
//! | [`identity`] | fleet, role and name, and how they are read from a certificate |
//! | [`certificate`] | the facts of a certificate: its id, its validity |
//! | [`authority`] | the CA: makes itself, issues for servers, requests and identities |
//! | [`request`] | certificate signing requests: made on a host, checked by the authority |
//! | [`profile`] | how long each kind of certificate lives, and why |
//! | [`token`] | single-use enrolment tokens and what is stored of them |
//! | [`access_key`] | secrets of access keys, for programs without a certificate |
//! | [`signature`] | AWS Signature Version 4: what such a program signs its requests with |
//! | [`publisher`] | the key that signs packages |
//! | [`verifier`] | rustls settings for both ends |
//! | [`renewal`] | when a certificate is renewed |
//! | [`possession`] | proof that somebody holds the key of a certificate |
//! | [`vault`] | the authorities of a fleet as files, and their rotation |
//! | [`store`] | keys and certificates as files |
//! | [`throwaway`] | an authority in memory, for tests |

pub mod access_key;
pub mod authority;
pub mod certificate;
pub mod identity;
mod key;
pub mod possession;
pub mod profile;
pub mod publisher;
pub mod renewal;
pub mod request;
pub mod signature;
pub mod store;
pub mod throwaway;
pub mod token;
pub mod vault;
pub mod verifier;

pub use access_key::{AccessMaster, AccessSecret, access_key_id};
pub use authority::{Authority, AuthorityError};
pub use certificate::{CertificateError, CertificateFacts, certificate_id};
pub use identity::{Fleet, Identity, IdentityError, Role};
pub use publisher::{PublisherError, PublisherKey, PublisherPublicKey};
pub use request::{RequestError, csr, csr_for};
pub use signature::{Authorization, SignatureError, SignedRequest};
pub use throwaway::Throwaway;
pub use token::{Token, TokenError, TokenHash};
pub use vault::{Vault, VaultError};
pub use verifier::{TimeSource, VerifierError, client_config, provider, server_config};
