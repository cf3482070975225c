//! Filters and who wants what they match, found by topic. Pure.

use muster_wire::filter::TopicFilter;
use std::collections::HashMap;

/// A tree of levels. An empty branch is cut, so it is as large as the filters in it.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    root: Node<T>,
    /// `a/#` matches `a` too.
    with_parents: bool,
}

#[derive(Debug)]
struct Node<T> {
    /// By level; `+` is one of them.
    below: HashMap<Box<str>, Node<T>>,
    /// Whose filter ends here.
    here: Vec<T>,
    /// Whose filter ends with `#` below this.
    all_below: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { below: HashMap::new(), here: Vec::new(), all_below: Vec::new() }
    }
}

impl<T: Clone + PartialEq> Tree<T> {
    /// An empty one, as AWS IoT Core has it or, `with_parents`, as the MQTT standard does.
    pub(crate) fn new(with_parents: bool) -> Self {
        Self { root: Node::default(), with_parents }
    }

    /// Adds a subscriber to a filter; again changes nothing.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, who: T) {
        let mut node = &mut self.root;
        for level in filter.levels() {
            if level == "#" {
                if !node.all_below.contains(&who) {
                    node.all_below.push(who);
                }
                return;
            }
            node = node.below.entry(level.into()).or_default();
        }
        if !node.here.contains(&who) {
            node.here.push(who);
        }
    }

    /// Removes a subscriber from a filter.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, who: &T) {
        let levels: Vec<&str> = filter.levels().collect();
        self.root.remove(&levels, who);
    }

    /// Everybody with a filter that matches, once each.
    pub(crate) fn matching(&self, topic: &str) -> Vec<T> {
        let levels: Vec<&str> = topic.split('/').collect();
        let mut found = Vec::new();
        self.root.collect(&levels, self.with_parents, &mut found);
        found
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl<T: Clone + PartialEq> Node<T> {
    fn is_empty(&self) -> bool {
        self.below.is_empty() && self.here.is_empty() && self.all_below.is_empty()
    }

    fn remove(&mut self, levels: &[&str], who: &T) {
        match levels {
            [] => self.here.retain(|known| known != who),
            ["#"] => self.all_below.retain(|known| known != who),
            [level, rest @ ..] => {
                let Some(node) = self.below.get_mut(*level) else { return };
                node.remove(rest, who);
                if node.is_empty() {
                    self.below.remove(*level);
                }
            }
        }
    }

    fn collect(&self, levels: &[&str], with_parents: bool, found: &mut Vec<T>) {
        let [level, rest @ ..] = levels else {
            if with_parents {
                add(&self.all_below, found);
            }
            return add(&self.here, found);
        };
        // As AWS IoT Core does, `a/#` does not match `a`, unless it is to: there must be a level.
        add(&self.all_below, found);
        for wanted in [*level, "+"] {
            if let Some(node) = self.below.get(wanted) {
                node.collect(rest, with_parents, found);
            }
        }
    }
}

fn add<T: Clone + PartialEq>(some: &[T], found: &mut Vec<T>) {
    for who in some {
        if !found.contains(who) {
            found.push(who.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_tree_finds_what_the_filters_match_and_is_empty_after_all_left() {
        let filters =
            ["a", "a/+", "a/#", "+/b", "+/+", "a/b", "a/b/#", "b/#", "+"].map(|f| TopicFilter::new(f).unwrap());
        for with_parents in [false, true] {
            check(&filters, with_parents);
        }
    }

    fn check(filters: &[TopicFilter], with_parents: bool) {
        let matches = |filter: &TopicFilter, topic: &str| {
            filter.matches(topic) || (with_parents && filter.matches_as_parent(topic))
        };
        let mut tree = Tree::new(with_parents);
        for (at, filter) in filters.iter().enumerate() {
            tree.insert(filter, at);
            tree.insert(filter, at);
            tree.insert(filter, 100);
        }
        for topic in ["a", "b", "a/b", "a/c", "a/b/c", "b/b", "a/", "c/d/e"] {
            let mut found = tree.matching(topic);
            found.sort_unstable();
            let slow = filters.iter().enumerate().filter(|(_, filter)| matches(filter, topic)).map(|(at, _)| at);
            let mut expected: Vec<usize> = slow.collect();
            if !expected.is_empty() {
                expected.push(100);
            }
            assert_eq!(found, expected, "{topic}");
        }
        for (at, filter) in filters.iter().enumerate() {
            tree.remove(filter, &at);
            tree.remove(filter, &100);
            tree.remove(filter, &100);
        }
        assert!(tree.is_empty());
    }
}
