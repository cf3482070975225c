//! What a client asks for: publish, subscribe, unsubscribe. Every one passes the policy.

use super::connection::{Connection, tag};
use super::encode;
use super::end::{End, Violation};
use super::observer::{self, Command};
use super::packet::{Publish, Retained, Version, Wish};
use crate::counters::count;
use crate::policy::{Action, Decision, REPLIES, may};
use mqtt_protocol_core::mqtt::result_code::{SubackReasonCode, UnsubackReasonCode};
use muster_bus::{Inbound, Qos, Request, Requests, ResponseTo, Stopped, Submitted};
use muster_wire::filter::{FilterError, TopicFilter};
use muster_wire::limits::{FILTERS_PER_SUBSCRIBE_MAX, SUBSCRIPTIONS_PER_CONNECTION_MAX};
use muster_wire::topic::Topic;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::TrySendError;
use tracing::info;

const NOT_AUTHORIZED: u8 = 0x87;
const TOPIC_NAME_INVALID: u8 = 0x90;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Hands a publish to the service. Its PUBACK is sent when the service has answered.
    pub(super) fn publish(&mut self, publish: Publish) {
        let shared = self.member.shared.clone();
        let link = self.link().clone();
        let caller = &link.caller;
        count(&shared.counters.published);
        let topic = match Topic::parse(&publish.topic) {
            Ok(topic) => topic,
            Err(error) => {
                info!(identity = %caller.identity, %error, "publish to no topic of the service");
                return self.deny(&publish, TOPIC_NAME_INVALID);
            }
        };
        let response = match (&topic, publish.response_topic.as_deref()) {
            (Topic::Operator { .. }, Some(wish)) if !own_reply(wish, &caller.client_id) => {
                info!(identity = %caller.identity, topic = wish, "response topic is not the client's own");
                return self.deny(&publish, NOT_AUTHORIZED);
            }
            (Topic::Operator { .. }, Some(wish)) => {
                Some(ResponseTo { topic: wish.into(), correlation: publish.correlation.clone() })
            }
            // Devices match answers by client token.
            _ => None,
        };
        if may(&caller.identity, &caller.client_id, Action::Publish(&topic)) == Decision::Deny {
            info!(identity = %caller.identity, topic = %publish.topic, "publish denied");
            return self.deny(&publish, NOT_AUTHORIZED);
        }
        self.sequence += 1;
        let request = Request {
            topic,
            payload: publish.payload,
            caller: caller.clone(),
            session: link.session,
            response,
            tag: tag(self.sequence, publish.packet_id),
            connection: link.clone(),
        };
        self.requests += 1;
        match shared.bus.submit(Inbound::Request(request)) {
            Ok(Submitted::Queued) => {}
            Ok(Submitted::Full(queued)) => self.waiting = Some(queued),
            Err(Stopped) => self.close(End::Shutdown),
        }
    }

    /// MQTT 5 can refuse one QoS 1 publish; everything else ends the connection.
    fn deny(&mut self, publish: &Publish, code: u8) {
        count(&self.member.shared.counters.denied);
        match (self.version, publish.packet_id) {
            (Version::V5, Some(packet_id)) => encode::puback(&mut self.output, packet_id, code),
            _ if code == NOT_AUTHORIZED => self.close(End::Forbidden),
            _ => self.close(End::Violation(Violation { code, what: "topic" })),
        }
    }

    /// Answers a SUBSCRIBE, filter by filter.
    pub(super) fn subscribe(&mut self, packet_id: u16, wishes: Vec<Wish>) {
        if wishes.len() > FILTERS_PER_SUBSCRIBE_MAX {
            info!(identity = %self.link().caller.identity, filters = wishes.len(), "too many filters in one SUBSCRIBE");
            let codes = vec![SubackReasonCode::QuotaExceeded; wishes.len()];
            return encode::suback(&mut self.output, self.version, packet_id, codes);
        }
        let mut commands = Vec::new();
        let mut codes = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let code = self.grant(&wish, &mut commands);
            if code == SubackReasonCode::NotAuthorized && self.version == Version::V3 {
                // 3.1.1 has no code for it; AWS IoT Core closes the connection, and SDKs expect that.
                return self.close(End::Forbidden);
            }
            codes.push(code);
        }
        encode::suback(&mut self.output, self.version, packet_id, codes);
        self.tell_observer(commands);
    }

    fn grant(&mut self, wish: &Wish, commands: &mut Vec<Command>) -> SubackReasonCode {
        let link = self.link().clone();
        let caller = &link.caller;
        let filter = match TopicFilter::new(&wish.filter) {
            Ok(filter) => filter,
            Err(FilterError::Shared(_)) => return SubackReasonCode::SharedSubscriptionsNotSupported,
            Err(_) => return SubackReasonCode::TopicFilterInvalid,
        };
        if may(&caller.identity, &caller.client_id, Action::Subscribe(&filter)) == Decision::Deny {
            count(&self.member.shared.counters.denied);
            info!(identity = %caller.identity, %filter, "subscription denied");
            return SubackReasonCode::NotAuthorized;
        }
        let (subscriptions, known) = link.subscriptions(&filter);
        if !known && subscriptions >= SUBSCRIPTIONS_PER_CONNECTION_MAX {
            info!(identity = %caller.identity, subscriptions, "too many subscriptions of one connection");
            return SubackReasonCode::QuotaExceeded;
        }
        let new = match filter.thing() {
            Some(thing) => {
                let new = link.subscribe(filter, wish.qos);
                self.member.shared.sessions.listen(thing, &link);
                new
            }
            // Replies are sent to the connection that asked, subscribed or not.
            None if filter.as_str().starts_with(REPLIES) => link.subscribe(filter, wish.qos),
            None => {
                if self.observer.is_none() {
                    match observer::start(&self.member.shared, &link) {
                        Ok(commands) => self.observer = Some(commands),
                        Err(Stopped) => return SubackReasonCode::ImplementationSpecificError,
                    }
                }
                let new = link.subscribe(filter.clone(), wish.qos);
                let send_retained = match wish.retained {
                    Retained::Send => true,
                    Retained::SendIfNew => new,
                    Retained::DoNotSend => false,
                };
                commands.push(Command::Subscribe { filter, send_retained });
                new
            }
        };
        tracing::debug!(identity = %caller.identity, filter = %wish.filter, new, "subscribed");
        match wish.qos {
            Qos::AtMostOnce => SubackReasonCode::GrantedQos0,
            Qos::AtLeastOnce => SubackReasonCode::GrantedQos1,
        }
    }

    /// Answers an UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, packet_id: u16, filters: &[Box<str>]) {
        let link = self.link().clone();
        let mut commands = Vec::new();
        let mut codes = Vec::with_capacity(filters.len());
        for filter in filters {
            let Some(filter) = link.unsubscribe(filter) else {
                codes.push(UnsubackReasonCode::NoSubscriptionExisted);
                continue;
            };
            codes.push(UnsubackReasonCode::Success);
            match filter.thing() {
                Some(thing) if !link.things().contains(&thing) => self.member.shared.sessions.ignore(thing, &link),
                Some(_) => {}
                None if filter.as_str().starts_with(REPLIES) => {}
                None => commands.push(Command::Unsubscribe(filter)),
            }
        }
        encode::unsuback(&mut self.output, self.version, packet_id, codes);
        self.tell_observer(commands);
    }

    fn tell_observer(&mut self, commands: Vec<Command>) {
        let Some(observer) = &self.observer else { return };
        if commands.is_empty() {
            return;
        }
        match observer.try_send(commands) {
            Ok(()) => {}
            Err(TrySendError::Full(commands)) => {
                let observer = observer.clone();
                self.waiting = Some(Box::pin(async move { observer.send(commands).await.map_err(|_| Stopped) }));
            }
            // The reader ended: this connection would miss messages without knowing.
            Err(TrySendError::Closed(_)) => self.close(End::Failed),
        }
    }
}

/// Whether a response topic belongs to the client that names it.
fn own_reply(topic: &str, client_id: &str) -> bool {
    match Topic::parse(topic) {
        Ok(Topic::Reply { rest }) => {
            rest.strip_prefix(client_id).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
        }
        _ => false,
    }
}
