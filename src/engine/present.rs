//! The status in words: the one place that words things for people and for machines that wait.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::conditions::{HEALTHY, PROGRESSING, READY, RECONCILING, ROLLED_BACK, STALLED};
use crate::api::{
    ComponentStatus, NextAction, OnInconclusive, Outcome, Phase, RolloutState, RunIntent, Stage, Verdict,
};

use super::judges::{Judge, judges};
use super::turn::{Turn, after, clip, goes_forward, takes_part};
use super::{copies, degraded, evidence, health, hooks, partial, plan::Reason};

/// Words the status of a decision.
pub(super) fn word(turn: &mut Turn<'_>) {
    tell_stalled(turn);
    let is_known = turn.is_checked || turn.problem.is_some() || turn.intent().is_some();
    if is_known {
        turn.status.observed_generation = turn.world.rollout.generation;
    }
    let state = state_of(turn);
    turn.status.state = state;
    turn.status.message = clip(&message_of(turn, state), 1024);
    let leading = least_far(turn).cloned();
    turn.status.phase = leading.as_ref().map(|component| phase_in_words(turn, component)).unwrap_or_default();
    turn.status.traffic =
        leading.as_ref().map(|component| format!("{}%", component.weight)).unwrap_or_default();
    turn.status.gates = gates_in_words(turn);
    turn.status.next_action = next_action(turn, state, leading.as_ref());
    set_conditions(turn, state);
}

fn tell_stalled(turn: &mut Turn<'_>) {
    let was_stalled = turn.world.rollout.status.state == RolloutState::Stalled;
    match turn.problem.clone() {
        Some(problem) if !was_stalled || turn.world.rollout.status.message != clip(&problem, 1024) => {
            turn.happen("", Reason::Stalled, problem);
        }
        None if was_stalled && turn.is_checked => {
            turn.happen("", Reason::Recovered, "the spec fits the cluster now".to_owned());
        }
        _ => {}
    }
}

fn state_of(turn: &Turn<'_>) -> RolloutState {
    if turn.problem.is_some() {
        return RolloutState::Stalled;
    }
    if !turn.is_checked && turn.intent().is_none() {
        // Nothing is known yet: what was said last still stands.
        return turn.world.rollout.status.state;
    }
    match turn.intent() {
        Some(RunIntent::RollBack) => RolloutState::RollingBack,
        Some(RunIntent::Adopt) => RolloutState::Promoting,
        Some(RunIntent::Release) if turn.is_paused() => RolloutState::Paused,
        Some(RunIntent::Release) => state_of_release(turn),
        None if turn.status.components.iter().any(|c| c.rejected.is_some()) => RolloutState::RolledBack,
        None if turn.run().and_then(|run| run.outcome) == Some(Outcome::Completed) => RolloutState::Completed,
        None => RolloutState::Idle,
    }
}

fn state_of_release(turn: &Turn<'_>) -> RolloutState {
    let taking_part = || turn.status.components.iter().filter(|c| goes_forward(c));
    if turn.status.components.iter().any(|c| c.stage == Stage::RollingBack) {
        RolloutState::RollingBack
    } else if degraded::is_on(turn) {
        RolloutState::DegradedMode
    } else if hooks::held(turn).is_some() || taking_part().any(|component| is_held(turn, component)) {
        RolloutState::Held
    } else if taking_part().any(|c| matches!(c.stage, Stage::Preparing | Stage::Raising))
        || (hooks::under_way(turn).is_some() && !taking_part().any(|c| c.stage == Stage::Baking))
    {
        RolloutState::Progressing
    } else {
        RolloutState::Baking
    }
}

fn is_held(turn: &Turn<'_>, component: &ComponentStatus) -> bool {
    let holds = |gate: &crate::api::GateStatus| {
        let is_mute = judge_of(turn, component, &gate.name).is_some_and(|judge| judge.is_mute());
        !is_mute && (gate.tripped || matches!(gate.verdict, Verdict::Fail | Verdict::NoData | Verdict::Error))
    };
    component.gates.iter().any(holds)
        || lacks_proof(turn, component).is_some()
        || lost_way_back(turn, component).is_some()
        || health::holds(turn, component).is_some()
}

