//! From the series of an answer to blocks.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::engine::query::is_pod_of;
use crate::engine::statistics::counters::{self, Missing, PodReading, Side};
use crate::engine::statistics::histogram::{self, Bucket};
use crate::engine::statistics::{Arm, Block};
use crate::engine::world::{Line, Reading};

use super::above;

/// What was counted between two moments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counted {
    /// The later moment.
    pub until: Timestamp,
    /// The requests: one block, or one for each bound.
    pub blocks: Vec<Block>,
}

/// What an answer held.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answered {
    /// What was counted, block by block; empty if there was nothing of either revision.
    pub counted: Vec<Counted>,
    /// What the server will not say again.
    pub missing: Missing,
    /// Canary pods of which there were series.
    pub canary_pods: usize,
    /// Stable pods of which there were series.
    pub stable_pods: usize,
    /// Series that name no pod.
    pub nameless: usize,
}

/// The ReplicaSets of the canary and of stable.
type Sets<'s> = (&'s str, &'s str);

/// The revision that a pod is of, by its name.
pub(super) fn side_of(pod: &str, sets: Sets<'_>) -> Option<Side> {
    if is_pod_of(pod, sets.0) {
        Some(Side::Canary)
    } else if is_pod_of(pod, sets.1) {
        Some(Side::Stable)
    } else {
        None
    }
}

/// The pods of both revisions in `lines`, and how many series name none.
fn pods_of<'l>(lines: impl Iterator<Item = &'l Line>, sets: Sets<'_>) -> (BTreeMap<&'l str, Side>, usize) {
    let (mut pods, mut nameless) = (BTreeMap::new(), 0);
    for line in lines {
        match side_of(&line.pod, sets) {
            Some(side) => drop(pods.insert(line.pod.as_str(), side)),
            None => nameless += usize::from(line.pod.is_empty()),
        }
    }
    (pods, nameless)
}

/// The moments at which anything was read, and the first one whether it was or not.
fn moments<'l>(lines: impl Iterator<Item = &'l Line>, from: Timestamp) -> BTreeSet<Timestamp> {
    let read = lines.flat_map(|line| line.points.iter().map(|(at, _)| *at));
    read.chain([from]).collect()
}

/// What is known of the time before `from`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Before<'m> {
    /// Nothing: a pod that was not seen at `from` is counted from where it is seen first.
    Unknown,
    /// All blocks before it were counted, with what the server will not say again: a canary pod that was never seen is new.
    Counted(&'m Missing),
}

impl Before<'_> {
    fn missing(&self) -> Missing {
        match self {
            Self::Unknown => Missing::new(),
            Self::Counted(missing) => (*missing).clone(),
        }
    }

    /// When a pod was created that was not seen at `from`. With so many silent ones that not all are remembered, nobody knows.
    fn born(&self, side: Side) -> Timestamp {
        let is_new = match self {
            Self::Unknown => false,
            Self::Counted(missing) => side == Side::Canary && missing.len() < counters::MISSING_MAX,
        };
        if is_new { Timestamp::MAX } else { Timestamp::MIN }
    }
}

/// Counters of bad and of all requests, from `from` on, where the last block ended. `until` is where the answer ends.
pub(super) fn counters(
    (bad, total): (&[Line], &[Line]),
    sets: Sets<'_>,
    before: Before<'_>,
    (from, until): (Timestamp, Timestamp),
) -> Answered {
    let (pods, nameless) = pods_of(bad.iter().chain(total), sets);
    let (bad_at, total_at) = (by_pod(bad), by_pod(total));
    let value = |map: &BTreeMap<(&str, Timestamp), f64>, pod: &str, at| map.get(&(pod, at)).copied();
    let reading = |at: Timestamp| counters::Reading {
        at,
        pods: pods
            .iter()
            .map(|(pod, side)| PodReading {
                pod: (*pod).to_owned(),
                side: *side,
                created_at: before.born(*side),
                bad: value(&bad_at, pod, at),
                total: value(&total_at, pod, at),
            })
            .collect(),
    };
    let mut last = reading(from);
    let mut state = counters::State::resumed(&last, &before.missing());
    let mut counted = Vec::new();
    for at in moments(total.iter(), from).into_iter().filter(|at| *at > from && *at <= until) {
        last = reading(at);
        let (next, added) = counters::step(&state, &last);
        state = next;
        counted.extend(added.map(|it| Counted { until: at, blocks: vec![it.block] }));
    }
    let seen = |side: Side| {
        pods.iter().filter(|(pod, s)| **s == side && total.iter().any(|line| line.pod == **pod)).count()
    };
    let (canary_pods, stable_pods) = (seen(Side::Canary), seen(Side::Stable));
    Answered { counted, missing: state.missing(&last), canary_pods, stable_pods, nameless }
}

