//! A gate that tripped is obeyed: everything back, a part of it, one phase back, or no further.

use crate::api::{ComponentStatus, OnFailure, Outcome, Stage};

use super::evidence::{self, Trip};
use super::flaw::{self, Flaw};
use super::judges::{Step, steps};
use super::partial::{self, Failure};
use super::plan::Reason;
use super::turn::{Part, Turn, enter, goes_forward};
use super::{counting, degraded, health};

/// Takes in the evidence of every component on its way forward and does what the gates ask for: the strongest wish wins.
pub(super) fn judge_all(turn: &mut Turn<'_>) {
    let mut trips: Vec<(String, Trip)> = Vec::new();
    turn.for_each(|turn, component, part| {
        if goes_forward(component) {
            let by_pods = health::judge(turn, component, part);
            let by_gates = judge(turn, component, part);
            let strongest = by_pods.into_iter().chain(by_gates).max_by_key(|trip| trip.asks);
            trips.extend(strongest.map(|trip| (part.name.clone(), trip)));
        }
    });
    if let Some((name, trip)) = trips.iter().find(|(_, trip)| trip.asks == OnFailure::FullRollback) {
        return turn.roll_back(Outcome::RolledBack, Reason::RollbackStarted, name, &trip.why);
    }
    let (mut failures, mut degrading) = (Vec::new(), Vec::new());
    for (name, trip) in trips {
        let is_last_step = trip.asks == OnFailure::StepBack && !step_back(turn, &name, &trip.why);
        if trip.asks == OnFailure::PartialRollback || is_last_step {
            failures.push(Failure { component: name, reason: Reason::RollbackStarted, why: trip.why });
        } else if trip.asks == OnFailure::DegradedMode {
            degrading.push(name);
        }
    }
    if !failures.is_empty() {
        partial::take_back(turn, &failures);
    }
    for name in degrading {
        degraded::enter(turn, &name);
    }
}

/// What the gates of one component ask for now. Runs in every stage in which the canary has traffic.
fn judge(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> Option<Trip> {
    let phase = step_in_force(turn, component, &part.name)?.phase;
    let was_tripped = tripped(component);
    evidence::gather(turn, component, part, &phase);
    if component.stage != Stage::Baking && flaw::is(Flaw::FailureOnlyCountsInTheBake) {
        return None;
    }
    let trip = evidence::trip_of(turn, component, part, &phase)?;
    if trip.asks < OnFailure::DegradedMode && tripped(component) != was_tripped {
        turn.happen(&part.name, Reason::GateFailed, trip.why.clone());
    }
    Some(trip)
}

fn tripped(component: &ComponentStatus) -> Vec<String> {
    component.gates.iter().filter(|gate| gate.tripped).map(|gate| gate.name.clone()).collect()
}

/// The phase whose proof is under way: the present one while it bakes, else the last one earned. Where the present one was
/// edited to a greater weight, the one below that it had before is what was earned last.
fn step_in_force(turn: &Turn<'_>, component: &ComponentStatus, name: &str) -> Option<Step> {
    let proven = component.bake.as_ref()?.weight;
    let mut steps = steps(&turn.world.rollout.spec, name).into_iter();
    let earned = component.earned.last().filter(|earned| earned.traffic >= proven);
    if let Some(earned) = earned.filter(|_| matches!(component.stage, Stage::Preparing | Stage::Raising)) {
        return steps.find(|step| step.phase.name == earned.name);
    }
    let index = usize::try_from(component.phase_index?).ok()?;
    steps.find(|step| step.index == index)
}

/// Brings a component back to the phase that it had earned before the one in force; there it bakes again. False if there
/// is none, or it stepped back often enough.
fn step_back(turn: &mut Turn<'_>, name: &str, why: &str) -> bool {
    let max = turn.world.rollout.spec.max_step_backs;
    let is_in_full = turn.run().is_some_and(|run| run.promoted_in_full);
    let mut has_stepped = false;
    turn.for_each(|turn, component, part| {
        if part.name != name || component.step_backs >= max || is_in_full {
            return;
        }
        let Some(present) = step_in_force(turn, component, name) else { return };
        let before = steps(&turn.world.rollout.spec, name);
        let Some(at) = before.iter().position(|step| *step == present).and_then(|at| at.checked_sub(1))
        else {
            return;
        };
        let to = &before[at];
        component.earned.truncate(at);
        component.step_backs += 1;
        component.target_weight = to.phase.traffic;
        component.phase_index = i32::try_from(to.index).ok();
        component.route_mended_at = None;
        component.bake = None;
        component.gates.clear();
        // The smaller share proves itself by what it does, not by what the greater one did.
        counting::begin_anew(component);
        component.message.clear();
        enter(component, Stage::Preparing, turn.now);
        has_stepped = true;
        let message = format!(
            "back to {} % ({}), step back {} of {max}: {why}",
            to.phase.traffic, to.phase.name, component.step_backs
        );
        turn.happen(name, Reason::SteppedBack, message);
    });
    has_stepped
}
