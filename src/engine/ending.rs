//! The end of a run: its record first, then the mark in the status.

use crate::api::{Outcome, ReleasedComponent, RolloutRunStatus, RunStatus, TimelineEntry};

use super::plan::{Reason, Write};
use super::rest::run_name;
use super::turn::{RECORD_MAX, Turn, clip};

/// Ends the run that is on, once its record holds how it went. A crash in between writes the record once more.
pub(super) fn end(turn: &mut Turn<'_>) {
    let now = turn.now;
    let Some(run) = turn.run_on() else { return };
    let outcome = run.ends_as.unwrap_or(Outcome::RolledBack);
    if !run.recorded {
        run.recorded = true;
        return record(turn, outcome);
    }
    run.ended_at = Some(now);
    run.outcome = Some(outcome);
    run.paused = false;
    run.recorded = false;
    let (event, words) = in_words(run, outcome);
    turn.happen("", event, words);
    turn.wake(now);
}

/// The last thing that happens in a run.
fn in_words(run: &RunStatus, outcome: Outcome) -> (Reason, String) {
    let (number, reason) = (run.number, &run.reason);
    match outcome {
        Outcome::Completed => {
            (Reason::Completed, format!("run {number} is complete: the new version serves everyone"))
        }
        Outcome::RolledBack => (Reason::RolledBack, format!("run {number} is rolled back: {reason}")),
        Outcome::Superseded => (Reason::Superseded, format!("run {number} ended for the next: {reason}")),
        Outcome::Withdrawn => (Reason::Withdrawn, format!("run {number} ended at stable: {reason}")),
    }
}

fn record(turn: &mut Turn<'_>, outcome: Outcome) {
    let Some(run) = turn.run() else { return };
    let released = turn.status.components.iter().filter_map(|c| {
        let (stable, canary) = (c.stable.clone()?, c.canary.clone()?);
        Some(ReleasedComponent { name: c.name.clone(), workload: c.workload.clone(), stable, canary })
    });
    // The record is stored before the end is told: it has the last entry already.
    let (event, words) = in_words(run, outcome);
    let last = TimelineEntry {
        at: turn.now,
        component: String::new(),
        reason: event.as_str().to_owned(),
        message: clip(&words, 512),
    };
    let dropped = (run.timeline.len() + 1).saturating_sub(RECORD_MAX);
    let status = RolloutRunStatus {
        outcome: Some(outcome),
        reason: run.reason.clone(),
        ended_at: Some(turn.now),
        timeline: run.timeline.iter().skip(dropped).cloned().chain([last]).collect(),
        components: turn.status.components.iter().filter(|c| c.canary.is_some()).cloned().collect(),
    };
    let write = Write::RecordRun {
        name: run_name(&turn.world.rollout.at.name, run.number),
        number: run.number,
        started_at: run.started_at,
        components: released.collect(),
        status: Box::new(status),
    };
    turn.write(write);
    turn.wake(turn.now);
}
