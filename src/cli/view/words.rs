//! The words and the inks of states, stages and verdicts.

use crate::api::{
    BucketsRule, CountersRule, DegradedState, Gate, HookState, Outcome, RolloutState, RolloutStatus, Rule,
    Stage, SwitchState, Verdict,
};
use crate::engine::Reason;

use super::ink::Ink;

/// How a state is written and in which ink.
#[must_use]
pub const fn state(state: RolloutState) -> (&'static str, Ink) {
    match state {
        RolloutState::Idle => ("Idle", Ink::Dim),
        RolloutState::Progressing => ("Progressing", Ink::Busy),
        RolloutState::Baking => ("Baking", Ink::Busy),
        RolloutState::Held => ("Held", Ink::Warn),
        RolloutState::Paused => ("Paused", Ink::Warn),
        RolloutState::DegradedMode => ("Degraded mode", Ink::Warn),
        RolloutState::RollingBack => ("Rolling back", Ink::Bad),
        RolloutState::RolledBack => ("Rolled back", Ink::Bad),
        RolloutState::Promoting => ("Promoting", Ink::Busy),
        RolloutState::Completed => ("Completed", Ink::Good),
        RolloutState::Stalled => ("Stalled", Ink::Bad),
    }
}

/// Where a Rollout is, as people say it: a run that took some of its components back is not rolled back as a whole.
#[must_use]
pub fn headline(status: &RolloutStatus) -> (&'static str, Ink) {
    let ended_as = status.run.as_ref().and_then(|run| run.outcome);
    match (status.state, ended_as) {
        (RolloutState::RolledBack, Some(Outcome::PartiallyCompleted)) => outcome(ended_as),
        (known, _) => state(known),
    }
}

/// How a stage is written.
#[must_use]
pub const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Idle => "idle",
        Stage::Waiting => "waiting",
        Stage::Preparing => "preparing",
        Stage::Raising => "raising",
        Stage::Baking => "baking",
        Stage::Baked => "baked",
        Stage::Adopting => "adopting",
        Stage::Adopted => "adopted",
        Stage::RollingBack => "rolling back",
        Stage::TakenBack => "taken back",
        Stage::RolledBack => "rolled back",
    }
}

/// How an outcome is written and in which ink; `None` while the run is on.
#[must_use]
pub const fn outcome(outcome: Option<Outcome>) -> (&'static str, Ink) {
    match outcome {
        None => ("under way", Ink::Busy),
        Some(Outcome::Completed) => ("Completed", Ink::Good),
        Some(Outcome::PartiallyCompleted) => ("Partially completed", Ink::Warn),
        Some(Outcome::RolledBack) => ("Rolled back", Ink::Bad),
        Some(Outcome::Superseded) => ("Superseded", Ink::Dim),
        Some(Outcome::Withdrawn) => ("Withdrawn", Ink::Dim),
    }
}

/// How the state of a degraded mode is written and in which ink.
#[must_use]
pub const fn degraded(state: DegradedState) -> (&'static str, Ink) {
    match state {
        DegradedState::Entering => ("being entered", Ink::Warn),
        DegradedState::On => ("on", Ink::Warn),
        DegradedState::Leaving => ("being left", Ink::Busy),
        DegradedState::Left => ("left", Ink::Dim),
    }
}

/// How the state of a switch is written and in which ink.
#[must_use]
pub fn switch(state: SwitchState) -> (&'static str, Ink) {
    match state {
        SwitchState::Recorded => ("not set", Ink::Dim),
        SwitchState::Set => ("set", Ink::Warn),
        SwitchState::Restored => ("as it was", Ink::Good),
        _ if state == SwitchState::Foreign => ("changed by somebody else, left alone", Ink::Warn),
        _ => ("could not be set back", Ink::Bad),
    }
}

/// Mark, word and ink of a hook.
#[must_use]
pub const fn hook(state: HookState) -> (&'static str, &'static str, Ink) {
    match state {
        HookState::Running => ("▶", "running", Ink::Busy),
        HookState::Retrying => ("!", "failed", Ink::Warn),
        HookState::Succeeded => ("✓", "succeeded", Ink::Good),
        HookState::Failed => ("✗", "failed", Ink::Bad),
    }
}

/// The mark of a verdict.
#[must_use]
pub const fn verdict(verdict: Verdict) -> (&'static str, Ink) {
    match verdict {
        Verdict::Pass => ("✓", Ink::Good),
        Verdict::Fail => ("✗", Ink::Bad),
        Verdict::Wait => ("…", Ink::Dim),
        Verdict::NoData => ("?", Ink::Warn),
        Verdict::Error => ("!", Ink::Warn),
    }
}

/// What a verdict says when the status holds no message.
#[must_use]
pub const fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "within its limits",
        Verdict::Fail => "outside its limits",
        Verdict::Wait => "too early to say",
        Verdict::NoData => "the metric server has nothing that can be judged",
        Verdict::Error => "the metric server did not answer properly",
    }
}

/// The ink of a timeline entry by its reason.
#[must_use]
pub fn reason_ink(reason: &str) -> Ink {
    const BAD: [Reason; 4] =
        [Reason::GateFailed, Reason::RollbackStarted, Reason::RolledBack, Reason::ProgressDeadlineExceeded];
    const WARN: [Reason; 7] = [
        Reason::SteppedBack,
        Reason::PartiallyCompleted,
        Reason::EvidenceMissing,
        Reason::ActionRefused,
        Reason::ForeignChange,
        Reason::NotIntercepted,
        Reason::Stalled,
    ];
    const GOOD: [Reason; 2] = [Reason::PhaseEarned, Reason::Completed];
    let is_in = |reasons: &[Reason]| reasons.iter().any(|known| known.as_str() == reason);
    match () {
        () if reason == "HookFailed" || reason == "DegradedModeEntered" => Ink::Warn,
        () if is_in(&BAD) => Ink::Bad,
        () if is_in(&WARN) => Ink::Warn,
        () if is_in(&GOOD) => Ink::Good,
        () => Ink::Plain,
    }
}

/// The limits of a gate as people write them: `≤ 0.01`, `≥ 0.9`, `0.9 to 1.1`, `as stable`.
#[must_use]
pub fn limits(gate: &Gate) -> String {
    match gate.rule() {
        Some(Rule::Number { limits, .. } | Rule::Counters { by: CountersRule::Share(limits), .. }) => {
            match (limits.min, limits.max) {
                (Some(min), Some(max)) => format!("{min} to {max}"),
                (Some(min), None) => format!("≥ {min}"),
                (None, Some(max)) => format!("≤ {max}"),
                (None, None) => String::new(),
            }
        }
        Some(Rule::Counters { by: CountersRule::Compare(it), .. }) => format!("≤ {} × stable", it.max_ratio),
        Some(Rule::Counters { by: CountersRule::Budget(it), .. }) => format!("≤ {} %", it.max_spend * 100.0),
        Some(Rule::Buckets { by: BucketsRule::Quantile(it), .. }) => {
            format!("p{} ≤ {}", it.quantile * 100.0, it.max)
        }
        Some(Rule::Counters { .. } | Rule::Buckets { .. }) => "as stable".to_owned(),
        None => String::new(),
    }
}
