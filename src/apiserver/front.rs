//! Front ends: API servers whose watch cache may be behind the store.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::store::Store;

/// How a front end sees the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// As it is.
    #[default]
    Live,
    /// As it was this long ago.
    Late(Duration),
    /// As it was at this revision.
    Frozen(u64),
}

/// A front end. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Front {
    sight: Arc<watch::Sender<Sight>>,
}

impl Default for Front {
    fn default() -> Self {
        Self::new(Sight::Live)
    }
}

impl Front {
    /// A front end with this sight.
    #[must_use]
    pub fn new(sight: Sight) -> Self {
        Self { sight: Arc::new(watch::Sender::new(sight)) }
    }

    /// Changes its sight. What it has seen it does not forget: give it no revision that is before what it showed.
    pub fn set(&self, sight: Sight) {
        self.sight.send_replace(sight);
    }

    /// Its sight.
    #[must_use]
    pub fn sight(&self) -> Sight {
        *self.sight.borrow()
    }

    /// Hears of changes of its sight.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Sight> {
        self.sight.subscribe()
    }

    /// The last revision that it sees.
    #[must_use]
    pub fn sees(&self, store: &Store, now: Timestamp) -> u64 {
        match self.sight() {
            Sight::Live => store.revision(),
            Sight::Frozen(revision) => revision.min(store.revision()),
            Sight::Late(by) => {
                let until = now.checked_sub(by).unwrap_or(Timestamp::MIN);
                store.revision_at(until)
            }
        }
    }

    /// The time until it sees more than `revision`, if it does by itself.
    #[must_use]
    pub fn sees_more_in(&self, store: &Store, revision: u64, now: Timestamp) -> Option<Duration> {
        let Sight::Late(by) = self.sight() else { return None };
        let next = store.since(revision)?.first()?;
        let due = next.at.checked_add(by).ok()?;
        Some(Duration::try_from(due.duration_since(now)).unwrap_or_default())
    }
}
