//! The top of a status: who, where, why and what next.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{Rollout, RolloutState, RolloutStatus, RunStatus};

use super::ink::{Ink, Page};
use super::{text, time, words};

/// Lines that a message may take.
const MESSAGE_LINES: usize = 4;

pub(super) fn draw(page: &mut Page, rollout: &Rollout, status: &RolloutStatus, now: Timestamp) {
    title(page, rollout, status, now);
    if rollout.status.is_none() {
        page.paragraph(
            0,
            Ink::Warn,
            "No controller has looked at it yet. Does Palier run in this cluster?",
            2,
        );
        return;
    }
    message(page, status);
    if let Some(next) = &status.next_action {
        let when = next.at.map(|at| time::until(now, at)).unwrap_or_default();
        // Long words never push the time off the line.
        let room = page.width.saturating_sub(text::width("Next: ") + 1 + text::width(&when));
        let what = text::cut(&text::clean(&next.what), room);
        let line = page.line().put(Ink::Dim, "Next: ").put(Ink::Plain, &what);
        let line = if when.is_empty() { line } else { line.put(Ink::Plain, " ").put(Ink::Strong, &when) };
        page.push(line);
    }
    let generation = rollout.metadata.generation.unwrap_or(0);
    if status.observed_generation < generation {
        page.paragraph(0, Ink::Warn, "The spec has changed since; the controller has not read it yet.", 2);
    }
    if rollout.metadata.deletion_timestamp.is_some() {
        page.paragraph(0, Ink::Warn, "It is being deleted: its workloads are handed back.", 2);
    }
}

fn title(page: &mut Page, rollout: &Rollout, status: &RolloutStatus, now: Timestamp) {
    let (word, ink) = match rollout.status {
        Some(_) => words::headline(status),
        None => ("Not seen yet", Ink::Warn),
    };
    let name = match rollout.namespace() {
        Some(namespace) => format!("{namespace}/{}", rollout.name_any()),
        None => rollout.name_any(),
    };
    let run = status.run.as_ref().map(|run| run_words(run, now)).unwrap_or_default();
    // A long name never pushes the state or the run off the line.
    let room = page.width.saturating_sub(text::width(&run) + text::width(word) + 7);
    let line = page.line().put(Ink::Strong, &text::cut(&text::clean(&name), room)).put(Ink::Plain, "  ");
    let line = line.put(ink, "● ").put(ink, word);
    let line = if run.is_empty() { line } else { line.put_right(page.width, Ink::Dim, &run) };
    page.push(line);
}

fn run_words(run: &RunStatus, now: Timestamp) -> String {
    match run.ended_at {
        None => format!("run {}, started {}", run.number, time::ago(now, run.started_at)),
        Some(ended) => format!(
            "run {}, {} long, ended {}",
            run.number,
            time::span(time::seconds_between(run.started_at, ended)),
            time::ago(now, ended)
        ),
    }
}

/// The message, and the run's reason where it says more.
fn message(page: &mut Page, status: &RolloutStatus) {
    let ink = match status.state {
        RolloutState::Stalled | RolloutState::Held => words::state(status.state).1,
        _ => Ink::Plain,
    };
    if !status.message.is_empty() {
        page.paragraph(0, ink, &status.message, MESSAGE_LINES);
    }
    let Some(run) = &status.run else { return };
    if !run.reason.is_empty() && !status.message.contains(run.reason.as_str()) {
        page.paragraph(0, Ink::Plain, &format!("Reason: {}", run.reason), MESSAGE_LINES);
    }
}