/// The numbers of series by pod; several series of one pod are added up.
fn by_pod(lines: &[Line]) -> BTreeMap<(&str, Timestamp), f64> {
    let mut map = BTreeMap::new();
    for line in lines {
        for (at, reading) in &line.points {
            if let Reading::Number(number) = reading {
                *map.entry((line.pod.as_str(), *at)).or_insert(0.0) += number;
            }
        }
    }
    map
}

/// Something of each pod at each moment.
pub(super) type ByPod<'l, T> = BTreeMap<&'l str, BTreeMap<Timestamp, T>>;

/// The histograms of each pod at each moment, of either form.
pub(super) fn histograms(lines: &[Line]) -> ByPod<'_, Vec<Bucket>> {
    let mut cumulative: ByPod<'_, Vec<(f64, f64)>> = ByPod::new();
    let mut read: ByPod<'_, Vec<Bucket>> = ByPod::new();
    for line in lines {
        for (at, reading) in &line.points {
            match (reading, line.upper) {
                (Reading::Number(count), Some(upper)) => {
                    cumulative.entry(&line.pod).or_default().entry(*at).or_default().push((upper, *count));
                }
                (Reading::Buckets(buckets), _) => {
                    read.entry(&line.pod).or_default().insert(*at, buckets.clone());
                }
                (Reading::Number(_), None) => {}
            }
        }
    }
    for (pod, moments) in cumulative {
        for (at, bounds) in moments {
            let buckets = histogram::from_cumulative(&bounds);
            if !buckets.is_empty() {
                read.entry(pod).or_default().insert(at, buckets);
            }
        }
    }
    read
}

/// Histograms, as [`counters`]; requests above each of `bounds`. A pod that was silent for a while begins anew.
pub(super) fn buckets(
    lines: &[Line],
    sets: Sets<'_>,
    (before, bounds): (Before<'_>, &[f64]),
    (from, until): (Timestamp, Timestamp),
) -> Answered {
    let (pods, nameless) = pods_of(lines.iter(), sets);
    let read = histograms(lines);
    let moments: Vec<Timestamp> = moments(lines.iter(), from).into_iter().filter(|at| *at <= until).collect();
    let mut added: BTreeMap<Timestamp, Vec<Block>> = BTreeMap::new();
    let mut gone = before.missing();
    for (pod, side) in &pods {
        let Some(said) = read.get(pod) else { continue };
        let mut last: Option<&Vec<Bucket>> = said.get(&from);
        let mut is_known = last.is_some() || gone.contains_key(*pod);
        gone.remove(*pod);
        for at in moments.iter().filter(|at| **at > from) {
            let Some(now) = said.get(at) else { continue };
            let grown = match last {
                Some(last) => histogram::added(last, now),
                None if !is_known && before.born(*side) == Timestamp::MAX => Some(now.clone()),
                None => None,
            };
            (last, is_known) = (Some(now), true);
            let Some(grown) = grown else { continue };
            let (slow, all) = above(&grown, bounds);
            let blocks = added.entry(*at).or_insert_with(|| vec![Block::default(); bounds.len()]);
            for (block, slow) in blocks.iter_mut().zip(slow) {
                let arm = if *side == Side::Canary { &mut block.canary } else { &mut block.stable };
                *arm = arm.plus(Arm::new(slow, all));
            }
        }
        // Silent at the end: it is to be known when it comes back.
        if is_known && moments.last().is_some_and(|end| !said.contains_key(end)) {
            gone.insert((*pod).to_owned(), (0.0, 0.0, false));
        }
    }
    while gone.len() > counters::MISSING_MAX {
        gone.pop_first();
    }
    let block = |at: &Timestamp| Counted {
        until: *at,
        blocks: added.get(at).cloned().unwrap_or_else(|| vec![Block::default(); bounds.len()]),
    };
    let seen = |side: Side| pods.iter().filter(|(pod, s)| **s == side && read.contains_key(**pod)).count();
    let (canary_pods, stable_pods) = (seen(Side::Canary), seen(Side::Stable));
    let counted = moments.iter().filter(|at| **at > from).map(block).collect();
    Answered { counted, missing: gone, canary_pods, stable_pods, nameless }
}
