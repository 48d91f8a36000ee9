//! The proof of a phase: which gates are asked when, what their answers add up to, and how much bake time is earned.
//!
//! Bake time is time *proven clean*: it runs from one moment at which every gate passed to the next. Time with a failing
//! evaluation, without evidence, with the weight not in force or under a pause is not counted, and what was earned before
//! it is kept.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::{
    BakeStatus, ComponentStatus, Gate, GateStatus, NoDataThen, OnFailure, OnInconclusive, Phase, Rule, Span,
    Stage, TimelineEntry, Verdict,
};

use super::counting::{self, Counting};
use super::flaw::{self, Flaw};
use super::gate_templates;
use super::gates::{due_at, evidence_key, fold, judge, no_data_deadline};
use super::judges::{Judge, judges};
use super::plan::{Ask, Measurement, Reason};
use super::query::{Variables, pods_pattern, substitute};
use super::turn::{Part, Turn, after, between, enter};
use super::world::Answered;

/// How much longer than two intervals may pass between two evaluations that prove the time between them.
const SLACK: Span = Span::seconds(15);
/// The longest step in which time without gates is counted: a clock that jumps ahead earns no more than this.
const UNGATED_STEP_MIN: Span = Span::seconds(60);

/// A gate that asks for something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trip {
    /// What it asks for.
    pub asks: OnFailure,
    /// Why, in a sentence that names the gate.
    pub why: String,
}

/// The gates that judge a component.
pub(super) fn gates_of<'w>(turn: &Turn<'w>, part: &Part<'w>) -> Vec<Judge<'w>> {
    judges(&turn.world.rollout.spec, &part.name)
}

/// Starts the proof of a phase whose weight is in force now.
pub(super) fn begin(turn: &Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>, phase: &Phase) {
    component.bake = Some(BakeStatus {
        started_at: turn.now,
        weight: component.target_weight,
        earned: component
            .bake
            .as_ref()
            .filter(|_| flaw::is(Flaw::FormerPhasesProofCounts))
            .map_or(Span::ZERO, |bake| bake.earned),
        counted_until: None,
        halted_since: None,
    });
    component.gates.clear();
    align(turn, component, part, phase);
}

/// Gives every gate its evidence; evidence of another run, phase, revision, weight or definition is void, and the time
/// that it had proven with it.
fn align(turn: &Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>, phase: &Phase) {
    let earns_nothing = matches!(component.stage, Stage::Preparing | Stage::Baked);
    let is_leaving = matches!(component.stage, Stage::Preparing | Stage::Raising);
    let (Some(bake), Some(canary)) = (component.bake.as_mut(), component.canary.as_ref()) else { return };
    let had_gates = !component.gates.is_empty();
    let mut aligned = Vec::new();
    let mut is_void = false;
    for gate in gates_of(turn, part) {
        let key = evidence_key(
            turn.run_number(),
            &phase.name,
            phase.traffic,
            &canary.revision,
            bake.started_at,
            &gate,
        );
        match component.gates.iter().find(|known| known.name == gate.name && known.key == key) {
            Some(known) => aligned.push(known.clone()),
            None => {
                is_void |= had_gates || !bake.earned.is_zero();
                aligned.push(GateStatus { name: gate.name.clone(), key, ..GateStatus::default() });
            }
        }
    }
    component.gates = aligned;
    if is_void && !flaw::is(Flaw::FormerPhasesProofCounts) {
        (bake.earned, bake.counted_until) = (Span::ZERO, None);
        if earns_nothing && component.earned.last().is_some_and(|earned| earned.name == phase.name) {
            // Its proof is void before anything was built on it: it is to be proven again.
            component.earned.pop();
            enter(component, Stage::Baking, turn.now);
        } else if is_leaving && bake.weight < phase.traffic {
            // So is the weight that was in force before the edited one.
            component.target_weight = bake.weight;
            enter(component, Stage::Baking, turn.now);
        }
    }
}

