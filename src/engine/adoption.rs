//! The end of a good run: the canary's ReplicaSet becomes the Deployment's own, and everything borrowed goes back.
//!
//! All pods of the canary stay; the Deployment controller takes the ReplicaSet for its newest revision and scales the
//! former one to zero, because it finds the adopted one saturated (its `desired-replicas` annotation says so).

use crate::api::{ComponentStatus, Outcome, Revision, RunIntent, Span, Stage};

use super::borrow::{self, Pin, RoutesState, SetState};
use super::flaw::{self, Flaw};
use super::plan::Reason;
use super::plan::{Inquiry, Write};
use super::revision::pod_hash_of;
use super::turn::{Part, Turn, after, between, enter};
use super::world::{DeploymentSeen, Look, ReplicaSetSeen};
use super::{Weight, ending, put_back, rest, restart, retire, rollback};

/// How soon a deleted ReplicaSet is looked for again: one without pods is gone as soon as the garbage collector has seen it.
const TWIN_GOES: Span = Span::seconds(1);

/// One step of every component towards its end.
pub(super) fn advance(turn: &mut Turn<'_>) {
    let mut is_done = true;
    turn.for_each(|turn, component, part| {
        if turn.intent() != Some(RunIntent::Adopt) {
            // Another component has just turned the run back.
        } else if component.stage == Stage::Adopting {
            is_done &= step(turn, component, part);
        } else if component.stage == Stage::TakenBack {
            rollback::keep_back(turn, component, part);
        }
    });
    if turn.intent() == Some(RunIntent::RollBack) {
        return rollback::advance(turn);
    }
    if is_done && !turn.has_writes() {
        ending::end(turn);
    }
}

