//! Which Rollout is worked on next.
//!
//! A Rollout is in the queue at most once, and never worked on twice at the same time: what comes while it is worked on
//! makes it ready again afterwards. Urgent ones (a person's word, the answer of a metric server) go first, namespaces take
//! turns, and however many urgent ones there are, the others are not left out for ever: a rollback goes on as an ordinary one
//! once it has begun.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::line::Line;
use crate::adapters::kube::backoff::pause;
use crate::engine::flaw::{self, Flaw};

/// The longest pause after failures in a row.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// From this many failures in a row, ordinary changes of the world wait for the pause to end too, so that no foreign
/// writer can make the controller spin.
const SPINNING: u32 = 3;
/// After so many urgent ones in a row comes an ordinary one.
const URGENT_IN_A_ROW: u32 = 8;

/// A Rollout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// The Rollout `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How soon a Rollout is to be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// In its turn.
    Ordinary,
    /// Before all ordinary ones, even while it pauses after failures.
    Urgent,
}

/// How the work on a Rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There is nothing to do before this time, if nothing changes.
    Settled(Option<Instant>),
    /// Something went wrong: again after a pause.
    Failed,
    /// It is gone.
    Gone,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    urgent: Line,
    ordinary: Line,
    urgent_in_a_row: u32,
    timers: BTreeSet<(Instant, Key)>,
    known: BTreeMap<Key, State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where it waits.
    queued: Option<Urgency>,
    is_running: bool,
    /// What came while it was worked on.
    again: Option<Urgency>,
    timer: Option<Instant>,
    failures: u32,
    paused_until: Option<Instant>,
}

impl Queue {
    /// Makes a Rollout ready.
    pub fn push(&self, key: &Key, urgency: Urgency) {
        self.lock().push(key, urgency, Instant::now());
        self.changed.notify_one();
    }

