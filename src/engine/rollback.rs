//! Back to stable. Traffic first, pods last; no metric, no approval and nobody's answer is needed.

use jiff::Timestamp;

use crate::api::{ComponentStatus, Outcome, Stage};

use super::adoption::{is_drained, remove_canary_service};
use super::borrow::{self, Pin, RoutesState};
use super::flaw::{self, Flaw};
use super::hooks::{self, Hooked};
use super::order::wait_for_dependents;
use super::plan::{Inquiry, Write};
use super::turn::{Part, Turn, after, enter, goes_forward};
use super::world::{DeploymentSeen, Look, ReplicaSetSeen};
use super::{Weight, adoption, config, degraded, ending, rest, retire};

/// One step of every component towards stable.
pub(super) fn advance(turn: &mut Turn<'_>) {
    let now = turn.now;
    turn.for_each(|turn, component, part| {
        let is_ours_no_more =
            component.stage == Stage::Adopting && adoption::is_released(turn, component, part);
        if goes_forward(component) || (component.stage == Stage::Adopting && !is_ours_no_more) {
            turn_back(component, part, now);
            enter(component, Stage::RollingBack, now);
        }
    });
    let mut is_done = true;
    turn.for_each(|turn, component, part| {
        is_done &= match component.stage {
            Stage::RollingBack => step(turn, component, part),
            Stage::TakenBack => {
                keep_back(turn, component, part);
                true
            }
            // Given up to the Deployment before the run turned back: it comes to its end.
            Stage::Adopting => {
                let is_adopted = adoption::step(turn, component, part);
                if is_adopted {
                    enter(component, Stage::Adopted, now);
                }
                is_adopted
            }
            _ => true,
        }
    });
    degraded::leave_without_traffic(turn);
    let mut is_back = true;
    turn.for_each(|turn, component, part| is_back &= is_left_alone(turn, component, part));
    let hooked = hooks::after_rollback(turn, is_back);
    if !is_done || turn.has_writes() || hooked != Hooked::Done {
        return;
    }
    let is_partly = turn.status.components.iter().any(|c| c.stage == Stage::Adopted);
    if let Some(run) = turn.run_on().filter(|run| is_partly && run.ends_as == Some(Outcome::RolledBack)) {
        run.ends_as = Some(Outcome::PartiallyCompleted);
    }
    ending::end(turn);
}

/// Whether no caller reaches the canary any more, and requests under way are over. The pods may still be ending.
fn is_left_alone(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>) -> bool {
    if component.stage != Stage::RollingBack {
        return true;
    }
    match borrow::canary_set(component, part) {
        Some(set) => set.deleting && !part.is_by_pods(),
        None => {
            borrow::weight_in_force(turn, component, part).is_some_and(Weight::is_zero)
                || borrow::is_overdue(turn, component)
        }
    }
}

/// What is kept of a way forward that ends here.
pub(super) fn turn_back(component: &mut ComponentStatus, part: &Part<'_>, now: Timestamp) {
    if borrow::canary_set(component, part).is_some() {
        // Its size may not have been stored; that there was one must not be forgotten.
        component.canary_replicas = component.canary_replicas.max(1);
    }
    component.target_weight = 0;
    component.drain_until = None;
    component.message.clear();
    component.since = Some(now);
}

/// Keeps a component that is back on stable as it is, while the run goes on.
pub(super) fn keep_back(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) {
    if let Some(deployment) = part.seen.deployment.found() {
        component.desired_replicas = deployment.replicas;
        hold_pause(turn, component, part, deployment);
    }
}

/// Stable serves. A template that failed stays rejected as long as the Deployment holds it.
pub(super) fn settle_back(
    turn: &Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    outcome: Outcome,
) {
    let canary = component.canary.take();
    let holds_canary =
        |deployment: &DeploymentSeen| canary.as_ref().is_some_and(|c| config::holds(part, deployment, c));
    let is_rejected = matches!(outcome, Outcome::RolledBack | Outcome::PartiallyCompleted)
        && part.seen.deployment.found().is_some_and(holds_canary);
    let stage = if is_rejected { Stage::RolledBack } else { Stage::Idle };
    let canary = canary.filter(|_| is_rejected);
    *component = ComponentStatus {
        name: std::mem::take(&mut component.name),
        workload: std::mem::take(&mut component.workload),
        stable: component.stable.take(),
        gates: std::mem::take(&mut component.gates),
        health: component.health.take(),
        failure: if is_rejected { std::mem::take(&mut component.failure) } else { String::new() },
        went_back_with: if is_rejected {
            std::mem::take(&mut component.went_back_with)
        } else {
            String::new()
        },
        desired_replicas: component.desired_replicas,
        rejected: canary.as_ref().map(config::identity),
        // Where it failed, for people; a new run starts from the first phase.
        phase_index: component.phase_index.filter(|_| is_rejected),
        earned: if is_rejected { std::mem::take(&mut component.earned) } else { Vec::new() },
        canary,
        ..ComponentStatus::default()
    };
    enter(component, stage, turn.now);
}

