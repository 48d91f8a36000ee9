//! Kubernetes Events: one for each thing that happened, sent beside the work and never in its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::backoff::fraction;
use super::call::{CallError, Cluster, Path};
use super::row::View;
use super::views::RolloutView;
use crate::adapters::clock::Clock;
use crate::api::names::GROUP;
use crate::engine::world::RolloutSeen;

/// Events that may wait to be sent, some 2 kB each; more are dropped and counted. A thousand Rollouts that turn back at once
/// have three each to tell.
const WAITING: usize = 4_096;
/// The API server takes notes of up to 1 024 bytes.
const LONGEST_NOTE: usize = 1_000;
/// The longest name of a reporting instance that the API server takes.
const LONGEST_INSTANCE: usize = 128;

/// Takes Events to be sent.
#[derive(Clone, Debug)]
pub struct Events {
    waiting: mpsc::Sender<(String, Value)>,
    dropped: Arc<AtomicU64>,
    instance: String,
    clock: Clock,
}

/// Sends what was taken.
pub struct EventSender {
    cluster: Cluster,
    waiting: mpsc::Receiver<(String, Value)>,
}

/// What an Event says.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// One word.
    pub reason: &'static str,
    /// In a sentence.
    pub text: &'a str,
    /// Whether it is of type `Warning`.
    pub is_warning: bool,
}

/// A queue of Events and its sender; `identity` names this process.
#[must_use]
pub fn queue(cluster: Cluster, identity: &str) -> (Events, EventSender) {
    let (sender, waiting) = mpsc::channel(WAITING);
    let instance = shortened(identity, LONGEST_INSTANCE).to_owned();
    let clock = cluster.clock().clone();
    (Events { waiting: sender, dropped: Arc::default(), instance, clock }, EventSender { cluster, waiting })
}

impl Events {
    /// Takes an Event about a Rollout. Never waits: when too many are waiting it is dropped.
    pub fn tell(&self, rollout: &RolloutSeen, note: Note<'_>) {
        let event = self.event(rollout, note);
        if self.waiting.try_send((rollout.namespace.clone(), event)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were dropped since this was last asked.
    #[must_use]
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    fn event(&self, rollout: &RolloutSeen, note: Note<'_>) -> Value {
        let at = &rollout.at;
        let now = self.clock.now();
        // Two Events of one Rollout in the same nanosecond would need the same random number too.
        let unique = now.as_nanosecond() ^ i128::from((fraction() * f64::from(1 << 24)) as u32);
        json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": format!("{}.{unique:x}", at.name), "namespace": rollout.namespace},
            "eventTime": MicroTime(now),
            "reportingController": format!("{GROUP}/controller"),
            "reportingInstance": self.instance,
            "type": if note.is_warning { "Warning" } else { "Normal" },
            "reason": note.reason,
            "action": note.reason,
            "note": shortened(note.text, LONGEST_NOTE),
            "regarding": {
                "apiVersion": format!("{}/{}", RolloutView::GROUP, RolloutView::VERSION),
                "kind": RolloutView::KIND,
                "namespace": rollout.namespace,
                "name": at.name,
                "uid": at.uid,
                "resourceVersion": at.resource_version,
            },
        })
    }
}

impl EventSender {
    /// Sends Events until every [`Events`] is dropped; `sent` hears how each went. None is sent twice.
    pub async fn run(mut self, sent: impl Fn(Result<(), CallError>)) {
        while let Some((namespace, event)) = self.waiting.recv().await {
            let path = Path::new(("events.k8s.io", "v1", "events", "Event"), &namespace, "");
            sent(self.cluster.create::<Value>(&path, &event).await.map(drop));
        }
    }
}

/// The first `bytes` of `text`, or fewer so as not to cut a character.
fn shortened(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shortened_between_characters() {
        assert_eq!(shortened("paliér", 10), "paliér");
        assert_eq!(shortened("paliér", 5), "pali");
        assert_eq!(shortened("paliér", 6), "palié");
    }
}
