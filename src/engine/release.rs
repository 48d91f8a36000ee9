//! A run on its way to the canary revisions: prepare, raise, bake, phase by phase.

use crate::api::{ComponentStatus, EarnedPhase, Outcome, Phase, Retain, RunIntent, Span, Stage, Verdict};

use super::borrow::{self, Pin, RoutesState, SetState};
use super::flaw::{self, Flaw};
use super::held::{is_kept_back, is_past_hooks, may_begin, may_raise};
use super::hooks;
use super::judges::{Step, steps};
use super::plan::Reason;
use super::turn::{Part, Turn, after, between, clip, enter, goes_forward, takes_part};
use super::world::DeploymentSeen;
use super::{Weight, adoption, ahead, copies, degraded, evidence, health, partial, rest, templates, trips};

/// The shortest time between two corrections of a route that somebody else writes too: no fight.
const MEND_EVERY: Span = Span::seconds(10);
/// How long the news that a phase was reached waits for the first word of its gates.
const FIRST_WORD: Span = Span::millis(300);
/// After this time a bake under way was told, whatever the timeline still holds.
const TOLD_AFTER: Span = Span::seconds(10);
/// A foreign change is told again after this time at the earliest.
const TELL_EVERY: Span = Span::seconds(600);

/// One step of a run that goes forward.
pub(super) fn advance(turn: &mut Turn<'_>) {
    turn.for_each(|turn, component, part| {
        if turn.intent() != Some(RunIntent::Release) {
            // Another component has just turned the run back.
        } else if goes_forward(component) {
            templates::watch(turn, component, part);
        } else {
            templates::join(turn, component, part);
        }
    });
    if turn.intent() == Some(RunIntent::Release) {
        trips::judge_all(turn);
    }
    if turn.intent() != Some(RunIntent::Release) {
        return;
    }
    degraded::go_on(turn);
    turn.for_each(|turn, component, part| {
        if turn.intent() != Some(RunIntent::Release) {
            // As above.
        } else if goes_forward(component) {
            step(turn, component, part);
        } else if !takes_part(component) {
            rest::settle(turn, component, part);
        } else if component.stage == Stage::Adopting && adoption::step(turn, component, part) {
            enter(component, Stage::Adopted, turn.now);
        }
    });
    if turn.intent() == Some(RunIntent::Release) {
        let late = turn.take_failures();
        partial::take_back(turn, &late);
    }
    if turn.intent() != Some(RunIntent::Release) {
        return;
    }
    turn.for_each(partial::go_on);
    end_release(turn);
}

/// When nobody is on the way any more and somebody has earned every phase, what was earned is adopted.
fn end_release(turn: &mut Turn<'_>) {
    let (mut is_any, mut is_over) = (false, true);
    turn.for_each(|turn, component, part| {
        is_any |= goes_forward(component) || matches!(component.stage, Stage::Adopting | Stage::Adopted);
        is_over &= match component.stage {
            Stage::Baked => !is_kept_back(turn, component, part) && is_past_hooks(turn, component, part),
            Stage::Adopted => true,
            Stage::TakenBack => partial::is_past_hooks(turn, component),
            _ => !takes_part(component),
        };
    });
    if is_any && is_over && !degraded::is_on(turn) {
        begin_adoption(turn);
    }
}

/// Every phase of every component that was not taken back is earned: the canary revisions become the Deployments' own.
fn begin_adoption(turn: &mut Turn<'_>) {
    let now = turn.now;
    let taken_back = partial::in_words(&turn.status.components);
    if let Some(run) = turn.run_on() {
        run.intent = RunIntent::Adopt;
        run.ends_as =
            Some(if taken_back.is_some() { Outcome::PartiallyCompleted } else { Outcome::Completed });
        run.reason = clip(taken_back.as_deref().unwrap_or("every phase was earned"), 1024);
    }
    for component in turn.status.components.iter_mut().filter(|c| c.stage == Stage::Baked) {
        component.target_weight = 100;
        // Callers of the Service have been pinned to the canary for as long as the last phase bakes.
        let pinned_since = component.bake.as_ref().map(|bake| bake.started_at);
        enter(component, Stage::Adopting, now);
        component.ready_since = pinned_since;
    }
    turn.happen(
        "",
        Reason::Promoting,
        "every phase was earned: the canary becomes the Deployment's own".to_owned(),
    );
}

