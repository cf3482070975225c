//! Whether the server was there and did not let us in, and what that smells of.

use super::LinkError;
use super::session::SessionError;
use crate::dial::DialError;
use rumqttc::v5::mqttbytes::v5::ConnectReturnCode;
use rustls::CertificateError;
use std::error::Error;
use std::io;

/// Why there is no connection with a server that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By the clock of this host the server's certificate is not valid now.
    Clock,
    /// The server does not take our certificate, as far as can be seen.
    Certificate,
}

/// What a failed attempt to connect says; `None` when it says nothing about certificates.
pub fn of(error: &LinkError) -> Option<Refusal> {
    match error {
        LinkError::Dial(DialError::Tls { source, .. }) => of_io(source),
        LinkError::Session(SessionError::Refused(code)) => {
            let is_ours = matches!(code, ConnectReturnCode::NotAuthorized | ConnectReturnCode::Banned);
            is_ours.then_some(Refusal::Certificate)
        }
        // TLS 1.3: the server finds fault with our certificate after we believe to be connected, and hangs up. Its
        // reason may be lost with the connection.
        LinkError::Session(SessionError::Closed) => Some(Refusal::Certificate),
        LinkError::Session(SessionError::Broken(source)) => of_io(source),
        _ => None,
    }
}

fn of_io(error: &io::Error) -> Option<Refusal> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match in_io(error) {
        Some(rustls::Error::AlertReceived(_)) => Some(Refusal::Certificate),
        Some(fault) => is_about_time(fault).then_some(Refusal::Clock),
        None => matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
            .then_some(Refusal::Certificate),
    }
}

/// Whether a certificate is outside its validity by our clock.
pub fn is_about_time(fault: &rustls::Error) -> bool {
    matches!(
        fault,
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    )
}

/// What the TLS library said, however deep it is wrapped.
pub fn in_io(error: &io::Error) -> Option<&rustls::Error> {
    let mut inner: &(dyn Error + 'static) = error.get_ref()?;
    loop {
        if let Some(found) = inner.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        inner = inner.source()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::AlertDescription;

    #[test]
    fn a_refusal_is_told_from_a_server_that_is_away() {
        let broken = |error: io::Error| LinkError::Session(SessionError::Broken(error));
        let tls = |fault: rustls::Error| broken(io::Error::new(io::ErrorKind::InvalidData, fault));
        for (error, expected) in [
            (tls(rustls::Error::AlertReceived(AlertDescription::CertificateExpired)), Some(Refusal::Certificate)),
            (tls(rustls::Error::AlertReceived(AlertDescription::UnknownCA)), Some(Refusal::Certificate)),
            (tls(rustls::Error::InvalidCertificate(CertificateError::NotValidYet)), Some(Refusal::Clock)),
            (tls(rustls::Error::InvalidCertificate(CertificateError::Expired)), Some(Refusal::Clock)),
            (tls(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)), None),
            (LinkError::Session(SessionError::Refused(ConnectReturnCode::NotAuthorized)), Some(Refusal::Certificate)),
            (LinkError::Session(SessionError::Refused(ConnectReturnCode::ServerBusy)), None),
            (LinkError::Session(SessionError::Closed), Some(Refusal::Certificate)),
            (broken(io::ErrorKind::ConnectionReset.into()), Some(Refusal::Certificate)),
            (broken(io::ErrorKind::TimedOut.into()), None),
            (LinkError::Stopping, None),
        ] {
            assert_eq!(of(&error), expected, "{error:?}");
        }
    }
}
