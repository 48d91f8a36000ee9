//! Partial rollback: a failing component goes back with everything that depends on it, while the others go on.

use crate::api::{ComponentStatus, HookPoint, Outcome, Stage};

use super::flaw::{self, Flaw};
use super::hooks::{self, Hooked};
use super::order::closure;
use super::plan::Reason;
use super::rollback;
use super::turn::{Part, Turn, clip, enter, goes_forward};

/// A component that has to go back, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Name of the component.
    pub component: String,
    /// What is told.
    pub reason: Reason,
    /// In a sentence.
    pub why: String,
}

/// Takes the failing components back with all that depends on them. When nothing is left that goes on, that is a full
/// rollback.
pub(super) fn take_back(turn: &mut Turn<'_>, failures: &[Failure]) {
    let Some(first) = failures.first() else { return };
    let failing: Vec<String> = failures.iter().map(|failure| failure.component.clone()).collect();
    let falls = if flaw::is(Flaw::DependentsStayUp) {
        failing.iter().cloned().collect()
    } else {
        closure(&turn.world.rollout.spec, &failing)
    };
    let stays = |c: &ComponentStatus| {
        !falls.contains(&c.name) && (goes_forward(c) || matches!(c.stage, Stage::Adopting | Stage::Adopted))
    };
    if !turn.status.components.iter().any(stays) {
        turn.for_each(|turn, component, part| {
            if goes_forward(component) {
                component.went_back_with = goes_with(turn, failures, part);
            }
        });
        return turn.roll_back(Outcome::RolledBack, first.reason, &first.component, &first.why);
    }
    let mut taken = Vec::new();
    turn.for_each(|turn, component, part| {
        if !falls.contains(&part.name) || !goes_forward(component) {
            return;
        }
        turn.withdraw_writes(part);
        component.went_back_with = goes_with(turn, failures, part);
        let is_cause = |it: &&Failure| it.component == part.name || it.component == component.went_back_with;
        let cause = failures.iter().find(is_cause).unwrap_or(first);
        let why = if cause.component == part.name {
            cause.why.clone()
        } else {
            format!("it depends on {}: {}", cause.component, cause.why)
        };
        component.failure = clip(&why, 512);
        taken.push(part.name.clone());
        leave(turn, component, part);
    });
    for failure in failures {
        let others: Vec<&str> =
            taken.iter().filter(|name| **name != failure.component).map(String::as_str).collect();
        let with =
            if others.is_empty() { String::new() } else { format!("; with it go {}", others.join(", ")) };
        turn.happen(&failure.component, failure.reason, format!("{}{with}", failure.why));
    }
    turn.wake(turn.now);
}

/// The first of the failing components that this one depends on; nothing if it fails itself.
fn goes_with(turn: &Turn<'_>, failures: &[Failure], part: &Part<'_>) -> String {
    if failures.iter().any(|failure| failure.component == part.name) {
        return String::new();
    }
    let takes = |it: &&Failure| {
        closure(&turn.world.rollout.spec, std::slice::from_ref(&it.component)).contains(&part.name)
    };
    failures.iter().find(takes).map(|it| it.component.clone()).unwrap_or_default()
}

/// The component turns back. One that has not begun has nothing to hand back.
fn leave(turn: &Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) {
    let stage = if component.stage == Stage::Waiting { Stage::TakenBack } else { Stage::RollingBack };
    rollback::turn_back(component, part, turn.now);
    enter(component, stage, turn.now);
}

/// One step of a component that goes back, or is back, while the run goes on.
pub(super) fn go_on(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) {
    let stage = component.stage;
    match stage {
        Stage::RollingBack if rollback::step(turn, component, part) => {
            component.message.clear();
            enter(component, Stage::TakenBack, turn.now);
            turn.note(&part.name, Reason::RolledBack, "stable serves again");
            turn.wake(turn.now);
        }
        Stage::TakenBack => {
            rollback::keep_back(turn, component, part);
            is_past_hooks(turn, component);
        }
        _ => {}
    }
}

/// Whether what has to be done for a component that is back is done.
pub(super) fn is_past_hooks(turn: &mut Turn<'_>, component: &mut ComponentStatus) -> bool {
    if !hooks::has_come_back(component) {
        return true;
    }
    match hooks::run_at(turn, HookPoint::OnPartialRollback, &component.name.clone(), "") {
        Hooked::Done => {
            component.message.clear();
            true
        }
        Hooked::Under(words) => {
            component.message = words;
            false
        }
    }
}

/// Why components were taken back in this run, for people; nothing if none was.
pub(super) fn in_words(components: &[ComponentStatus]) -> Option<String> {
    let back = components.iter().filter(|c| matches!(c.stage, Stage::TakenBack | Stage::RollingBack));
    let back: Vec<&ComponentStatus> = back.collect();
    // The first cause, not the word of one that only depends on it.
    let cause = back.iter().find(|c| !c.failure.starts_with("it depends on")).or(back.first())?;
    let names: Vec<&str> = back.iter().map(|c| c.name.as_str()).collect();
    Some(format!(
        "{} {} taken back: {}",
        names.join(", "),
        if names.len() == 1 { "was" } else { "were" },
        cause.failure
    ))
}