/// The present phase: the first one that is not earned. An edit of the phases keeps what is earned of them.
fn present_step(turn: &Turn<'_>, component: &mut ComponentStatus, name: &str) -> Step {
    let mut steps = steps(&turn.world.rollout.spec, name);
    let is_same = |(earned, step): &(&EarnedPhase, &Step)| {
        earned.name == step.phase.name && earned.traffic == step.phase.traffic
    };
    let kept = component.earned.iter().zip(&steps).take_while(is_same).count();
    component.earned.truncate(kept);
    let last = steps.len().saturating_sub(1);
    let in_full = turn.run().is_some_and(|run| run.promoted_in_full);
    let at = if in_full { last } else { kept.min(last) };
    if at < steps.len() {
        return steps.swap_remove(at);
    }
    // The schema asks for at least one phase; without any, everything at once with no bake would be the worst reading.
    let phase =
        Phase { name: "pilot".into(), traffic: 1, bake_time: Span::seconds(600), min_bake_time: None };
    Step { index: 0, phase }
}

/// Whether a component has earned the last of its phases.
fn has_earned_all(turn: &Turn<'_>, component: &ComponentStatus, name: &str) -> bool {
    turn.run().is_some_and(|run| run.promoted_in_full)
        || component.earned.len() >= steps(&turn.world.rollout.spec, name).len()
}

fn step(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) {
    let Some(deployment) = part.seen.deployment.found() else {
        return turn.look(super::plan::Inquiry::Deployment(part.name.clone()));
    };
    rest::hold_deployment(turn, part, deployment);
    let Step { index, phase } = present_step(turn, component, &part.name);
    component.phase_index = i32::try_from(index).ok();
    if component.stage == Stage::Waiting {
        if !may_begin(turn, component, part) {
            return;
        }
        component.message.clear();
        enter(component, Stage::Preparing, turn.now);
    }
    let has_weight = matches!(component.stage, Stage::Raising | Stage::Baking | Stage::Baked);
    if has_weight && component.target_weight != phase.traffic {
        follow_edit(turn, component, part, &phase);
    }
    if component.stage == Stage::Baked && !has_earned_all(turn, component, &part.name) {
        // The last phase is another one now, at the same share.
        enter(component, Stage::Baking, turn.now);
    }
    if let Some(weight) = borrow::weight_in_force(turn, component, part) {
        component.weight = weight.percent();
    }
    lose_no_request(turn, component, part, deployment);
    if component.stage == Stage::Preparing {
        prepare(turn, component, part, deployment, &phase);
    }
    match component.stage {
        Stage::Raising => raise(turn, component, part, deployment, &phase),
        Stage::Baking | Stage::Baked => bake(turn, component, part, deployment, &phase),
        _ => {}
    }
    let is_given_up = turn.world.rollout.spec.retain == Retain::UntilBaked;
    if is_given_up && component.stage == Stage::Baked && is_past_hooks(turn, component, part) {
        adopt_early(turn, component, part);
    }
}

/// The old version is not kept until the run ends: the canary becomes the Deployment's own now.
fn adopt_early(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) {
    if is_kept_back(turn, component, part) {
        return;
    }
    component.target_weight = 100;
    let pinned_since = component.bake.as_ref().map(|bake| bake.started_at);
    enter(component, Stage::Adopting, turn.now);
    component.ready_since = pinned_since;
    let message = "every phase was earned: the canary becomes the Deployment's own";
    turn.happen(&part.name, Reason::Promoting, message.to_owned());
    turn.wake(turn.now);
}

