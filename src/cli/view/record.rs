//! The record of one run: what was released, how far each part came, and everything that happened.

use jiff::Timestamp;

use crate::api::{
    ComponentRecord, ComponentStatus, DegradedMode, Outcome, ReleasedComponent, RolloutRun, RolloutRunStatus,
    Stage,
};

use super::component::short;
use super::history::took;
use super::ink::{Ink, Page, Style};
use super::{Detail, WIDTH_MAX, WIDTH_MIN, component, degraded, hooks, proof, text, time, timeline, words};

/// A run of more components than this starts with a table of them.
const PARTS_MIN: usize = 2;
/// Widest name that is shown whole in the table.
const NAME_MAX: usize = 24;
/// No policy is needed for a mode that is over.
const NO_POLICIES: &[DegradedMode] = &[];

/// The whole record of one run in lines of at most `width` columns (brought into 60 to 100). Of a release of several parts
/// the evidence is shown of those that failed, or of all.
#[must_use]
pub fn render_run(run: &RolloutRun, now: Timestamp, width: usize, style: Style, detail: Detail) -> String {
    let mut page = Page::new(width.clamp(WIDTH_MIN, WIDTH_MAX), style);
    let status = run.status.clone().unwrap_or_default();
    title(&mut page, run, &status, now);
    let has_parts = run.spec.components.len() > PARTS_MIN;
    if has_parts {
        page.gap();
        parts(&mut page, run, &status);
    }
    let ended = status.ended_at.unwrap_or(now);
    for released in &run.spec.components {
        let seen = status.components.iter().find(|c| c.name == released.name).map(as_it_was);
        let is_quiet = !seen.as_ref().is_some_and(proof::has_own_failure);
        if has_parts && is_quiet && detail != Detail::All {
            continue;
        }
        page.gap();
        let line = page
            .line()
            .put(Ink::Strong, &text::clean(&released.name))
            .put(Ink::Dim, &format!("  Deployment {}", text::clean(&released.workload)))
            .put_right(page.width, Ink::Plain, &revisions(released));
        page.push(line);
        if let Some(seen) = seen {
            component::draw_evidence(&mut page, ended, &seen);
        }
    }
    degraded::draw(&mut page, ended, &status.degraded, NO_POLICIES, true);
    hooks::draw(&mut page, ended, &status.hooks, true);
    if !status.timeline.is_empty() {
        page.gap();
        let is_all = detail == Detail::All;
        timeline::draw_all(&mut page, run.spec.started_at, &status.timeline, has_parts, is_all);
    }
    page.finish()
}

fn title(page: &mut Page, run: &RolloutRun, status: &RolloutRunStatus, now: Timestamp) {
    let (word, ink) = words::outcome(status.outcome);
    let when = format!("{} UTC, took {}", time::date(run.spec.started_at), took(run, status, now));
    let line = page
        .line()
        .put(Ink::Strong, &format!("{} run {}", text::clean(&run.spec.rollout), run.spec.number))
        .put(Ink::Plain, "  ")
        .put(ink, "● ")
        .put(ink, word)
        .put_right(page.width, Ink::Dim, &when);
    page.push(line);
    if !status.reason.is_empty() {
        page.paragraph(0, Ink::Plain, &status.reason, 8);
    }
    let phases = run.spec.phases.iter().map(|p| format!("{} {} %", text::clean(&p.name), p.traffic));
    let phases = phases.collect::<Vec<_>>().join(", ");
    page.paragraph(0, Ink::Dim, &format!("Phases: {phases}"), 3);
}

/// The components as a table: how each ended, what it earned, what was released.
fn parts(page: &mut Page, run: &RolloutRun, status: &RolloutRunStatus) {
    let name = |released: &ReleasedComponent| text::cut(&text::clean(&released.name), NAME_MAX);
    let record = |released: &ReleasedComponent| status.components.iter().find(|c| c.name == released.name);
    let all = &run.spec.components;
    let names = all.iter().map(|it| text::width(&name(it))).max().unwrap_or(0);
    let ends = all.iter().map(|it| text::width(end(status, record(it)).1)).max().unwrap_or(0);
    let released_from = all.iter().map(|it| text::width(&revisions(it))).max().unwrap_or(0);
    let (ended, earned) = (4 + names + 2, 4 + names + 2 + ends + 2);
    for it in all {
        let (mark, words, ink) = end(status, record(it));
        let phases = record(it).map(earned_in_words).unwrap_or_default();
        let room = page.width.saturating_sub(earned + released_from + 2);
        let line = page
            .line()
            .to(2)
            .put(ink, mark)
            .put(Ink::Plain, " ")
            .put(Ink::Strong, &name(it))
            .to(ended)
            .put(ink, words)
            .to(earned)
            .put(Ink::Plain, &text::cut(&phases, room))
            .put_right(page.width, Ink::Dim, &revisions(it));
        page.push(line);
    }
}

/// How a component ended: a record is written when all that remains is to say so.
fn end(status: &RolloutRunStatus, record: Option<&ComponentRecord>) -> (&'static str, &'static str, Ink) {
    let Some(record) = record else { return ("·", "", Ink::Dim) };
    let is_back = status.taken_back.contains(&record.name);
    match status.outcome {
        _ if is_back || record.stage == Stage::TakenBack => ("←", "taken back", Ink::Bad),
        Some(Outcome::Completed | Outcome::PartiallyCompleted) => ("✓", "released", Ink::Good),
        // One that gave up its old version when it had baked keeps the new one, however the run ends.
        Some(_) if matches!(record.stage, Stage::Adopting | Stage::Adopted) => ("✓", "released", Ink::Good),
        Some(Outcome::RolledBack) => ("←", "taken back", Ink::Bad),
        Some(Outcome::Superseded | Outcome::Withdrawn) => ("←", "at stable", Ink::Dim),
        None => ("▶", words::stage(record.stage), Ink::Busy),
    }
}

fn earned_in_words(record: &ComponentRecord) -> String {
    let names: Vec<String> = record.earned.iter().map(|phase| text::clean(&phase.name)).collect();
    let steps = match record.step_backs {
        0 => String::new(),
        count => format!(", stepped back {count}×"),
    };
    if names.is_empty() { format!("no phase earned{steps}") } else { format!("{}{steps}", names.join(", ")) }
}

fn revisions(released: &ReleasedComponent) -> String {
    format!("{} → {}", short(&released.stable), short(&released.canary))
}

/// A component as its record shows it.
fn as_it_was(record: &ComponentRecord) -> ComponentStatus {
    ComponentStatus {
        name: record.name.clone(),
        stage: record.stage,
        message: record.failure.clone(),
        failure: record.failure.clone(),
        weight: record.weight,
        target_weight: record.weight,
        gates: record.gates.clone(),
        statistics: record.statistics.clone(),
        ..ComponentStatus::default()
    }
}
