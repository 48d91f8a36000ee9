//! A deleted Rollout lets go: one version serves everybody, everything borrowed goes back, then the object may go.

use crate::api::{OnDelete, Outcome, RunIntent, Stage};

use super::plan::{Reason, Write};
use super::turn::{Turn, enter, goes_forward};
use super::{decide, rest};

/// One step of a Rollout that is being deleted.
pub(super) fn go_on(turn: &mut Turn<'_>) {
    if !turn.world.rollout.has_finalizer {
        return;
    }
    if turn.intent() == Some(RunIntent::Release) {
        match turn.world.rollout.spec.on_delete {
            OnDelete::Rollback => {
                turn.roll_back(
                    Outcome::RolledBack,
                    Reason::RollbackStarted,
                    "",
                    "the Rollout is being deleted",
                );
            }
            OnDelete::Promote => promote(turn),
        }
    }
    if turn.intent().is_some() {
        return decide::advance(turn);
    }
    turn.for_each(rest::let_go_of_workload);
    let is_free = turn.status.components.iter().all(|component| component.workload.is_empty());
    // A Job that our finalizer holds could never go once nobody looks after it.
    let is_free = is_free && !turn.world.hooks.jobs.values().any(|job| job.is_kept);
    if is_free && !turn.has_writes() && !turn.has_looks() {
        turn.happen(
            "",
            Reason::HandedBack,
            "the Rollout has let go of everything it had borrowed".to_owned(),
        );
        turn.write(Write::RemoveFinalizer);
    }
}

/// Takes the canary to the end without the phases that are left; its pods must still become ready first.
fn promote(turn: &mut Turn<'_>) {
    let now = turn.now;
    if let Some(run) = turn.run_on() {
        run.intent = RunIntent::Adopt;
        run.ends_as = Some(Outcome::Completed);
        "the Rollout is being deleted and asks for its run to be promoted".clone_into(&mut run.reason);
    }
    for component in turn.status.components.iter_mut().filter(|c| goes_forward(c)) {
        component.target_weight = 100;
        enter(component, Stage::Adopting, now);
    }
    turn.happen("", Reason::Promoting, "the Rollout is being deleted: the canary is promoted".to_owned());
}