/// The phases were edited, or a person ended them all: what is in force is not what is to be proven. A smaller weight is
/// taken at once. A greater one is earned like any other: the weight that is there is proven first, anew where gates judge it.
fn follow_edit(turn: &Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>, phase: &Phase) {
    let in_full = turn.run().is_some_and(|run| run.promoted_in_full);
    let said = borrow::weight_said(turn, part).percent();
    let is_given = part.is_by_pods() || said >= phase.traffic.min(component.target_weight);
    if component.stage == Stage::Raising && !is_given && !in_full {
        // No more than the former phase's weight was ever given: what that has proven counts, and what its gates say.
        component.target_weight = said;
        enter(component, Stage::Preparing, turn.now);
    } else if phase.traffic < component.target_weight || in_full {
        component.bake = None;
        component.gates.clear();
        enter(component, Stage::Preparing, turn.now);
    }
}

/// Without a single canary pod ready, traffic goes back to stable at once; the phase is prepared anew.
fn lose_no_request(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) {
    let has_traffic = component.target_weight > 0 && !part.is_by_pods();
    let set = borrow::canary_set(component, part);
    if flaw::is(Flaw::TrafficToNobody) {
        return;
    }
    let is_dead = set.is_none_or(|set| set.is_observed && set.available == 0);
    // Also while pods for the next phase start: what is in force stays in force meanwhile.
    if has_traffic && is_dead && deployment.available_replicas > 0 {
        component.target_weight = 0;
        component.route_mended_at = None;
        component.bake = None;
        component.gates.clear();
        enter(component, Stage::Preparing, turn.now);
        let why = "no canary pod is ready: traffic goes back to stable until one is";
        turn.happen(&part.name, Reason::GateFailed, why.to_owned());
    }
}

/// Canary pods of the phase's size start; what is in force stays in force.
fn prepare(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    phase: &Phase,
) {
    if deployment.replicas == 0 {
        "the Deployment is scaled to 0: the run waits for pods".clone_into(&mut component.message);
        return;
    }
    if !flaw::is(Flaw::PinComesLate) && !keep_in_force(turn, component, part) {
        "the Service is being pinned to stable".clone_into(&mut component.message);
        return give_up_late(turn, component, part);
    }
    if !copies::is_in_place(turn, component, part) {
        "the configuration is being copied".clone_into(&mut component.message);
        return give_up_late(turn, component, part);
    }
    let weight = Weight::clamped(phase.traffic);
    let size = borrow::size_for(part, deployment, weight.max(Weight::clamped(component.target_weight)));
    let is_kept_back = is_kept_back(turn, component, part);
    // More pods would be a greater share.
    if part.is_by_pods() && (is_kept_back || !may_raise(turn, component, part, phase)) {
        return;
    }
    let set = borrow::ensure_set(turn, component, part, size);
    // After the pods: they start while the API server looks for a free address, which takes long when many ask.
    let has_service = borrow::ensure_canary_service(turn, component, part);
    if set != SetState::Ready || !has_service {
        component.ready_since = None;
    }
    match set {
        SetState::Ready if !has_service => {
            "the canary's Service is being made".clone_into(&mut component.message);
            give_up_late(turn, component, part);
        }
        SetState::Ready if is_kept_back => {}
        SetState::Ready if !copies::are_pods_bound(turn, component, part) => {
            give_up_late(turn, component, part);
        }
        SetState::Ready if !may_raise(turn, component, part, phase) => {}
        SetState::Ready if component.target_weight == 0 && !borrow::has_settled(turn, component, part) => {
            "the gateway learns of the canary's pods".clone_into(&mut component.message);
        }
        SetState::Ready => {
            component.target_weight = phase.traffic;
            component.route_mended_at = None;
            component.message.clear();
            enter(component, Stage::Raising, turn.now);
        }
        SetState::Changing => {
            "canary pods are being started".clone_into(&mut component.message);
            give_up_late(turn, component, part);
        }
        SetState::Starting(ready) => {
            component.message =
                format!("{ready} of {size} canary pods are ready{}", health::in_words(component));
            give_up_late(turn, component, part);
        }
        SetState::NoRoom(words) => {
            component.message = words;
            give_up_late(turn, component, part);
        }
    }
}

