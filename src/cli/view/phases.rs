//! The phases as a line of steps.

use crate::api::{ComponentStatus, RolloutSpec, RolloutState, RolloutStatus};

use super::ink::{Ink, Line, Page};
use super::proof::is_skipped;
use super::{text, words};

const LONG_JOIN: &str = " ── ";
const SHORT_JOIN: &str = " ─ ";

/// Draws the steps of the component that is least far. Names go first when there is no room, then one line becomes
/// several.
pub(super) fn draw(page: &mut Page, status: &RolloutStatus, spec: &RolloutSpec) {
    let phases = &spec.phases;
    if phases.is_empty() {
        return;
    }
    let marks = marks(status, spec);
    let long: Vec<String> =
        phases.iter().map(|p| format!("{} {} %", text::clean(&p.name), p.traffic)).collect();
    let short: Vec<String> = phases.iter().map(|p| format!("{} %", p.traffic)).collect();
    let fits = |steps: &[String], join: &str| {
        let steps_width: usize = steps.iter().map(|step| text::width(step) + 2).sum();
        2 + steps_width + (steps.len() - 1) * text::width(join) <= page.width
    };
    let (steps, join) = if fits(&long, LONG_JOIN) { (long, LONG_JOIN) } else { (short, SHORT_JOIN) };
    let mut line = page.line().to(2);
    for (index, (step, (mark, ink))) in steps.iter().zip(marks).enumerate() {
        let needed = text::width(step) + 2 + text::width(join);
        if index > 0 && line.width() + needed > page.width {
            page.push(line);
            line = page.line().to(2);
        } else if index > 0 {
            line = line.put(Ink::Dim, join);
        }
        line = put_step(line, mark, ink, step);
    }
    page.push(line);
}

fn put_step(line: Line, mark: &str, ink: Ink, step: &str) -> Line {
    let step_ink = if mark == FUTURE.0 || mark == SKIPPED.0 { Ink::Dim } else { Ink::Plain };
    line.put(ink, mark).put(Ink::Plain, " ").put(step_ink, step)
}

type Mark = (&'static str, Ink);
const EARNED: Mark = ("✓", Ink::Good);
const FUTURE: Mark = ("○", Ink::Dim);
const SKIPPED: Mark = ("–", Ink::Dim);

/// One mark per phase: earned, present, left out, still to come.
fn marks(status: &RolloutStatus, spec: &RolloutSpec) -> Vec<Mark> {
    let count = spec.phases.len();
    match status.state {
        RolloutState::Completed | RolloutState::Promoting => return vec![EARNED; count],
        RolloutState::Idle => return vec![FUTURE; count],
        _ => {}
    }
    let leading = least_far(&status.components);
    let present = leading.map(|(_, index)| index);
    let is_left_out = |index: usize| {
        let name = leading.map(|(component, _)| component.name.as_str());
        name.is_some_and(|name| is_skipped(spec, name, &spec.phases[index].name))
    };
    let here = match status.state {
        RolloutState::RollingBack | RolloutState::RolledBack => ("✗", Ink::Bad),
        state => ("●", words::state(state).1),
    };
    (0..count)
        .map(|index| match present {
            Some(_) if is_left_out(index) => SKIPPED,
            Some(present) if index < present => EARNED,
            Some(present) if index == present => here,
            _ => FUTURE,
        })
        .collect()
}

/// The component with the lowest phase, and that phase's index.
fn least_far(components: &[ComponentStatus]) -> Option<(&ComponentStatus, usize)> {
    components
        .iter()
        .filter_map(|component| {
            let index = usize::try_from(component.phase_index?).ok()?;
            Some((component, index))
        })
        .min_by_key(|(_, index)| *index)
}