/// Takes in the answers that arrived and asks what is due. `phase` is the phase whose weight is in force.
pub(super) fn gather(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>, phase: &Phase) {
    align(turn, component, part, phase);
    let Some(bake) = component.bake.clone() else { return };
    let finish_at = bake.counted_until.map(|until| after(until, remaining(component, &bake, phase)));
    let has_stepped_back = component.step_backs > 0 && came_down(turn, part);
    for gate in gates_of(turn, part) {
        let Some(at) = component.gates.iter().position(|status| status.name == gate.name) else { continue };
        let before = component.gates[at].verdict;
        if Counting::is_for(&gate) {
            count_requests(turn, component, part, phase, (&gate, at));
            tell_evidence(turn, part, before, &component.gates[at]);
            continue;
        }
        let is_mine = |a: &&Answered| a.component == part.name && a.gate == gate.name;
        for answered in turn.world.answers.iter().filter(is_mine) {
            let known = &component.gates[at];
            let early = too_early(&gate, known, answered, bake.started_at)
                .or_else(|| too_late(&gate, has_stepped_back, known, answered, bake.started_at));
            component.gates[at] = early.unwrap_or_else(|| fold(&gate, known, answered));
        }
        tell_evidence(turn, part, before, &component.gates[at]);
        let due = due_at(&gate, &component.gates[at], bake.started_at, finish_at);
        let is_asking = turn.world.asking.contains(&(part.name.clone(), gate.name.clone()));
        if is_asking {
            continue;
        }
        if due > turn.now {
            turn.wake(due);
            continue;
        }
        let before = component.gates[at].verdict;
        ask(turn, component, part, phase, (&gate, at));
        tell_evidence(turn, part, before, &component.gates[at]);
    }
}

/// The gate with an answer that holds nothing yet: until one window has passed since the weight came into force, a rate over
/// the canary's first samples has nothing to look at. That is no outage; it is too early to say.
fn too_early(
    gate: &Gate,
    known: &GateStatus,
    answered: &Answered,
    started_at: Timestamp,
) -> Option<GateStatus> {
    let ends_at = after(after(started_at, gate.initial_delay), gate.window);
    let is_first = known.recent.is_empty() && known.verdict == Verdict::Wait && answered.key == known.key;
    if !is_first || answered.at >= ends_at || judge(gate, &answered.answer).verdict != Verdict::NoData {
        return None;
    }
    let message = "waiting for the canary's first samples".to_owned();
    Some(GateStatus { message, evaluated_at: Some(answered.at), ..known.clone() })
}

/// Whether the component has come to its present phase by a step back, and not by a raise since.
fn came_down(turn: &Turn<'_>, part: &Part<'_>) -> bool {
    let (down, up) = (Reason::SteppedBack.as_str(), Reason::PhaseEarned.as_str());
    let moves =
        |entry: &&TimelineEntry| entry.component == part.name && (entry.reason == down || entry.reason == up);
    turn.run().is_some_and(|run| run.timeline.iter().rev().find(moves).is_some_and(|it| it.reason == down))
}

/// The gate with a failing answer that speaks of the share before a step back: until one window has passed since the smaller
/// weight came into force, a rate still holds the errors of the greater one. Of gates that ask for steps back only: what is
/// grave enough to go back altogether is so whenever it was.
fn too_late(
    gate: &Judge<'_>,
    has_stepped_back: bool,
    known: &GateStatus,
    answered: &Answered,
    started_at: Timestamp,
) -> Option<GateStatus> {
    let ends_at = after(after(started_at, gate.initial_delay), gate.window);
    let is_of_steps = has_stepped_back && gate.asks == OnFailure::StepBack && answered.key == known.key;
    if !is_of_steps || answered.at >= ends_at || judge(gate, &answered.answer).verdict != Verdict::Fail {
        return None;
    }
    let message = "waiting until the window holds nothing of the greater share".to_owned();
    let evaluated_at = Some(answered.at);
    Some(GateStatus { verdict: Verdict::Wait, message, evaluated_at, no_data_since: None, ..known.clone() })
}

