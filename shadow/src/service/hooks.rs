//! Hooks of provisioning templates, as the services see them: somebody else asks, and the answer comes as a message.

use muster_bus::{EmbeddedBus, HookFailure, Inbound, Request, Requests, Submitted, Verdict};
use muster_wire::provision::{HookAnswer, HookQuestion};
use std::sync::Arc;

/// Asks hooks.
pub trait Hooks: Send + Sync + 'static {
    /// Asks one, without waiting for it. Returns the call when too many wait already.
    fn ask(&self, call: Box<HookCall>) -> Result<(), Box<HookCall>>;
}

/// A question to a hook.
pub struct HookCall {
    /// Where it is.
    pub url: String,
    /// What it is asked.
    pub question: HookQuestion,
    /// Where its answer goes.
    pub reply: HookReply,
}

/// Where the answer of a hook goes. Without an answer the device hears nothing, and asks again.
pub struct HookReply {
    pub(super) bus: Arc<EmbeddedBus>,
    pub(super) request: Request,
    pub(super) hook: Box<str>,
}

impl HookReply {
    /// The hook said this, or why it said nothing that counts.
    pub async fn said(self, said: Result<HookAnswer, HookFailure>) {
        let verdict = Verdict { request: self.request, hook: self.hook, said };
        if let Ok(Submitted::Full(queued)) = self.bus.submit(Inbound::Verdict(Box::new(verdict))) {
            // The service has stopped: nobody is left to be told.
            let _ = queued.await;
        }
    }
}
