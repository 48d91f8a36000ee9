//! What is known of one kind of object: never older than our own last write.
//!
//! Two sources feed a store: the watch, and the answers to our own writes and reads. Of two states of an object the
//! one with the greater resource version stays, wherever it came from, so that a decision never rests on a state
//! from before our own last write. A deleted object leaves a tombstone, so that a late answer does not bring it back.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher::Event;

use super::row::{Arrival, Place, Row, View};
use super::version::compare;
use crate::engine::flaw::{self, Flaw};

/// Tombstones kept. A late answer is late by seconds; this many deletions of one kind take longer.
const TOMBSTONES: usize = 4_096;

/// A change of a store: whose object it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// The Rollouts that it belonged to before and belongs to now.
    pub rollouts: BTreeSet<String>,
}

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fed {
    /// Nothing new.
    Same,
    /// One object changed.
    Changed(Change),
    /// An object cannot be read; in words.
    Unreadable(String),
    /// A list is complete: what is gone now, and what was written meanwhile and must be read one by one, because the
    /// list does not tell whether it is gone again.
    Listed {
        /// Objects that are gone.
        gone: Vec<Change>,
        /// Namespace and name of each object in doubt.
        doubtful: Vec<(String, String)>,
    },
    /// Versions cannot be compared: list again.
    Lost,
}

/// The objects of one kind, by namespace and name.
#[derive(Debug)]
pub struct Store<V> {
    inner: Mutex<Inner<V>>,
}

#[derive(Debug)]
struct Inner<V> {
    objects: BTreeMap<String, BTreeMap<String, Arc<V>>>,
    /// Names by namespace and Rollout.
    members: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Version by uid of what is gone; without a version nothing of that uid can come back.
    tombstones: BTreeMap<String, Option<String>>,
    /// The uids of the tombstones, oldest first.
    buried: VecDeque<String>,
    listing: Option<Listing>,
    synced: bool,
}

#[derive(Debug, Default)]
struct Listing {
    listed: BTreeSet<(String, String)>,
    written: BTreeSet<(String, String)>,
}

impl<V> Default for Store<V> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                objects: BTreeMap::new(),
                members: BTreeMap::new(),
                tombstones: BTreeMap::new(),
                buried: VecDeque::new(),
                listing: None,
                synced: false,
            }),
        }
    }
}

impl<V: View> Store<V> {
    /// Takes an event of the watch.
    pub fn feed(&self, event: Event<Arrival<V>>) -> Fed {
        let mut inner = self.lock();
        match event {
            Event::Init => {
                inner.listing = Some(Listing::default());
                Fed::Same
            }
            Event::InitApply(arrival) => {
                if let Some(listing) = &mut inner.listing {
                    listing.listed.insert(arrival.place().key());
                }
                inner.take_arrival(arrival)
            }
            Event::InitDone => inner.finish_list(),
            Event::Apply(arrival) => inner.take_arrival(arrival),
            Event::Delete(arrival) => inner.drop_at(arrival.place()),
        }
    }

    /// Takes the answer to a write or a read of our own. Gives the change, if it was news.
    pub fn put(&self, row: Row<V>) -> Option<Change> {
        if flaw::is(Flaw::OwnWritesForgotten) {
            return None;
        }
        let mut inner = self.lock();
        let key = row.place().key();
        match inner.take(row) {
            Fed::Changed(change) => {
                if let Some(listing) = &mut inner.listing {
                    listing.written.insert(key);
                }
                Some(change)
            }
            _ => None,
        }
    }

    /// Takes note that the API server says the object of this uid is gone (`None`: whatever its uid).
    pub fn forget(&self, namespace: &str, name: &str, uid: Option<&str>) -> Option<Change> {
        let mut inner = self.lock();
        let stored = inner.get(namespace, name)?.at().uid.clone();
        if uid.is_some_and(|uid| uid != stored) {
            return None;
        }
        if uid.is_some() {
            inner.bury(stored, None);
        }
        inner.remove(namespace, name)
    }