fn tell_evidence(turn: &mut Turn<'_>, part: &Part<'_>, before: Verdict, status: &GateStatus) {
    let is_blind = |verdict: Verdict| matches!(verdict, Verdict::NoData | Verdict::Error);
    if is_blind(status.verdict) && !is_blind(before) {
        let message = format!("gate {} has no evidence, the run holds: {}", status.name, status.message);
        turn.happen(&part.name, Reason::EvidenceMissing, message);
    }
    if is_blind(before) && matches!(status.verdict, Verdict::Pass | Verdict::Fail) {
        let message = format!("gate {} has evidence again: {}", status.name, status.message);
        turn.happen(&part.name, Reason::EvidenceBack, message);
    }
}

/// What the variables of a gate's queries stand for; `None` without both revisions.
fn variables(
    turn: &Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
    gate: &Gate,
) -> Option<Variables> {
    let (canary, stable) = (component.canary.as_ref()?, component.stable.as_ref()?);
    Some(Variables {
        namespace: turn.world.rollout.namespace.clone(),
        rollout: turn.world.rollout.at.name.clone(),
        component: part.name.clone(),
        phase: phase.name.clone(),
        window: gate.window,
        canary_pods: pods_pattern(&canary.replica_set),
        stable_pods: pods_pattern(&stable.replica_set),
        canary_revision: super::config::identity(canary),
        stable_revision: super::config::identity(stable),
        canary_set: canary.replica_set.clone(),
        stable_set: stable.replica_set.clone(),
        service: part.refs.service.clone(),
        route: part.refs.routes.first().map(|(_, name)| name.clone()),
    })
}

fn ask(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
    (gate, at): (&Gate, usize),
) {
    let Some(variables) = variables(turn, component, part, phase, gate) else { return };
    let key = component.gates[at].key.clone();
    let Some(Rule::Number { query, .. }) = gate.rule() else {
        if let Some(why) = gate_templates::why_unknown(turn.world, &gate.name) {
            cannot_ask(turn, &mut component.gates[at], gate, &why);
        }
        return;
    };
    match substitute(query, &variables) {
        Ok(query) => turn.measure(Measurement {
            component: part.name.clone(),
            gate: gate.name.clone(),
            key,
            source: gate.prometheus.source.clone(),
            ask: Ask::Number(query),
        }),
        Err(error) => cannot_ask(turn, &mut component.gates[at], gate, &error.to_string()),
    }
}

