//! A rolling update: pods of the new template come, those of the old ones go, within what may be too many and what may be missing.

use super::super::hand::Hand;
use super::sets::{Deployment, Set, Sets};
use crate::apiserver::Refusal;

/// Takes the next step; whether there was one.
pub(super) fn roll(hand: &mut Hand<'_>, deployment: &Deployment, sets: &mut Sets) -> Result<bool, Refusal> {
    let wanted = deployment.replicas();
    let size = size_of_newest(deployment, sets);
    if let Some(newest) = sets.newest.as_mut().filter(|newest| newest.replicas() != wanted) {
        let size = if newest.replicas() > wanted { wanted } else { size };
        if newest.scale(hand, deployment, size, false)? {
            return Ok(true);
        }
    }
    shrink_old(hand, deployment, sets)
}

/// The size that the newest ReplicaSet may have now, or would have if it were created.
pub(super) fn size_of_newest(deployment: &Deployment, sets: &Sets) -> i64 {
    if deployment.is_recreated() {
        return deployment.replicas();
    }
    let size = sets.newest.as_ref().map_or(0, Set::replicas);
    let room = deployment.most() - sets.all().map(Set::replicas).sum::<i64>();
    if room <= 0 { size } else { size + room.min(deployment.replicas() - size) }
}

fn shrink_old(hand: &mut Hand<'_>, deployment: &Deployment, sets: &mut Sets) -> Result<bool, Refusal> {
    if sets.old.iter().all(|set| !set.is_active()) {
        return Ok(false);
    }
    let fewest = deployment.replicas() - deployment.unavailable();
    let missing = sets.newest.as_ref().map_or(0, |newest| newest.replicas() - newest.available());
    let may_go = sets.all().map(Set::replicas).sum::<i64>() - fewest - missing;
    if may_go <= 0 {
        return Ok(false);
    }
    // Those that do not serve go first.
    let mut gone = 0;
    for set in sets.old.iter_mut().filter(|set| set.is_active()) {
        let count = (set.replicas() - set.available()).min(may_go - gone).max(0);
        if count > 0 {
            set.scale(hand, deployment, set.replicas() - count, false)?;
            gone += count;
        }
    }
    let spare = sets.all().map(Set::available).sum::<i64>() - fewest;
    let mut ended = 0;
    for set in sets.old.iter_mut().filter(|set| set.is_active()) {
        let count = set.replicas().min(spare - ended).max(0);
        if count > 0 {
            set.scale(hand, deployment, set.replicas() - count, false)?;
            ended += count;
        }
    }
    Ok(gone + ended > 0)
}
