//! The server: the store, the clock, and who is to be told of a change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use super::connection::Connection;
use super::front::Front;
use super::kinds::Kind;
use super::store::{Caller, Revision, Store};
use super::weather::Weather;

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Written-down versions that are kept for watches and lists.
const TEXTS: usize = 512;

/// An API server. Cheap to clone: clones serve the same objects.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
}

struct Shared {
    store: Mutex<Store>,
    clock: Clock,
    /// The last revision of each kind, in the order of [`Kind::ALL`].
    changed: Vec<watch::Sender<u64>>,
    /// Versions of objects as JSON, by revision.
    texts: Mutex<BTreeMap<u64, Bytes>>,
}

impl ApiServer {
    /// A server of the objects in `store`, with the time of `clock`.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        let changed = Kind::ALL.iter().map(|_| watch::Sender::new(store.revision())).collect();
        Self {
            shared: Arc::new(Shared { store: Mutex::new(store), clock, changed, texts: Mutex::default() }),
        }
    }

    /// A connection of the user `as_user`, in fair weather and to a front end that is up to date. To be called within a
    /// runtime of tokio.
    #[must_use]
    pub fn client(&self, as_user: &str) -> Connection {
        self.connect(Caller::new(as_user, self.now()), Front::default(), None)
    }

    /// A connection of `caller` (whose time does not matter) to a front end, in some weather. To be called within a runtime
    /// of tokio.
    #[must_use]
    pub fn connect(&self, caller: Caller, front: Front, weather: Option<Weather>) -> Connection {
        Connection::new(self.clone(), caller, front, weather)
    }

    /// The time of the server.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.shared.clock)()
    }

    /// Looks at the objects.
    pub fn read<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.store())
    }

    /// Works on the objects; watches hear of what changed.
    pub fn write<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store();
        let before = store.revision();
        let done = work(&mut store);
        let changes = store.since(before).unwrap_or_default();
        let last: BTreeMap<Kind, u64> =
            changes.iter().map(|change| (change.key.kind, change.number)).collect();
        drop(store);
        for (kind, number) in last {
            self.shared.changed[kind as usize].send_replace(number);
        }
        done
    }

    /// The revision of the last change of a kind.
    #[must_use]
    pub fn changes(&self, kind: Kind) -> watch::Receiver<u64> {
        self.shared.changed[kind as usize].subscribe()
    }

    /// The object after a change, as JSON.
    pub(super) fn text(&self, change: &Revision) -> Bytes {
        let mut texts = self.shared.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = texts.get(&change.number) {
            return text.clone();
        }
        let text = Bytes::from(change.after.to_string());
        texts.insert(change.number, text.clone());
        while texts.len() > TEXTS {
            texts.pop_first();
        }
        text
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
