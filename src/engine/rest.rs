//! Between runs: keep the Deployments ready to be intercepted, notice a new template, start the run.

use crate::api::{
    ComponentStatus, FoundRoute, HookPoint, Interception, ReleasedComponent, Revision, RunIntent, RunStatus,
    Stage,
};

use super::checks::{self, Checked};
use super::flaw::{self, Flaw};
use super::plan::{Inquiry, Reason, Write};
use super::references::references;
use super::restart;
use super::revision::pod_hash_of;
use super::room::{self, Claim};
use super::route::Backends;
use super::turn::{Part, Turn, after, enter};
use super::world::{DeploymentSeen, Look, ReplicaSetSeen};
use super::{Weight, borrow, config, copies, fellows, order};
use crate::api::Span;

/// How often something that is wrong is looked at again.
const LOOK_AGAIN: Span = Span::seconds(30);

/// Whether Deployments stay paused between runs.
pub(super) fn is_at_rest_mode(turn: &Turn<'_>) -> bool {
    match turn.world.rollout.spec.interception {
        Interception::AtRest => true,
        Interception::Admission => false,
        Interception::Auto => !turn.world.policy_active,
    }
}

/// No run is on: keep everything as it should be at rest and start a run when a template changed.
pub(super) fn keep(turn: &mut Turn<'_>) {
    fellows::come_along(turn);
    let needs_check = needs_check(turn);
    turn.for_each(|turn, component, part| {
        let is_here = part.spec.is_some() && !leaves_workload(component, part);
        let is_gone = part.seen.deployment.is_missing();
        if is_here && (needs_check || is_gone || has_new_template(component, part)) {
            match checks::check(turn, part, needs_check || is_gone) {
                Checked::Sound => {}
                Checked::Looking => turn.is_checked = false,
                Checked::Unsound(problem) => turn.stall(problem),
            }
        }
    });
    let is_sound = turn.is_checked && turn.problem.is_none();
    let mut candidates = Vec::new();
    turn.for_each(|turn, component, part| {
        if part.spec.is_none() || leaves_workload(component, part) {
            let_go_of_workload(turn, component, part);
        } else if is_sound {
            settle(turn, component, part);
            if is_candidate(component, part)
                && is_ready_to_start(turn, component, part)
                && copies::is_fresh(turn, component, part)
            {
                candidates.push(part.name.clone());
            }
        }
    });
    let in_spec =
        |name: &str| turn.world.rollout.spec.components.iter().any(|component| component.name == name);
    turn.status.components.retain(|component| !component.workload.is_empty() || in_spec(&component.name));
    if turn.problem.is_some() {
        turn.wake_after(LOOK_AGAIN);
    } else if is_sound && !candidates.is_empty() && !turn.has_writes() && !turn.has_looks() {
        if let Some(problem) = room::check(turn, &claims_of(turn, &candidates)) {
            turn.stall(problem);
            turn.wake_after(LOOK_AGAIN);
        } else if has_gathered(turn, &candidates) {
            start_run(turn, &candidates);
        }
    }
}

/// Templates that change within this time are released together: `kubectl apply` and its like write one after the other.
const GATHER: Span = Span::seconds(2);

/// Whether nothing has joined the candidates for a moment. A Rollout of one component waits for nobody.
fn has_gathered(turn: &mut Turn<'_>, candidates: &[String]) -> bool {
    let now = turn.now;
    // Objects and templates that are applied together come one after the other.
    let has_config = |c: &crate::api::Component| c.config.is_some();
    let components = &turn.world.rollout.spec.components;
    if components.len() == candidates.len() && !components.iter().any(has_config) {
        return true;
    }
    let mut last = None::<jiff::Timestamp>;
    for component in turn.status.components.iter_mut().filter(|c| candidates.contains(&c.name)) {
        let since = *component.ready_since.get_or_insert(now);
        last = Some(last.map_or(since, |last| last.max(since)));
    }
    let until = after(last.unwrap_or(now), GATHER);
    if until > now {
        turn.wake(until);
    }
    until <= now
}