/// Keeps pins and weights as `target_weight` says. True when they are in force, or nothing has to be.
fn keep_in_force(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    let weight = Weight::clamped(component.target_weight);
    let is_pinned = keep_pin(turn, component, part, weight);
    // Before the first raise the routes are as they were found: nothing is looked after.
    if component.bake.is_none() && weight.is_zero() && !borrow::routes_differ(turn, component, part, weight) {
        return is_pinned;
    }
    let routes = mend_routes(turn, component, part, weight);
    let is_ignored = matches!(routes, RoutesState::Refused(_)) && flaw::is(Flaw::RouteErrorIgnored);
    is_pinned && (routes == RoutesState::InForce || is_ignored)
}

/// Pins callers of the Service to the revision that has most of the say: stable, and the canary only at 100 %.
fn keep_pin(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>, weight: Weight) -> bool {
    let to = if weight.is_full() && component.weight == 100 { &component.canary } else { &component.stable };
    to.as_ref().is_some_and(|revision| borrow::ensure_pin(turn, part, &Pin::To(revision)))
}

/// Writes the weights, but not against somebody who writes them too: at most once per [`MEND_EVERY`].
fn mend_routes(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    weight: Weight,
) -> RoutesState {
    if !borrow::routes_differ(turn, component, part, weight) {
        if component.stage == Stage::Raising {
            component.route_mended_at.get_or_insert(turn.now);
        }
        return borrow::ensure_routes(turn, component, part, weight);
    }
    // More than was earned is taken back at once, whoever gave it.
    let is_more = borrow::weight_said(turn, part) > weight;
    let quiet_until = component.route_mended_at.map(|at| after(at, MEND_EVERY));
    if let Some(until) = quiet_until.filter(|until| *until > turn.now && !is_more) {
        turn.wake(until);
        return RoutesState::Written;
    }
    if borrow::weight_said(turn, part) < weight && !borrow::has_pods_for(component, part, weight) {
        // Somebody took traffic away while the canary has too few pods for it: it comes back with them.
        return RoutesState::Written;
    }
    // The write of a raise is no mending until it was seen to be done, nor is a retreat of ours.
    let is_raise = component.stage == Stage::Raising && component.route_mended_at.is_none();
    let is_mending = component.stage == Stage::Raising || component.bake.is_some();
    if is_raise {
        return borrow::ensure_routes(turn, component, part, weight);
    }
    if is_mending && turn.is_news(&part.name, Reason::ForeignChange, TELL_EVERY) {
        let message = "somebody else changed the weights of a route: they are put right at most every 10 s. \
                       If Git holds them, exclude the field manager 'palier' there"
            .to_owned();
        turn.happen(&part.name, Reason::ForeignChange, message);
    }
    component.route_mended_at = Some(turn.now);
    borrow::ensure_routes(turn, component, part, weight)
}

