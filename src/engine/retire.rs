//! The end of a release of configuration alone.
//!
//! The canary's template is stable's, so the Deployment controller would go on with the older of the two ReplicaSets. While
//! the Deployment is paused, the template of stable's ReplicaSet gets a mark: its pods stay as they are, but it is no longer
//! equal to the Deployment's. From there on the adoption is as any other, and the marked ReplicaSet goes when it is empty.
//! (Deleting it instead would let the Deployment controller start pods of the ReplicaSet before.)

use crate::api::ComponentStatus;

use super::plan::{Inquiry, Write};
use super::turn::{Part, Turn};
use super::world::{DeploymentSeen, ReplicaSetSeen};
use super::{config, copies};

/// Before the canary is released: pods of the Deployment that start from now on get the canary's configuration, and a
/// stable of an equal template is marked. True when nothing stands in the way of the release.
pub(super) fn make_way(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    canary: &ReplicaSetSeen,
) -> bool {
    let Some(revision) = component.canary.clone().filter(|it| !it.config.is_empty()) else { return true };
    if !copies::ensure(turn, component, part, deployment, &revision) {
        "the canary's configuration becomes that of the Deployment".clone_into(&mut component.message);
        return false;
    }
    if !config::is_config_only(component) || deployment.template_hash != canary.template_hash {
        return true;
    }
    if !deployment.paused {
        turn.write(Write::PauseDeployment { deployment: deployment.at.clone() });
        return false;
    }
    if !part.seen.replica_sets_complete {
        turn.look(Inquiry::ReplicaSets(part.name.clone()));
        return false;
    }
    let Some(former) = former(component, part).filter(|set| !set.is_retired) else {
        // What rolled by itself since then is seen to by the caller; a status may speak of a moment ago.
        return deployment.updated_replicas == 0 || has_equal(part, deployment, canary);
    };
    component.retired = true;
    turn.write(Write::RetireReplicaSet { replica_set: former.at.clone(), retired: true });
    false
}

/// Stable's ReplicaSet.
fn former<'w>(component: &ComponentStatus, part: &Part<'w>) -> Option<&'w ReplicaSetSeen> {
    let stable = component.stable.as_ref()?;
    part.seen.replica_sets.iter().find(|set| set.at.name == stable.replica_set)
}

fn has_equal(part: &Part<'_>, deployment: &DeploymentSeen, canary: &ReplicaSetSeen) -> bool {
    part.seen.replica_sets.iter().any(|set| {
        set.at.uid != canary.at.uid
            && set.owner_uid.as_ref() == Some(&deployment.at.uid)
            && set.template_hash == canary.template_hash
            && set.current > 0
    })
}

/// On the way back: stable's ReplicaSet is the Deployment's own again. True when it is.
pub(super) fn undo(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    if !component.retired {
        return true;
    }
    if !part.seen.replica_sets_complete {
        turn.look(Inquiry::ReplicaSets(part.name.clone()));
        return false;
    }
    if let Some(former) = former(component, part).filter(|set| set.is_retired) {
        turn.write(Write::RetireReplicaSet { replica_set: former.at.clone(), retired: false });
        return false;
    }
    component.retired = false;
    true
}

/// After the adoption: the marked ReplicaSet goes; what it stood for in the history is the adopted one. True when it is
/// gone or going: it has no pods any more.
pub(super) fn clean_up(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>) -> bool {
    if !component.retired {
        return true;
    }
    if !part.seen.replica_sets_complete {
        turn.look(Inquiry::ReplicaSets(part.name.clone()));
        return false;
    }
    let is_left = |set: &&ReplicaSetSeen| set.is_retired && !set.deleting;
    let Some(former) = former(component, part).filter(is_left) else { return true };
    if former.replicas == 0 && former.current == 0 {
        turn.write(Write::DeleteReplicaSet { replica_set: former.at.clone() });
    } else {
        // The list is from before: the Deployment's status knows of no other pods than the canary's.
        turn.look(Inquiry::ReplicaSets(part.name.clone()));
    }
    false
}