/// What the candidates would come to need.
fn claims_of(turn: &Turn<'_>, candidates: &[String]) -> Vec<Claim> {
    let parts = candidates.iter().filter_map(|name| turn.part(name));
    parts.map(|part| room::claim_of(turn, &part, Stage::Waiting)).collect()
}

/// Whether a run could start with this component now; asks for the looks that tell.
pub(super) fn could_start(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>) -> bool {
    is_candidate(component, part)
        && matches!(checks::check(turn, part, false), Checked::Sound)
        && restart::is_stable_whole(turn, component, part) == Some(true)
}

/// Whether the spec has to be checked against the cluster: once per generation, and until it is sound.
fn needs_check(turn: &Turn<'_>) -> bool {
    let status = &turn.world.rollout.status;
    status.observed_generation != turn.world.rollout.generation
        || status.state == crate::api::RolloutState::Stalled
        || status.components.len() != turn.world.rollout.spec.components.len()
}

/// Whether the spec names another Deployment than the one we hold.
fn leaves_workload(component: &ComponentStatus, part: &Part<'_>) -> bool {
    let wanted = part.spec.map(|spec| spec.workload_ref.name.as_str());
    !component.workload.is_empty() && wanted != Some(component.workload.as_str())
}

/// Takes our label and our pause off a Deployment that the Rollout has no more to do with, and forgets it.
pub(super) fn let_go_of_workload(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) {
    let deployment = match &part.seen.deployment {
        Look::Found(deployment) => deployment,
        Look::Unknown if !component.workload.is_empty() => {
            return turn.look(Inquiry::Deployment(part.name.clone()));
        }
        Look::Missing if flaw::is(Flaw::FinalizerWaitsForDeployment) => return,
        Look::Unknown | Look::Missing => return forget(component),
    };
    if !copies::hand_over(turn, component, part, deployment) {
        return;
    }
    let is_stable = component.stable.as_ref().is_some_and(|stable| stable.revision == deployment.revision);
    if deployment.paused && deployment.is_intercepted && !is_stable {
        tell_stays_paused(turn, part);
    }
    if deployment.paused && is_stable && deployment.is_intercepted {
        return turn.write(Write::ResumeDeployment {
            deployment: deployment.at.clone(),
            generation: deployment.generation,
        });
    }
    let labelled = part.seen.replica_sets.iter().filter(|set| set.is_labelled && !set.deleting);
    let mut sets: Vec<_> = labelled.map(|set| set.at.clone()).collect();
    sets.sort();
    for replica_set in &sets {
        turn.write(Write::UnlabelReplicaSet { replica_set: replica_set.clone() });
    }
    if deployment.rollout_label.as_deref() == Some(turn.world.rollout.at.name.as_str()) {
        // The label goes last: with it goes what we see of the workload.
        if sets.is_empty() {
            turn.write(Write::LabelDeployment { deployment: deployment.at.clone(), rollout: None });
        }
        return;
    }
    forget(component);
}

/// Once: the label, which goes with it, is still there.
fn tell_stays_paused(turn: &mut Turn<'_>, part: &Part<'_>) {
    let message = format!(
        "the Deployment {} stays paused: it holds a template that was not earned. Put the one that serves back, or accept \
         it, and then: kubectl rollout resume deployment/{}",
        part.refs.workload, part.refs.workload
    );
    if turn.is_news(&part.name, Reason::HandedBack, Span::seconds(60)) {
        turn.happen(&part.name, Reason::HandedBack, message);
    }
}

fn forget(component: &mut ComponentStatus) {
    *component = ComponentStatus { name: component.name.clone(), ..ComponentStatus::default() };
}

