//! Degraded modes in words. Places of switches are named, their values never.

use jiff::Timestamp;

use crate::api::{DegradedState, DegradedStatus, Switch};
use crate::engine::turn::{Turn, after};

use super::{limit_of, modes_of, spec_of};

/// Places in a message.
const PLACES_MAX: usize = 4;

/// The places of some switches.
pub(super) fn places(switches: &[Switch]) -> String {
    let name = |switch: &Switch| {
        let pointer = switch.pointer.as_ref().map(|pointer| format!("#{pointer}")).unwrap_or_default();
        format!("{}/{}{pointer}", switch.config_map, switch.key)
    };
    few(&switches.iter().map(name).collect::<Vec<_>>())
}

/// The first of a list, and how many there are besides.
pub(super) fn few(names: &[String]) -> String {
    let shown = names.iter().take(PLACES_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(PLACES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What the modes under way are waiting for; nothing without any.
pub(in crate::engine) fn state(turn: &Turn<'_>) -> Option<String> {
    let mode = modes_of(turn).into_iter().next()?;
    let name = &mode.mode;
    let why = if mode.message.is_empty() { String::new() } else { format!(": {}", mode.message) };
    Some(match mode.state {
        DegradedState::Entering => format!("degraded mode {name} is being entered{why}"),
        DegradedState::On => {
            let recover_after = spec_of(turn, &mode).map(|spec| spec.recover_after).unwrap_or_default();
            let places = spec_of(turn, &mode).map(|spec| places(&spec.switches)).unwrap_or_default();
            format!(
                "degraded mode {name} is on ({places}) until the gates of {} have passed for {recover_after}",
                mode.component
            )
        }
        DegradedState::Leaving | DegradedState::Left => format!("degraded mode {name} is being left{why}"),
    })
}

/// What comes next, and when.
pub(in crate::engine) fn next(turn: &Turn<'_>) -> Option<(String, Option<Timestamp>)> {
    let mode = modes_of(turn).into_iter().next()?;
    let back = "set the switches back and go on";
    Some(match (mode.state, mode.passing_since) {
        (DegradedState::Leaving, _) => (back.to_owned(), None),
        (DegradedState::On, Some(since)) => {
            let recover_after = spec_of(turn, &mode).map(|spec| spec.recover_after).unwrap_or_default();
            (back.to_owned(), Some(after(since, recover_after)))
        }
        _ => (format!("{back} when the gates pass again, or give up"), limit_of(turn, &mode)),
    })
}

/// Why a mode is given up.
pub(super) fn given_up(turn: &Turn<'_>, mode: &DegradedStatus) -> String {
    let name = &mode.mode;
    match mode.state {
        DegradedState::Entering if !mode.message.is_empty() => {
            format!("degraded mode {name} cannot be entered: {}", mode.message)
        }
        DegradedState::Entering => format!("degraded mode {name} could not be entered in time"),
        DegradedState::Leaving | DegradedState::Left => {
            format!("the switches of degraded mode {name} cannot be set back: {}", mode.message)
        }
        DegradedState::On => {
            let deadline = spec_of(turn, mode).map(|spec| spec.deadline).unwrap_or_default();
            format!("degraded mode {name} was on for {deadline} and its gates do not pass")
        }
    }
}
