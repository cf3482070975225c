//! Being connected: begun at CONNACK, ended exactly once, however the connection's task ends; and before the client has
//! hung up, if the server ends it.

use super::connect::Connect;
use super::end::End;
use super::kept;
use super::link::Link;
use super::will::Will;
use crate::bridge::Shared;
use crate::presence;
use crate::sessions::NoEntry;
use muster_bus::{Inbound, LinkChange, LinkState, Requests, Stopped, Submitted};
use muster_certs::identity::Role;
use muster_wire::id::ThingName;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::info;

/// A connection that is let in. Ending or dropping it tells everybody that it is over.
pub(crate) struct Membership {
    pub(crate) shared: Arc<Shared>,
    pub(crate) link: Arc<Link>,
    /// The client has its former session again.
    pub(crate) resumed: bool,
    will: Option<Box<Will>>,
    over: bool,
}

impl Membership {
    /// Lets a connection in and tells the service.
    pub(crate) async fn begin(shared: &Arc<Shared>, link: &Arc<Link>, connect: &mut Connect) -> Result<Self, NoEntry> {
        let old = shared.sessions.enter(link)?;
        shared.counters.sessions.fetch_add(1, Ordering::Relaxed);
        // From here on the drop below undoes it.
        let will = connect.will.take();
        let mut member = Self { shared: shared.clone(), link: link.clone(), resumed: false, will, over: false };
        if let Some(old) = old {
            member.resumed = !connect.clean && kept::resume(shared, &old, link, connect.version);
            kept::discard(shared, &old);
        }
        if member.resumed || !connect.life.is_zero() {
            link.keep(connect.version, connect.life, shared.mqtt.session_messages_max);
        }
        presence::connected(shared, link);
        match member.change(LinkState::Up) {
            Some(Ok(Submitted::Full(queued))) => queued.await.map_err(|Stopped| NoEntry::Stopping)?,
            Some(Err(Stopped)) => return Err(NoEntry::Stopping),
            Some(Ok(Submitted::Queued)) | None => {}
        }
        Ok(member)
    }

    /// Frees its place, tells everybody that it is over, and says the will. Only the first end counts.
    pub(crate) fn end(&mut self, end: End) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        // Nothing is delivered to it from here on, and whoever waits for room in its queue gives up.
        self.link.end(end);
        if !end.says_will() {
            self.will = None;
        }
        self.part(end);
        self.shared.counters.sessions.fetch_sub(1, Ordering::Relaxed);
        presence::disconnected(&self.shared, &self.link, end);
        if let Some(will) = self.will.take() {
            will.publish(&self.shared, &self.link);
        }
        if let Some(Ok(Submitted::Full(queued))) = self.change(LinkState::Down)
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.shared.swarm.spawn(async move {
                // The service has stopped: nobody is left to be told.
                let _ = queued.await;
            });
        }
        let caller = &self.link.caller;
        info!(identity = %caller.identity, client = %caller.client_id, ?end, "disconnected");
    }

    /// Lets the session wait for its client if it is kept, or ends it. What is left of the will is said now.
    fn part(&mut self, end: End) {
        let delay = self.will.as_ref().map(|will| will.delay);
        if end.keeps_session()
            && let Some(life) = self.link.retire(&mut self.will)
            && kept::park(&self.shared, &self.link, life, delay)
        {
            return;
        }
        self.shared.sessions.leave(&self.link);
        self.shared.sessions.forget(&self.shared, &self.link);
        kept::discard(&self.shared, &self.link);
    }

    /// `None` for those that speak for no thing.
    fn change(&self, state: LinkState) -> Option<Result<Submitted, Stopped>> {
        let identity = &self.link.caller.identity;
        if identity.role() != Role::Connector {
            return None;
        }
        let thing = ThingName::new(identity.name()).ok()?;
        let change = LinkChange { thing, session: self.link.session, caller: self.link.caller.clone(), state };
        Some(self.shared.bus.submit(Inbound::Link(change)))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.end(End::ConnectionLost);
    }
}
