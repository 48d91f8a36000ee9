//! The end of a good run: the canary's ReplicaSet becomes the Deployment's own, and everything borrowed goes back.
//!
//! All pods of the canary stay; the Deployment controller takes the ReplicaSet for its newest revision and scales the
//! former one to zero, because it finds the adopted one saturated (its `desired-replicas` annotation says so).

use crate::api::{ComponentStatus, Stage};

use super::borrow::{self, Pin, RoutesState, SetState};
use super::plan::Reason;
use super::plan::{Inquiry, Write};
use super::turn::{Part, Turn, after, between, enter, takes_part};
use super::world::{DeploymentSeen, Look, ReplicaSetSeen};
use super::{Weight, ending, rest};
use crate::api::{Outcome, Span};

/// One step of every component towards its end.
pub(super) fn advance(turn: &mut Turn<'_>) {
    let mut is_done = true;
    turn.for_each(|turn, component, part| {
        if takes_part(component) && turn.intent() == Some(crate::api::RunIntent::Adopt) {
            is_done &= step(turn, component, part);
        }
    });
    if turn.intent() == Some(crate::api::RunIntent::RollBack) {
        return super::rollback::advance(turn);
    }
    if !is_done || turn.has_writes() {
        return;
    }
    ending::end(turn);
    if turn.intent().is_none() {
        let now = turn.now;
        for component in turn.status.components.iter_mut().filter(|c| takes_part(c)) {
            settle_as_stable(component, now);
        }
    }
}

/// The canary is stable now.
fn settle_as_stable(component: &mut ComponentStatus, now: jiff::Timestamp) {
    *component = ComponentStatus {
        name: std::mem::take(&mut component.name),
        workload: std::mem::take(&mut component.workload),
        stable: component.canary.take(),
        desired_replicas: component.desired_replicas,
        ..ComponentStatus::default()
    };
    enter(component, Stage::Idle, now);
}

/// True when nothing of the component is left to hand back.
fn step(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    let Some(deployment) = part.seen.deployment.found() else {
        if part.seen.deployment.is_missing() {
            let why = format!("the Deployment {} is gone", part.refs.workload);
            turn.roll_back(Outcome::RolledBack, Reason::RollbackStarted, &part.name, &why);
        } else {
            turn.look(Inquiry::Deployment(part.name.clone()));
        }
        return false;
    };
    component.desired_replicas = deployment.replicas;
    let set = borrow::canary_set(component, part);
    let is_released =
        set.is_some_and(|set| set.owner_uid.as_deref() != Some(turn.world.rollout.at.uid.as_str()));
    if is_released {
        return hand_back(turn, component, part, deployment);
    }
    if is_overtaken(component, deployment) {
        // Until it is released the canary can still go back, and with another template in the Deployment it must.
        let why = format!("another template came ({}) before the adoption", deployment.revision);
        turn.roll_back(Outcome::Superseded, Reason::Superseded, &part.name, &why);
        return false;
    }
    take_over(turn, component, part, deployment);
    false
}

fn is_overtaken(component: &ComponentStatus, deployment: &DeploymentSeen) -> bool {
    component.canary.as_ref().is_some_and(|canary| canary.revision != deployment.revision)
}

/// Callers and routes come to the canary through the one Service; then its ReplicaSet is released.
fn take_over(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) {
    let Some(canary) = component.canary.clone() else { return };
    if borrow::ensure_set(turn, component, part, deployment.replicas) != SetState::Ready {
        "the canary grows to the Deployment's size".clone_into(&mut component.message);
        return give_up_late(turn, component, part);
    }
    let Some(set) = borrow::canary_set(component, part) else { return };
    if set.replicas != deployment.replicas {
        return;
    }
    if !borrow::ensure_pin(turn, part, &Pin::To(&canary))
        || !borrow::serves_only(part, &canary, deployment.replicas)
    {
        "callers of the Service move to the canary".clone_into(&mut component.message);
        component.ready_since = None;
        return;
    }
    if !borrow::has_settled(turn, component, part) {
        return;
    }
    if borrow::ensure_routes(turn, component, part, Weight::ZERO) == RoutesState::Written {
        return;
    }
    if !part.seen.replica_sets_complete {
        return turn.look(Inquiry::ReplicaSets(part.name.clone()));
    }
    if clear_twins(turn, part, deployment, set) {
        "the Deployment controller adopts the canary".clone_into(&mut component.message);
        turn.write(Write::ReleaseReplicaSet { replica_set: set.at.clone(), desired: deployment.replicas });
    }
}