/// The canary is stable now.
pub(super) fn settle_as_stable(component: &mut ComponentStatus, now: jiff::Timestamp) {
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
pub(super) fn step(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
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
    if set.is_none() && is_made_by_deployment(turn, component, part) {
        if !part.seen.replica_sets_complete {
            turn.look(Inquiry::ReplicaSets(part.name.clone()));
        }
        return false;
    }
    if is_released(turn, component, part) {
        return hand_back(turn, component, part, deployment);
    }
    if is_overtaken(component, deployment) && !flaw::is(Flaw::NoWayBackWhilePromoting) {
        match restart::is_stable_whole(turn, component, part) {
            Some(true) => {}
            Some(false) => {
                "neither version is whole: resume the Deployment, or put the released template back"
                    .clone_into(&mut component.message);
                return false;
            }
            None => return false,
        }
        // Until it is released the canary can still go back, and with another template in the Deployment it must.
        let why = format!("another template came ({}) before the adoption", deployment.revision);
        turn.roll_back(Outcome::Superseded, Reason::Superseded, &part.name, &why);
        return false;
    }
    take_over(turn, component, part, deployment);
    false
}

/// Whether the canary's ReplicaSet is ours no more: from there on there is no way back.
pub(super) fn is_released(turn: &Turn<'_>, component: &ComponentStatus, part: &Part<'_>) -> bool {
    let uid = turn.world.rollout.at.uid.as_str();
    borrow::canary_set(component, part).is_some_and(|set| set.owner_uid.as_deref() != Some(uid))
        && !flaw::is(Flaw::NameNotUid)
}

/// Whether the canary's ReplicaSet is one that the Deployment controller made: it carries no label of ours and is seen
/// only on request.
fn is_made_by_deployment(turn: &Turn<'_>, component: &ComponentStatus, part: &Part<'_>) -> bool {
    let (uid, run) = (&turn.world.rollout.at.uid, turn.run_number());
    let is_made = |canary: &Revision| canary.pod_hash != pod_hash_of(uid, run, &part.name, &canary.revision);
    component.canary.as_ref().is_some_and(is_made)
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
    if !serve_meanwhile(turn, component, part, deployment) {
        "callers stay with stable until canary pods are ready".clone_into(&mut component.message);
        return give_up_late(turn, component, part);
    }
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
    if !retire::make_way(turn, component, part, deployment, set) {
        return;
    }
    if deployment.template_hash != set.template_hash || deployment.updated_replicas > 0 {
        return restart::roll_natively(turn, component, part, deployment);
    }
    if !part.seen.replica_sets_complete {
        return turn.look(Inquiry::ReplicaSets(part.name.clone()));
    }
    if clear_twins(turn, part, deployment, set) {
        "the Deployment controller adopts the canary".clone_into(&mut component.message);
        turn.write(Write::ReleaseReplicaSet { replica_set: set.at.clone(), desired: deployment.replicas });
    }
}

/// Without one canary pod ready, because none was started yet or all were lost, callers are with stable. False while
/// they are being brought there.
fn serve_meanwhile(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) -> bool {
    let is_alive =
        borrow::canary_set(component, part).is_some_and(|set| !set.is_observed || set.available > 0);
    if is_alive || deployment.available_replicas == 0 {
        return borrow::ensure_canary_service(turn, component, part);
    }
    let Some(stable) = component.stable.as_ref() else { return true };
    let is_pinned = borrow::ensure_pin(turn, part, &Pin::To(stable));
    let is_back = borrow::ensure_routes(turn, component, part, Weight::ZERO) != RoutesState::Written;
    borrow::ensure_canary_service(turn, component, part) && is_pinned && is_back
}

/// Deletes empty ReplicaSets of the Deployment with an equal template: the Deployment controller would take the oldest of
/// the equal ones for its newest revision. True when there is none (any more).
fn clear_twins(
    turn: &mut Turn<'_>,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    canary: &ReplicaSetSeen,
) -> bool {
    if flaw::is(Flaw::TwinStays) {
        return true;
    }
    let is_twin = |set: &&ReplicaSetSeen| {
        set.at.uid != canary.at.uid
            && set.owner_uid.as_ref() == Some(&deployment.at.uid)
            && set.template_hash == canary.template_hash
    };
    let mut twins: Vec<_> = part.seen.replica_sets.iter().filter(is_twin).collect();
    twins.sort_by_key(|twin| &twin.at.name);
    let mut is_clear = true;
    for twin in twins {
        is_clear = false;
        if twin.replicas == 0 && twin.current == 0 && !twin.deleting {
            turn.write(Write::DeleteReplicaSet { replica_set: twin.at.clone() });
        }
        // It is not watched: nothing else tells when it is gone.
        turn.wake_after(TWIN_GOES);
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
    if put_back::is_put_back(component, deployment)
        && !put_back::is_canary_kept(turn, component, part, deployment, set)
    {
        return false;
    }
    let is_adopted = set.owner_uid.as_ref() == Some(&deployment.at.uid);
    let is_current = deployment.template_hash == set.template_hash;
    if is_adopted && !is_current && !deployment.paused && !is_overtaken(component, deployment) {
        // Restarted since the release, and rolling: its new pods are of the same version.
        restart::roll_natively(turn, component, part, deployment);
        return false;
    }
    // A status from before the adoption counts the former version's pods alone, and calls none of them updated.
    let is_counted = deployment.updated_replicas == set.current || !is_current;
    let is_alone = is_counted
        && deployment.total_replicas == set.current
        && set.available >= deployment.replicas.min(set.replicas);
    // Resumed by somebody on another template: it rolls by itself, and nothing here comes to rest before that.
    let is_let_go = !deployment.paused && is_overtaken(component, deployment);
    let is_alone = is_alone || is_let_go;
    let is_stuck = !is_current || set.replicas != deployment.replicas;
    if is_adopted && !is_alone && is_stuck && deployment.paused {
        retire_others(turn, part, deployment, set);
    }
    let is_unused = borrow::weight_in_force(turn, component, part).is_some_and(Weight::is_zero);
    if is_unused && !part.is_by_pods() && restart::left_over(turn, component, part).is_none() {
        // Nobody is sent to the canary's Service any more: its drain does not wait for the Deployment controller.
        is_drained(turn, component);
    }
    if !is_adopted || !is_alone || deployment.observed_generation < deployment.generation {
        "the Deployment controller adopts the canary and retires the former version"
            .clone_into(&mut component.message);
        return false;
    }
    component.message.clear();
    let routes = borrow::ensure_routes(turn, component, part, Weight::ZERO);
    let mut is_free = borrow::ensure_pin(turn, part, &Pin::Free);
    if let Some(left) = restart::left_over(turn, component, part).filter(|_| is_free) {
        if !left.deleting && is_drained(turn, component) {
            turn.write(Write::DeleteReplicaSet { replica_set: left.at.clone() });
        }
        is_free = false;
    }
    is_free &= retire::clean_up(turn, component, part);
    let is_back = match routes {
        RoutesState::InForce | RoutesState::Gone(_) => true,
        RoutesState::Pending | RoutesState::Refused(_) => borrow::is_overdue(turn, component),
        RoutesState::Written => false,
    };
    let is_clean = is_back && remove_canary_service(turn, component, part);
    let is_handed_back = !deployment.paused || rest::is_at_rest_mode(turn) || !deployment.is_intercepted;
    // A template that came after the adoption waits, paused, for the next run.
    if !is_handed_back && !is_overtaken(component, deployment) && !flaw::is(Flaw::StaysPaused) {
        turn.write(Write::ResumeDeployment {
            deployment: deployment.at.clone(),
            generation: deployment.generation,
        });
        return false;
    }
    is_free && is_clean
}

/// Scales the Deployment's other ReplicaSets to zero in place of the Deployment controller. It does so itself when it finds
/// the adopted one saturated; with another template or another size since the release it scales all of them in
/// proportion instead, and would leave it at that. Nobody is served by the others: callers are with the canary.
fn retire_others(turn: &mut Turn<'_>, part: &Part<'_>, deployment: &DeploymentSeen, canary: &ReplicaSetSeen) {
    if !part.seen.replica_sets_complete {
        return turn.look(Inquiry::ReplicaSets(part.name.clone()));
    }
    let is_other = |set: &&ReplicaSetSeen| {
        set.at.uid != canary.at.uid && set.owner_uid.as_ref() == Some(&deployment.at.uid) && set.replicas > 0
    };
    let mut others: Vec<_> =
        part.seen.replica_sets.iter().filter(is_other).map(|set| set.at.clone()).collect();
    others.sort();
    for replica_set in others {
        turn.write(Write::ScaleReplicaSet { replica_set, replicas: 0, desired: deployment.replicas });
    }
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
    if !is_drained(turn, component) && !flaw::is(Flaw::ServiceGoesUndrained) {
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