/// Keeps one component at rest.
pub(super) fn settle(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) {
    let Some(deployment) = part.seen.deployment.found() else {
        if !part.seen.deployment.is_missing() {
            turn.look(Inquiry::Deployment(part.name.clone()));
        }
        return;
    };
    part.refs.workload.clone_into(&mut component.workload);
    component.desired_replicas = deployment.replicas;
    if deployment.rollout_label.as_deref() != Some(turn.world.rollout.at.name.as_str()) {
        let rollout = Some(turn.world.rollout.at.name.clone());
        return turn.write(Write::LabelDeployment { deployment: deployment.at.clone(), rollout });
    }
    let stable_template = component.stable.as_ref().map(|stable| stable.template.clone());
    if stable_template.as_ref() != Some(&deployment.template_hash) {
        follow_native_roll(turn, component, part, deployment);
    }
    copies::keep(turn, component, part, deployment);
    clear_late(turn, component, part);
    let Some(stable) = component.stable.clone() else { return };
    if deployment.revision == stable.revision && has_new_template(component, part) {
        // New configuration alone: nothing rolls by itself, but the release needs the pause.
        if !deployment.paused && deployment.is_complete() {
            turn.write(Write::PauseDeployment { deployment: deployment.at.clone() });
        }
    } else if deployment.revision == stable.revision && config::is_known(part) {
        keep_pause(turn, component, part, deployment, &stable);
    } else if deployment.revision == stable.revision {
        // The pause may be for the configuration that is being looked at.
    } else if !deployment.paused {
        tell_not_intercepted(turn, component, part);
    } else if !config::is_rejected(component, part, deployment) {
        component.message.clear();
    }
}

/// A creation has no version to be refused by: one that was long under way may be done after its run has ended. Nobody needs what
/// came of it, and nobody is sent to it.
fn clear_late(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>) {
    let own = turn.world.rollout.at.uid.clone();
    let is_unused = borrow::weight_in_force(turn, component, part).is_some_and(Weight::is_zero);
    if !is_unused && !part.is_by_pods() {
        return;
    }
    let is_late =
        |set: &&ReplicaSetSeen| set.is_labelled && !set.deleting && set.owner_uid.as_ref() == Some(&own);
    for set in part.seen.replica_sets.iter().filter(is_late) {
        turn.write(Write::DeleteReplicaSet { replica_set: set.at.clone() });
    }
    let service = part.seen.canary_service.found();
    if let Some(service) = service.filter(|it| !it.deleting && it.owner_uid.as_ref() == Some(&own)) {
        turn.write(Write::DeleteService { service: service.at.clone() });
    }
}

/// The Deployment's template is not that of the known stable ReplicaSet: it is new to us, restarted, or it rolled
/// natively. When the Deployment controller has finished, what serves is stable.
fn follow_native_roll(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) {
    let is_new_version =
        component.stable.as_ref().is_some_and(|stable| stable.revision != deployment.revision);
    // Paused before its roll: a run is to start. Paused after it, there is nothing left to release.
    if is_new_version && deployment.paused && !(deployment.has_rolled() && deployment.replicas > 0) {
        return;
    }
    if !deployment.is_complete() {
        // A version that rolls without gates is told apart by the caller.
        if !is_new_version {
            "the Deployment is still rolling by itself: Palier waits for its end"
                .clone_into(&mut component.message);
        }
        return;
    }
    if !part.seen.replica_sets_complete {
        return turn.look(Inquiry::ReplicaSets(part.name.clone()));
    }
    let is_current = |set: &&ReplicaSetSeen| {
        set.owner_uid.as_ref() == Some(&deployment.at.uid) && set.template_hash == deployment.template_hash
    };
    if let Some(set) = part
        .seen
        .replica_sets
        .iter()
        .filter(is_current)
        .max_by_key(|set| (set.current, set.history_revision, &set.at.name))
    {
        component.stable = Some(Revision {
            revision: set.revision.clone(),
            template: set.template_hash.clone(),
            pod_hash: set.pod_hash.clone(),
            replica_set: set.at.name.clone(),
            // Whatever ReplicaSet made them: new pods got stable's.
            config: component.stable.as_ref().map(|stable| stable.config.clone()).unwrap_or_default(),
        });
        component.message.clear();
        if !is_new_version && config::is_rejected(component, part, deployment) {
            // Restarted, while its objects hold what was rolled back.
            return;
        }
        // With another stable version the rejected one is history.
        component.rejected = None;
        component.went_back_with.clear();
        if component.stage == Stage::RolledBack {
            enter(component, Stage::Idle, turn.now);
        }
    } else {
        // The list is from before the roll; it is good for so long.
        turn.wake_after(LOOK_AGAIN);
    }
}

