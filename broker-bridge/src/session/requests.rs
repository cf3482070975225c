//! What a client asks for: publish, subscribe, unsubscribe. Every one passes the policy.

use super::alias::NoAlias;
use super::connection::{Connection, tag};
use super::encode;
use super::end::{End, Violation};
use super::link::{Granted, Share};
use super::observer::{self, Command};
use super::pace::Pace;
use super::packet::{Publish, Retained, Version, Wish};
use crate::application::groups::NoGroup;
use crate::application::retained;
use crate::bridge::Shared;
use crate::counters::count;
use crate::policy::named::Rules;
use crate::policy::{Decision, may_publish, may_subscribe};
use crate::presence;
use mqtt_protocol_core::mqtt::result_code::{SubackReasonCode, UnsubackReasonCode};
use muster_bus::{Deliveries, Inbound, Message, NotRetained, Qos, Request, Requests, ResponseTo, Stopped, Submitted};
use muster_wire::filter::Subscribed;
use muster_wire::limits::CLIENT_TOKEN_BYTES_MAX;
use muster_wire::time::Timestamp;
use muster_wire::topic::{JobsTopic, JobsVerb, ShadowTopic, SubscriptionEvent, Topic, TopicError, jobs_rejection};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tracing::info;

const NOT_AUTHORIZED: u8 = 0x87;
const TOPIC_NAME_INVALID: u8 = 0x90;
const QUOTA_EXCEEDED: u8 = 0x97;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Hands a publish to the service, or to those who listen to an application's topic.
    pub(super) fn publish(&mut self, mut publish: Publish) {
        let shared = self.member.shared.clone();
        let link = self.link().clone();
        let caller = &link.caller;
        count(&shared.counters.published);
        self.slow_down(Pace::publish);
        if publish.payload.len() > shared.mqtt.payload_bytes_max {
            return self.close(End::Violation(Violation { code: 0x95, what: "payload" }));
        }
        if let Some(alias) = publish.said.alias {
            match self.aliases.get_or_insert_default().hear(alias, publish.topic) {
                Ok(topic) => publish.topic = topic,
                Err(NoAlias) => return self.close(End::Violation(Violation { code: 0x94, what: "topic alias" })),
            }
        }
        let topic = match Topic::parse(&publish.topic) {
            Ok(topic) => topic,
            Err(error) => return self.no_topic(&publish, &error),
        };
        let rules = link.rules();
        let rules = rules.as_deref();
        if may_publish(&shared.mqtt, caller, rules, &topic) == Decision::Deny
            || (publish.retain && rules.is_some_and(|rules| rules.may_retain(&topic) == Decision::Deny))
        {
            info!(identity = %caller.identity, topic = %publish.topic, "publish denied");
            return self.deny(&publish, NOT_AUTHORIZED);
        }
        if let Topic::Application(_) = topic {
            if !shared.mqtt.fits(&publish.topic) {
                info!(identity = %caller.identity, topic = %publish.topic, "publish to a topic that is too long or too deep");
                return self.deny(&publish, TOPIC_NAME_INVALID);
            }
            return self.spread(publish);
        }
        if publish.retain {
            return self.close(End::Violation(Violation { code: 0x9a, what: "RETAIN on a topic of the service" }));
        }
        if let Topic::Elsewhere { .. } = topic {
            // Nobody is there to read it, and the device need not know.
            if let Some(packet_id) = publish.packet_id {
                encode::puback(&mut self.output, packet_id, 0);
            }
            return;
        }
        let response = match (&topic, publish.said.properties.as_ref().and_then(|said| said.response_topic.as_deref()))
        {
            (Topic::Operator { .. }, Some(wish)) if !own_reply(wish, &caller.client_id) => {
                info!(identity = %caller.identity, topic = wish, "response topic is not the client's own");
                return self.deny(&publish, NOT_AUTHORIZED);
            }
            (Topic::Operator { .. }, Some(wish)) => {
                Some(ResponseTo { topic: wish.into(), correlation: publish.said.correlation.clone() })
            }
            // Devices match answers by client token.
            _ => None,
        };
        // A request is a publish like any other: who subscribed to its topic gets it.
        if let Topic::Shadow { thing, .. } | Topic::Jobs { thing, .. } = &topic
            && shared.bus.wanted(thing, &publish.topic)
        {
            let (topic, payload) = (publish.topic.clone(), publish.payload.clone());
            let copy = Publish { topic, payload, said: std::mem::take(&mut publish.said), ..publish };
            shared.bus.deliver(thing, &Arc::new(message(copy, &shared, link.session)));
        }
        self.sequence += 1;
        let tag = tag(self.sequence, publish.packet_id);
        let mut is_excess = false;
        if let Topic::Shadow { thing, verb: ShadowTopic::Request(_), .. } = &topic {
            let about_it = self.shadow_requests.iter().filter(|(_, about)| about == thing).count();
            is_excess = about_it >= shared.mqtt.shadow_requests_max;
            if !is_excess {
                self.shadow_requests.push((tag, thing.clone()));
            }
        }
        let request = Request {
            topic,
            payload: publish.payload,
            caller: caller.clone(),
            session: link.session,
            response,
            is_excess,
            tag,
            connection: link.clone(),
        };
        self.requests += 1;
        match shared.bus.submit(Inbound::Request(request)) {
            Ok(Submitted::Queued) => {}
            Ok(Submitted::Full(queued)) => self.wait_for(async move { queued.await.map(|()| Vec::new()) }),
            Err(Stopped) => self.close(End::Shutdown),
        }
    }

    /// Sends a message on an application's topic to those who want it. Its PUBACK says that it was handed to them.
    fn spread(&mut self, publish: Publish) {
        let shared = self.member.shared.clone();
        let packet_id = publish.packet_id;
        let message = message(publish, &shared, self.link().session);
        if message.retain {
            return self.retain(message, packet_id);
        }
        shared.bus.spread(&Arc::new(message));
        if let Some(packet_id) = packet_id {
            encode::puback(&mut self.output, packet_id, 0);
        }
    }

    /// Hands a retained message to the service, which sends it to those who want it. Its PUBACK says that it is durable.
    /// What comes next is not read before: a later message on the topic must not overtake this one.
    fn retain(&mut self, message: Message, packet_id: Option<u16>) {
        let (link, version, shared) = (self.link().clone(), self.version, self.member.shared.clone());
        let topic = message.topic.clone();
        let outcome = match retained::retain(&shared, message) {
            Ok(outcome) => outcome,
            Err(Stopped) => return self.close(End::Shutdown),
        };
        self.wait_for(async move {
            let mut said = Vec::new();
            match (outcome.await, packet_id) {
                (Ok(()), Some(packet_id)) => encode::puback(&mut said, packet_id, 0),
                (Ok(()), None) => {}
                (Err(error), packet_id) => {
                    count(&shared.counters.retained_refused);
                    info!(identity = %link.caller.identity, %topic, %error, "not retained");
                    match (error, version, packet_id) {
                        (NotRetained::Full, Version::V5, Some(id)) => encode::puback(&mut said, id, QUOTA_EXCEEDED),
                        (NotRetained::Full, ..) => link.end(End::Throttled),
                        (NotRetained::Failed, ..) => link.end(End::Failed),
                    }
                }
            }
            Ok(said)
        });
    }

    /// A publish on a topic that the service does not have. In the jobs of a thing that is answered, as AWS IoT Core does.
    fn no_topic(&mut self, publish: &Publish, error: &TopicError) {
        let link = self.link().clone();
        let caller = &link.caller;
        info!(identity = %caller.identity, %error, "publish to no topic of the service");
        let TopicError::UnknownJobsApi { thing, topic } = error else { return self.deny(publish, TOPIC_NAME_INVALID) };
        let own = JobsTopic::Request(JobsVerb::GetPending);
        let neighbour = Topic::Jobs { thing: thing.clone(), verb: own };
        if may_publish(&self.member.shared.mqtt, caller, link.rules().as_deref(), &neighbour) == Decision::Deny {
            return self.deny(publish, NOT_AUTHORIZED);
        }
        let rejection = invalid_topic(topic, &publish.payload, self.member.shared.clock.now());
        link.tell(Message::new(jobs_rejection(topic), rejection));
        if let Some(packet_id) = publish.packet_id {
            encode::puback(&mut self.output, packet_id, 0);
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
        if wishes.len() > self.member.shared.mqtt.filters_per_subscribe_max {
            info!(identity = %self.link().caller.identity, filters = wishes.len(), "too many filters in one SUBSCRIBE");
            let codes = vec![SubackReasonCode::QuotaExceeded; wishes.len()];
            return encode::suback(&mut self.output, self.version, packet_id, codes);
        }
        let is_shared = |wish: &Wish| matches!(Subscribed::parse(&wish.filter), Ok(Subscribed::Shared { .. }));
        if wishes.iter().any(|wish| wish.granted.no_local && is_shared(wish)) {
            return self.close(End::Violation(Violation { code: 0x82, what: "No Local on a shared subscription" }));
        }
        let mut follows = Follows::default();
        let mut codes = Vec::with_capacity(wishes.len());
        let rules = self.link().rules();
        for wish in &wishes {
            let code = self.grant(wish, rules.as_deref(), &mut follows);
            if code == SubackReasonCode::NotAuthorized && self.version == Version::V3 {
                // 3.1.1 has no code for it; AWS IoT Core closes the connection, and SDKs expect that.
                return self.close(End::Forbidden);
            }
            codes.push(code);
        }
        if self.link().rules().as_ref().map(Arc::as_ptr) != rules.as_ref().map(Arc::as_ptr) {
            // They changed meanwhile, and who changed them may have looked before these subscriptions were there.
            return self.close(End::Kicked);
        }
        presence::subscriptions(&self.member.shared, self.link(), SubscriptionEvent::Subscribed, || {
            let granted = wishes.iter().zip(&codes).filter(|(_, code)| code.is_success());
            granted.map(|(wish, _)| wish.filter.to_string()).collect()
        });
        let mut suback = Vec::new();
        let plain = follows.commands.is_empty();
        encode::suback(if plain { &mut self.output } else { &mut suback }, self.version, packet_id, codes);
        for (message, qos) in follows.stored {
            self.link().send_stored(&message, qos);
        }
        if !plain {
            self.tell_observer(follows.commands, suback);
        }
    }

    fn grant(&mut self, wish: &Wish, rules: Option<&Rules>, follows: &mut Follows) -> SubackReasonCode {
        let link = self.link().clone();
        let shared = self.member.shared.clone();
        let caller = &link.caller;
        let Ok(subscribed) = Subscribed::parse(&wish.filter) else { return SubackReasonCode::TopicFilterInvalid };
        if may_subscribe(&shared.mqtt, caller, rules, subscribed.filter()) == Decision::Deny {
            count(&shared.counters.denied);
            info!(identity = %caller.identity, filter = %subscribed, "subscription denied");
            return SubackReasonCode::NotAuthorized;
        }
        if subscribed.filter().is_application() && !shared.mqtt.fits(subscribed.filter().as_str()) {
            return SubackReasonCode::TopicFilterInvalid;
        }
        let (subscriptions, known) = link.subscriptions(&subscribed);
        if !known && subscriptions >= shared.mqtt.subscriptions_max {
            info!(identity = %caller.identity, subscriptions, "too many subscriptions of one connection");
            return SubackReasonCode::QuotaExceeded;
        }
        let granted = Granted { with_parent: shared.mqtt.hash_matches_parent, ..wish.granted };
        let filter = match subscribed {
            Subscribed::Own(filter) => filter,
            shared_one @ Subscribed::Shared { .. } => return self.join(shared_one, granted),
        };
        let send_stored = |new| match wish.retained {
            Retained::Send => true,
            Retained::SendIfNew => new,
            Retained::DoNotSend => false,
        };
        let new = if filter.thing().is_some() {
            let new = link.subscribe(filter.clone(), granted);
            shared.sessions.listen(&filter, &link);
            new
        } else if filter.is_answer() {
            // Replies are sent to the connection that asked, subscribed or not.
            link.subscribe(filter, granted)
        } else if filter.is_application() {
            let new = link.subscribe(filter.clone(), granted);
            shared.sessions.listen(&filter, &link);
            // As AWS IoT Core does: a filter with a wildcard gets none.
            if send_stored(new)
                && !filter.has_wildcard()
                && let Some(stored) = shared.sessions.applications.retained_message(filter.as_str(), shared.clock.now())
            {
                follows.stored.push((stored, granted.qos));
            }
            new
        } else {
            if self.observer.is_none() {
                match observer::start(&shared, &link) {
                    Ok(commands) => {
                        link.with_kept(|kept| kept.observer = Some(commands.clone()));
                        self.observer = Some(commands);
                    }
                    Err(Stopped) => return SubackReasonCode::ImplementationSpecificError,
                }
            }
            let new = link.subscribe(filter.clone(), granted);
            follows.commands.push(Command::Subscribe { filter, send_retained: send_stored(new) });
            new
        };
        tracing::debug!(identity = %caller.identity, filter = %wish.filter, new, "subscribed");
        success(granted.qos)
    }

    /// Makes this connection a member of a group.
    fn join(&mut self, subscribed: Subscribed, granted: Granted) -> SubackReasonCode {
        let (shared, link) = (self.member.shared.clone(), self.link().clone());
        if subscribed.filter().is_answer() {
            // Answers go to one client anyway.
            return SubackReasonCode::TopicFilterInvalid;
        }
        match shared.sessions.applications.groups.join(&shared, &subscribed, &link, granted.qos) {
            Ok(group) => {
                tracing::debug!(identity = %link.caller.identity, filter = %subscribed, "subscribed in a group");
                link.share(Share { subscribed, group });
                success(granted.qos)
            }
            Err(NoGroup::Full) => SubackReasonCode::QuotaExceeded,
            Err(NoGroup::Stopped) => SubackReasonCode::ImplementationSpecificError,
        }
    }

    /// Answers an UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, packet_id: u16, filters: &[Box<str>]) {
        let link = self.link().clone();
        let shared = self.member.shared.clone();
        let mut commands = Vec::new();
        let mut codes = Vec::with_capacity(filters.len());
        for text in filters {
            if let Ok(subscribed @ Subscribed::Shared { .. }) = Subscribed::parse(text) {
                let known = link.unshare(&subscribed);
                shared.sessions.applications.groups.leave(&shared, &subscribed, &link);
                codes.push(if known { UnsubackReasonCode::Success } else { UnsubackReasonCode::NoSubscriptionExisted });
                continue;
            }
            let Some(filter) = link.unsubscribe(text) else {
                codes.push(UnsubackReasonCode::NoSubscriptionExisted);
                continue;
            };
            codes.push(UnsubackReasonCode::Success);
            match filter.thing() {
                Some(thing) if link.is_about(&thing) => {}
                Some(_) => shared.sessions.ignore(&filter, &link),
                None if filter.is_application() => shared.sessions.ignore(&filter, &link),
                None if filter.is_answer() => {}
                None => commands.push(Command::Unsubscribe(filter)),
            }
        }
        presence::subscriptions(&shared, &link, SubscriptionEvent::Unsubscribed, || {
            let ended = filters.iter().zip(&codes).filter(|(_, code)| **code == UnsubackReasonCode::Success);
            ended.map(|(filter, _)| filter.to_string()).collect()
        });
        encode::unsuback(&mut self.output, self.version, packet_id, codes);
        if !commands.is_empty() {
            self.tell_observer(commands, Vec::new());
        }
    }

    /// Sends commands to the reader beside this connection. What comes next is not read, no message leaves, and
    /// `afterwards` is not said before the reader has obeyed: else the first message after a SUBACK could be missed.
    fn tell_observer(&mut self, mut commands: Vec<Command>, afterwards: Vec<u8>) {
        let Some(observer) = self.observer.clone() else { return };
        let (done, obeyed) = oneshot::channel();
        commands.push(Command::Done(done));
        let sent = match observer.try_send(commands) {
            Ok(()) => None,
            Err(TrySendError::Full(commands)) => Some(commands),
            // The reader ended: this connection would miss messages without knowing.
            Err(TrySendError::Closed(_)) => return self.close(End::Failed),
        };
        self.withholds = true;
        self.wait_for(async move {
            if let Some(commands) = sent {
                observer.send(commands).await.map_err(|_| Stopped)?;
            }
            obeyed.await.map_err(|_| Stopped)?;
            Ok(afterwards)
        });
    }
}

