//! What hooks do, for people.

use crate::api::HookState::{Failed, Retrying, Running, Succeeded};
use crate::api::{HookPoint, HookStatus};

use super::{attempts, is_held, is_over, spec_of};
use crate::engine::turn::Turn;

/// What a hook is for: `api, half`; empty for the whole run.
fn of_what(status: &HookStatus) -> String {
    match (status.component.as_str(), status.phase.as_str()) {
        ("", _) => String::new(),
        (component, "") => format!(" for {component}"),
        (component, phase) => format!(" for {component} at {phase}"),
    }
}

/// A hook and its Job.
pub(super) fn named(status: &HookStatus) -> String {
    format!("the hook {}{} (Job {})", status.name, of_what(status), status.job)
}

/// How far a hook is.
pub(super) fn of(turn: &Turn<'_>, status: &HookStatus) -> String {
    let hook = spec_of(&turn.world.rollout.spec.hooks, status);
    match status.state {
        Running if status.started_at.is_none() => format!("{} is being started", named(status)),
        Running => format!("{} runs", named(status)),
        Succeeded => format!("{} succeeded", named(status)),
        Failed => format!("{} failed: {}", named(status), status.message),
        Retrying if hook.is_some_and(|hook| is_held(hook, status)) => held_words(status),
        Retrying => {
            let of = hook.map_or(1, attempts);
            format!(
                "{} failed in attempt {} of {of}, and is tried again: {}",
                named(status),
                status.attempt,
                status.message
            )
        }
    }
}

fn held_words(status: &HookStatus) -> String {
    let what = match status.point {
        HookPoint::OnFullRollback | HookPoint::OnPartialRollback => "stable serves, but ",
        _ => "",
    };
    format!(
        "{what}{} failed {} times, and is tried again every 5 minutes: {}. Promote to go on without it",
        named(status),
        status.attempt,
        status.message
    )
}

/// The first hook that is under way, in words.
pub(in crate::engine) fn under_way(turn: &Turn<'_>) -> Option<String> {
    let status = turn.run()?.hooks.iter().find(|it| !is_over(it))?;
    Some(of(turn, status))
}

/// The first hook that has failed for good and keeps the run where it is, in words.
pub(in crate::engine) fn held(turn: &Turn<'_>) -> Option<String> {
    let hooks = &turn.world.rollout.spec.hooks;
    let keeps = |it: &&HookStatus| spec_of(hooks, it).is_some_and(|hook| is_held(hook, it));
    let status = turn.run()?.hooks.iter().find(keeps)?;
    Some(if status.state == Running { format!("{}: once more", of(turn, status)) } else { of(turn, status) })
}