/// The pause of a Deployment whose template is stable's.
fn keep_pause(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    stable: &Revision,
) {
    let is_restart = deployment.template_hash != stable.template;
    let wants_pause = is_at_rest_mode(turn) && !is_restart;
    if deployment.paused && deployment.is_intercepted && !wants_pause && !flaw::is(Flaw::StaysPaused) {
        // Back from another template, no longer paused at rest, or a restart that waits to roll natively.
        let generation = deployment.generation;
        return turn.write(Write::ResumeDeployment { deployment: deployment.at.clone(), generation });
    }
    if !deployment.paused && wants_pause && deployment.is_complete() {
        return turn.write(Write::PauseDeployment { deployment: deployment.at.clone() });
    }
    if component.stage == Stage::RolledBack && !config::is_rejected(component, part, deployment) {
        enter(component, Stage::Idle, turn.now);
        component.rejected = None;
        component.went_back_with.clear();
        component.canary = None;
    }
}

fn tell_not_intercepted(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) {
    let message = "the template changed and the Deployment was not paused: it rolls by itself, without gates";
    if component.message != message {
        message.clone_into(&mut component.message);
        turn.happen(&part.name, Reason::NotIntercepted, message.to_owned());
    }
}

/// During a run: our label, and the pause, whoever takes them off.
pub(super) fn hold_deployment(turn: &mut Turn<'_>, part: &Part<'_>, deployment: &DeploymentSeen) {
    let rollout = turn.world.rollout.at.name.clone();
    if deployment.rollout_label.as_deref() != Some(rollout.as_str()) {
        turn.write(Write::LabelDeployment { deployment: deployment.at.clone(), rollout: Some(rollout) });
    } else if !deployment.paused {
        let message = format!(
            "somebody resumed the Deployment {} during the run: it is paused again",
            part.refs.workload
        );
        turn.happen(&part.name, Reason::ForeignChange, message);
        turn.write(Write::PauseDeployment { deployment: deployment.at.clone() });
    } else {
        borrow::empty_native_twins(turn, part, deployment);
    }
}

/// Whether the Deployment holds a template, or the objects a configuration, that is neither stable's nor rejected.
fn has_new_template(component: &ComponentStatus, part: &Part<'_>) -> bool {
    let (Some(deployment), Some(stable)) = (part.seen.deployment.found(), component.stable.as_ref()) else {
        return false;
    };
    let is_rejected =
        config::is_rejected(component, part, deployment) && !flaw::is(Flaw::RejectedStartsAgain);
    !config::holds(part, deployment, stable) && !is_rejected
}

pub(super) fn is_candidate(component: &ComponentStatus, part: &Part<'_>) -> bool {
    has_new_template(component, part)
        && part.seen.deployment.found().is_some_and(|deployment| deployment.paused)
}

/// Whether stable is whole. A Deployment that was paused in the middle of a roll has no version to go back to.
fn is_ready_to_start(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    match restart::is_stable_whole(turn, component, part) {
        Some(false) if restart::follow_unseen(component, part) => true,
        Some(false) => {
            turn.stall(format!(
                "spec.components[{}].workloadRef.name: the Deployment {} was paused in the middle of a roll, so there is no \
                 whole version to go back to: resume it, or put the former template back and resume it",
                part.name, part.refs.workload
            ));
            false
        }
        Some(true) => true,
        None => {
            // Until the look has told otherwise, what was said last still stands.
            if turn.world.rollout.status.state == crate::api::RolloutState::Stalled {
                turn.is_checked = false;
            }
            false
        }
    }
}

