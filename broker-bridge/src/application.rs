//! Topics of the user's own devices and programs: who subscribed, what is retained, who shares.
//!
//! The service attaches no meaning to these messages. They are acknowledged when they were handed to those who want
//! them; a retained one goes to the service first, and comes back as a copy once it is durable.

pub(crate) mod groups;
pub(crate) mod retained;
pub(crate) mod tree;

use crate::session::link::Link;
use groups::{Group, Groups};
use muster_bus::Message;
use muster_wire::filter::TopicFilter;
use muster_wire::time::Timestamp;
use retained::{Retained, Stored};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tree::Tree;

/// See the module.
pub(crate) struct Applications {
    tree: RwLock<Tree<Subscriber>>,
    retained: Mutex<Retained>,
    pub(crate) groups: Groups,
}

/// Who gets the messages of a filter.
#[derive(Clone)]
enum Subscriber {
    Link(Arc<Link>),
    Group(Arc<Group>),
}

impl PartialEq for Subscriber {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Link(one), Self::Link(other)) => Arc::ptr_eq(one, other),
            (Self::Group(one), Self::Group(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Applications {
    /// With nobody there. `with_parents`: `a/#` matches `a` too.
    pub(crate) fn new(with_parents: bool) -> Self {
        Self { tree: RwLock::new(Tree::new(with_parents)), retained: Mutex::default(), groups: Groups::default() }
    }

    /// Sends what the filter matches to this connection from now on.
    pub(crate) fn listen(&self, filter: &TopicFilter, link: &Arc<Link>) {
        self.write().insert(filter, Subscriber::Link(link.clone()));
    }

    /// Sends it no longer.
    pub(crate) fn ignore(&self, filter: &TopicFilter, link: &Arc<Link>) {
        self.write().remove(filter, &Subscriber::Link(link.clone()));
    }

    pub(crate) fn remember_group(&self, group: &Arc<Group>) {
        self.write().insert(&group.filter, Subscriber::Group(group.clone()));
    }

    pub(crate) fn forget_group(&self, group: &Arc<Group>) {
        self.write().remove(&group.filter, &Subscriber::Group(group.clone()));
    }

    /// Sends a message to everybody who wants it.
    pub(crate) fn spread(&self, message: &Arc<Message>) {
        // Found under the lock, served without it: serving may wake tasks that need it.
        let found = self.tree.read().unwrap_or_else(PoisonError::into_inner).matching(&message.topic);
        for subscriber in found {
            match subscriber {
                Subscriber::Link(link) => link.offer(message),
                Subscriber::Group(group) => group.offer(message),
            }
        }
    }

    /// Replaces the retained message of the topic; an empty one removes it.
    pub(crate) fn keep(&self, message: &Arc<Message>, at: Timestamp) {
        self.retained().keep(message, at);
    }

    /// The retained message of a topic.
    pub(crate) fn retained_message(&self, topic: &str, now: Timestamp) -> Option<Arc<Message>> {
        self.retained().get(topic, now).map(|(message, _)| message)
    }

    /// The same, and when it came.
    pub(crate) fn retained_with_time(&self, topic: &str, now: Timestamp) -> Option<Stored> {
        self.retained().get(topic, now)
    }

    /// At most so many retained messages in the order of their topics, those after `after`.
    pub(crate) fn retained_after(&self, after: Option<&str>, most: usize, now: Timestamp) -> Vec<Stored> {
        self.retained().after(after, most, now)
    }

    fn retained(&self) -> MutexGuard<'_, Retained> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Tree<Subscriber>> {
        self.tree.write().unwrap_or_else(PoisonError::into_inner)
    }
}
