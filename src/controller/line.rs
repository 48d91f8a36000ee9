//! A line in which namespaces take turns, so that a crowd in one of them delays nobody else by more than one place.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::queue::Key;

/// Rollouts that wait.
#[derive(Debug, Default)]
pub struct Line {
    /// Those of a namespace, in order of arrival; never empty.
    waiting: BTreeMap<Arc<str>, VecDeque<Key>>,
    /// Namespaces in the order of their turns.
    turns: VecDeque<Arc<str>>,
}

impl Line {
    /// Adds a Rollout behind those of its namespace.
    pub fn push(&mut self, key: Key) {
        let its = self.waiting.entry(key.namespace.clone()).or_default();
        if its.is_empty() {
            self.turns.push_back(key.namespace.clone());
        }
        its.push_back(key);
    }

    /// Takes the first Rollout of the namespace whose turn it is.
    pub fn pop(&mut self) -> Option<Key> {
        let namespace = self.turns.pop_front()?;
        let its = self.waiting.get_mut(&namespace)?;
        let key = its.pop_front();
        if its.is_empty() {
            self.waiting.remove(&namespace);
        } else {
            self.turns.push_back(namespace);
        }
        key
    }

    /// Takes a Rollout out, wherever it stands.
    pub fn remove(&mut self, key: &Key) {
        let Some(its) = self.waiting.get_mut(&key.namespace) else { return };
        its.retain(|it| it != key);
        if its.is_empty() {
            self.waiting.remove(&key.namespace);
            self.turns.retain(|it| *it != key.namespace);
        }
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, number: usize) -> Key {
        Key::new(namespace, &number.to_string())
    }

    #[test]
    fn namespaces_take_turns_and_each_keeps_its_order() {
        let mut line = Line::default();
        for number in 0..3 {
            line.push(key("flood", number));
        }
        line.push(key("shop", 0));
        line.push(key("mall", 0));
        line.push(key("shop", 1));
        let out: Vec<String> = std::iter::from_fn(|| line.pop()).map(|key| key.to_string()).collect();
        assert_eq!(out, ["flood/0", "shop/0", "mall/0", "flood/1", "shop/1", "flood/2"]);
        assert!(line.is_empty() && line.waiting.is_empty());
    }

    #[test]
    fn who_is_taken_out_leaves_nothing_behind() {
        let mut line = Line::default();
        line.push(key("shop", 0));
        line.push(key("mall", 0));
        line.push(key("shop", 1));
        line.remove(&key("shop", 0));
        line.remove(&key("mall", 0));
        line.remove(&key("mall", 7));
        assert_eq!((line.pop(), line.pop()), (Some(key("shop", 1)), None));
        assert!(line.is_empty() && line.waiting.is_empty());
    }
}