/// Starts a run with the components whose template changed.
fn start_run(turn: &mut Turn<'_>, candidates: &[String]) {
    let number = turn.run_number() + 1;
    turn.status.run = Some(RunStatus {
        number,
        intent: RunIntent::Release,
        started_at: turn.now,
        ended_at: None,
        outcome: None,
        ends_as: None,
        reason: String::new(),
        recorded: false,
        promoted_in_full: false,
        paused: false,
        handled_actions: Vec::new(),
        hooks: Vec::new(),
        degraded: Vec::new(),
        timeline: Vec::new(),
    });
    let mut released = Vec::new();
    turn.for_each(|turn, component, part| {
        if candidates.contains(&part.name) {
            released.extend(borrow_for_run(turn, component, part, number));
        }
    });
    queue_up(turn);
    let words: Vec<String> = released.iter().map(in_words).collect();
    turn.happen("", Reason::RunStarted, format!("run {number}: {}", words.join(", ")));
    let rollout = &turn.world.rollout.at.name;
    let (name, started_at) = (run_name(rollout, number), turn.now);
    let oldest = number - i64::from(turn.world.rollout.spec.run_history_limit);
    turn.write(Write::CreateRun { name, number, started_at, components: released });
    if oldest >= 1 {
        turn.write(Write::DeleteRun { name: run_name(rollout, oldest) });
    }
    turn.wake(turn.now);
}

fn in_words(released: &ReleasedComponent) -> String {
    let ReleasedComponent { name, stable, canary, .. } = released;
    let changes = config::changes(stable, canary);
    match (stable.revision == canary.revision, changes.is_empty()) {
        (true, _) => format!("{name} with another {}", changes.join(", ")),
        (false, true) => format!("{name} from {} to {}", stable.revision, canary.revision),
        (false, false) => {
            format!("{name} from {} to {} with {}", stable.revision, canary.revision, changes.join(", "))
        }
    }
}

/// Components that something has to happen before wait for it.
fn queue_up(turn: &mut Turn<'_>) {
    let spec = &turn.world.rollout.spec;
    let has_first = spec.hooks.iter().any(|hook| hook.at == HookPoint::BeforeRun);
    let waits: Vec<bool> = turn
        .status
        .components
        .iter()
        .map(|c| has_first || !order::waits_for(spec, &turn.status, &c.name).is_empty())
        .collect();
    for (component, waits) in turn.status.components.iter_mut().zip(waits) {
        if waits && component.stage == Stage::Preparing {
            component.stage = Stage::Waiting;
        }
    }
}

/// Records what the run borrows of one component, before it touches any of it.
fn borrow_for_run(
    turn: &Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    number: i64,
) -> Option<ReleasedComponent> {
    // The spec's own references: what was recorded of the last run is history.
    let refs =
        references(&turn.world.rollout.spec, &crate::api::RolloutStatus::default()).remove(&part.name)?;
    let deployment = part.seen.deployment.found()?;
    let stable = component.stable.clone()?;
    let pod_hash = pod_hash_of(&turn.world.rollout.at.uid, number, &part.name, &deployment.revision);
    let canary = Revision {
        revision: deployment.revision.clone(),
        template: deployment.template_hash.clone(),
        replica_set: format!("{}-{pod_hash}", deployment.at.name),
        pod_hash,
        config: config::wanted(part).unwrap_or_default(),
    };
    let canary_service = refs.canary_service().unwrap_or_default();
    let service = refs.service.unwrap_or_default();
    let backends =
        Backends { namespace: &turn.world.rollout.namespace, stable: &service, canary: &canary_service };
    let found = part.seen.routes.iter().filter_map(|(kind, name, look)| {
        let weights = backends.found(&look.found()?.backends);
        Some(FoundRoute { kind: kind.as_str().to_owned(), name: name.clone(), weights })
    });
    let found = found.collect();
    let former = if flaw::is(Flaw::FormerRunsPhasesCount) { component.earned.clone() } else { Vec::new() };
    *component = ComponentStatus {
        name: component.name.clone(),
        workload: deployment.at.name.clone(),
        found,
        earned: former,
        stable: Some(stable.clone()),
        canary: Some(canary.clone()),
        desired_replicas: deployment.replicas,
        phase_index: Some(0),
        service,
        ..ComponentStatus::default()
    };
    enter(component, Stage::Preparing, turn.now);
    Some(ReleasedComponent { name: part.name.clone(), workload: deployment.at.name.clone(), stable, canary })
}

/// Name of the record of a run.
pub(super) fn run_name(rollout: &str, number: i64) -> String {
    format!("{rollout}-{number}")
}