/// True when the component is back on stable with nothing borrowed left.
pub(super) fn step(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    if waits_for_dependents(turn, component, part) {
        return false;
    }
    let deployment = match &part.seen.deployment {
        Look::Found(deployment) => Some(deployment),
        Look::Missing => None,
        Look::Unknown => {
            turn.look(Inquiry::Deployment(part.name.clone()));
            None
        }
    };
    if let Some(deployment) = deployment {
        component.desired_replicas = deployment.replicas;
        hold_pause(turn, component, part, deployment);
    }
    // One that belongs to somebody else by now is not ours to end.
    let is_ours = |set: &&ReplicaSetSeen| {
        set.owner_uid.as_deref() == Some(turn.world.rollout.at.uid.as_str()) || flaw::is(Flaw::NameNotUid)
    };
    if borrow::canary_set(component, part).filter(is_ours).is_some() {
        take_traffic_back(turn, component, part, deployment);
        return false;
    }
    component.canary_ready = 0;
    component.weight = 0;
    // No pod of the canary is left: what was borrowed goes back.
    let is_whole = deployment.is_none() || retire::undo(turn, component, part);
    let routes = borrow::ensure_routes(turn, component, part, Weight::ZERO);
    let is_alone =
        deployment.is_none_or(|deployment| has_no_rejected_pods(turn, component, part, deployment));
    let is_free = is_alone && borrow::ensure_pin(turn, part, &Pin::Free);
    let is_back = matches!(routes, RoutesState::InForce | RoutesState::Gone(_))
        || (routes != RoutesState::Written && borrow::is_overdue(turn, component));
    let is_clean = is_back && remove_canary_service(turn, component, part);
    is_free && is_clean && is_whole && !part_is_unknown(part)
}

/// Whether those that depend on the component are still to go back before it: they were proven with its canary.
fn waits_for_dependents(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    if component.weight == 0 {
        return false;
    }
    let Some(wait) = wait_for_dependents(&turn.world.rollout.spec, &turn.status, &part.name) else {
        return false;
    };
    let until = after(component.since.unwrap_or(turn.now), wait);
    if turn.now >= until {
        return false;
    }
    turn.wake(until);
    "those that depend on it go back first".clone_into(&mut component.message);
    true
}

/// Whether no pod of the template in the Deployment would come behind the Service with the end of its pin.
fn has_no_rejected_pods(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) -> bool {
    let is_stable = component.stable.as_ref().is_some_and(|stable| stable.revision == deployment.revision);
    is_stable
        || part.spec.is_none()
        || deployment.has_rolled()
        || borrow::empty_native_twins(turn, part, deployment)
}

fn part_is_unknown(part: &Part<'_>) -> bool {
    part.seen.deployment == Look::Unknown
}

/// The rejected template must not roll natively; a template that is stable's may.
fn hold_pause(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) {
    let is_stable = component.stable.as_ref().is_some_and(|stable| stable.revision == deployment.revision);
    if !is_stable && part.spec.is_some() && !deployment.has_rolled() {
        rest::hold_deployment(turn, part, deployment);
    }
}

fn is_of_stable(component: &ComponentStatus, deployment: Option<&DeploymentSeen>) -> bool {
    let stable = component.stable.as_ref().map(|stable| &stable.revision);
    deployment.is_some_and(|deployment| stable == Some(&deployment.revision))
}

/// Weights to zero and the pin on stable in one go; when that is in force and the drain time is over, the pods go.
fn take_traffic_back(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: Option<&DeploymentSeen>,
) {
    let stable = component.stable.clone();
    // What rolled by itself has left no stable pod to pin callers to.
    let has_rolled = deployment.is_some_and(DeploymentSeen::has_rolled);
    let has_rolled = has_rolled && !is_of_stable(component, deployment);
    let is_pinned = match (&stable, deployment) {
        _ if has_rolled => borrow::ensure_pin(turn, part, &Pin::Free),
        // At 100 % callers of the Service are pinned to the canary: back with them, before the routes name it alone.
        (Some(stable), Some(_)) => borrow::ensure_pin(turn, part, &Pin::To(stable)),
        _ => true,
    };
    let routes = borrow::ensure_routes(turn, component, part, Weight::ZERO);
    if let Some(weight) = borrow::weight_in_force(turn, component, part) {
        component.weight = weight.percent();
    }
    let is_back = match &routes {
        _ if flaw::is(Flaw::PodsBeforeTraffic) => true,
        RoutesState::InForce | RoutesState::Gone(_) => true,
        RoutesState::Written | RoutesState::Pending => {
            "waiting until the gateway has taken the traffic back".clone_into(&mut component.message);
            false
        }
        RoutesState::Refused(why) => {
            component.message = format!("a gateway refuses {why}");
            false
        }
    };
    let serves_stable = part.is_by_pods()
        || has_rolled
        || deployment.is_none()
        || stable.as_ref().is_none_or(|stable| borrow::serves_only(part, stable, 0));
    let is_overdue = !is_back && borrow::is_overdue(turn, component);
    let is_hasty = flaw::is(Flaw::PodsBeforeTraffic);
    if !is_hasty && (!is_pinned || !(is_back || is_overdue) || !serves_stable) {
        return;
    }
    if !is_hasty && !part.is_by_pods() && !is_drained(turn, component) {
        "requests under way come to their end".clone_into(&mut component.message);
        return;
    }
    "the canary's pods end".clone_into(&mut component.message);
    if let Some(set) = borrow::canary_set(component, part).filter(|set| !set.deleting) {
        turn.write(Write::DeleteReplicaSet { replica_set: set.at.clone() });
    }
}
