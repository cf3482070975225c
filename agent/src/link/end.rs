//! How a connection ended: by trouble on the way, which passes, or because the server does not want this host.

use super::LinkError;
use super::session::SessionError;
use rumqttc::v5::mqttbytes::v5::ConnectReturnCode;
use rustls::AlertDescription;
use std::error::Error;
use std::io;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// One sentence for people.
    pub why: String,
    /// The server was reached and does not want this identity: trying again changes nothing by itself.
    pub refused: bool,
}

impl From<&LinkError> for End {
    fn from(error: &LinkError) -> Self {
        let refused = match error {
            LinkError::Session(SessionError::Refused(code)) => {
                matches!(code, ConnectReturnCode::NotAuthorized | ConnectReturnCode::Banned)
            }
            other => is_refused(other),
        };
        Self { why: error.to_string(), refused }
    }
}

/// Whether the server has ended the handshake because of our certificate.
fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref() {
            return matches!(alert, AlertDescription::CertificateRevoked | AlertDescription::AccessDenied);
        }
        // An I/O error hides what it was made of: its source is that of the inner error.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verdict_on_this_host_is_a_refusal() {
        let broken = |error| End::from(&LinkError::Session(SessionError::Broken(error))).refused;
        let alert = |alert| broken(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert)));
        assert!(alert(AlertDescription::CertificateRevoked) && alert(AlertDescription::AccessDenied));
        assert!(!alert(AlertDescription::CertificateExpired) && !alert(AlertDescription::HandshakeFailure));
        let code = |code| End::from(&LinkError::Session(SessionError::Refused(code))).refused;
        assert!(code(ConnectReturnCode::NotAuthorized) && !code(ConnectReturnCode::ServerBusy));
        assert!(!broken(io::ErrorKind::ConnectionRefused.into()));
    }
}
