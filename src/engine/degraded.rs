//! Degraded modes: feature switches that are set while a gate fails, so that the service stays up without them.
//!
//! ```text
//! a gate trips ─► Entering ─► On ─► Leaving ─► Left     what was found is stored before the first switch is set,
//!                    └───────────────┘                   and goes back only where nobody else has changed it since
//! ```
//!
//! While a mode is entered, on or left the run stays where it is. Traffic never waits for a switch.

pub(super) mod checks;
mod passing;
mod set;
pub(super) mod words;

use jiff::Timestamp;

use crate::api::{DegradedState, DegradedStatus, DegradedThen, OnFailure, Outcome, RunIntent, Span, Stage};

use super::evidence::{failed_in_words, gates_of};
use super::flaw::{self, Flaw};
use super::partial::{self, Failure};
use super::plan::Reason;
use super::turn::{Turn, after, clip, goes_forward};
use passing::Gates;

/// The modes that a run remembers.
const MODES_MAX: usize = 8;
/// While a mode is not left, its ConfigMaps are looked at this often.
const LOOK_AGAIN: Span = Span::seconds(30);
/// A trip that enters no mode is told again after this time at the earliest.
const TELL_EVERY: Span = Span::seconds(600);

/// Gates of a component ask for degraded modes: each that is not under way is recorded, and told.
pub(super) fn enter(turn: &mut Turn<'_>, name: &str) {
    let (Some(part), Some(component)) =
        (turn.part(name), turn.status.components.iter().find(|c| c.name == name).cloned())
    else {
        return;
    };
    if !goes_forward(&component) || turn.intent() != Some(RunIntent::Release) {
        return;
    }
    for gate in gates_of(turn, &part).into_iter().filter(|gate| gate.asks == OnFailure::DegradedMode) {
        let tripped = component.gates.iter().find(|status| status.name == gate.name && status.tripped);
        let (Some(status), Some(mode)) = (tripped, &gate.degraded_mode) else { continue };
        let why = failed_in_words(&gate, status);
        let Some(spec) = turn.world.rollout.spec.degraded_modes.iter().find(|it| it.name == *mode) else {
            continue;
        };
        if turn.run().is_some_and(|run| run.promoted_in_full) {
            // A person has said that the run goes on, whatever its gates say.
            if turn.is_news(name, Reason::GateFailed, TELL_EVERY) {
                turn.happen(name, Reason::GateFailed, why);
            }
            continue;
        }
        let places = words::places(&spec.switches);
        if record(turn, mode, name) {
            let message = format!("degraded mode {mode} ({places}): {why}");
            turn.happen(name, Reason::DegradedModeEntered, message);
        }
    }
}

/// Notes that a mode is being entered; false if it is under way already.
fn record(turn: &mut Turn<'_>, mode: &str, component: &str) -> bool {
    let now = turn.now;
    let Some(run) = turn.run_on() else { return false };
    if run.degraded.iter().any(|it| it.mode == mode && it.state != DegradedState::Left) {
        return false;
    }
    run.degraded.retain(|it| it.mode != mode);
    if run.degraded.len() >= MODES_MAX {
        // Only an edit of the modes during the run makes so many.
        let Some(oldest) = run.degraded.iter().position(|it| it.state == DegradedState::Left) else {
            return false;
        };
        run.degraded.remove(oldest);
    }
    run.degraded.push(DegradedStatus {
        mode: mode.to_owned(),
        component: component.to_owned(),
        entered_at: Some(now),
        since: Some(now),
        ..DegradedStatus::default()
    });
    true
}

/// One step of every mode of a run that goes forward: it comes on, is left when its gates pass again, or given up.
pub(super) fn go_on(turn: &mut Turn<'_>) {
    if !is_on(turn) {
        return;
    }
    heal_clock(turn);
    let mut given_up = None;
    for mode in modes_of(turn) {
        let limit = limit_of(turn, &mode);
        let is_late = limit.is_some_and(|limit| limit <= turn.now);
        match (passing::of(turn, &mode), limit) {
            (Gates::GoingBack, _) => {}
            (Gates::NobodyAsks, _) => begin_to_leave(turn, &mode.mode),
            (Gates::Fail { component } | Gates::Pass { component, .. }, _) if is_late => {
                given_up.get_or_insert((mode, component));
            }
            (Gates::Pass { until, .. }, limit) if mode.state != DegradedState::Leaving => {
                limit.into_iter().for_each(|limit| turn.wake(limit));
                pass(turn, &mode, until);
            }
            (Gates::Fail { .. }, limit) if mode.state != DegradedState::Leaving => {
                limit.into_iter().for_each(|limit| turn.wake(limit));
                change(turn, &mode.mode, |it| it.passing_since = None);
            }
            (_, limit) => limit.into_iter().for_each(|limit| turn.wake(limit)),
        }
    }
    if let Some((mode, component)) = given_up {
        give_up(turn, &mode, component);
    }
    if turn.intent() == Some(RunIntent::Release) {
        set::step(turn);
    }
}

