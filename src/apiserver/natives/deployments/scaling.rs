//! A Deployment that is paused, or was resized: its ReplicaSets follow its size, and nothing rolls.

use super::super::hand::Hand;
use super::sets::{Deployment, Set, Sets};
use crate::api::names::{DESIRED_REPLICAS, MAX_REPLICAS};
use crate::apiserver::Refusal;

/// Scales. One active ReplicaSet gets all; if the newest has all, the others get nothing; several share in proportion.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling>
pub(super) fn scale(hand: &mut Hand<'_>, deployment: &Deployment, sets: &mut Sets) -> Result<(), Refusal> {
    if sets.all().filter(|set| set.is_active()).count() <= 1 {
        return match only_one(sets) {
            Some(set) => set.scale(hand, deployment, deployment.replicas(), false).map(drop),
            None => Ok(()),
        };
    }
    if sets.newest.as_ref().is_some_and(|newest| is_saturated(deployment, newest)) {
        for set in sets.old.iter_mut().filter(|set| set.is_active()) {
            set.scale(hand, deployment, 0, false)?;
        }
        return Ok(());
    }
    if deployment.is_recreated() { Ok(()) } else { share(hand, deployment, sets) }
}

/// The only active ReplicaSet; if none is active the one of the template, or else the youngest.
fn only_one(sets: &mut Sets) -> Option<&mut Set> {
    let active = sets.old.iter().position(Set::is_active);
    match active {
        Some(index) => sets.old.get_mut(index),
        None if sets.newest.is_some() => sets.newest.as_mut(),
        None => sets.old.last_mut(),
    }
}

/// Whether a ReplicaSet has all pods of its Deployment, knows that these are all, and all are available.
fn is_saturated(deployment: &Deployment, set: &Set) -> bool {
    let wanted = deployment.replicas();
    set.replicas() == wanted
        && set.annotation(DESIRED_REPLICAS).and_then(|it| it.parse().ok()) == Some(wanted)
        && set.available() == wanted
}

fn share(hand: &mut Hand<'_>, deployment: &Deployment, sets: &mut Sets) -> Result<(), Refusal> {
    let mut active: Vec<Set> = sets.all().filter(|set| set.is_active()).cloned().collect();
    let allowed = if deployment.replicas() > 0 { deployment.most() } else { 0 };
    let to_add = allowed - active.iter().map(Set::replicas).sum::<i64>();
    Set::sort_by_size(&mut active, to_add > 0);
    let mut added = 0;
    let mut sizes: Vec<i64> = Vec::new();
    for set in &active {
        let part = part_of(deployment, set, to_add, added);
        added += part;
        sizes.push(set.replicas() + part);
    }
    if let Some(largest) = sizes.first_mut().filter(|_| to_add != 0) {
        // What rounding leaves goes to the largest.
        *largest = (*largest + to_add - added).max(0);
    }
    for (set, size) in active.iter_mut().zip(sizes) {
        set.scale(hand, deployment, size, true)?;
        let mut all = sets.old.iter_mut().chain(&mut sets.newest);
        if let Some(kept) = all.find(|it| it.key == set.key) {
            kept.object = set.object.clone();
        }
    }
    Ok(())
}

/// How many of the pods to add, or to remove, are those of one ReplicaSet.
fn part_of(deployment: &Deployment, set: &Set, to_add: i64, added: i64) -> i64 {
    if to_add == 0 || to_add == added {
        return 0;
    }
    let (own, allowed) = (fraction_of(deployment, set), to_add - added);
    if to_add > 0 { own.min(allowed) } else { own.max(allowed) }
}

/// How much a ReplicaSet grows if it keeps its share of all pods.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts of pods are small")]
fn fraction_of(deployment: &Deployment, set: &Set) -> i64 {
    if deployment.replicas() == 0 {
        return -set.replicas();
    }
    let before = set.noted(MAX_REPLICAS).filter(|most| *most > 0);
    let current = || super::super::fields::number(&deployment.object, "/status/replicas").unwrap_or(0);
    let before = before.unwrap_or_else(current);
    if before == 0 {
        return 0;
    }
    let size = (set.replicas() * deployment.most()) as f64 / before as f64;
    size.round() as i64 - set.replicas()
}