/// The test that keeps a phase from ending whose time is over: it has shown neither harm nor safety.
fn lacks_proof<'c>(turn: &Turn<'_>, component: &'c ComponentStatus) -> Option<&'c crate::api::GateStatus> {
    let (_, phase) = phase_of(turn, component).filter(|_| component.stage == Stage::Baking)?;
    let bake = component.bake.as_ref()?;
    let is_over = evidence::remaining(component, bake, phase).is_zero();
    let lacks = |gate: &&crate::api::GateStatus| {
        judge_of(turn, component, &gate.name).is_some_and(|judge| {
            !judge.is_mute()
                && judge.on_inconclusive == OnInconclusive::Hold
                && evidence::is_undecided(&judge, gate)
        })
    };
    component.gates.iter().find(lacks).filter(|_| is_over)
}

/// Why there is no whole way back any more, while nobody has said to go on without.
fn lost_way_back(turn: &Turn<'_>, component: &ComponentStatus) -> Option<String> {
    let part = turn.part(&component.name).filter(|_| turn.run().is_none_or(|run| !run.promoted_in_full))?;
    copies::lost(turn, component, &part)
}

fn judge_of<'w>(turn: &Turn<'w>, component: &ComponentStatus, name: &str) -> Option<Judge<'w>> {
    judges(&turn.world.rollout.spec, &component.name).into_iter().find(|judge| judge.name == name)
}

/// Why the Rollout is there; a hook that is waited for comes first.
fn message_of(turn: &Turn<'_>, state: RolloutState) -> String {
    let hook = match state {
        RolloutState::Held => hooks::held(turn),
        RolloutState::Progressing | RolloutState::RollingBack | RolloutState::Promoting => {
            hooks::held(turn).or_else(|| hooks::under_way(turn))
        }
        _ => None,
    };
    match hook {
        None => words_of(turn, state),
        Some(hook) if state == RolloutState::RollingBack => format!("{hook}. {}", words_of(turn, state)),
        Some(hook) => hook,
    }
}

fn words_of(turn: &Turn<'_>, state: RolloutState) -> String {
    let run = turn.run();
    let reason = run.map(|run| run.reason.clone()).unwrap_or_default();
    match state {
        // While it is looked at again, what was said last still stands.
        RolloutState::Stalled => {
            turn.problem.clone().unwrap_or_else(|| turn.world.rollout.status.message.clone())
        }
        RolloutState::RollingBack if turn.intent() == Some(RunIntent::Release) => {
            partial::in_words(&turn.status.components).unwrap_or_default()
        }
        RolloutState::RollingBack => format!("going back to the stable version: {reason}{}", waits(turn)),
        RolloutState::DegradedMode => degraded::words::state(turn).unwrap_or_default(),
        RolloutState::RolledBack
            if run.is_some_and(|run| run.outcome == Some(Outcome::PartiallyCompleted)) =>
        {
            format!("{reason}; the other components run their new version")
        }
        RolloutState::RolledBack => {
            format!("the stable version serves; the template in the Deployment is rejected: {reason}")
        }
        RolloutState::Promoting => {
            format!("every phase is earned: the canary becomes the Deployment's own{}", waits(turn))
        }
        RolloutState::Paused => "paused by a person; rollback stays possible".to_owned(),
        RolloutState::Held => {
            turn.status.components.iter().find_map(|c| held_because(turn, c)).unwrap_or_default()
        }
        RolloutState::Progressing => refused_in_words(turn)
            .unwrap_or_else(|| "canary pods start or traffic is being raised".to_owned()),
        RolloutState::Baking => "the phase proves itself".to_owned(),
        RolloutState::Completed => "the new version serves everyone".to_owned(),
        RolloutState::Idle => {
            let waiting = turn.status.components.iter().find(|c| !c.message.is_empty());
            waiting.map_or_else(
                || "waiting for a new template".to_owned(),
                |c| format!("{}: {}", c.name, c.message),
            )
        }
    }
}

