//! Times: windows, intervals, evaluations and deadlines beside the bakes of the phases.

use std::collections::BTreeMap;

use crate::api::{Component, Gate, OnFailure, Phase, RolloutSpec, Rule, Span, TreatNoDataAs};
use crate::engine::judges::steps;
use crate::engine::query::parsed;
use crate::engine::statistics::alarms::{WINDOW_MAX, sliding};
use crate::engine::statistics::windows;

use super::catalog::{
    FALSE_ALARMS, FAST_INTERVAL, FEW_EVALUATIONS, IDLE_DEADLINE, IDLE_FAILURE_WINDOW, IDLE_MIN_BAKE,
    LATE_START, LONG_WINDOW, SHORT_PATIENCE, SHORT_WINDOW, SLOW_TRIP, UNUSED_WINDOW,
};
use super::promql;
use super::queries::{asked, names};
use super::scene::{GateAt, Scene, Subject, gates};
use super::traffic::is_compared;
use super::{Desk, Given};

/// What most Prometheus servers scrape by, unless the user says otherwise.
const USUAL_SCRAPE: Span = Span::seconds(15);
/// No server scrapes faster.
const LEAST_SCRAPE: Span = Span::seconds(5);

/// Steps that a chance of false alarms is worth.
const COST_MAX: u32 = 50_000_000;

pub fn check(scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    let spec = &subject.rollout.spec;
    for at in gates(spec) {
        let shortest = at.judged.iter().flat_map(|it| bakes(spec, it)).min_by_key(|it| it.1);
        window(scene, subject, &at, shortest.as_ref(), desk);
        if let Some((phase, bake)) = &shortest {
            evaluations(&at, phase, *bake, desk);
        }
        failure_window(&at, desk);
        patience(&at, desk);
        alarms(scene.given, spec, &at, desk);
    }
    early(spec, desk);
}

/// The phases of a component by name, with how long it bakes in each.
fn bakes(spec: &RolloutSpec, component: &Component) -> Vec<(String, Span)> {
    steps(spec, &component.name).into_iter().map(|it| (it.phase.name, it.phase.bake_time)).collect()
}

fn is_given(scene: &Scene<'_>, subject: &Subject, field: &str) -> bool {
    let pointer = format!("/{}", field.replace(['.', '['], "/").replace(']', ""));
    scene.objects[subject.object].pointer(&pointer).is_some()
}

fn seconds(span: Span) -> f64 {
    span.as_std().as_secs_f64()
}

/// In words, rounded up to whole seconds.
fn words(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, reason = "spans end at a hundred years")]
    Span::seconds(seconds.ceil() as i64).to_string()
}

fn window(
    scene: &Scene<'_>,
    subject: &Subject,
    at: &GateAt<'_>,
    shortest: Option<&(String, Span)>,
    desk: &mut Desk<'_>,
) {
    let gate = at.gate;
    let is_number = matches!(gate.rule(), Some(Rule::Number { .. }));
    let scrape = scene.given.scrape.unwrap_or(USUAL_SCRAPE);
    let field = format!("{}.window", at.field);
    let uses = asked(at).iter().any(|(_, text)| names(text, "window"));
    if is_number && !uses && is_given(scene, subject, &field) {
        let message = format!("window: {} is given, and the query does not name $window", gate.window);
        desk.say(
            &UNUSED_WINDOW,
            field.clone(),
            message,
            "Write [$window] for the range in the query, or take window out.",
        );
    }
    for (path, text) in asked(at).iter().filter(|_| is_number) {
        let Ok(expr) = parsed(text) else { continue };
        // The syntax tree has a sample for $window.
        let literal =
            promql::ranges(&expr).into_iter().filter(|it| !names(text, "window") || (*it - 60.0).abs() > 0.5);
        let own = names(text, "window").then(|| (seconds(gate.window), field.clone()));
        let ranges: Vec<(f64, String)> = literal.map(|it| (it, path.clone())).chain(own).collect();
        let is_rated = !promql::calls(&expr, &promql::RATES).is_empty();
        if let Some((range, path)) =
            ranges.iter().find(|(range, _)| is_rated && *range < 2.0 * seconds(scrape))
        {
            desk.say(
                &SHORT_WINDOW,
                path.clone(),
                format!("a range of {} holds fewer than two scrapes of {scrape} now and then: a rate of one sample is no data", words(*range)),
                format!("Look back at least {}; four scrapes forgive one that is missed.", words(4.0 * seconds(scrape))),
            );
        }
        let Some((phase, bake)) = shortest else { continue };
        if let Some((range, path)) = ranges.iter().find(|(range, _)| *range > seconds(*bake)) {
            desk.say(
                &LONG_WINDOW,
                path.clone(),
                format!(
                    "a range of {} is longer than the bake of the phase {phase}, {bake}: what happened before it is judged with it, \
                     and a regression is thinned out",
                    words(*range)
                ),
                "Lengthen the bake or shorten the window.",
            );
        }
    }
    let least = scene.given.scrape.unwrap_or(LEAST_SCRAPE);
    if gate.interval < least {
        desk.say(
            &FAST_INTERVAL,
            format!("{}.interval", at.field),
            format!(
                "an evaluation every {} sees the same samples again: they are taken every {least}",
                gate.interval
            ),
            format!("Make it at least {least}."),
        );
    }
}