/// The phase's weight is put in force; only then its bake starts.
fn raise(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    phase: &Phase,
) {
    let weight = Weight::clamped(component.target_weight);
    let size = borrow::size_for(part, deployment, weight);
    if borrow::ensure_set(turn, component, part, size.max(component.canary_replicas)) != SetState::Ready {
        return give_up_late(turn, component, part);
    }
    if borrow::weight_said(turn, part) < weight && is_kept_back(turn, component, part) {
        return;
    }
    let is_accepted = match mend_routes(turn, component, part, weight) {
        RoutesState::InForce => true,
        RoutesState::Pending if flaw::is(Flaw::BakesBeforeAccepted) => true,
        RoutesState::Refused(_) if flaw::is(Flaw::RouteErrorIgnored) => true,
        RoutesState::Written if !turn.world.refused.is_empty() => {
            component.message = format!("{weight} cannot be written: {}", clip(&turn.world.refused, 400));
            false
        }
        RoutesState::Written | RoutesState::Pending => {
            component.message = format!("waiting until {weight} is accepted by the gateway");
            false
        }
        RoutesState::Refused(why) => {
            component.message = format!("a gateway refuses {why}");
            false
        }
        RoutesState::Gone(what) => {
            component.message = format!("{what} is gone");
            false
        }
    };
    let is_pinned = is_accepted && keep_pin(turn, component, part, weight);
    let has_moved = || {
        let canary = component.canary.as_ref();
        part.is_by_pods()
            || !weight.is_full()
            || canary.is_some_and(|canary| borrow::serves_only(part, canary, 1))
    };
    if !is_pinned || !has_moved() {
        return give_up_late(turn, component, part);
    }
    component.message.clear();
    evidence::begin(turn, component, part, phase);
    enter(component, Stage::Baking, turn.now);
    evidence::gather(turn, component, part, phase);
    evidence::count(turn, component, part, phase, true);
    tell_reached(turn, component, part, phase, false);
    earn(turn, component, part, deployment, phase);
}

/// Says that a phase was reached, with what its gates say first: one transition, stored once. `is_last_moment` says it
/// whatever they say.
fn tell_reached(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
    is_last_moment: bool,
) {
    let Some(bake) = component.bake.as_ref().filter(|_| component.stage == Stage::Baking) else { return };
    let is_said = |entry: &crate::api::TimelineEntry| {
        entry.component == part.name
            && entry.reason == Reason::PhaseReached.as_str()
            && entry.at >= bake.started_at
    };
    // The timeline forgets its oldest entries: a bake that is under way for long was told.
    let is_young = between(bake.started_at, turn.now) < TOLD_AFTER;
    if !is_young || turn.run().is_none_or(|run| run.timeline.iter().any(is_said)) {
        return;
    }
    let limit = after(bake.started_at, FIRST_WORD);
    let has_spoken = component.gates.iter().all(|gate| gate.verdict != Verdict::Wait);
    if !has_spoken && !is_last_moment && turn.now < limit {
        return turn.hold_back(limit);
    }
    let weight = Weight::clamped(component.target_weight);
    let message = if phase.bake_time.is_zero() {
        format!("{} is in force ({})", weight, phase.name)
    } else {
        format!("{} is in force ({}): baking for {}", weight, phase.name, phase.bake_time)
    };
    turn.happen(&part.name, Reason::PhaseReached, message);
}

/// The phase proves itself.
fn bake(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    phase: &Phase,
) {
    if flaw::is(Flaw::StableShrinks) {
        flaw::shrink_stable(turn, component, part, deployment);
    }
    let in_force = keep_in_force(turn, component, part);
    let size = borrow::size_for(part, deployment, Weight::clamped(component.target_weight));
    let ahead = ahead::size(turn, component, part, deployment, phase).max(size);
    let set = borrow::ensure_set_ahead(turn, component, part, (size, ahead));
    component.message = match set {
        SetState::Ready if in_force && component.target_weight < phase.traffic => format!(
            "the phase was edited to {} %: {} % is proven first, from the beginning",
            phase.traffic, component.target_weight
        ),
        SetState::Ready if in_force => String::new(),
        SetState::Ready => "the weight is not in force: the bake stands still".to_owned(),
        SetState::Changing => "canary pods follow the size of the Deployment".to_owned(),
        SetState::Starting(ready) => {
            let pods = health::in_words(component);
            format!("{ready} of {size} canary pods are ready{pods}: the bake stands still")
        }
        SetState::NoRoom(ref words) => format!("{words}: the bake stands still"),
    };
    let is_full = matches!(set, SetState::Ready | SetState::Changing);
    let is_degraded = degraded::is_on(turn);
    if is_degraded && component.message.is_empty() {
        "a degraded mode is on: the bake stands still".clone_into(&mut component.message);
    }
    evidence::count(turn, component, part, phase, in_force && is_full && !is_degraded);
    if halts_too_long(turn, component, in_force && is_full) {
        let why =
            format!("no progress for {}: {}", turn.world.rollout.spec.progress_deadline, component.message);
        return turn.give_up(&part.name, why);
    }
    tell_reached(turn, component, part, phase, false);
    earn(turn, component, part, deployment, phase);
}