/// What keeps a raise from being written, if the API server refuses it.
fn refused_in_words(turn: &Turn<'_>) -> Option<String> {
    let raising = |c: &&ComponentStatus| c.stage == Stage::Raising && !turn.world.refused.is_empty();
    turn.status.components.iter().find(raising).map(|c| format!("{}: {}", c.name, c.message))
}

/// What else the end of a run waits for.
fn waits(turn: &Turn<'_>) -> String {
    degraded::words::state(turn).map(|words| format!("; {words}")).unwrap_or_default()
}

fn held_because(turn: &Turn<'_>, component: &ComponentStatus) -> Option<String> {
    if !is_held(turn, component) {
        return None;
    }
    if let Some(words) = lost_way_back(turn, component) {
        return Some(format!("{}: {words}", component.name));
    }
    if let Some(words) = health::holds(turn, component) {
        return Some(format!("{}: {words}", component.name));
    }
    let is_bad = |gate: &&crate::api::GateStatus| {
        gate.tripped || !matches!(gate.verdict, Verdict::Pass | Verdict::Wait)
    };
    let Some(gate) = component.gates.iter().find(is_bad) else {
        let gate = lacks_proof(turn, component)?;
        return Some(format!(
            "{}: the time of the phase is over and the gate {} has shown neither harm nor safety; it goes on counting",
            component.name, gate.name
        ));
    };
    let what = match gate.verdict {
        Verdict::NoData => "has no data",
        Verdict::Error => "cannot be asked",
        _ => "fails",
    };
    Some(format!("{}: gate {} {what}", component.name, gate.name))
}

/// The component that is least far in the run.
fn least_far<'t>(turn: &'t Turn<'_>) -> Option<&'t ComponentStatus> {
    turn.intent()?;
    // Those that have not begun say little about how far the run is.
    let place = |c: &&ComponentStatus| (!goes_forward(c), c.stage == Stage::Waiting, c.phase_index, c.stage);
    turn.status.components.iter().filter(|c| takes_part(c)).min_by_key(place)
}

fn phase_of<'t>(turn: &'t Turn<'_>, component: &ComponentStatus) -> Option<(usize, &'t Phase)> {
    let index = usize::try_from(component.phase_index?).ok()?;
    Some((index, turn.world.rollout.spec.phases.get(index)?))
}

fn phase_in_words(turn: &Turn<'_>, component: &ComponentStatus) -> String {
    let of = turn.world.rollout.spec.phases.len();
    phase_of(turn, component)
        .map(|(index, phase)| format!("{}/{of} {}", index + 1, phase.name))
        .unwrap_or_default()
}

fn gates_in_words(turn: &Turn<'_>) -> String {
    let taking_part = turn.status.components.iter().filter(|c| takes_part(c));
    let gates: Vec<_> = taking_part.flat_map(ComponentStatus::all_gates).collect();
    if gates.is_empty() {
        return String::new();
    }
    format!("{}/{}", gates.iter().filter(|gate| gate.verdict == Verdict::Pass).count(), gates.len())
}

