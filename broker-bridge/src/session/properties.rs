//! Which of two things is wrong with the properties of a packet (MQTT 5, 2.2.2.2): one that has no place in it makes the
//! packet malformed; one that stands there twice, or with a value that cannot be, breaks the protocol. The parser calls
//! both a protocol error.

use mqtt_protocol_core::mqtt::packet::{Properties, PropertiesParse, Property};
use mqtt_protocol_core::mqtt::result_code::MqttError;

/// Where properties stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    Acknowledgement,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

/// What is wrong with a packet that the parser refused with `error`, whose properties begin at `properties`.
pub(super) fn blame(error: MqttError, place: Place, properties: Option<&[u8]>) -> MqttError {
    let is_foreign = |bytes: &[u8]| match Properties::parse(bytes) {
        Ok((properties, _)) => !all_belong(&properties, place),
        Err(_) => false,
    };
    match error {
        MqttError::ProtocolError if properties.is_some_and(is_foreign) => MqttError::MalformedPacket,
        error => error,
    }
}

/// Whether each of these may stand there, once at least.
pub(super) fn all_belong(properties: &[Property], place: Place) -> bool {
    properties.iter().all(|property| belongs(property, place))
}

fn belongs(property: &Property, place: Place) -> bool {
    use Property as P;
    match place {
        Place::Connect => matches!(
            property,
            P::SessionExpiryInterval(_)
                | P::ReceiveMaximum(_)
                | P::MaximumPacketSize(_)
                | P::TopicAliasMaximum(_)
                | P::RequestResponseInformation(_)
                | P::RequestProblemInformation(_)
                | P::UserProperty(_)
                | P::AuthenticationMethod(_)
                | P::AuthenticationData(_)
        ),
        Place::Will => is_of_message(property) || matches!(property, P::WillDelayInterval(_)),
        Place::Publish => {
            is_of_message(property) || matches!(property, P::TopicAlias(_) | P::SubscriptionIdentifier(_))
        }
        Place::Acknowledgement => matches!(property, P::ReasonString(_) | P::UserProperty(_)),
        Place::Subscribe => matches!(property, P::SubscriptionIdentifier(_) | P::UserProperty(_)),
        Place::Unsubscribe => matches!(property, P::UserProperty(_)),
        Place::Disconnect => matches!(
            property,
            P::SessionExpiryInterval(_) | P::ReasonString(_) | P::UserProperty(_) | P::ServerReference(_)
        ),
    }
}

fn is_of_message(property: &Property) -> bool {
    use Property as P;
    matches!(
        property,
        P::PayloadFormatIndicator(_)
            | P::MessageExpiryInterval(_)
            | P::ContentType(_)
            | P::ResponseTopic(_)
            | P::CorrelationData(_)
            | P::UserProperty(_)
    )
}

/// What follows a text or a piece of data that begins here: both have their length in front.
pub(super) fn after_text(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
}

/// What follows the properties that begin here.
pub(super) fn after_properties(bytes: &[u8]) -> Option<&[u8]> {
    let (_, read) = Properties::parse(bytes).ok()?;
    bytes.get(read..)
}
