//! The former template, put back into the Deployment when the canary had just been given up to it.
//!
//! From that moment on both ReplicaSets are the Deployment's, and its controller takes the one of the template for its
//! newest: stable's. Where that has its whole size the controller scales the canary's to zero
//! (`k8s.io/kubernetes/pkg/controller/deployment/sync.go`, `scale`). Nothing here works against it: callers are with both
//! until one of them is alone.

use crate::api::{ComponentStatus, Outcome, Revision, RunIntent, Span};

use super::borrow::{self, Pin};
use super::config;
use super::plan::{Inquiry, Reason, Write};
use super::turn::{Part, Turn};
use super::world::{DeploymentSeen, ReplicaSetSeen};

/// How soon the Deployment controller is looked at again: it does not always tell of a size that it wrote.
const LOOK_AGAIN: Span = Span::seconds(1);

/// Whether the Deployment holds stable's template again, to the letter: after a restart it has none of its ReplicaSets.
pub(super) fn is_put_back(component: &ComponentStatus, deployment: &DeploymentSeen) -> bool {
    let is_of = |revision: &Revision| revision.template == deployment.template_hash;
    component.stable.as_ref().is_some_and(is_of)
        && !component.canary.as_ref().is_some_and(is_of)
        && !config::is_config_only(component)
}

/// One step towards the end that the Deployment controller chooses. True when that is the canary: it had emptied stable
/// before, and the template waits for the next run.
pub(super) fn is_canary_kept(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    canary: &ReplicaSetSeen,
) -> bool {
    let is_told = deployment.observed_generation >= deployment.generation;
    if is_told && deployment.updated_replicas == 0 {
        return true;
    }
    "the former template was put back: the Deployment controller goes back to its pods"
        .clone_into(&mut component.message);
    if is_told && turn.intent() != Some(RunIntent::RollBack) {
        let why = "the former template was put back while the canary was being adopted";
        turn.roll_back(Outcome::Withdrawn, Reason::Withdrawn, &part.name, why);
    }
    component.weight = 0;
    if deployment.is_complete() {
        // Stable is what the Deployment has adopted; everything borrowed goes back as after any adoption.
        component.canary.clone_from(&component.stable);
        turn.wake(turn.now);
    } else if is_told && deployment.paused && is_shared_out(turn, part, deployment, component) {
        end_canary(turn, component, part, deployment, canary);
    } else {
        borrow::ensure_pin(turn, part, &Pin::Free);
    }
    turn.wake_after(LOOK_AGAIN);
    false
}

/// Whether the Deployment was resized as well: then its controller shares its size out among both and leaves it at that.
fn is_shared_out(
    turn: &mut Turn<'_>,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    component: &ComponentStatus,
) -> bool {
    if deployment.updated_replicas == deployment.replicas {
        return false;
    }
    if !part.seen.replica_sets_complete {
        turn.look(Inquiry::ReplicaSets(part.name.clone()));
        return false;
    }
    let stable = component.stable.as_ref().map(|stable| &stable.replica_set);
    let set = part.seen.replica_sets.iter().find(|set| Some(&set.at.name) == stable);
    set.is_some_and(|set| set.replicas > 0 && set.replicas != deployment.replicas)
}

/// Callers go to stable's pods, then the canary's end: the Deployment controller gives the whole size to the only
/// ReplicaSet that is left.
fn end_canary(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    canary: &ReplicaSetSeen,
) {
    let Some(stable) = component.stable.as_ref() else { return };
    let is_alive = deployment.available_replicas > canary.available;
    if !is_alive || !borrow::ensure_pin(turn, part, &Pin::To(stable)) || !borrow::serves_only(part, stable, 1)
    {
        return;
    }
    if canary.replicas > 0 {
        let (replica_set, desired) = (canary.at.clone(), deployment.replicas);
        turn.write(Write::ScaleReplicaSet { replica_set, replicas: 0, desired });
    }
}
