//! What is to do, and when.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Work;

/// What is to do, by the time from which on it is due; each work once, at its earliest time.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    order: BTreeSet<(Timestamp, u64, Work)>,
    places: BTreeMap<Work, (Timestamp, u64)>,
    /// How often a work was refused in a row.
    refusals: BTreeMap<Work, u32>,
}

impl Queue {
    /// Adds a work; `turn` says who is first among those that are due at the same time.
    pub(super) fn put(&mut self, work: Work, at: Timestamp, turn: u64) {
        if let Some(place) = self.places.get(&work) {
            if place.0 <= at {
                return;
            }
            self.order.remove(&(place.0, place.1, work.clone()));
        }
        self.places.insert(work.clone(), (at, turn));
        self.order.insert((at, turn, work));
    }

    /// The next work that is due.
    pub(super) fn pop(&mut self, at: Timestamp) -> Option<Work> {
        let first = self.order.first().filter(|first| first.0 <= at)?.clone();
        self.order.remove(&first);
        self.places.remove(&first.2);
        Some(first.2)
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|first| first.0)
    }

    /// Everything is due that much later, or earlier.
    pub(super) fn shift(&mut self, by: SignedDuration) {
        let later = |at: Timestamp| at.checked_add(by).unwrap_or(at);
        let order = std::mem::take(&mut self.order);
        self.order = order.into_iter().map(|(at, turn, work)| (later(at), turn, work)).collect();
        self.places.values_mut().for_each(|place| place.0 = later(place.0));
    }

    /// A work was refused; how often before.
    pub(super) fn refused(&mut self, work: &Work) -> u32 {
        let count = self.refusals.entry(work.clone()).or_default();
        *count += 1;
        *count - 1
    }

    /// A work was not refused.
    pub(super) fn forgive(&mut self, work: &Work) {
        self.refusals.remove(work);
    }
}