fn count_requests(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
    (gate, at): (&Judge<'_>, usize),
) {
    let Some(variables) = variables(turn, component, part, phase, gate) else { return };
    if let Err(why) = counting::gather(turn, component, part, phase, (gate, at), &variables) {
        cannot_ask(turn, &mut component.gates[at], gate, &why);
    }
}

/// The queries were checked before the run; an edit since then is no evidence, and says so.
fn cannot_ask(turn: &mut Turn<'_>, status: &mut GateStatus, gate: &Gate, why: &str) {
    status.verdict = Verdict::Error;
    status.message = super::turn::clip(why, 256);
    status.evaluated_at = Some(turn.now);
    status.no_data_since.get_or_insert(turn.now);
    turn.wake(after(turn.now, gate.interval));
}

/// What the gates of a component ask for: the strongest, if any does.
pub(super) fn trip_of(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
) -> Option<Trip> {
    let mut strongest: Option<Trip> = None;
    let is_over = component.stage == Stage::Baking
        && component.bake.as_ref().is_some_and(|bake| remaining(component, bake, phase).is_zero());
    for gate in gates_of(turn, part) {
        let Some(status) = component.gates.iter().find(|status| status.name == gate.name) else { continue };
        let trip = if status.tripped {
            Some(Trip { asks: gate.asks, why: failed_in_words(&gate, status) })
        } else if is_over && gate.on_inconclusive == OnInconclusive::Rollback && is_undecided(&gate, status) {
            let why =
                format!("gate {} is inconclusive at the end of the phase: {}", gate.name, status.message);
            Some(Trip { asks: gate.asks, why })
        } else {
            no_data_trip(turn, &gate, status)
        };
        if let Some(trip) = trip.filter(|trip| strongest.as_ref().is_none_or(|known| trip.asks > known.asks))
        {
            strongest = Some(trip);
        }
    }
    strongest
}

fn no_data_trip(turn: &mut Turn<'_>, gate: &Judge<'_>, status: &GateStatus) -> Option<Trip> {
    if flaw::is(Flaw::DeadlineNeverTicks) {
        return None;
    }
    let asks = match gate.then {
        NoDataThen::FullRollback => OnFailure::FullRollback,
        NoDataThen::PartialRollback => OnFailure::PartialRollback,
        NoDataThen::Hold => return None,
    };
    if gate.is_mute() {
        return None;
    }
    let deadline = no_data_deadline(gate, status)?;
    if deadline > turn.now {
        turn.wake(deadline);
        return None;
    }
    let why =
        format!("gate {} had no evidence for {}: {}", gate.name, gate.on_no_data.deadline, status.message);
    Some(Trip { asks, why })
}

/// What a gate that tripped says.
pub(super) fn failed_in_words(gate: &Gate, status: &GateStatus) -> String {
    let times = match status.consecutive_failures {
        0 | 1 => String::new(),
        n => format!(", {n} times in a row"),
    };
    format!("gate {} failed{times}: {}", gate.name, status.message)
}

/// Counts the time that was proven since the last count. `in_force` says whether the weight is.
pub(super) fn count(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
    in_force: bool,
) {
    let gates: Vec<Judge<'_>> = gates_of(turn, part).into_iter().filter(|gate| !gate.is_mute()).collect();
    let is_counting = in_force && !turn.is_paused();
    let clean_until = if is_counting { clean_until(&gates, &component.gates, turn.now) } else { None };
    let time = bake_time(component, phase);
    let Some(bake) = component.bake.as_mut() else { return };
    let step_max = match gates.iter().map(|gate| gate.interval).max() {
        Some(interval) => Span::millis(interval.as_millis() * 2 + SLACK.as_millis()),
        None => UNGATED_STEP_MIN.max(Span::millis(phase.bake_time.as_millis() / 60)),
    };
    bake.counted_until = match (clean_until, bake.counted_until) {
        (None, _) => None,
        // After a break time counts from now: what a slow gate said before it proves nothing of the break.
        (Some(_), None) => Some(turn.now),
        (Some(until), Some(from)) => {
            let step = between(from, until).min(step_max);
            bake.earned = Span::millis(bake.earned.as_millis() + step.as_millis());
            Some(until.max(from))
        }
    };
    if gates.is_empty() && is_counting {
        let rest = Span::millis(time.as_millis() - bake.earned.as_millis());
        if !rest.is_zero() {
            turn.wake_after(rest.min(Span::millis(step_max.as_millis() / 2)));
        }
    }
}

/// Whether the latest word of a gate lets the bake go on. A test that has shown neither harm nor safety does: it has looked at
/// every request so far.
fn is_clean(gate: &Gate, status: &GateStatus) -> bool {
    status.verdict == Verdict::Pass || is_undecided(gate, status)
}

/// Whether a test has counted requests of the phase, and shown neither harm nor safety.
pub(super) fn is_undecided(gate: &Gate, status: &GateStatus) -> bool {
    Counting::is_test(gate) && status.verdict == Verdict::Wait && status.passes > 0
}

/// Until when every gate is known to have passed; `None` if one does not pass.
fn clean_until(gates: &[Judge<'_>], statuses: &[GateStatus], now: Timestamp) -> Option<Timestamp> {
    let mut until = None::<Timestamp>;
    for gate in gates {
        let status = statuses.iter().find(|status| status.name == gate.name)?;
        if !is_clean(gate, status) || status.tripped {
            return None;
        }
        let passed_at = status.evaluated_at?;
        until = Some(until.map_or(passed_at, |known| known.min(passed_at)));
    }
    Some(until.unwrap_or(now))
}

/// Whether the phase is earned: all of its time is proven, and every gate passed often enough and passes now.
pub(super) fn is_earned(
    turn: &Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    phase: &Phase,
) -> bool {
    let Some(bake) = component.bake.as_ref() else { return false };
    let gates = gates_of(turn, part).into_iter().filter(|gate| !gate.is_mute());
    let has_passed = |gate: Judge<'_>| {
        let status = component.gates.iter().find(|status| status.name == gate.name);
        let is_enough = |s: &GateStatus| {
            s.verdict == Verdict::Pass
                || (is_undecided(&gate, s) && gate.on_inconclusive == OnInconclusive::Promote)
        };
        status.is_some_and(|s| is_enough(s) && !s.tripped && s.passes >= gate.min_evaluations)
    };
    bake.counted_until.is_some()
        && (remaining(component, bake, phase).is_zero() || flaw::is(Flaw::ShortBake))
        && gates.into_iter().all(has_passed)
}

/// Whether nothing speaks against the next raise now: time passes between the end of a bake and the raise, and what the
/// gates say in it counts as well. A gate whose judgement a person has just set aside has not spoken yet.
pub(super) fn lets_raise(turn: &Turn<'_>, component: &ComponentStatus, part: &Part<'_>) -> bool {
    let gates = gates_of(turn, part).into_iter().filter(|gate| !gate.is_mute());
    let speaks_against = |gate: Judge<'_>| {
        let status = component.gates.iter().find(|status| status.name == gate.name);
        status.is_some_and(|s| s.tripped || !matches!(s.verdict, Verdict::Pass | Verdict::Wait))
    };
    component.bake.is_none() || !gates.into_iter().any(speaks_against)
}

