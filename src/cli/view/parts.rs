//! A release of several parts at a glance: the tree of its components, a line each.

use crate::api::{ComponentStatus, HookState, HookStatus, RolloutState, RolloutStatus, Stage, Verdict};

use super::graph::{Twig, tree};
use super::ink::{Ink, Line, Page};
use super::proof::{bake_of, goes_forward, goes_with, held_by, is_degraded, phase_of};
use super::{Frame, component, text, time, words};

/// Column at which the tree starts.
const TREE: usize = 2;
/// Columns of a bar; it is drawn only where the words keep this much room.
const BAR: usize = 10;
const ROOM_WITH_BAR: usize = 36;
/// A page with less room for words than this leaves out the names of phases.
const ROOM_MIN: usize = 24;
/// A name keeps this much room, however deep it stands.
const NAME_MIN: usize = 8;
/// Widest phase that is shown whole.
const PHASE_MAX: usize = 14;

/// One component as words.
struct Row<'a> {
    twig: Twig<'a>,
    mark: (&'static str, Ink),
    name: String,
    phase: String,
    weight: Option<i32>,
    gates: Option<(String, Ink)>,
    words: (String, Ink),
}

/// Where the columns are.
struct Columns {
    phase: usize,
    weight_end: usize,
    bar: Option<usize>,
    gates_end: usize,
    words: usize,
}

pub(super) fn draw(page: &mut Page, frame: &Frame<'_>, status: &RolloutStatus) {
    let left_max = page.width / 2;
    let left = |twig: &Twig<'_>| TREE + text::width(&twig.lead) + 2 + text::width(&twig.component.name);
    let wide = tree(frame.spec, &status.components, false);
    let twigs = if wide.iter().any(|twig| left(twig) > left_max) {
        tree(frame.spec, &status.components, true)
    } else {
        wide
    };
    let mut rows: Vec<Row<'_>> = twigs.into_iter().map(|twig| Row::new(frame, status, twig)).collect();
    for row in &mut rows {
        let before = TREE + text::width(&row.twig.lead) + 2;
        row.name = text::cut(&row.name, left_max.saturating_sub(before).max(NAME_MIN));
    }
    let columns = columns(page, &mut rows);
    for row in &rows {
        let line = row.draw(page, &columns);
        page.push(line);
    }
}

