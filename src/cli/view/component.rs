//! One component: where it is, who gets the traffic, whether its pods are there, what its gates say.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{ComponentStatus, Gate, Revision, RolloutState, Stage};

use super::ink::{Ink, Line, Page};
use super::proof::{Bake, bake_of};
use super::{Frame, gates, text, time, words};

/// Column at which the values of the rows start.
const VALUES: usize = 12;
/// Columns of a bar.
const BAR: usize = 24;
/// Characters of a revision that tell it from others.
const REVISION: usize = 10;

pub(super) fn draw(
    page: &mut Page,
    frame: &Frame<'_>,
    component: &ComponentStatus,
    limits: &BTreeMap<&str, &Gate>,
) {
    title(page, component);
    let is_out = matches!(component.stage, Stage::Idle | Stage::TakenBack | Stage::RolledBack);
    if component.canary.is_some() && !is_out {
        stage(page, frame, component);
        setbacks(page, frame, component);
        traffic(page, component);
        pods(page, component);
    } else {
        if !component.failure.is_empty() {
            page.paragraph(2, Ink::Bad, &format!("taken back: {}", component.failure), 3);
        }
        if component.rejected.is_some() && !component.went_back_with.is_empty() {
            let words = format!("released again with the next template of {}", component.went_back_with);
            page.paragraph(2, Ink::Plain, &words, 3);
        }
        if !component.message.is_empty() {
            page.paragraph(2, Ink::Plain, &component.message, 3);
        }
    }
    let all = component.all_gates();
    if !all.is_empty() {
        page.gap();
        gates::draw(page, frame.now, (&all, &component.statistics), limits);
    }
}

/// What the record of a run keeps of a component: its last weight and the evidence of its last phase.
pub(super) fn draw_evidence(page: &mut Page, now: Timestamp, component: &ComponentStatus) {
    traffic(page, component);
    if !component.message.is_empty() {
        page.paragraph(VALUES, Ink::Dim, &component.message, 3);
    }
    if !component.gates.is_empty() {
        page.gap();
        gates::draw(page, now, (&component.gates, &component.statistics), &BTreeMap::new());
    }
}

/// The name, and the revisions at the right.
fn title(page: &mut Page, component: &ComponentStatus) {
    let stable = component.stable.as_ref().map(short);
    let canary = component.canary.as_ref().map(short);
    let line = page.line().put(Ink::Strong, &text::clean(&component.name));
    let rejected = component.rejected.as_deref().map(|revision| text::cut(&text::clean(revision), REVISION));
    let line = match (stable, canary, rejected) {
        (Some(stable), _, Some(rejected)) => {
            let words = format!("{stable} serves, {rejected} is rejected");
            line.put_right(page.width, Ink::Plain, &words)
        }
        (Some(stable), Some(canary), _) if component.stage != Stage::Idle => {
            let words = format!("{stable} → {canary}");
            line.put_right(page.width, Ink::Plain, &words)
        }
        (Some(serving), _, _) => line.put_right(page.width, Ink::Plain, &format!("{serving} serves")),
        (None, _, _) => line,
    };
    page.push(line);
}

/// A revision as it is shown.
pub(super) fn short(revision: &Revision) -> String {
    text::cut(&text::clean(&revision.revision), REVISION)
}

fn row(page: &Page, label: &str) -> Line {
    page.line().to(2).put(Ink::Dim, label).to(VALUES)
}

fn stage(page: &mut Page, frame: &Frame<'_>, component: &ComponentStatus) {
    match bake_of(frame.spec, component, frame.now) {
        Some(bake) => bake_row(page, frame, bake),
        None => {
            let since =
                component.since.map(|at| format!(", {}", time::span(time::seconds_between(at, frame.now))));
            let line = row(page, "stage")
                .put(Ink::Plain, words::stage(component.stage))
                .put(Ink::Dim, &since.unwrap_or_default());
            page.push(line);
        }
    }
    if !component.message.is_empty() {
        page.paragraph(VALUES, Ink::Dim, &component.message, 3);
    }
}

fn bake_row(page: &mut Page, frame: &Frame<'_>, bake: Bake) {
    let Bake { wanted, earned, is_still } = bake;
    let share = if wanted == 0 { 100 } else { earned * 100 / wanted };
    let ink = match frame.state {
        RolloutState::Held | RolloutState::Paused => Ink::Warn,
        _ => Ink::Busy,
    };
    let line = bar(row(page, "bake"), ink, share, BAR)
        .put(Ink::Plain, &format!("  {share:>3} %"))
        .put(Ink::Plain, &format!("  {} of {}", time::span(earned), time::span(wanted)));
    let line = if is_still { line.put(Ink::Warn, ", standing still") } else { line };
    page.push(line);
}

/// How often it stepped back, and why it goes back.
fn setbacks(page: &mut Page, frame: &Frame<'_>, component: &ComponentStatus) {
    if component.step_backs > 0 {
        let words = format!("stepped back {} of {} times", component.step_backs, frame.spec.max_step_backs);
        let line = row(page, "").put(Ink::Warn, &words);
        page.push(line);
    }
    if !component.failure.is_empty() {
        page.paragraph(VALUES, Ink::Bad, &component.failure, 3);
    }
}

fn traffic(page: &mut Page, component: &ComponentStatus) {
    let weight = i64::from(component.weight.clamp(0, 100));
    let line = bar(row(page, "traffic"), Ink::Good, weight, BAR)
        .put(Ink::Plain, &format!("  {weight:>3} % canary, {} % stable", 100 - weight));
    let target = component.target_weight;
    let line = match component.stage {
        _ if target == component.weight => line,
        // Without a route the share is one of whole pods, and rarely what was asked for.
        Stage::Baking | Stage::Baked => line.put(Ink::Dim, &format!(", {target} % asked for")),
        _ => line.put(Ink::Busy, &format!(", going to {target} %")),
    };
    page.push(line);
}

fn pods(page: &mut Page, component: &ComponentStatus) {
    let (ready, size) = (component.canary_ready, component.canary_replicas);
    let ink = if ready < size { Ink::Warn } else { Ink::Plain };
    // Those of the next phase start before this one is over.
    let words = if ready > size {
        format!("{ready} canary pods ready, {size} needed now")
    } else {
        format!("{ready} of {size} canary pods ready")
    };
    let line = row(page, "pods")
        .put(ink, &words)
        .put(Ink::Dim, &format!(", the Deployment asks for {}", component.desired_replicas));
    page.push(line);
}

/// A bar of `columns` that is filled by `share` per cent. Anything above nothing shows, and only everything fills it.
pub(super) fn bar(line: Line, ink: Ink, share: i64, columns: usize) -> Line {
    let share = usize::try_from(share.clamp(0, 100)).unwrap_or(0);
    let filled = match share {
        0 => 0,
        100 => columns,
        _ => (share * columns / 100).clamp(1, columns - 1),
    };
    line.put(ink, &"█".repeat(filled)).put(Ink::Dim, &"░".repeat(columns - filled))
}
