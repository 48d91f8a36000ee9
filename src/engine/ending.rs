//! The end of a run: its record first, then the mark in the status.

use crate::api::{
    ComponentRecord, ComponentStatus, HookPoint, Outcome, ReleasedComponent, RolloutRunStatus, RunStatus,
    Stage, TimelineEntry,
};

use super::flaw::{self, Flaw};
use super::hooks::{self, Hooked};
use super::plan::{Reason, Write};
use super::rest::run_name;
use super::turn::{TIMELINE_MAX, Turn, clip};
use super::{adoption, degraded, rollback};

/// Ends the run that is on, once its switches are back, its last hooks are done and its record holds how it went. A crash in between writes the record once more.
pub(super) fn end(turn: &mut Turn<'_>) {
    let now = turn.now;
    if !degraded::leave_all(turn) {
        return;
    }
    if let Hooked::Under(_) = hooks::run_at(turn, HookPoint::AfterRun, "", "") {
        return;
    }
    let has_news = turn.has_news();
    // Its records go with a deleted Rollout; in a namespace that goes too, none could be made again.
    let is_deleted = turn.world.rollout.deleting;
    let Some(run) = turn.run_on() else { return };
    let outcome = run.ends_as.unwrap_or(Outcome::RolledBack);
    if !run.recorded && !is_deleted && !flaw::is(Flaw::EndsBeforeRecord) {
        if has_news {
            // The mark would be stored with it, and outlive a crash before the record is written.
            return turn.wake(now);
        }
        run.recorded = true;
        return record(turn, outcome);
    }
    run.ended_at = Some(now);
    run.outcome = Some(outcome);
    run.paused = false;
    run.recorded = false;
    let (event, words) = in_words(run, outcome);
    turn.happen("", event, words);
    turn.for_each(|turn, component, part| match component.stage {
        Stage::Idle | Stage::RolledBack => {}
        Stage::Adopting | Stage::Adopted => adoption::settle_as_stable(component, now),
        _ => rollback::settle_back(turn, component, part, outcome),
    });
    turn.wake(now);
}

/// The last thing that happens in a run.
fn in_words(run: &RunStatus, outcome: Outcome) -> (Reason, String) {
    let (number, reason) = (run.number, &run.reason);
    match outcome {
        Outcome::Completed => {
            (Reason::Completed, format!("run {number} is complete: the new version serves everyone"))
        }
        Outcome::PartiallyCompleted => {
            (Reason::PartiallyCompleted, format!("run {number} is partially complete: {reason}"))
        }
        Outcome::RolledBack => (Reason::RolledBack, format!("run {number} is rolled back: {reason}")),
        Outcome::Superseded => (Reason::Superseded, format!("run {number} ended for the next: {reason}")),
        Outcome::Withdrawn => (Reason::Withdrawn, format!("run {number} ended at stable: {reason}")),
    }
}

/// What the run releases.
pub(super) fn released(turn: &Turn<'_>) -> Vec<ReleasedComponent> {
    let released = turn.status.components.iter().filter_map(|c| {
        let (stable, canary) = (c.stable.clone()?, c.canary.clone()?);
        Some(ReleasedComponent { name: c.name.clone(), workload: c.workload.clone(), stable, canary })
    });
    released.collect()
}

fn record(turn: &mut Turn<'_>, outcome: Outcome) {
    let Some(run) = turn.run() else { return };
    // The record is stored before the end is told: it has the last entry already.
    let (event, words) = in_words(run, outcome);
    let last = TimelineEntry {
        at: turn.now,
        component: String::new(),
        reason: event.as_str().to_owned(),
        message: clip(&words, 512),
    };
    let is_partly = outcome == Outcome::PartiallyCompleted;
    let is_back =
        |c: &&ComponentStatus| is_partly && matches!(c.stage, Stage::TakenBack | Stage::RollingBack);
    let taken_back = turn.status.components.iter().filter(is_back).map(|c| c.name.clone());
    let dropped = (run.timeline.len() + 1).saturating_sub(TIMELINE_MAX);
    let status = RolloutRunStatus {
        outcome: Some(outcome),
        reason: run.reason.clone(),
        ended_at: Some(turn.now),
        taken_back: taken_back.collect(),
        hooks: run.hooks.clone(),
        degraded: run.degraded.clone(),
        timeline: run.timeline.iter().skip(dropped).cloned().chain([last]).collect(),
        components: turn
            .status
            .components
            .iter()
            .filter(|c| c.canary.is_some())
            .map(ComponentRecord::of)
            .collect(),
    };
    let write = Write::RecordRun {
        name: run_name(&turn.world.rollout.at.name, run.number),
        number: run.number,
        started_at: run.started_at,
        components: released(turn),
        status: Box::new(status),
    };
    turn.write(write);
    turn.wake(turn.now);
}