/// What happens after a SUBACK.
#[derive(Default)]
struct Follows {
    /// For the reader beside the connection.
    commands: Vec<Command>,
    /// Retained messages of applications.
    stored: Vec<(Arc<Message>, Qos)>,
}

fn success(qos: Qos) -> SubackReasonCode {
    match qos {
        Qos::AtMostOnce => SubackReasonCode::GrantedQos0,
        Qos::AtLeastOnce => SubackReasonCode::GrantedQos1,
    }
}

/// The message that a client published.
fn message(publish: Publish, shared: &Shared, session: u64) -> Message {
    let life = publish.said.life();
    let mut properties = publish.said.properties;
    if let Some(life) = life {
        properties.get_or_insert_default().expires = Some(shared.clock.now().plus(life));
    }
    Message {
        topic: publish.topic,
        payload: publish.payload,
        qos: if publish.packet_id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce },
        retained: false,
        retain: publish.retain,
        origin: session,
        correlation: publish.said.correlation,
        properties,
    }
}

/// The answer to a request that is no jobs API, with the client's token if it can be read.
fn invalid_topic(topic: &str, payload: &[u8], now: Timestamp) -> Vec<u8> {
    let token = serde_json::from_slice::<serde_json::Value>(payload).ok();
    let token = token.and_then(|request| Some(request.get("clientToken")?.as_str()?.to_owned()));
    let mut rejection = serde_json::json!({
        "code": "InvalidTopic",
        "message": format!("{topic} is no API of the jobs of a thing"),
        "timestamp": now.epoch_seconds(),
    });
    if let (Some(token), Some(fields)) =
        (token.filter(|token| token.len() <= CLIENT_TOKEN_BYTES_MAX), rejection.as_object_mut())
    {
        fields.insert("clientToken".to_owned(), token.into());
    }
    rejection.to_string().into_bytes()
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
