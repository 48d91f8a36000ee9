//! What else lives in a cluster: the controllers of Kubernetes, the pods and a gateway, as far as a release depends on them.
//!
//! They act on the objects of a [`Store`] when they are asked to, on a clock that the caller gives; equal seeds and equal stores
//! act equally. Their behaviour is written from the documentation of Kubernetes and compared with the real ones by the fidelity
//! tests.

mod deployments;
mod dice;
mod endpoints;
mod fields;
mod garbage;
mod gateway;
pub mod given;
mod hand;
mod jobs;
mod mishaps;
mod pods;
mod queue;
mod replica_sets;
mod settings;
mod wakes;

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use super::{Caller, Key, Kind, Store, Verb};
use crate::api::Span;
use dice::Dice;
use garbage::Family;
use gateway::Routes;
use hand::{Hand, Outcome};
use pods::Lives;
use queue::Queue;

pub use endpoints::assign_address;
pub use gateway::Backends;
pub use settings::{Fate, Gateway, Image, Settings};

/// The most that is done in one step; what is left then is done a second later. Only controllers that fight for ever get there.
const MOST_AT_ONCE: usize = 100_000;
/// How long a controller waits after a first refusal: doubled each time, up to five minutes.
const RETRY_SECONDS: i64 = 1;
const RETRY_SECONDS_MAX: i64 = 300;

/// A controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Native {
    /// Deployments and their ReplicaSets.
    Deployments,
    /// ReplicaSets and their pods.
    ReplicaSets,
    /// The scheduler and the kubelets.
    Pods,
    /// Services and the endpoints behind them.
    Endpoints,
    /// The gateway.
    Gateway,
    /// Jobs.
    Jobs,
    /// The garbage collector.
    Garbage,
    /// The namespaces.
    Namespaces,
}

impl Native {
    /// The name that it has in the log of the store.
    #[must_use]
    pub const fn user(self) -> &'static str {
        match self {
            Self::Deployments => "system:serviceaccount:kube-system:deployment-controller",
            Self::ReplicaSets => "system:serviceaccount:kube-system:replicaset-controller",
            Self::Pods => "system:nodes",
            Self::Endpoints => "system:serviceaccount:kube-system:endpointslice-controller",
            Self::Gateway => "system:serviceaccount:gateway:gateway",
            Self::Jobs => "system:serviceaccount:kube-system:job-controller",
            Self::Garbage => "system:serviceaccount:kube-system:generic-garbage-collector",
            Self::Namespaces => "system:serviceaccount:kube-system:namespace-controller",
        }
    }
}

/// Something that a controller is to look at.
type Work = (Native, Key);

/// Everything else that lives in a cluster.
#[derive(Clone, Debug)]
pub struct Nature {
    /// How it behaves.
    pub settings: Settings,
    /// The settings that it acted by last.
    acted_by: Option<Settings>,
    /// The last change of the store that was seen.
    seen: u64,
    last: Option<Timestamp>,
    queue: Queue,
    dice: Dice,
    lives: Lives,
    routes: Routes,
    family: Family,
}

