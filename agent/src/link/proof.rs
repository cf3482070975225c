//! The proof of a new certificate: a second connection, made with it, over which the server is asked to put it in force.

use super::{LinkError, Target, open};
use crate::link::session::SessionError;
use muster_wire::certificate::{CertificateRejected, ProveRequest, proof_client};
use muster_wire::codec::Encoding;
use muster_wire::topic::{CertificateTopic, CertificateVerb, Topic};
use std::time::Duration;
use tokio::time::timeout;

/// Connecting and the answer together.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a certificate was not proven.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The server does not take it.
    #[error("the server refuses the new certificate: {0}")]
    Refused(String),
    /// It could not be tried; later it may go well.
    #[error("the new certificate could not be tried: {0}")]
    Failed(String),
}

impl From<LinkError> for ProofError {
    fn from(error: LinkError) -> Self {
        match &error {
            // A server that hangs up may be restarting; only words count as a refusal here.
            LinkError::Session(SessionError::Refused(_)) if super::refusal::of(&error).is_some() => {
                Self::Refused(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Proves the certificate in the TLS settings of `target`. Repeating it changes nothing.
pub async fn prove(target: &Target) -> Result<(), ProofError> {
    let done = timeout(DEADLINE, ask(target)).await;
    done.unwrap_or_else(|_| Err(ProofError::Failed(format!("no answer within {} s", DEADLINE.as_secs()))))
}

async fn ask(target: &Target) -> Result<(), ProofError> {
    // Another client id than the link's: a second connection with the same one would end the first.
    let mut session = open(target, &proof_client(target.thing.as_str())).await?;
    let verb = CertificateTopic::Request(CertificateVerb::Prove);
    let topic = Topic::Certificate { thing: target.thing.clone(), verb }.to_string();
    let request = ProveRequest { client_token: "proof".to_owned() };
    let failed = |error: SessionError| ProofError::from(LinkError::from(error));
    session.publish(&topic, Encoding::Cbor.encode(&request), true).await.map_err(failed)?;
    loop {
        let packet = session.next().await.map_err(failed)?;
        let Some((topic, payload)) = session.settle(packet).await.map_err(failed)? else { continue };
        let topic = std::str::from_utf8(&topic).ok().and_then(|topic| Topic::parse(topic).ok());
        let Some(Topic::Certificate { verb, .. }) = topic else { continue };
        match verb {
            CertificateTopic::Accepted(CertificateVerb::Prove) => {
                // A server that does not take the goodbye notices the end of the connection.
                let _ = timeout(GOODBYE, session.goodbye()).await;
                return Ok(());
            }
            CertificateTopic::Rejected(CertificateVerb::Prove) => {
                let said = Encoding::of(&payload).decode::<CertificateRejected>(&payload);
                return Err(ProofError::Refused(said.map_or_else(|error| error.to_string(), |said| said.message)));
            }
            _ => {}
        }
    }
}