/// Whether the weight was out of force, or pods were missing, for longer than the progress deadline.
fn halts_too_long(turn: &mut Turn<'_>, component: &mut ComponentStatus, is_on: bool) -> bool {
    let (now, is_paused) = (turn.now, turn.is_paused());
    let Some(bake) = component.bake.as_mut() else { return false };
    if is_on || is_paused {
        bake.halted_since = None;
        return false;
    }
    let deadline = after(*bake.halted_since.get_or_insert(now), turn.world.rollout.spec.progress_deadline);
    if now < deadline {
        turn.wake(deadline);
    }
    now >= deadline
}

/// Ends the bake of a phase that is earned.
fn earn(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    phase: &Phase,
) {
    let in_full = turn.run().is_some_and(|run| run.promoted_in_full);
    let is_last = phase.traffic == 100 && flaw::is(Flaw::NoLastBake);
    let is_earned = in_full || is_last || evidence::is_earned(turn, component, part, phase);
    let is_halted = (turn.is_paused() && !flaw::is(Flaw::PauseIgnored)) || degraded::is_on(turn);
    if component.stage != Stage::Baking || is_halted || !is_earned {
        return;
    }
    tell_reached(turn, component, part, phase, true);
    leave_phase(turn, component, part, phase);
    if component.stage == Stage::Preparing {
        let Step { index, phase: next } = present_step(turn, component, &part.name);
        component.phase_index = i32::try_from(index).ok();
        prepare(turn, component, part, deployment, &next);
        if component.stage == Stage::Raising {
            raise(turn, component, part, deployment, &next);
        }
    }
}

/// Notes a phase as earned and goes on to the next, or to the wait for the others.
pub(super) fn leave_phase(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
) {
    if component.target_weight < phase.traffic {
        let message = format!(
            "{} % is earned: the phase {} goes on to {} %",
            component.target_weight, phase.name, phase.traffic
        );
        turn.note(&part.name, Reason::PhaseEarned, &message);
        return enter(component, Stage::Preparing, turn.now);
    }
    component.earned.push(EarnedPhase { name: phase.name.clone(), traffic: phase.traffic });
    // The raise that follows, or the promotion, is the transition that is told.
    let evidence = evidence::in_words(&component.gates);
    let message = format!("phase {} ({} %) is earned{evidence}", phase.name, phase.traffic);
    turn.note(&part.name, Reason::PhaseEarned, &message);
    let is_last = turn.world.rollout.spec.phases.last().is_some_and(|last| last.name == phase.name);
    enter(component, if is_last { Stage::Baked } else { Stage::Preparing }, turn.now);
}

/// Rolls back when the present stage has lasted longer than the progress deadline. A pause and a hook stop that clock.
fn give_up_late(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>) {
    let is_kept =
        (turn.is_paused() && !flaw::is(Flaw::PauseIsNoProgress)) || hooks::keep_waiting(turn, &part.name);
    let Some(since) = component.since.filter(|_| !is_kept) else { return };
    let deadline = after(since, turn.world.rollout.spec.progress_deadline);
    if turn.now < deadline {
        return turn.wake(deadline);
    }
    let why = format!(
        "no progress for {}: {}",
        turn.world.rollout.spec.progress_deadline,
        if component.message.is_empty() { "canary pods are not ready" } else { &component.message }
    );
    turn.give_up(&part.name, why);
}