fn next_action(
    turn: &Turn<'_>,
    state: RolloutState,
    leading: Option<&ComponentStatus>,
) -> Option<NextAction> {
    let (what, at) = match state {
        RolloutState::Stalled => ("correct what the message says".to_owned(), None),
        RolloutState::RolledBack => {
            ("push another template, put the former one back, or retry".to_owned(), None)
        }
        RolloutState::Paused => ("resume, promote or abort".to_owned(), None),
        RolloutState::RollingBack => ("end at the stable version".to_owned(), None),
        RolloutState::DegradedMode => degraded::words::next(turn)?,
        RolloutState::Promoting => ("complete the run".to_owned(), None),
        RolloutState::Idle | RolloutState::Completed => return None,
        RolloutState::Held if hooks::held(turn).is_some() => {
            ("go on when the hook succeeds; promote to go on without it".to_owned(), None)
        }
        RolloutState::Progressing if hooks::under_way(turn).is_some() => {
            ("go on when the hook has succeeded".to_owned(), None)
        }
        RolloutState::Held => (format!("go on when {} again", blocked_by(turn, leading?)), None),
        RolloutState::Progressing => {
            let (_, phase) = phase_of(turn, leading?)?;
            let deadline =
                leading?.since.map(|since| after(since, turn.world.rollout.spec.progress_deadline));
            return Some(NextAction {
                what: format!("give {} % to the canary, or roll back", phase.traffic),
                at: whole_second(deadline),
            });
        }
        RolloutState::Baking => after_bake(turn, leading?)?,
    };
    Some(NextAction { what: clip(&what, 256), at: whole_second(at) })
}

fn blocked_by(turn: &Turn<'_>, component: &ComponentStatus) -> String {
    let gates: Vec<_> =
        component.gates.iter().filter_map(|gate| judge_of(turn, component, &gate.name)).collect();
    let names: Vec<String> = evidence::blocking(component, &gates).into_iter().collect();
    match names.len() {
        0 => "the canary is ready".to_owned(),
        1 => format!("the gate {} passes", names[0]),
        _ => format!("the gates {} pass", names.join(", ")),
    }
}

fn after_bake(turn: &Turn<'_>, component: &ComponentStatus) -> Option<(String, Option<Timestamp>)> {
    let (index, phase) = phase_of(turn, component)?;
    let what = match turn.world.rollout.spec.phases.get(index + 1) {
        _ if component.target_weight < phase.traffic => format!("raise to {}%", phase.traffic),
        Some(next) => format!("raise to {}%", next.traffic),
        None => "promote".to_owned(),
    };
    let bake = component.bake.as_ref()?;
    // From when on time counts plus what is left of it: a fixed moment as long as every evaluation passes.
    let at = bake.counted_until.map(|until| after(until, evidence::remaining(component, bake, phase)));
    Some((what, at))
}

fn whole_second(at: Option<Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::from_second(at.as_second()).ok())
}

fn set_conditions(turn: &mut Turn<'_>, state: RolloutState) {
    let is_running = turn.intent().is_some();
    // A template that came before the label or the pause is in place would roll by itself: not ready for one yet.
    let is_guarded = !turn.is_taking_hold();
    let is_stalled = state == RolloutState::Stalled;
    let is_back = state == RolloutState::RolledBack;
    let is_healthy = !matches!(
        state,
        RolloutState::Held
            | RolloutState::DegradedMode
            | RolloutState::RollingBack
            | RolloutState::Progressing
    );
    let word = format!("{state:?}");
    let message = turn.status.message.clone();
    let mut set = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        let generation = turn.status.observed_generation;
        let known = turn.status.conditions.iter_mut().find(|condition| condition.type_ == kind);
        let fresh = Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: word.clone(),
            message: message.clone(),
            last_transition_time: Time(turn.now),
            observed_generation: Some(generation),
        };
        match known {
            Some(known) => {
                let since =
                    if known.status == status { known.last_transition_time.clone() } else { Time(turn.now) };
                *known = Condition { last_transition_time: since, ..fresh };
            }
            None => turn.status.conditions.push(fresh),
        }
    };
    set(READY, !is_running && !is_stalled && !is_back && is_guarded);
    set(RECONCILING, is_running || !is_guarded);
    // kstatus: stalled is what a waiting tool has to report as failed; a rejected template is just that.
    set(STALLED, is_stalled || is_back);
    set(PROGRESSING, is_running);
    set(HEALTHY, is_healthy && !is_stalled);
    set(ROLLED_BACK, is_back);
}
