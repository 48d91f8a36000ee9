//! The runs of a Rollout, as a table.

use jiff::Timestamp;

use crate::api::{ReleasedComponent, RolloutRun, RolloutRunStatus};

use super::component::short;
use super::ink::{Ink, Page, Style};
use super::{WIDTH_MAX, WIDTH_MIN, text, time, words};

/// Columns of an outcome, at least.
const OUTCOME_MIN: usize = 11;
/// Runs of more components than this are listed without their revisions.
const REVISIONS_MAX: usize = 2;

/// The runs as a table, newest first.
#[must_use]
pub fn render_history(runs: &[RolloutRun], now: Timestamp, width: usize, style: Style) -> String {
    let mut page = Page::new(width.clamp(WIDTH_MIN, WIDTH_MAX), style);
    let mut runs: Vec<&RolloutRun> = runs.iter().collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.spec.number));
    let number_end = runs.iter().map(|run| run.spec.number.to_string().len()).max().unwrap_or(0).max(3);
    let ended_as =
        |run: &&RolloutRun| text::width(words::outcome(run.status.as_ref().and_then(|s| s.outcome)).0);
    let outcome = number_end + 2;
    let started = outcome + runs.iter().map(ended_as).max().unwrap_or(0).max(OUTCOME_MIN) + 2;
    let duration_end = started + 25;
    let reason = duration_end + 2;
    let titles = page
        .line()
        .put_right(number_end, Ink::Dim, "run")
        .to(outcome)
        .put(Ink::Dim, "outcome")
        .to(started)
        .put(Ink::Dim, "started (UTC)")
        .put_right(duration_end, Ink::Dim, "took")
        .to(reason)
        .put(Ink::Dim, "released");
    page.push(titles);
    for run in runs {
        let status = run.status.clone().unwrap_or_default();
        let (word, ink) = words::outcome(status.outcome);
        let line = page
            .line()
            .put_right(number_end, Ink::Strong, &run.spec.number.to_string())
            .to(outcome)
            .put(ink, word)
            .to(started)
            .put(Ink::Plain, &time::date(run.spec.started_at))
            .put_right(duration_end, Ink::Plain, &took(run, &status, now))
            .to(reason)
            .put(Ink::Plain, &released(run, page.width.saturating_sub(reason)));
        page.push(line);
        if !status.reason.is_empty() {
            page.paragraph(outcome, Ink::Dim, &status.reason, 2);
        }
    }
    page.finish()
}

/// How long a run took, or has taken so far.
pub(super) fn took(run: &RolloutRun, status: &RolloutRunStatus, now: Timestamp) -> String {
    time::span(time::seconds_between(run.spec.started_at, status.ended_at.unwrap_or(now)))
}

/// `api 6f9c → 7c5d, web …`; of many components the names alone, or their number where these don't fit.
fn released(run: &RolloutRun, columns: usize) -> String {
    let component = |c: &ReleasedComponent| {
        if run.spec.components.len() > REVISIONS_MAX {
            return text::clean(&c.name);
        }
        format!("{} {} → {}", text::clean(&c.name), short(&c.stable), short(&c.canary))
    };
    let all = &run.spec.components;
    let words = all.iter().map(component).collect::<Vec<_>>().join(", ");
    if all.len() > REVISIONS_MAX && text::width(&words) > columns {
        return format!("{} components", all.len());
    }
    words
}
