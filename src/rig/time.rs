//! The time of a rig: it stands still while anybody works and jumps to the next thing that is due when nobody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::adapters::clock::Clock;

/// A clock on the wall of a rig.
#[derive(Clone, Debug)]
pub struct RigTime {
    began: Instant,
    began_at: Timestamp,
    /// How far this clock is wrong, in milliseconds.
    skew: Arc<AtomicI64>,
}

impl RigTime {
    /// A clock that shows `began_at` now. Only within a runtime whose time is paused.
    #[must_use]
    pub fn starting(began_at: Timestamp) -> Self {
        Self { began: Instant::now(), began_at, skew: Arc::default() }
    }

    /// The time that this clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let shown = SignedDuration::from_millis(elapsed.saturating_add(self.skew.load(Ordering::Relaxed)));
        self.began_at.saturating_add(shown).unwrap_or(Timestamp::MAX)
    }

    /// Another clock of the same rig, right at first.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { skew: Arc::default(), ..self.clone() }
    }

    /// Sets by how many milliseconds this clock is ahead.
    pub fn set_skew(&self, millis: i64) {
        self.skew.store(millis, Ordering::Relaxed);
    }

    /// The clock as the controller takes it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::of(move || time.now())
    }
}
