//! The runs of a Rollout, as a table and one by one.

use jiff::Timestamp;

use crate::api::{ComponentRecord, ComponentStatus, ReleasedComponent, RolloutRun, RolloutRunStatus};

use super::component::short;
use super::ink::{Ink, Page, Style};
use super::{WIDTH_MAX, WIDTH_MIN, component, text, time, timeline, words};

/// The runs as a table, newest first.
#[must_use]
pub fn render_history(runs: &[RolloutRun], now: Timestamp, width: usize, style: Style) -> String {
    let mut page = Page::new(width.clamp(WIDTH_MIN, WIDTH_MAX), style);
    let mut runs: Vec<&RolloutRun> = runs.iter().collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.spec.number));
    let number_end = runs.iter().map(|run| run.spec.number.to_string().len()).max().unwrap_or(0).max(3);
    let (outcome, started, duration_end) = (number_end + 2, number_end + 15, number_end + 40);
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
            .put(Ink::Plain, &released(run));
        page.push(line);
        if !status.reason.is_empty() {
            page.paragraph(outcome, Ink::Dim, &status.reason, 2);
        }
    }
    page.finish()
}

/// A component as its record shows it.
fn as_it_was(record: &ComponentRecord) -> ComponentStatus {
    ComponentStatus {
        name: record.name.clone(),
        stage: record.stage,
        message: record.failure.clone(),
        weight: record.weight,
        target_weight: record.weight,
        gates: record.gates.clone(),
        ..ComponentStatus::default()
    }
}

fn took(run: &RolloutRun, status: &RolloutRunStatus, now: Timestamp) -> String {
    time::span(time::seconds_between(run.spec.started_at, status.ended_at.unwrap_or(now)))
}

/// `api 6f9c → 7c5d, web …`
fn released(run: &RolloutRun) -> String {
    let component = |c: &ReleasedComponent| {
        format!("{} {} → {}", text::clean(&c.name), short(&c.stable), short(&c.canary))
    };
    run.spec.components.iter().map(component).collect::<Vec<_>>().join(", ")
}

/// The whole record of one run: what was released, the evidence of the last phase, everything that happened.
#[must_use]
pub fn render_run(run: &RolloutRun, now: Timestamp, width: usize, style: Style) -> String {
    let mut page = Page::new(width.clamp(WIDTH_MIN, WIDTH_MAX), style);
    let status = run.status.clone().unwrap_or_default();
    let (word, ink) = words::outcome(status.outcome);
    let when = format!("{} UTC, took {}", time::date(run.spec.started_at), took(run, &status, now));
    let title = page
        .line()
        .put(Ink::Strong, &format!("{} run {}", text::clean(&run.spec.rollout), run.spec.number))
        .put(Ink::Plain, "  ")
        .put(ink, "● ")
        .put(ink, word)
        .put_right(page.width, Ink::Dim, &when);
    page.push(title);
    if !status.reason.is_empty() {
        page.paragraph(0, Ink::Plain, &status.reason, 8);
    }
    let phases = run.spec.phases.iter().map(|p| format!("{} {} %", text::clean(&p.name), p.traffic));
    let phases = phases.collect::<Vec<_>>().join(", ");
    page.paragraph(0, Ink::Dim, &format!("Phases: {phases}"), 3);
    for released in &run.spec.components {
        page.gap();
        let line = page
            .line()
            .put(Ink::Strong, &text::clean(&released.name))
            .put(Ink::Dim, &format!("  Deployment {}", text::clean(&released.workload)))
            .put_right(
                page.width,
                Ink::Plain,
                &format!("{} → {}", short(&released.stable), short(&released.canary)),
            );
        page.push(line);
        let Some(seen) = status.components.iter().find(|c| c.name == released.name) else { continue };
        component::draw_evidence(&mut page, status.ended_at.unwrap_or(now), &as_it_was(seen));
    }
    if !status.timeline.is_empty() {
        page.gap();
        timeline::draw_all(&mut page, run.spec.started_at, &status.timeline);
    }
    page.finish()
}
