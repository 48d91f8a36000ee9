//! From raw counters by pod to blocks.
//!
//! Counters are read raw, never as rates: a rate does not see the step from *no series* to 1, and on few new pods that first
//! error is the very sign looked for. The rules, for each pod:
//!
//! | read now | counted |
//! |---|---|
//! | total, no series of bad ones | bad is 0: none has happened yet |
//! | a pod not seen before, created after the gate's first reading | all it counts |
//! | any other pod not seen before | nothing; it is the baseline |
//! | neither counter fell | the differences |
//! | one of them fell: the process began anew | all they count now, both |
//! | the bad ones were read before and are gone, the total grew | the total's difference; no bad one |
//! | no total | nothing; the last reading is kept |
//! | the pod is gone | it is forgotten |

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Arm, Block};

/// Which version a pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The new one.
    Canary,
    /// The old one.
    Stable,
}

/// One pod at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PodReading {
    /// Its name.
    pub pod: String,
    /// Which version it runs.
    pub side: Side,
    /// When it was created.
    pub created_at: Timestamp,
    /// The counter of bad requests; `None`: no such series.
    pub bad: Option<f64>,
    /// The counter of all requests; `None`: no such series.
    pub total: Option<f64>,
}

/// All pods of both versions, also those without series, at one moment: the end of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The moment, the same for all counters.
    pub at: Timestamp,
    /// The pods.
    pub pods: Vec<PodReading>,
}

/// A pod's last counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Last {
    bad: f64,
    total: f64,
    /// The series of bad ones was there and is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
}

/// The last reading. About 45 bytes as JSON for each pod, besides its name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    first_at: Option<Timestamp>,
    counted_until: Option<Timestamp>,
    pods: BTreeMap<String, Last>,
}

/// What the server will not say again when the last reading is read anew: pods that were silent in it, and bad requests of
/// series that were gone. By pod: the bad and all requests that it had counted, and whether it is its bad ones that are gone.
pub type Missing = BTreeMap<String, (f64, f64, bool)>;

/// As many missing pods are remembered; with so many, one that comes back cannot be told from a new one.
pub const MISSING_MAX: usize = 24;

impl State {
    /// The state after `reading`, read anew from the server, with what it does not tell.
    #[must_use]
    pub fn resumed(reading: &Reading, missing: &Missing) -> Self {
        let start = Self { first_at: None, counted_until: None, pods: BTreeMap::new() };
        let (mut state, _) = step(&start, reading);
        for (pod, (bad, total, lost)) in missing {
            match state.pods.get_mut(pod) {
                Some(last) if *lost && last.bad == 0.0 => (last.bad, last.lost) = (*bad, true),
                Some(_) => {}
                None => {
                    state.pods.insert(pod.clone(), Last { bad: *bad, total: *total, lost: *lost });
                }
            }
        }
        state
    }

    /// What `reading`, the last that was counted, does not tell of this state.
    #[must_use]
    pub fn missing(&self, reading: &Reading) -> Missing {
        let speaks = |pod: &String| reading.pods.iter().any(|it| it.pod == *pod && whole(it.total).is_some());
        let silent = self.pods.iter().filter(|(pod, last)| last.lost || !speaks(pod));
        silent.take(MISSING_MAX).map(|(pod, last)| (pod.clone(), (last.bad, last.total, last.lost))).collect()
    }

    /// The end of the last block that was counted.
    #[must_use]
    pub fn counted_until(&self) -> Option<Timestamp> {
        self.counted_until
    }
}

/// What one reading added.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// The requests since the reading before.
    pub block: Block,
    /// Pods of which there was something to count.
    pub pods: u32,
    /// Pods without a total: not counted, and to be told.
    pub silent: u32,
    /// Pods whose counters began anew.
    pub resets: u32,
}

/// Counts a reading. `None`, and the state as it was, for a reading that is not newer than the last: each block counts once.
#[must_use]
pub fn step(state: &State, reading: &Reading) -> (State, Option<Counted>) {
    if state.counted_until.is_some_and(|until| reading.at <= until) {
        return (state.clone(), None);
    }
    let first_at = state.first_at.unwrap_or(reading.at);
    let mut counted = Counted::default();
    let mut pods = BTreeMap::new();
    for pod in &reading.pods {
        let last = state.pods.get(&pod.pod);
        let Some((total, bad)) = whole(pod.total).map(|total| (total, whole(pod.bad))) else {
            counted.silent += 1;
            if let Some(last) = last {
                pods.insert(pod.pod.clone(), *last);
            }
            continue;
        };
        let is_born_since = state.first_at.is_some() && pod.created_at > first_at;
        let (next, added) = match last {
            None => {
                let now = Last { bad: bad.unwrap_or(0.0), total, lost: false };
                (now, is_born_since.then(|| Arm::new(now.bad, now.total)))
            }
            Some(last) => {
                let (next, added, is_reset) = grown(last, bad, total);
                counted.resets += u32::from(is_reset);
                (next, Some(added))
            }
        };
        pods.insert(pod.pod.clone(), next);
        if let Some(added) = added {
            counted.pods += 1;
            let arm = match pod.side {
                Side::Canary => &mut counted.block.canary,
                Side::Stable => &mut counted.block.stable,
            };
            *arm = arm.plus(added);
        }
    }
    let state = State { first_at: Some(first_at), counted_until: Some(reading.at), pods };
    (state, Some(counted))
}

/// A counter that can be one.
fn whole(counter: Option<f64>) -> Option<f64> {
    counter.filter(|value| value.is_finite() && *value >= 0.0)
}

/// The next last counters, what was added, and whether the counters began anew.
fn grown(last: &Last, bad: Option<f64>, total: f64) -> (Last, Arm, bool) {
    let now = Last { bad: bad.unwrap_or(0.0), total, lost: false };
    if total < last.total {
        return (now, Arm::new(now.bad, total), true);
    }
    let requests = total - last.total;
    match bad {
        // Lost for a while, or begun anew unseen. Kept, so that its coming back is no burst of errors.
        None if last.bad > 0.0 => (Last { bad: last.bad, total, lost: true }, Arm::new(0.0, requests), false),
        Some(bad) if bad < last.bad && last.lost => (now, Arm::new(bad, requests), true),
        Some(bad) if bad < last.bad => (now, Arm::new(bad, total), true),
        _ => (now, Arm::new(now.bad - last.bad, requests), false),
    }
}
