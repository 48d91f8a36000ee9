//! A person's word on a run. Each action is obeyed or refused once; its uid is remembered with the run.

use crate::api::{ActionKind, Outcome, RolloutActionSpec, RunIntent, Stage};

use super::flaw::{self, Flaw};
use super::judges::steps;
use super::plan::Reason;
use super::turn::{RECORD_MAX, Turn, goes_forward, takes_part};
use super::{degraded, evidence, hooks, release};

/// Takes every action that speaks of the present run and was not taken yet, oldest first.
pub(super) fn take(turn: &mut Turn<'_>) {
    let number = turn.run_number();
    // In a fixed order, whatever the order in which they were listed.
    let mut actions: Vec<_> = turn.world.actions.iter().collect();
    if !flaw::is(Flaw::ListOrderMatters) {
        actions.sort_by(|a, b| (a.created_at, &a.uid).cmp(&(b.created_at, &b.uid)));
    }
    for seen in actions {
        let is_new = |run: &crate::api::RunStatus| !run.handled_actions.contains(&seen.uid);
        let is_its = seen.action.run == number || flaw::is(Flaw::AnyRunsActions);
        if !is_its || !turn.run().is_some_and(is_new) {
            continue;
        }
        let Some(run) = turn.status.run.as_mut() else { return };
        if run.handled_actions.len() < RECORD_MAX {
            run.handled_actions.push(seen.uid.clone());
        } else if !is_way_out(turn, seen.action.action) {
            // A run that was acted upon so often takes nothing but its end: forgetting one would obey it again.
            continue;
        }
        let by = in_words(&seen.action);
        match obey(turn, &seen.action) {
            Ok(()) => turn.happen("", Reason::ActionTaken, by),
            Err(why) => turn.happen("", Reason::ActionRefused, format!("{by} — refused: {why}")),
        }
    }
}

/// Whether the action ends what it is obeyed in, so that it needs no place in a full record to be obeyed once only.
fn is_way_out(turn: &Turn<'_>, kind: ActionKind) -> bool {
    match kind {
        ActionKind::Abort => turn.intent() == Some(RunIntent::Release),
        ActionKind::Retry => turn.status.components.iter().any(|c| c.rejected.is_some()),
        ActionKind::Promote | ActionKind::Pause | ActionKind::Resume => false,
    }
}

fn in_words(action: &RolloutActionSpec) -> String {
    let word = match (action.action, action.full) {
        (ActionKind::Abort, _) => "abort",
        (ActionKind::Promote, false) => "promote",
        (ActionKind::Promote, true) => "promote in full",
        (ActionKind::Pause, _) => "pause",
        (ActionKind::Resume, _) => "resume",
        (ActionKind::Retry, _) => "retry",
    };
    let who = match &action.requested_by {
        Some(requester) => format!("by {}", requester.user),
        None => "by somebody the API server did not attest".to_owned(),
    };
    if action.reason.is_empty() {
        format!("{word} {who}")
    } else {
        format!("{word} {who}: {}", action.reason)
    }
}

fn obey(turn: &mut Turn<'_>, action: &RolloutActionSpec) -> Result<(), &'static str> {
    if action.action == ActionKind::Retry {
        return retry(turn);
    }
    if action.action == ActionKind::Promote && turn.intent().is_some() && hooks::set_aside(turn) {
        go_on_after_pause(turn);
        if !action.full || turn.intent() != Some(RunIntent::Release) {
            return Ok(());
        }
    }
    match turn.intent() {
        None => return Err("the run has ended"),
        Some(RunIntent::RollBack) => return Err("the run is being rolled back"),
        Some(RunIntent::Adopt) => {
            return Err("the canary is being adopted: change the Deployment's template to go back");
        }
        Some(RunIntent::Release) => {}
    }
    match action.action {
        ActionKind::Abort => {
            let why = in_words(action);
            turn.roll_back(Outcome::RolledBack, Reason::RollbackStarted, "", &why);
            Ok(())
        }
        ActionKind::Promote => promote(turn, action.full),
        ActionKind::Pause => set_paused(turn, true),
        ActionKind::Resume => set_paused(turn, false),
        ActionKind::Retry => Ok(()),
    }
}

fn set_paused(turn: &mut Turn<'_>, paused: bool) -> Result<(), &'static str> {
    let Some(run) = turn.run_on() else { return Err("the run has ended") };
    if run.paused == paused {
        return Err(if paused { "the run is paused already" } else { "the run is not paused" });
    }
    if paused {
        run.paused = true;
    } else {
        go_on_after_pause(turn);
    }
    Ok(())
}

/// Ends a pause, if there is one. The time under it is nobody's fault: the progress deadline starts anew.
fn go_on_after_pause(turn: &mut Turn<'_>) {
    let now = turn.now;
    let Some(run) = turn.run_on().filter(|run| run.paused) else { return };
    run.paused = false;
    for component in turn.status.components.iter_mut().filter(|c| takes_part(c)) {
        component.since = Some(now);
    }
}

/// Ends the present bake as if it were earned; in full, all that is left of the phases.
fn promote(turn: &mut Turn<'_>, in_full: bool) -> Result<(), &'static str> {
    if in_full {
        let Some(run) = turn.run_on() else { return Err("the run has ended") };
        run.promoted_in_full = true;
        degraded::set_aside(turn);
        go_on_after_pause(turn);
        return Ok(());
    }
    let mut is_any = degraded::is_on(turn);
    degraded::set_aside(turn);
    turn.for_each(|turn, component, part| {
        let index = component.phase_index.and_then(|index| usize::try_from(index).ok());
        let steps = steps(&turn.world.rollout.spec, &part.name);
        let present = steps.iter().find(|step| Some(step.index) == index);
        if let Some(step) = present.filter(|_| component.stage == Stage::Baking) {
            is_any = true;
            evidence::set_aside(component);
            release::leave_phase(turn, component, part, &step.phase);
        } else if goes_forward(component) && !evidence::lets_raise(turn, component, part) {
            is_any = true;
            evidence::set_aside(component);
        }
    });
    if is_any {
        go_on_after_pause(turn);
        Ok(())
    } else {
        Err("no phase is baking now: its canary pods or its weight are still being prepared")
    }
}

/// Forgets that the template was rejected: it is tried again in a new run.
fn retry(turn: &mut Turn<'_>) -> Result<(), &'static str> {
    if turn.intent().is_some() {
        return Err("the run is still on: abort it first");
    }
    let mut is_any = false;
    for component in turn.status.components.iter_mut().filter(|c| c.stage == Stage::RolledBack) {
        is_any |= component.rejected.take().is_some();
        component.went_back_with.clear();
    }
    if is_any { Ok(()) } else { Err("nothing was rolled back that could be tried again") }
}
