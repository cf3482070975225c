//! Being connected: begun at CONNACK, ended exactly once, however the connection's task ends.

use super::end::End;
use super::link::Link;
use crate::bridge::Shared;
use crate::presence;
use crate::sessions::NoEntry;
use muster_bus::{Inbound, LinkChange, LinkState, Requests, Stopped, Submitted};
use muster_certs::identity::Role;
use muster_wire::id::ThingName;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::info;

/// A connection that is let in. Dropping it tells everybody that it is over.
pub(crate) struct Membership {
    pub(crate) shared: Arc<Shared>,
    pub(crate) link: Arc<Link>,
    end: End,
}

impl Membership {
    /// Lets a connection in and tells the service.
    pub(crate) async fn begin(shared: &Arc<Shared>, link: &Arc<Link>) -> Result<Self, NoEntry> {
        shared.sessions.enter(link)?;
        shared.counters.sessions.fetch_add(1, Ordering::Relaxed);
        // From here on the drop below undoes it.
        let member = Self { shared: shared.clone(), link: link.clone(), end: End::ConnectionLost };
        presence::connected(shared, link);
        match member.change(LinkState::Up) {
            Some(Ok(Submitted::Full(queued))) => queued.await.map_err(|Stopped| NoEntry::Stopping)?,
            Some(Err(Stopped)) => return Err(NoEntry::Stopping),
            Some(Ok(Submitted::Queued)) | None => {}
        }
        Ok(member)
    }

    /// Says why it will be over.
    pub(crate) fn ends(&mut self, end: End) {
        self.end = end;
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
        // Nothing is delivered to it from here on, and whoever waits for room in its queue gives up.
        self.link.end(self.end);
        self.shared.sessions.leave(&self.link);
        self.shared.counters.sessions.fetch_sub(1, Ordering::Relaxed);
        presence::disconnected(&self.shared, &self.link, self.end);
        if let Some(Ok(Submitted::Full(queued))) = self.change(LinkState::Down)
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.shared.swarm.spawn(async move {
                // The service has stopped: nobody is left to be told.
                let _ = queued.await;
            });
        }
        let caller = &self.link.caller;
        info!(identity = %caller.identity, client = %caller.client_id, end = ?self.end, "disconnected");
    }
}