/// Every component with its stage and weight: `api baking 50%, web waiting`.
pub(super) fn in_a_line(status: &RolloutStatus) -> String {
    let part = |it: &ComponentStatus| {
        let place = format!("{} {}", text::clean(&it.name), words::stage(it.stage));
        match it.stage {
            Stage::Preparing | Stage::Raising | Stage::Baking => format!("{place} {}%", it.weight),
            _ => place,
        }
    };
    status.components.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn columns(page: &Page, rows: &mut [Row<'_>]) -> Columns {
    let widest = |of: &dyn Fn(&Row<'_>) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let left = widest(&|row| TREE + text::width(&row.twig.lead) + 2 + text::width(&row.name)) + 2;
    let gates = widest(&|row| row.gates.as_ref().map_or(0, |gates| text::width(&gates.0)));
    let weight = if rows.iter().any(|row| row.weight.is_some()) { 7 } else { 0 };
    let rest = weight + if gates > 0 { gates + 2 } else { 0 } + 2;
    let mut phase = widest(&|row| text::width(&row.phase));
    if page.width < left + phase + rest + ROOM_MIN {
        for row in rows.iter_mut() {
            row.phase = row.phase.split(' ').next().unwrap_or_default().to_owned();
        }
        phase = rows.iter().map(|row| text::width(&row.phase)).max().unwrap_or(0);
    }
    let has_bar = weight > 0 && page.width >= left + phase + rest + BAR + 2 + ROOM_WITH_BAR;
    let bar = has_bar.then_some(left + phase + 2);
    // Without a phase on any line its column takes no room.
    let phase_end = if phase == 0 { left - 2 } else { left + phase };
    let weight_end = phase_end + weight + if has_bar { BAR + 2 } else { 0 };
    let gates_end = weight_end + if gates > 0 { gates + 2 } else { 0 };
    Columns { phase: left, weight_end, bar, gates_end, words: gates_end + 2 }
}

impl<'a> Row<'a> {
    fn new(frame: &Frame<'_>, status: &RolloutStatus, twig: Twig<'a>) -> Self {
        let it = twig.component;
        let has_begun = !matches!(it.stage, Stage::Idle | Stage::Waiting)
            && (goes_forward(it.stage) || !it.gates.is_empty() || it.weight > 0 || !it.earned.is_empty());
        let of = frame.spec.phases.len();
        let phase = phase_of(frame.spec, it)
            .filter(|_| has_begun)
            .map(|(index, phase)| format!("{}/{of} {}", index + 1, text::clean(&phase.name)));
        let is_out = matches!(it.stage, Stage::Idle | Stage::Waiting | Stage::TakenBack | Stage::RolledBack);
        Row {
            mark: mark(frame, status, it),
            name: text::clean(&it.name),
            phase: text::cut(&phase.unwrap_or_default(), PHASE_MAX),
            weight: (!is_out).then_some(it.weight.clamp(0, 100)),
            gates: gates(it).filter(|_| has_begun),
            words: said(frame, status, it),
            twig,
        }
    }

    fn draw(&self, page: &Page, columns: &Columns) -> Line {
        let is_quiet = matches!(self.twig.component.stage, Stage::Idle | Stage::Waiting);
        let mut line = page
            .line()
            .to(TREE)
            .put(Ink::Dim, &self.twig.lead)
            .put(self.mark.1, self.mark.0)
            .put(Ink::Plain, " ")
            .put(if is_quiet { Ink::Plain } else { Ink::Strong }, &self.name);
        if !self.phase.is_empty() {
            line = line.to(columns.phase).put(Ink::Plain, &self.phase);
        }
        if let Some(weight) = self.weight {
            if let Some(bar) = columns.bar {
                line = component::bar(line.to(bar), Ink::Good, i64::from(weight), BAR);
            }
            line = line.put_right(columns.weight_end, Ink::Plain, &format!("{weight} %"));
        }
        if let Some((gates, ink)) = &self.gates {
            line = line.put_right(columns.gates_end, *ink, gates);
        }
        let line = line.to(columns.words);
        let it = self.twig.component;
        // One that waits says for whom, and one that is back waits for nobody.
        let is_said =
            matches!(it.stage, Stage::Waiting | Stage::RollingBack | Stage::TakenBack | Stage::RolledBack);
        let also = match self.twig.also.join(", ") {
            also if also.is_empty() || is_said => String::new(),
            also => format!(" (also after {})", text::clean(&also)),
        };
        let room = page.width.saturating_sub(columns.words);
        let words_max = room.saturating_sub(text::width(&also)).max(room / 2);
        line.put(self.words.1, &text::cut(&self.words.0, words_max)).put(Ink::Dim, &also)
    }
}

/// Waiting, under way, done, going back, taken back, held, or not in the run.
fn mark(frame: &Frame<'_>, status: &RolloutStatus, component: &ComponentStatus) -> (&'static str, Ink) {
    match component.stage {
        Stage::Waiting => ("…", Ink::Dim),
        Stage::RollingBack => ("✗", Ink::Bad),
        Stage::TakenBack | Stage::RolledBack => ("←", Ink::Bad),
        Stage::Adopting => ("▶", Ink::Good),
        Stage::Adopted => ("✓", Ink::Good),
        Stage::Idle if is_fresh(status, component) => ("✓", Ink::Good),
        Stage::Idle => ("·", Ink::Dim),
        _ if held_by(frame.spec, component).is_some() || is_degraded(status.run.as_ref(), component) => {
            ("!", Ink::Warn)
        }
        Stage::Baked => ("✓", Ink::Good),
        Stage::Preparing | Stage::Raising | Stage::Baking => ("▶", Ink::Busy),
    }
}

/// Whether the last run brought the component the version that serves: both ended in the same decision.
fn is_fresh(status: &RolloutStatus, component: &ComponentStatus) -> bool {
    let ended_at = status.run.as_ref().and_then(|run| run.ended_at);
    component.rejected.is_none() && ended_at.is_some() && component.since == ended_at
}

/// Gates that pass among all; nothing without gates.
fn gates(component: &ComponentStatus) -> Option<(String, Ink)> {
    let gates = component.all_gates();
    let all = gates.len();
    let passing = gates.iter().filter(|gate| gate.verdict == Verdict::Pass).count();
    let has_failed = gates.iter().any(|gate| gate.tripped || gate.verdict == Verdict::Fail);
    let ink = match () {
        () if has_failed => Ink::Bad,
        () if passing == all => Ink::Good,
        () => Ink::Plain,
    };
    (all > 0).then(|| (format!("{passing}/{all}"), ink))
}

/// What a component does or waits for.
fn said(frame: &Frame<'_>, status: &RolloutStatus, it: &ComponentStatus) -> (String, Ink) {
    let message = text::clean(&it.message);
    let because = |what: &str| match (text::clean(&it.failure), goes_with(it)) {
        (_, Some(cause)) => format!("{what} with {}", text::clean(cause)),
        (why, None) if why.is_empty() => what.to_owned(),
        (why, None) => format!("{what}: {why}"),
    };
    let or_stage = || match hook_in(status, &message) {
        Some(hook) => hook,
        None if message.is_empty() => words::stage(it.stage).to_owned(),
        None => message.clone(),
    };
    let serves = it.stable.as_ref().map(|stable| format!("{} serves", component::short(stable)));
    match it.stage {
        Stage::RollingBack if it.failure.is_empty() && !message.is_empty() => {
            (format!("going back: {message}"), Ink::Bad)
        }
        Stage::RollingBack => (because("going back"), Ink::Bad),
        Stage::TakenBack => (because("taken back"), Ink::Bad),
        Stage::RolledBack if it.rejected.is_some() => (because("taken back"), Ink::Bad),
        Stage::Idle | Stage::RolledBack if !message.is_empty() => (message, Ink::Plain),
        Stage::Idle | Stage::RolledBack => {
            let is_on = status.run.as_ref().is_some_and(|run| run.ended_at.is_none());
            let not_in_it = if is_on { ", not in this run" } else { "" };
            (format!("{}{not_in_it}", serves.unwrap_or_default()), Ink::Dim)
        }
        Stage::Waiting => (or_stage(), Ink::Dim),
        Stage::Baked if held_by(frame.spec, it).is_none() && message.is_empty() => {
            ("every phase is earned".to_owned(), Ink::Dim)
        }
        Stage::Adopting | Stage::Adopted => (or_stage(), Ink::Plain),
        _ if is_degraded(status.run.as_ref(), it) => {
            let gate = held_by(frame.spec, it).unwrap_or_else(|| "gates pass".to_owned());
            (text::clean(&format!("degraded: {gate}")), Ink::Warn)
        }
        _ => under_way(frame, it, or_stage()),
    }
}

/// The hook that a message speaks of, in short: its Job is told below.
fn hook_in(status: &RolloutStatus, message: &str) -> Option<String> {
    let hooks = status.run.as_ref().map_or(&[][..], |run| &run.hooks);
    let is_meant = |it: &&HookStatus| {
        matches!(it.state, HookState::Running | HookState::Retrying)
            && message.contains(&format!("the hook {} ", it.name))
    };
    let hook = hooks.iter().find(is_meant)?;
    let does = if hook.state == HookState::Running { "runs" } else { "failed, tried again" };
    Some(format!("hook {} {does}", text::clean(&hook.name)))
}

/// A component that is being prepared, raised or proven; what holds it comes first.
fn under_way(frame: &Frame<'_>, it: &ComponentStatus, otherwise: String) -> (String, Ink) {
    if let Some(gate) = held_by(frame.spec, it) {
        return (text::clean(&format!("held: {gate}")), Ink::Warn);
    }
    let steps = match it.step_backs {
        0 => String::new(),
        count => format!(", stepped back {count} of {}", frame.spec.max_step_backs),
    };
    let words = match bake_of(frame.spec, it, frame.now) {
        Some(bake) if it.message.is_empty() => {
            let left = time::span(bake.wanted - bake.earned);
            if bake.is_still && frame.state != RolloutState::Paused {
                return (format!("the bake stands still, {left} left{steps}"), Ink::Warn);
            }
            format!("baking, {left} left{steps}")
        }
        _ => format!("{otherwise}{steps}"),
    };
    (words, if it.step_backs > 0 { Ink::Warn } else { Ink::Plain })
}