/// The gates pass: since when is noted, and after long enough the mode is left.
fn pass(turn: &mut Turn<'_>, mode: &DegradedStatus, until: Timestamp) {
    let since = mode.passing_since.unwrap_or(turn.now);
    let recover_after = spec_of(turn, mode).map_or(Span::ZERO, |spec| spec.recover_after);
    change(turn, &mode.mode, |it| it.passing_since = Some(since));
    let recovered_at = after(since, recover_after);
    // What was measured counts, not the time since.
    if recovered_at <= until || recovered_at == since {
        begin_to_leave(turn, &mode.mode);
    } else if recovered_at > turn.now {
        turn.wake(recovered_at);
    }
}

/// The mode was on for too long, or its switches cannot be set or set back: what the spec says for that is done.
fn give_up(turn: &mut Turn<'_>, mode: &DegradedStatus, component: String) {
    let then = spec_of(turn, mode).map_or(DegradedThen::default(), |spec| spec.then);
    let why = words::given_up(turn, mode);
    match then {
        DegradedThen::FullRollback => {
            turn.roll_back(Outcome::RolledBack, Reason::RollbackStarted, &component, &why);
        }
        DegradedThen::PartialRollback => {
            let failure = Failure { component, reason: Reason::RollbackStarted, why };
            partial::take_back(turn, &[failure]);
        }
    }
}

/// Until when a mode may stay as it is: on for its deadline, and on the way in or out for as long as any other step.
/// One that is being left without hindrance has no limit.
fn limit_of(turn: &Turn<'_>, mode: &DegradedStatus) -> Option<Timestamp> {
    let progress = turn.world.rollout.spec.progress_deadline;
    let deadline = spec_of(turn, mode).map_or(progress, |spec| spec.deadline);
    match mode.state {
        DegradedState::Entering => Some(after(mode.entered_at?, deadline.min(progress))),
        DegradedState::On => Some(after(mode.entered_at?, deadline)),
        DegradedState::Leaving if set::is_refused(turn, mode) => Some(after(mode.since?, progress)),
        DegradedState::Leaving | DegradedState::Left => None,
    }
}

/// A person has set aside what the gates said: every mode is left.
pub(super) fn set_aside(turn: &mut Turn<'_>) {
    for mode in modes_of(turn) {
        begin_to_leave(turn, &mode.mode);
    }
}

/// Every mode is left, whatever its gates say. True when all are: then no switch is ours any more.
pub(super) fn leave_all(turn: &mut Turn<'_>) -> bool {
    if !is_on(turn) || flaw::is(Flaw::DegradedLeavesSwitches) {
        return true;
    }
    heal_clock(turn);
    set_aside(turn);
    set::step(turn);
    !is_on(turn)
}

/// Leaves the modes of a run that goes back once its traffic is back.
pub(super) fn leave_without_traffic(turn: &mut Turn<'_>) {
    let has_traffic = turn.status.components.iter().any(|c| c.stage == Stage::RollingBack && c.weight > 0);
    if !has_traffic {
        leave_all(turn);
    }
}

/// Whether a mode keeps the run where it is.
pub(super) fn is_on(turn: &Turn<'_>) -> bool {
    turn.intent().is_some()
        && turn.run().is_some_and(|run| run.degraded.iter().any(|it| it.state != DegradedState::Left))
}

/// Whether a mode keeps a component from its next share. One whose gates asked for it and whose evidence is gone comes
/// back to where it was: there it proves itself.
pub(super) fn keeps_back(turn: &Turn<'_>, component: &crate::api::ComponentStatus) -> bool {
    let proves_itself =
        component.bake.is_none() && modes_of(turn).iter().any(|mode| mode.component == component.name);
    is_on(turn) && !proves_itself
}

/// The modes under way.
fn modes_of(turn: &Turn<'_>) -> Vec<DegradedStatus> {
    let is_under_way = |it: &&DegradedStatus| it.state != DegradedState::Left;
    turn.run().into_iter().flat_map(|run| &run.degraded).filter(is_under_way).cloned().collect()
}

fn spec_of<'w>(turn: &Turn<'w>, mode: &DegradedStatus) -> Option<&'w crate::api::DegradedMode> {
    turn.world.rollout.spec.degraded_modes.iter().find(|spec| spec.name == mode.mode)
}

fn change(turn: &mut Turn<'_>, mode: &str, edit: impl FnOnce(&mut DegradedStatus)) {
    if let Some(run) = turn.run_on()
        && let Some(mode) = run.degraded.iter_mut().find(|it| it.mode == mode)
    {
        edit(mode);
    }
}

fn begin_to_leave(turn: &mut Turn<'_>, mode: &str) {
    let now = turn.now;
    change(turn, mode, |it| {
        if it.state != DegradedState::Leaving {
            (it.state, it.since) = (DegradedState::Leaving, Some(now));
            it.message.clear();
        }
    });
}

/// Says of a mode why it gets no further.
fn say(mode: &mut DegradedStatus, why: &str) {
    mode.message = clip(why, 512);
}

/// No time that was noted lies ahead of us: see [`Turn`].
fn heal_clock(turn: &mut Turn<'_>) {
    let now = turn.now;
    for mode in turn.run_on().into_iter().flat_map(|run| &mut run.degraded) {
        for time in [&mut mode.entered_at, &mut mode.since, &mut mode.passing_since] {
            *time = time.map(|time| time.min(now));
        }
    }
}