/// Evaluations that fail in a row until the gate trips.
fn to_trip(gate: &Gate) -> i32 {
    gate.failure_window.map_or(gate.failure_threshold, |it| it.failures.min(gate.failure_threshold))
}

fn evaluations(at: &GateAt<'_>, phase: &str, bake: Span, desk: &mut Desk<'_>) {
    let (gate, every) = (at.gate, seconds(at.gate.interval));
    let needed = every * f64::from(gate.min_evaluations.max(1) - 1).max(1.0);
    if needed > seconds(bake) {
        let least = gate.min_evaluations;
        desk.say(
            &FEW_EVALUATIONS,
            format!("{}.{}", at.field, if least > 2 { "minEvaluations" } else { "interval" }),
            format!(
                "{least} evaluations every {} take {}, and the phase {phase} bakes for {bake}: it lasts longer than it says",
                gate.interval,
                words(needed)
            ),
            "Shorten interval, ask for fewer evaluations, or lengthen the bake.",
        );
    }
    let trips = every * f64::from(to_trip(gate).max(1));
    if trips > seconds(bake) && at.gate.on_failure != Some(OnFailure::Notify) && needed <= seconds(bake) {
        desk.say(
            &SLOW_TRIP,
            format!("{}.failureThreshold", at.field),
            format!(
                "{} failing evaluations every {} take {}, longer than the phase {phase} bakes, {bake}: a bad release serves its share \
                 all that time",
                to_trip(gate),
                gate.interval,
                words(trips)
            ),
            "Shorten interval or lower failureThreshold.",
        );
    }
    if gate.initial_delay > bake {
        desk.say(
            &LATE_START,
            format!("{}.initialDelay", at.field),
            format!(
                "the first evaluation comes after {}, later than the phase {phase} is meant to last, {bake}",
                gate.initial_delay
            ),
            "The delay is added to every phase: shorten it, or lengthen the bake.",
        );
    }
}

/// A window that cannot trip before the failures in a row do.
fn failure_window(at: &GateAt<'_>, desk: &mut Desk<'_>) {
    let (Some(window), row) = (at.gate.failure_window, at.gate.failure_threshold.max(1)) else { return };
    // The most failures among `of` with never `row` of them in a row.
    let most = window.of - window.of / row;
    if window.failures > most {
        desk.say(
            &IDLE_FAILURE_WINDOW,
            format!("{}.failureWindow", at.field),
            format!(
                "{} of {} failures cannot come without {row} in a row, and those trip the gate already",
                window.failures, window.of
            ),
            format!("Lower failures to {most} or less, or raise failureThreshold."),
        );
    }
}

