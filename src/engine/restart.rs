//! A restart that was asked for during a run. It waits for the end of the run; then the Deployment rolls natively.
//!
//! The Deployment controller would not take the canary's ReplicaSet for the newest one: its template lacks the new
//! restart annotation. So it starts its own pods of the same version in place of the former one's, while the canary's pods
//! serve everybody; then they take over and the canary's pods go.

use crate::api::{ComponentStatus, Revision};

use super::plan::{Inquiry, Write};
use super::revision::pod_hash_of;
use super::turn::{Part, Turn};
use super::world::{DeploymentSeen, Look, ReplicaSetSeen};

/// Lets the Deployment roll by itself; at its end the ReplicaSet that it made is the canary's.
pub(super) fn roll_natively(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) {
    "the Deployment restarts its pods, as somebody asked during the run".clone_into(&mut component.message);
    if deployment.paused {
        return turn.write(Write::ResumeDeployment {
            deployment: deployment.at.clone(),
            generation: deployment.generation,
        });
    }
    if !deployment.is_complete() {
        return;
    }
    if !part.seen.replica_sets_complete {
        return turn.look(Inquiry::ReplicaSets(part.name.clone()));
    }
    let is_current = |set: &&ReplicaSetSeen| {
        set.owner_uid.as_ref() == Some(&deployment.at.uid) && set.template_hash == deployment.template_hash
    };
    let current = part.seen.replica_sets.iter().filter(is_current);
    if let Some(set) = current.max_by_key(|set| (set.current, &set.at.name)) {
        component.canary = Some(Revision {
            revision: set.revision.clone(),
            template: set.template_hash.clone(),
            pod_hash: set.pod_hash.clone(),
            replica_set: set.at.name.clone(),
            config: component.canary.as_ref().map(|canary| canary.config.clone()).unwrap_or_default(),
        });
        turn.wake(turn.now);
    }
}

/// The ReplicaSet that the run made for the canary, while it is ours and not the canary's any more.
pub(super) fn left_over<'w>(
    turn: &Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'w>,
) -> Option<&'w ReplicaSetSeen> {
    let canary = component.canary.as_ref()?;
    let uid = &turn.world.rollout.at.uid;
    let pod_hash = pod_hash_of(uid, turn.run_number(), &part.name, &canary.revision);
    let is_left = |set: &&ReplicaSetSeen| {
        set.pod_hash == pod_hash && set.at.name != canary.replica_set && set.owner_uid.as_ref() == Some(uid)
    };
    part.seen.replica_sets.iter().find(is_left)
}

/// Whether stable has its whole size, so that a run can go back to it; asks for the look that tells.
pub(super) fn is_stable_whole(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
) -> Option<bool> {
    let (Some(stable), Look::Found(deployment)) = (component.stable.as_ref(), &part.seen.deployment) else {
        return Some(true);
    };
    match part.seen.replica_sets.iter().find(|set| set.at.name == stable.replica_set) {
        Some(set) if deployment.total_replicas <= set.current => Some(true),
        // That it lacks pods says nothing while the ReplicaSets which may have them are not listed.
        _ if part.seen.replica_sets_complete => Some(false),
        _ => {
            turn.look(Inquiry::ReplicaSets(part.name.clone()));
            None
        }
    }
}

/// A restart that went to its end while nobody looked, and then another template came: the ReplicaSet that it made is stable's. True
/// if there is one of stable's revision with every pod of the Deployment.
pub(super) fn follow_unseen(component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    let (Some(stable), Look::Found(deployment)) = (component.stable.as_mut(), &part.seen.deployment) else {
        return false;
    };
    let is_whole = |set: &&ReplicaSetSeen| {
        set.owner_uid.as_ref() == Some(&deployment.at.uid)
            && set.revision == stable.revision
            && set.current > 0
            && deployment.total_replicas <= set.current
    };
    let Some(set) = part.seen.replica_sets.iter().find(is_whole) else { return false };
    stable.template.clone_from(&set.template_hash);
    stable.pod_hash.clone_from(&set.pod_hash);
    stable.replica_set.clone_from(&set.at.name);
    true
}