    /// The next Rollout to work on, once there is one. Call [`Queue::finish`] afterwards.
    pub async fn next(&self) -> Key {
        loop {
            let due = {
                let mut inner = self.lock();
                match inner.next(Instant::now()) {
                    Ok(key) => return key,
                    Err(due) => due,
                }
            };
            match due {
                Some(due) => {
                    tokio::select! {
                        biased;
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Whether an urgent one waits.
    #[must_use]
    pub fn has_urgent(&self) -> bool {
        !self.lock().urgent.is_empty()
    }

    /// Says how the work on a Rollout ended.
    pub fn finish(&self, key: &Key, ended: Ended) {
        self.lock().finish(key, ended, Instant::now());
        self.changed.notify_one();
    }

    /// A panic leaves at worst one Rollout without a timer; the next change of it brings it back.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, key: &Key, urgency: Urgency, now: Instant) {
        let state = self.known.entry(key.clone()).or_default();
        if state.is_running {
            state.again = state.again.max(Some(urgency));
            return;
        }
        let is_paused = state.failures >= SPINNING && state.paused_until.is_some_and(|until| until > now);
        if urgency == Urgency::Ordinary && is_paused {
            return;
        }
        match (state.queued, urgency) {
            (None, _) => {}
            (Some(Urgency::Ordinary), Urgency::Urgent) => self.ordinary.remove(key),
            (Some(_), _) => return,
        }
        state.queued = Some(urgency);
        match urgency {
            Urgency::Urgent => self.urgent.push(key.clone()),
            Urgency::Ordinary => self.ordinary.push(key.clone()),
        }
    }

    /// The next Rollout, or the time of the next timer.
    fn next(&mut self, now: Instant) -> Result<Key, Option<Instant>> {
        while let Some((due, key)) = self.timers.first().cloned() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            if let Some(state) = self.known.get_mut(&key) {
                state.timer = None;
                state.paused_until = None;
            }
            self.push(&key, Urgency::Ordinary, now);
        }
        let Some(key) = self.first() else {
            return Err(self.timers.first().map(|(due, _)| *due));
        };
        if let Some(state) = self.known.get_mut(&key) {
            state.queued = None;
            state.is_running = true;
        }
        Ok(key)
    }

    fn first(&mut self) -> Option<Key> {
        let is_their_turn = self.urgent_in_a_row >= URGENT_IN_A_ROW && !self.ordinary.is_empty();
        let urgent = if is_their_turn { None } else { self.urgent.pop() };
        self.urgent_in_a_row = if urgent.is_some() { self.urgent_in_a_row.saturating_add(1) } else { 0 };
        urgent.or_else(|| self.ordinary.pop())
    }

    fn finish(&mut self, key: &Key, ended: Ended, now: Instant) {
        let Some(state) = self.known.get_mut(key) else { return };
        state.is_running = false;
        let again = state.again.take();
        if let Some(timer) = state.timer.take() {
            self.timers.remove(&(timer, key.clone()));
        }
        let due = match ended {
            Ended::Settled(due) => {
                state.failures = 0;
                state.paused_until = None;
                due.filter(|_| !flaw::is(Flaw::WakeUpForgotten))
            }
            Ended::Failed => {
                state.failures = state.failures.saturating_add(1);
                state.paused_until = Some(now + pause(state.failures, LONGEST_PAUSE));
                state.paused_until
            }
            Ended::Gone => {
                state.failures = 0;
                None
            }
        };
        if let Some(due) = due {
            state.timer = Some(due);
            self.timers.insert((due, key.clone()));
        }
        if let Some(urgency) = again {
            self.push(key, urgency, now);
        } else if due.is_none() {
            self.known.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("shop", name)
    }

    #[test]
    fn a_rollout_waits_once_and_urgent_ones_go_first() {
        let (mut queue, now) = (Inner::default(), Instant::now());
        for name in ["a", "b", "a"] {
            queue.push(&key(name), Urgency::Ordinary, now);
        }
        queue.push(&key("b"), Urgency::Urgent, now);
        assert_eq!(queue.next(now), Ok(key("b")));
        assert_eq!(queue.next(now), Ok(key("a")));
        assert_eq!(queue.next(now), Err(None));
    }

    /// Five thousand answers for one namespace, and again as many as often as one was looked at.
    #[test]
    fn a_crowd_delays_no_other_namespace() {
        let (mut queue, now) = (Inner::default(), Instant::now());
        let crowd = |number: usize| Key::new("flood", &number.to_string());
        (0..5_000).for_each(|number| queue.push(&crowd(number), Urgency::Urgent, now));
        queue.push(&key("rollback"), Urgency::Urgent, now);
        let mut place_of = |wanted: &Key| {
            (1..=5_000).find(|number| {
                let next = queue.next(now).unwrap();
                queue.finish(&next, Ended::Settled(None), now);
                if next != *wanted {
                    queue.push(&crowd(5_000 + number), Urgency::Urgent, now);
                }
                next == *wanted
            })
        };
        assert_eq!(place_of(&key("rollback")), Some(2));
        // What is left of it to do is ordinary.
        queue.push(&key("rollback"), Urgency::Ordinary, now);
        let mut place = 1;
        while queue.next(now) != Ok(key("rollback")) {
            place += 1;
        }
        assert!(place <= 9, "{place}");
    }

    #[test]
    fn what_comes_during_the_work_is_done_after_it_and_not_beside_it() {
        let (mut queue, now) = (Inner::default(), Instant::now());
        queue.push(&key("a"), Urgency::Ordinary, now);
        assert_eq!(queue.next(now), Ok(key("a")));
        queue.push(&key("a"), Urgency::Ordinary, now);
        assert_eq!(queue.next(now), Err(None));
        queue.finish(&key("a"), Ended::Settled(None), now);
        assert_eq!(queue.next(now), Ok(key("a")));
    }

    #[test]
    fn timers_wake_and_are_replaced() {
        let (mut queue, now) = (Inner::default(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        queue.push(&key("a"), Urgency::Ordinary, now);
        assert_eq!(queue.next(now), Ok(key("a")));
        queue.finish(&key("a"), Ended::Settled(Some(later(10))), now);
        assert_eq!(queue.next(now), Err(Some(later(10))));
        queue.push(&key("a"), Urgency::Ordinary, now);
        assert_eq!(queue.next(now), Ok(key("a")));
        queue.finish(&key("a"), Ended::Settled(Some(later(20))), now);
        assert_eq!(queue.next(later(10)), Err(Some(later(20))));
        assert_eq!(queue.next(later(20)), Ok(key("a")));
    }

    #[test]
    fn after_failures_only_urgent_things_break_the_pause() {
        let (mut queue, now) = (Inner::default(), Instant::now());
        queue.push(&key("a"), Urgency::Ordinary, now);
        for _ in 0..SPINNING {
            assert_eq!(queue.next(now), Ok(key("a")));
            queue.finish(&key("a"), Ended::Failed, now);
            queue.push(&key("a"), Urgency::Ordinary, now);
        }
        assert!(matches!(queue.next(now), Err(Some(due)) if due > now));
        queue.push(&key("a"), Urgency::Urgent, now);
        assert_eq!(queue.next(now), Ok(key("a")));
        queue.finish(&key("a"), Ended::Failed, now);
        assert_eq!(queue.next(now + LONGEST_PAUSE), Ok(key("a")));
    }

    #[test]
    fn what_is_at_rest_or_gone_costs_nothing() {
        let (mut queue, now) = (Inner::default(), Instant::now());
        for ended in [Ended::Settled(None), Ended::Gone] {
            queue.push(&key("a"), Urgency::Ordinary, now);
            assert_eq!(queue.next(now), Ok(key("a")));
            queue.finish(&key("a"), ended, now);
            assert!(queue.known.is_empty() && queue.timers.is_empty());
        }
    }
}