fn patience(at: &GateAt<'_>, desk: &mut Desk<'_>) {
    let (gate, policy) = (at.gate, at.gate.on_no_data);
    let field = format!("{}.onNoData.deadline", at.field);
    let gap = seconds(gate.interval) * 2.0;
    if policy.treat_as == TreatNoDataAs::Fail {
        let trips = seconds(gate.interval) * f64::from(to_trip(gate));
        // The usual deadline was not asked for.
        if seconds(policy.deadline) > trips && policy.deadline != Span::seconds(3_600) {
            let message = format!(
                "treatAs: Fail trips the gate after {}: the deadline of {} is never reached",
                words(trips),
                policy.deadline
            );
            desk.say(
                &IDLE_DEADLINE,
                field,
                message,
                "Write treatAs: Hold to wait for the deadline, or take the deadline out.",
            );
        }
    } else if seconds(policy.deadline) < gap {
        let message = format!(
            "a deadline of {} is over before two evaluations without data: one scrape that fails, or a restart of the metric server, \
             rolls back",
            policy.deadline
        );
        desk.say(
            &SHORT_PATIENCE,
            field,
            message,
            format!("Give it some minutes, and at least {}.", words(gap)),
        );
    }
}

/// How often fixed limits fail a healthy release.
fn alarms(given: &Given, spec: &RolloutSpec, at: &GateAt<'_>, desk: &mut Desk<'_>) {
    let (Some(chance), Some(component)) = (given.false_check, at.judged.first()) else { return };
    let is_fixed = match at.gate.rule() {
        Some(Rule::Number { .. }) => true,
        Some(Rule::Counters { .. }) => !is_compared(at.gate),
        _ => false,
    };
    if !is_fixed {
        return;
    }
    let bake: f64 = bakes(spec, component).iter().map(|it| seconds(it.1)).sum();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the minimum")]
    let checks = (bake / seconds(at.gate.interval)).min(100_000.0) as u32;
    let chance_of = |failures: u32, of: u32| {
        // The cost doubles with each check of the window; fewer checks give a lower bound.
        let affordable = COST_MAX >> of.clamp(1, WINDOW_MAX).saturating_sub(1);
        sliding(chance, checks.min(affordable), windows::Rule { failures, of })
    };
    let row = at.gate.failure_threshold.unsigned_abs();
    let in_a_row = chance_of(row, row);
    let window = at.gate.failure_window.filter(|it| it.of.unsigned_abs() <= WINDOW_MAX);
    let in_window = window.and_then(|it| chance_of(it.failures.unsigned_abs(), it.of.unsigned_abs()));
    let alarm = in_a_row.unwrap_or_default().max(in_window.unwrap_or_default());
    if alarm > 0.05 {
        desk.say(
            &FALSE_ALARMS,
            format!("{}.failureThreshold", at.field),
            format!(
                "if {} % of the evaluations of a healthy release fail, {checks} of them roll back {:.0} % of healthy releases",
                chance * 100.0,
                alarm * 100.0
            ),
            "Ask for more failures in a row, evaluate less often, or compare with stable by bad and total: that errs in 1 % at most.",
        );
    }
}

/// Early ends of phases.
fn early(spec: &RolloutSpec, desk: &mut Desk<'_>) {
    let gates = gates(spec);
    let proves: BTreeMap<&str, bool> = spec
        .components
        .iter()
        .map(|component| {
            let own = gates.iter().filter(|it| it.judged.iter().any(|other| other.name == component.name));
            (component.name.as_str(), own.into_iter().any(|it| is_compared(it.gate)))
        })
        .collect();
    for (index, phase) in spec.phases.iter().enumerate() {
        let Phase { min_bake_time: Some(least), bake_time, .. } = phase else { continue };
        let field = format!("spec.phases[{index}].minBakeTime");
        if least >= bake_time {
            let message = format!(
                "minBakeTime {least} is not shorter than bakeTime {bake_time}: the phase never ends early"
            );
            desk.say(&IDLE_MIN_BAKE, field, message, "Make it shorter, or take it out.");
        } else if !proves.values().any(|it| *it) {
            let message = "a phase ends early when a gate that compares with stable has shown the canary to be safe, and there is none";
            desk.say(
                &IDLE_MIN_BAKE,
                field,
                message.to_owned(),
                "Add a gate with prometheus.bad and prometheus.total, or take minBakeTime out.",
            );
        }
    }
}
