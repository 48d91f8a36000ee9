//! Who asks a metric server next: namespaces take turns, and none of them takes every place.
//!
//! A server answers a bounded number of questions at once. Were they asked in their order alone, a namespace with five thousand
//! gates would keep everybody else's waiting, and a release that goes wrong elsewhere would be found out late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Places of one server.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    free: usize,
    /// The most places that one namespace takes at once.
    share: usize,
    taken: BTreeMap<String, usize>,
    /// Who waits, by namespace and in order of arrival.
    waiting: BTreeMap<String, BTreeMap<u64, oneshot::Sender<Place>>>,
    /// Namespaces in which somebody waits, in the order of their turns.
    turns: VecDeque<String>,
    arrivals: u64,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    namespace: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(&self.namespace);
        self.places.hand_out();
    }
}

/// Somebody who waits. Who leaves takes the name out of the line.
struct Waiting<'a> {
    places: &'a Places,
    namespace: &'a str,
    arrival: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.places.lock();
        let Some(line) = inner.waiting.get_mut(self.namespace) else { return };
        line.remove(&self.arrival);
        if line.is_empty() {
            inner.waiting.remove(self.namespace);
            inner.turns.retain(|namespace| namespace != self.namespace);
        }
    }
}

impl Places {
    /// So many places, of which one namespace takes `share` at most.
    pub(super) fn new(places: usize, share: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            free: places,
            share,
            taken: BTreeMap::new(),
            waiting: BTreeMap::new(),
            turns: VecDeque::new(),
            arrivals: 0,
        })))
    }

    /// Waits for a place.
    pub(super) async fn take(&self, namespace: &str) -> Option<Place> {
        let (sender, receiver) = oneshot::channel();
        let arrival = self.lock().join(namespace, sender);
        let waiting = Waiting { places: self, namespace, arrival };
        self.hand_out();
        let place = receiver.await.ok();
        drop(waiting);
        place
    }

    /// Gives free places to those whose turn it is.
    fn hand_out(&self) {
        loop {
            let Some((namespace, sender)) = self.lock().next() else { return };
            // Somebody who has just left does not take it: it comes back when it is dropped, outside of the lock.
            drop(sender.send(Place { places: self.clone(), namespace }));
        }
    }

    fn give_back(&self, namespace: &str) {
        let mut inner = self.lock();
        inner.free += 1;
        if let Some(taken) = inner.taken.get_mut(namespace) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                inner.taken.remove(namespace);
            }
        }
    }

    /// Never held over an await, and what it guards is whole between two statements.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn join(&mut self, namespace: &str, sender: oneshot::Sender<Place>) -> u64 {
        self.arrivals += 1;
        let line = self.waiting.entry(namespace.to_owned()).or_default();
        if line.is_empty() {
            self.turns.push_back(namespace.to_owned());
        }
        line.insert(self.arrivals, sender);
        self.arrivals
    }

    /// The first of the next namespace that has not its share yet; its place is taken with this.
    fn next(&mut self) -> Option<(String, oneshot::Sender<Place>)> {
        if self.free == 0 {
            return None;
        }
        let has_room = |namespace: &String| self.taken.get(namespace).copied().unwrap_or(0) < self.share;
        let at = self.turns.iter().position(has_room)?;
        let namespace = self.turns.remove(at)?;
        let line = self.waiting.get_mut(&namespace)?;
        let (_, sender) = line.pop_first()?;
        if line.is_empty() {
            self.waiting.remove(&namespace);
        } else {
            self.turns.push_back(namespace.clone());
        }
        self.free -= 1;
        *self.taken.entry(namespace.clone()).or_default() += 1;
        Some((namespace, sender))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures::poll;

    use super::*;

    fn is_at_rest(places: &Places, free: usize) -> bool {
        let inner = places.lock();
        inner.free == free && inner.taken.is_empty() && inner.waiting.is_empty() && inner.turns.is_empty()
    }

    #[tokio::test]
    async fn no_namespace_takes_every_place() {
        let places = Places::new(4, 3);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(places.take("flood").await.unwrap());
        }
        let mut fourth = pin!(places.take("flood"));
        assert!(poll!(fourth.as_mut()).is_pending());
        let other = places.take("shop").await.unwrap();
        held.pop();
        // The free place is the fourth's now, as the namespace has one less.
        assert!(poll!(fourth.as_mut()).is_ready());
        drop((held, other));
        assert!(is_at_rest(&places, 4));
    }

    #[tokio::test]
    async fn namespaces_take_turns() {
        let places = Places::new(1, 1);
        let first = places.take("flood").await.unwrap();
        let mut crowd: Vec<_> = (0..5).map(|_| Box::pin(places.take("flood"))).collect();
        for one in &mut crowd {
            assert!(poll!(one.as_mut()).is_pending());
        }
        let mut late = Box::pin(places.take("shop"));
        assert!(poll!(late.as_mut()).is_pending());
        drop(first);
        let Poll::Ready(second) = poll!(crowd[0].as_mut()) else { panic!("it came first") };
        assert!(poll!(late.as_mut()).is_pending());
        drop(second);
        // Five were there before it, and four of them wait on.
        let Poll::Ready(place) = poll!(late.as_mut()) else { panic!("it is the other namespace's turn") };
        drop((place, late, crowd));
        assert!(is_at_rest(&places, 1));
    }

    #[tokio::test]
    async fn who_leaves_keeps_nothing() {
        let places = Places::new(1, 1);
        let held = places.take("shop").await.unwrap();
        for _ in 0..100 {
            let mut waiting = Box::pin(places.take("shop"));
            assert!(poll!(waiting.as_mut()).is_pending());
        }
        let mut last = Box::pin(places.take("shop"));
        assert!(poll!(last.as_mut()).is_pending());
        // It is given the place in the moment in which it leaves.
        drop(held);
        drop(last);
        assert!(is_at_rest(&places, 1));
    }
}