/// Deletes empty ReplicaSets of the Deployment with an equal template: the Deployment controller would take the oldest of
/// the equal ones for its newest revision. True when there is none (any more).
fn clear_twins(
    turn: &mut Turn<'_>,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    canary: &ReplicaSetSeen,
) -> bool {
    let is_twin = |set: &&ReplicaSetSeen| {
        set.at.uid != canary.at.uid
            && set.owner_uid.as_ref() == Some(&deployment.at.uid)
            && set.template_hash == canary.template_hash
    };
    let mut is_clear = true;
    for twin in part.seen.replica_sets.iter().filter(is_twin) {
        is_clear = false;
        if twin.replicas == 0 && twin.current == 0 && !twin.deleting {
            turn.write(Write::DeleteReplicaSet { replica_set: twin.at.clone() });
        }
    }
    is_clear
}

/// The Deployment controller has the ReplicaSet: what else was borrowed goes back. True when all has gone back.
fn hand_back(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) -> bool {
    let Some(set) = borrow::canary_set(component, part) else { return false };
    component.canary_ready = set.available;
    component.weight = 100;
    let is_adopted = set.owner_uid.as_ref() == Some(&deployment.at.uid);
    let is_alone =
        deployment.total_replicas == set.current && set.available >= deployment.replicas.min(set.replicas);
    if !is_adopted || !is_alone || deployment.observed_generation < deployment.generation {
        "the Deployment controller adopts the canary and retires the former version"
            .clone_into(&mut component.message);
        return false;
    }
    component.message.clear();
    let routes = borrow::ensure_routes(turn, component, part, Weight::ZERO);
    let is_free = borrow::ensure_pin(turn, part, &Pin::Free);
    let is_clean = match routes {
        RoutesState::InForce | RoutesState::Gone(_) => remove_canary_service(turn, component, part),
        _ => false,
    };
    let is_handed_back = !deployment.paused || rest::is_at_rest_mode(turn) || !deployment.is_intercepted;
    // A template that came after the adoption waits, paused, for the next run.
    if !is_handed_back && !is_overtaken(component, deployment) {
        turn.write(Write::PauseDeployment { deployment: deployment.at.clone(), paused: false });
        return false;
    }
    is_free && is_clean
}

/// Deletes the canary's Service once no gateway can be using it any more. True when it is gone.
pub(super) fn remove_canary_service(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
) -> bool {
    if part.is_by_pods() {
        return true;
    }
    let service = match &part.seen.canary_service {
        Look::Found(service) => service,
        Look::Missing => return true,
        Look::Unknown => {
            turn.look(Inquiry::CanaryService(part.name.clone()));
            return false;
        }
    };
    if service.owner_uid.as_deref() != Some(turn.world.rollout.at.uid.as_str()) {
        return true;
    }
    if !is_drained(turn, component) {
        return false;
    }
    if !service.deleting {
        turn.write(Write::DeleteService { service: service.at.clone() });
    }
    false
}

/// Whether the drain time is over; it starts when this is first asked in a stage.
pub(super) fn is_drained(turn: &mut Turn<'_>, component: &mut ComponentStatus) -> bool {
    let drain_time = turn.world.rollout.spec.drain_time;
    let until = *component.drain_until.get_or_insert(after(turn.now, drain_time));
    // A clock that was set back must not make the drain longer than it is.
    let is_over = until <= turn.now || between(turn.now, until) > drain_time;
    if !is_over {
        turn.wake(until);
    }
    is_over
}

/// A canary that cannot reach the Deployment's size in time goes back: it still can.
fn give_up_late(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>) {
    let Some(since) = component.since else { return };
    let limit: Span = turn.world.rollout.spec.progress_deadline;
    if turn.now < after(since, limit) {
        return turn.wake(after(since, limit));
    }
    let why = format!("the canary did not reach the Deployment's size in {limit}");
    turn.roll_back(Outcome::RolledBack, Reason::ProgressDeadlineExceeded, &part.name, &why);
}
