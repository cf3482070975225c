//! Which protocol a client speaks: what ALPN says, or else its first byte.

/// The application protocols that the server offers, in order of preference; give them to the TLS settings.
pub const ALPN: [&[u8]; 4] = [b"mqtt", b"x-amzn-mqtt-ca", b"http/1.1", b"x-amzn-http-ca"];

/// First byte of every MQTT connection: CONNECT, with its flags. No HTTP method begins with it.
const CONNECT: u8 = 0x10;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Mqtt,
    Http,
}

impl Protocol {
    /// What the client agreed to; `None` when it did not say.
    pub(crate) fn agreed(alpn: Option<&[u8]>) -> Option<Self> {
        match alpn? {
            b"mqtt" | b"x-amzn-mqtt-ca" => Some(Self::Mqtt),
            // rustls agrees to nothing that was not offered.
            _ => Some(Self::Http),
        }
    }

    /// What a client speaks that begins like this.
    pub(crate) fn guessed(first: u8) -> Self {
        if first == CONNECT { Self::Mqtt } else { Self::Http }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offered_protocol_is_known() {
        let known = ALPN.map(|name| Protocol::agreed(Some(name)));
        assert_eq!(known, [Protocol::Mqtt, Protocol::Mqtt, Protocol::Http, Protocol::Http].map(Some));
        assert_eq!(Protocol::agreed(None), None);
        assert_eq!((Protocol::guessed(0x10), Protocol::guessed(b'G')), (Protocol::Mqtt, Protocol::Http));
    }
}