/// Sets aside what the gates said so far, by a person's word: they are judged anew.
pub(super) fn set_aside(component: &mut ComponentStatus) {
    component.health = None;
    for gate in &mut component.gates {
        gate.verdict = Verdict::Wait;
        gate.tripped = false;
        gate.consecutive_failures = 0;
        gate.recent.clear();
        gate.no_data_since = None;
    }
    counting::begin_anew(component);
}

/// What gates said last, for the record of a phase that was earned; nothing without gates.
pub(super) fn in_words(gates: &[GateStatus]) -> String {
    let said = |gate: &GateStatus| format!("{} passed {} times, {}", gate.name, gate.passes, gate.message);
    let all: Vec<String> = gates.iter().filter(|gate| gate.verdict == Verdict::Pass).map(said).collect();
    if all.is_empty() { String::new() } else { format!(": {}", all.join("; ")) }
}

/// Bake time that is still to be earned.
pub(super) fn remaining(component: &ComponentStatus, bake: &BakeStatus, phase: &Phase) -> Span {
    Span::millis(bake_time(component, phase).as_millis() - bake.earned.as_millis())
}

/// How long the phase bakes: shorter, if it may be, once every test has shown the canary to be safe.
fn bake_time(component: &ComponentStatus, phase: &Phase) -> Span {
    let tests = || component.statistics.iter().filter(|counted| counted.limit > 0.0);
    let is_safe = tests().count() > 0 && tests().all(|counted| counted.safe);
    match phase.min_bake_time {
        Some(least) if is_safe => least.min(phase.bake_time),
        _ => phase.bake_time,
    }
}

/// The names of gates that keep the bake from going on, for people.
pub(super) fn blocking(component: &ComponentStatus, gates: &[Judge<'_>]) -> BTreeSet<String> {
    let blocks = |gate: &&Judge<'_>| {
        !gate.is_mute()
            && component
                .gates
                .iter()
                .any(|s| s.name == gate.name && (s.tripped || s.verdict != Verdict::Pass))
    };
    gates.iter().filter(blocks).map(|gate| gate.name.clone()).collect()
}
