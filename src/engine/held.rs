//! What keeps a component of a run where it is: hooks, those that it depends on, a pause, a gate, a way back that is lost.

use crate::api::{ComponentStatus, HookPoint, Phase};

use super::flaw::{self, Flaw};
use super::hooks::{self, Hooked};
use super::turn::{Part, Turn};
use super::{copies, degraded, evidence, order};

/// Whether a component may leave its place in the queue: all that it depends on has baked in its last phase, and what has
/// to be done before the run is done.
pub(super) fn may_begin(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    let waits_for = order::waits_for(&turn.world.rollout.spec, &turn.status, &part.name);
    if !waits_for.is_empty() {
        component.message = format!("waits for {}", waits_for.join(", "));
        return false;
    }
    match hooks::run_at(turn, HookPoint::BeforeRun, "", "") {
        Hooked::Done => !is_kept_back(turn, component, part),
        Hooked::Under(words) => {
            component.message = words;
            false
        }
    }
}

/// Whether what has to be done after the last phase that was earned is done.
pub(super) fn is_past_hooks(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    let Some(last) = component.earned.last().cloned() else { return true };
    match hooks::run_at(turn, HookPoint::AfterPhase, &part.name, &last.name) {
        Hooked::Done => true,
        Hooked::Under(words) => {
            component.message = words;
            false
        }
    }
}

/// Whether what has to be done after the last phase and before the raise to `phase` is done.
pub(super) fn may_raise(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
) -> bool {
    if !is_past_hooks(turn, component, part) {
        return false;
    }
    match hooks::run_at(turn, HookPoint::BeforePhase, &part.name, &phase.name) {
        Hooked::Done => true,
        Hooked::Under(words) => {
            component.message = words;
            false
        }
    }
}

/// Whether a pause or a gate keeps the canary from a greater share now; the message says which.
pub(super) fn is_kept_back(turn: &Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    let in_full = turn.run().is_some_and(|run| run.promoted_in_full);
    if turn.is_paused() && !flaw::is(Flaw::PauseIgnored) {
        "paused".clone_into(&mut component.message);
        return true;
    }
    if let Some(words) = copies::lost(turn, component, part).filter(|_| !in_full) {
        component.message = words;
        return true;
    }
    if degraded::keeps_back(turn, component) {
        "a degraded mode is on".clone_into(&mut component.message);
        return true;
    }
    let waits_for = order::waits_for(&turn.world.rollout.spec, &turn.status, &part.name);
    if !waits_for.is_empty() {
        component.message = format!("waits until {} has baked again", waits_for.join(", "));
        return true;
    }
    if in_full || evidence::lets_raise(turn, component, part) {
        return false;
    }
    "a gate keeps the traffic where it is".clone_into(&mut component.message);
    true
}
