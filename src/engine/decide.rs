//! The product: what to do next, from what is seen.

use jiff::Timestamp;

use crate::api::{RunIntent, Verdict};

use super::flaw::{self, Flaw};
use super::plan::{Plan, Write};
use super::turn::Turn;
use super::world::World;
use super::{actions, adoption, gate_templates, hooks, letting_go, release, rest, rollback};

/// Decides what to do about one Rollout. `now` is the wall clock, in whole milliseconds.
///
/// The same world and time give the same plan, byte for byte. A plan uses one observation only: it never assumes the
/// effect of a write that it plans. Deciding again after a plan was carried out, with nothing else changed, comes to rest
/// in a few turns.
#[must_use]
pub fn decide(world: &World, now: Timestamp) -> Plan {
    let expanded = gate_templates::expanded(world);
    let world = expanded.as_ref().unwrap_or(world);
    let mut turn = Turn::new(world, now);
    if world.epoch < world.rollout.status.epoch && !flaw::is(Flaw::NoStandBy) {
        return turn.stand_by();
    }
    let is_new = turn.intent().is_some() && world.rollout.status.epoch < world.epoch;
    if is_new && !flaw::is(Flaw::NoClaim) {
        return turn.claim();
    }
    if world.rollout.deleting {
        letting_go::go_on(&mut turn);
        hooks::release_seen(&mut turn);
        return turn.finish();
    }
    if !world.rollout.has_finalizer {
        turn.write(Write::AddFinalizer);
        // Nothing was looked at yet: the generation is not observed.
        turn.is_checked = false;
        return turn.finish();
    }
    actions::take(&mut turn);
    match turn.intent() {
        None => rest::keep(&mut turn),
        Some(_) => advance(&mut turn),
    }
    hooks::release_seen(&mut turn);
    turn.finish()
}

/// Brings the run that is on one step further. A release that turns back or comes to its end takes the first step of
/// what follows in the same decision: that is what makes a rollback instant.
pub(super) fn advance(turn: &mut Turn<'_>) {
    hooks::follow(turn);
    if flaw::is(Flaw::AbortForgotten) {
        forget_abort(turn);
    }
    if turn.intent() == Some(RunIntent::Release) {
        release::advance(turn);
    }
    match turn.intent() {
        Some(RunIntent::Adopt) => adoption::advance(turn),
        Some(RunIntent::RollBack) if waits_for_metrics(turn) => {}
        Some(RunIntent::RollBack) => rollback::advance(turn),
        Some(RunIntent::Release) | None => {}
    }
}

/// [`Flaw::RollbackWaitsForMetrics`].
fn waits_for_metrics(turn: &Turn<'_>) -> bool {
    flaw::is(Flaw::RollbackWaitsForMetrics) && !turn.world.asking.is_empty()
}

/// [`Flaw::AbortForgotten`].
fn forget_abort(turn: &mut Turn<'_>) {
    let mut gates = turn.status.components.iter().flat_map(|component| &component.gates).peekable();
    let is_fine = gates.peek().is_some() && gates.all(|gate| gate.verdict == Verdict::Pass);
    if let Some(run) = turn.run_on().filter(|_| is_fine) {
        run.intent = RunIntent::Release;
    }
}
