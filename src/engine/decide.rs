//! The product: what to do next, from what is seen.

use jiff::Timestamp;

use crate::api::RunIntent;

use super::plan::{Plan, Write};
use super::turn::Turn;
use super::world::World;
use super::{actions, adoption, hooks, letting_go, release, rest, rollback};

/// Decides what to do about one Rollout. `now` is the wall clock, in whole milliseconds.
///
/// The same world and time give the same plan, byte for byte. A plan uses one observation only: it never assumes the
/// effect of a write that it plans. Deciding again after a plan was carried out, with nothing else changed, comes to rest
/// in a few turns.
#[must_use]
pub fn decide(world: &World, now: Timestamp) -> Plan {
    let mut turn = Turn::new(world, now);
    if world.epoch < world.rollout.status.epoch {
        return turn.stand_by();
    }
    if turn.intent().is_some() && world.rollout.status.epoch < world.epoch {
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
    if turn.intent() == Some(RunIntent::Release) {
        release::advance(turn);
    }
    match turn.intent() {
        Some(RunIntent::Adopt) => adoption::advance(turn),
        Some(RunIntent::RollBack) => rollback::advance(turn),
        Some(RunIntent::Release) | None => {}
    }
}