    /// One object.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<V>> {
        self.lock().get(namespace, name).cloned()
    }

    /// What `pick` takes from one object, without a copy of the rest.
    pub fn with<T>(&self, namespace: &str, name: &str, pick: impl FnOnce(&V) -> T) -> Option<T> {
        self.lock().get(namespace, name).map(|view| pick(view))
    }

    /// The objects of one Rollout, by name.
    #[must_use]
    pub fn of_rollout(&self, namespace: &str, rollout: &str) -> Vec<Arc<V>> {
        let inner = self.lock();
        let names = inner.members.get(namespace).and_then(|it| it.get(rollout));
        names.into_iter().flatten().filter_map(|name| inner.get(namespace, name).cloned()).collect()
    }

    /// Namespace and name of every object.
    #[must_use]
    pub fn keys(&self) -> Vec<(String, String)> {
        let inner = self.lock();
        let keys = inner.objects.iter().flat_map(|(namespace, objects)| {
            objects.keys().map(move |name| (namespace.clone(), name.clone()))
        });
        keys.collect()
    }

    /// Calls `visit` with each object. The store is locked meanwhile.
    pub fn for_each(&self, mut visit: impl FnMut(&V)) {
        self.lock().objects.values().flat_map(BTreeMap::values).for_each(|view| visit(view));
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().objects.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a list was complete once, so that absence means something.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.lock().synced
    }

    /// Takes note that the API server does not serve the kind: there is nothing, and that is known.
    pub fn set_absent(&self) {
        let mut inner = self.lock();
        inner.objects.clear();
        inner.members.clear();
        inner.synced = true;
    }

    /// A panic in a reader leaves the maps whole: every change below is made of single insertions and removals.
    fn lock(&self) -> MutexGuard<'_, Inner<V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: View> Inner<V> {
    fn get(&self, namespace: &str, name: &str) -> Option<&Arc<V>> {
        self.objects.get(namespace)?.get(name)
    }

    /// Most of what a watch tells is known already, from the answers to our own writes: it is not even read.
    fn take_arrival(&mut self, arrival: Arrival<V>) -> Fed {
        match self.weigh(arrival.place()) {
            Some(fed) => fed,
            None => self.keep(arrival.open()),
        }
    }

    fn take(&mut self, row: Row<V>) -> Fed {
        match self.weigh(row.place()) {
            Some(fed) => fed,
            None => self.keep(row),
        }
    }

    /// What there is to say of an object without reading it; `None` if it is news.
    fn weigh(&mut self, at: Place<'_>) -> Option<Fed> {
        if self.is_buried(at) {
            return Some(Fed::Same);
        }
        let Some(stored) = self.get(at.namespace, at.name) else {
            return compare(at.version, "0").is_none().then_some(Fed::Lost);
        };
        match compare(at.version, &stored.at().resource_version) {
            Some(Ordering::Greater) => None,
            Some(Ordering::Less | Ordering::Equal) => Some(Fed::Same),
            None => {
                self.remove(at.namespace, at.name);
                Some(Fed::Lost)
            }
        }
    }

    /// Keeps what is news.
    fn keep(&mut self, row: Row<V>) -> Fed {
        let (namespace, name) = row.place().key();
        match row.view {
            Ok(view) if view.is_watched() => Fed::Changed(self.insert(namespace, name, view)),
            Ok(view) => {
                let at = view.at().clone();
                self.bury(at.uid, Some(at.resource_version));
                self.remove(&namespace, &name).map_or(Fed::Same, Fed::Changed)
            }
            Err(why) => {
                self.remove(&namespace, &name);
                Fed::Unreadable(format!("{} {namespace}/{name} cannot be read: {why}", V::KIND))
            }
        }
    }

    fn drop_at(&mut self, at: Place<'_>) -> Fed {
        let Some(stored) = self.get(at.namespace, at.name) else {
            self.bury(at.uid.to_owned(), Some(at.version.to_owned()));
            return Fed::Same;
        };
        let order = compare(at.version, &stored.at().resource_version);
        if order.is_none() {
            self.remove(at.namespace, at.name);
            return Fed::Lost;
        }
        // A late deletion, of a former object of that name or from before the label came back.
        if order == Some(Ordering::Less) {
            return Fed::Same;
        }
        self.bury(at.uid.to_owned(), Some(at.version.to_owned()));
        self.remove(at.namespace, at.name).map_or(Fed::Same, Fed::Changed)
    }

    fn finish_list(&mut self) -> Fed {
        self.synced = true;
        let Some(Listing { listed, written }) = self.listing.take() else { return Fed::Same };
        let stored = self.objects.iter().flat_map(|(namespace, objects)| {
            objects.keys().map(move |name| (namespace.clone(), name.clone()))
        });
        let unlisted: Vec<_> = stored.filter(|key| !listed.contains(key)).collect();
        let (doubtful, gone): (Vec<_>, Vec<_>) = unlisted.into_iter().partition(|key| written.contains(key));
        let gone = gone.iter().filter_map(|(namespace, name)| self.remove(namespace, name)).collect();
        Fed::Listed { gone, doubtful }
    }

    fn insert(&mut self, namespace: String, name: String, view: V) -> Change {
        let mut change = self.remove(&namespace, &name).unwrap_or_default();
        if let Some(rollout) = view.rollout() {
            change.rollouts.insert(rollout.to_owned());
            let members = self.members.entry(namespace.clone()).or_default();
            members.entry(rollout.to_owned()).or_default().insert(name.clone());
        }
        self.objects.entry(namespace.clone()).or_default().insert(name.clone(), Arc::new(view));
        change.namespace = namespace;
        change.name = name;
        change
    }

    fn remove(&mut self, namespace: &str, name: &str) -> Option<Change> {
        let objects = self.objects.get_mut(namespace)?;
        let view = objects.remove(name)?;
        if objects.is_empty() {
            self.objects.remove(namespace);
        }
        let rollout = view.rollout().map(str::to_owned);
        if let (Some(rollout), Some(members)) = (&rollout, self.members.get_mut(namespace)) {
            if let Some(names) = members.get_mut(rollout) {
                names.remove(name);
                if names.is_empty() {
                    members.remove(rollout);
                }
            }
            if members.is_empty() {
                self.members.remove(namespace);
            }
        }
        Some(Change {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            rollouts: rollout.into_iter().collect(),
        })
    }

    fn bury(&mut self, uid: String, version: Option<String>) {
        if self.tombstones.insert(uid.clone(), version).is_some() {
            return;
        }
        self.buried.push_back(uid);
        if self.buried.len() > TOMBSTONES
            && let Some(oldest) = self.buried.pop_front()
        {
            self.tombstones.remove(&oldest);
        }
    }

    fn is_buried(&self, at: Place<'_>) -> bool {
        self.tombstones.get(at.uid).is_some_and(|version| {
            version.as_ref().is_none_or(|gone| compare(at.version, gone) != Some(Ordering::Greater))
        })
    }
}

#[cfg(test)]
mod tests;