impl Nature {
    /// Nature that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            dice: Dice::new(settings.seed),
            settings,
            acted_by: None,
            seen: 0,
            last: None,
            queue: Queue::default(),
            lives: Lives::default(),
            routes: Routes::default(),
            family: Family::default(),
        }
    }

    /// Does everything that is due at `at`, until nothing more is to do; when something is due next, if nobody changes anything
    /// before. A clock that goes back delays nothing: what was due in a minute is due in a minute.
    pub fn step(&mut self, store: &mut Store, at: Timestamp) -> Option<Timestamp> {
        self.follow_clock(at);
        if !self.acted_by.as_ref().is_some_and(|before| wakes::is_as_before(before, &self.settings)) {
            self.acted_by = Some(self.settings.clone());
            self.look_at_all(store, at);
        }
        for _ in 0..MOST_AT_ONCE {
            self.see(store, at);
            let Some(work) = self.queue.pop(at) else {
                return self.queue.next();
            };
            self.act(store, at, work);
        }
        at.checked_add(SignedDuration::from_secs(1)).ok()
    }

    /// The backends by which the gateway sends the requests of a route now, by rule; nothing if it never acted by it.
    #[must_use]
    pub fn in_effect(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Backends> {
        self.routes.in_effect(&Key::new(kind, namespace, name))
    }

    fn follow_clock(&mut self, at: Timestamp) {
        if let Some(back) = self.last.map(|last| at.duration_since(last)).filter(SignedDuration::is_negative)
        {
            self.queue.shift(back);
            self.lives.shift(back);
            self.routes.shift(back);
        }
        self.last = Some(at);
    }

    fn act(&mut self, store: &mut Store, at: Timestamp, work: Work) {
        let (native, key) = &work;
        let mut hand = Hand { store, caller: Caller::new(native.user(), at) };
        let hand = &mut hand;
        let (settings, quota) = (&self.settings, self.settings.quota);
        let outcome: Outcome = match native {
            Native::Deployments => deployments::sync(hand, key),
            Native::ReplicaSets => replica_sets::sync(hand, key, &mut self.dice, quota),
            Native::Pods => pods::sync(hand, key, &mut self.lives, settings),
            Native::Endpoints => endpoints::sync(hand, key, &mut self.dice),
            Native::Gateway => gateway::sync(hand, key, &mut self.routes, &settings.gateway),
            Native::Jobs => jobs::sync(hand, key, &mut self.dice, quota),
            Native::Garbage => garbage::sync(hand, key, &self.family),
            Native::Namespaces => garbage::empty(hand, key),
        };
        match outcome {
            Ok(again) => {
                self.queue.forgive(&work);
                if let Some(again) = again {
                    self.wake_at(work, again);
                }
            }
            Err(_) => {
                let wait = RETRY_SECONDS << self.queue.refused(&work).min(9);
                let wait = SignedDuration::from_secs(wait.min(RETRY_SECONDS_MAX));
                self.wake_at(work, at.checked_add(wait).unwrap_or(at));
            }
        }
    }

    fn wake_at(&mut self, work: Work, at: Timestamp) {
        let turn = if self.settings.shuffles { self.dice.next() } else { 0 };
        self.queue.put(work, at, turn);
    }

    /// Something happened: a controller looks, now or a little later.
    fn wake(&mut self, work: Work, at: Timestamp) {
        let lag = self.settings.lags.get(&work.0).copied().unwrap_or(Span::ZERO);
        let lag = self.dice.up_to(lag);
        self.wake_at(work, at.checked_add(lag.as_signed()).unwrap_or(at));
    }

    /// Follows the changes of the store.
    fn see(&mut self, store: &Store, at: Timestamp) {
        if self.seen == store.revision() {
            return;
        }
        let Some(changes) = store.since(self.seen) else { return self.look_at_all(store, at) };
        self.seen = store.revision();
        for change in changes {
            if let Some(before) = &change.before {
                self.family.forget(&change.key, before);
            }
            if change.verb == Verb::Delete {
                if change.key.kind == Kind::Pod {
                    self.lives.forget(&change.after, &change.key);
                }
            } else {
                self.family.note(&change.key, &change.after);
            }
            let works = wakes::of(change, store, &self.family, &self.lives);
            works.into_iter().for_each(|work| self.wake(work, at));
        }
    }

    /// Looks at everything there is.
    fn look_at_all(&mut self, store: &Store, at: Timestamp) {
        self.seen = store.revision();
        self.family = Family::default();
        for kind in Kind::ALL {
            for (key, object) in store.list(kind, None) {
                self.family.note(key, object);
                for native in wakes::of_kind(kind) {
                    self.wake((*native, key.clone()), at);
                }
                if garbage::concerns(object) {
                    self.wake((Native::Garbage, key.clone()), at);
                }
            }
        }
    }
}
