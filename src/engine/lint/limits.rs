//! Limits: per cent and ratio, seconds and milliseconds, zero tolerance, samples.

use crate::api::{CountersRule, Gate, Preset, Rule, Threshold};
use crate::engine::query::parsed;
use crate::engine::statistics::threshold::min_samples;

use super::catalog::{EASY_COMPARISON, NO_TOLERANCE, PER_CENT, TOO_FEW_SAMPLES, UNIT_OF_AUTO, UNIT_OF_TIME};
use super::promql;
use super::scene::{GateAt, Scene, Subject, gates};
use super::traffic::slowest;
use super::{Desk, Given};

pub fn check(scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    for at in gates(&subject.rollout.spec) {
        match at.gate.rule() {
            Some(Rule::Number { query, limits }) => number(&at, query, limits, desk),
            Some(Rule::Counters { by, .. }) => counters(scene.given, subject, &at, &by, desk),
            _ => {}
        }
        unit(&at, desk);
        if at.gate.prometheus.preset == Some(Preset::Auto) && at.gate.has_bounds() {
            let message =
                "Auto may choose metrics in seconds or in milliseconds, and the limit is in one of them";
            let field = format!("{}.prometheus.preset", at.field);
            desk.say(&UNIT_OF_AUTO, field, message.to_owned(), "Name the preset, or leave the bounds out.");
        }
    }
}

fn number(at: &GateAt<'_>, query: &str, limits: &Threshold, desk: &mut Desk<'_>) {
    let Ok(expr) = parsed(query) else { return };
    let Some(ratio) = promql::ratio(&expr).filter(|it| promql::is_share(it)) else { return };
    let _ = ratio;
    share(at, limits, promql::factor(&expr), desk);
}

/// A share that is at most `whole`: 1, or 100 for per cent.
fn share(at: &GateAt<'_>, limits: &Threshold, whole: f64, desk: &mut Desk<'_>) {
    let field = |name: &str| format!("{}.threshold.{name}", at.field);
    if let Some(max) = limits.max {
        if max >= whole {
            let message =
                format!("the query answers a share of at most {whole}: max: {max} passes whatever happens");
            desk.say(&PER_CENT, field("max"), message, of_whole(max, whole));
        } else if whole >= 100.0 && max > 0.0 && max < 0.1 {
            let message =
                format!("the query answers per cent: max: {max} is {} of the requests", max / 100.0);
            desk.say(
                &PER_CENT,
                field("max"),
                message,
                format!("For {} % write max: {}.", max * 100.0, max * 100.0),
            );
        } else if max == 0.0 {
            let message = "max: 0 fails at the first bad request, and every service has some: the more traffic, the surer a healthy \
                           release goes back";
            desk.say(
                &NO_TOLERANCE,
                field("max"),
                message.to_owned(),
                "Give a rate that is bearable, or compare with stable by bad and total.",
            );
        }
    }
    if let Some(min) = limits.min {
        if min > whole {
            let message =
                format!("the query answers a share of at most {whole}: min: {min} can never be reached");
            desk.say(&PER_CENT, field("min"), message, of_whole(min, whole));
        } else if (min - whole).abs() < f64::EPSILON {
            let message = format!("min: {min} fails at the first bad request, and every service has some");
            desk.say(
                &NO_TOLERANCE,
                field("min"),
                message,
                "Give a rate that is bearable, or compare with stable by bad and total.",
            );
        } else if whole >= 100.0 && min > 0.0 && min <= 1.0 {
            let message = format!(
                "the query answers per cent: min: {min} passes when {} % of the requests fail",
                100.0 - min
            );
            desk.say(
                &PER_CENT,
                field("min"),
                message,
                format!("For {} % write min: {}.", min * 100.0, min * 100.0),
            );
        }
    }
}

fn of_whole(limit: f64, whole: f64) -> String {
    if whole <= 1.0 && limit <= 100.0 {
        format!("For {limit} % write {}.", limit / 100.0)
    } else {
        format!("Give a limit below {whole}.")
    }
}

fn counters(given: &Given, subject: &Subject, at: &GateAt<'_>, by: &CountersRule<'_>, desk: &mut Desk<'_>) {
    let (samples, field) = match by {
        CountersRule::Share(limits) => {
            share(at, limits, 1.0, desk);
            #[allow(clippy::cast_precision_loss, reason = "at most 10⁹")]
            let asked = limits.min_samples.map(|it| it as f64);
            let usual = limits.max.filter(|it| *it > 0.0).map(min_samples);
            (asked.or(usual), "threshold")
        }
        CountersRule::Compare(compare) => {
            if compare.min_difference >= 0.1 {
                let message = format!(
                    "it fails only when the canary's share of bad requests is {} % above stable's: below that any regression passes",
                    compare.min_difference * 100.0
                );
                let field = format!("{}.compare.minDifference", at.field);
                desk.say(
                    &EASY_COMPARISON,
                    field,
                    message,
                    "It is a share from 0 to 1: for half a per cent write 0.005.",
                );
            }
            #[allow(clippy::cast_precision_loss, reason = "at most 10⁹")]
            let samples = compare.min_samples as f64;
            (Some(samples), "compare")
        }
        _ => return,
    };
    let measured = slowest(given, subject, at).map(|(_, it)| (it.per_second * 10.0).round() / 10.0);
    let (Some(samples), Some(per_second)) = (samples, measured.or(given.per_second)) else { return };
    let Some(first) = subject.rollout.spec.phases.first() else { return };
    let share = f64::from(first.traffic) / 100.0;
    let held = per_second * share * at.gate.window.as_std().as_secs_f64();
    if held < samples {
        let needed = (samples / (per_second * share)).ceil();
        desk.say(
            &TOO_FEW_SAMPLES,
            format!("{}.{field}", at.field),
            format!(
                "{} % of {per_second} requests a second are {held:.0} in a window of {}, and the gate waits for {samples:.0}: in \
                 the phase {} it never judges",
                first.traffic, at.gate.window, first.name
            ),
            format!("Lengthen window to {needed:.0}s, raise the first share, or compare with stable since the run began."),
        );
    }
}

/// Seconds and milliseconds.
fn unit(at: &GateAt<'_>, desk: &mut Desk<'_>) {
    let Some((limit, field, metrics)) = latency(at.gate) else { return };
    let ends = |words: &[&str]| metrics.iter().any(|it| words.iter().any(|word| it.contains(word)));
    if ends(&["_seconds"]) && !ends(&["_milliseconds"]) && limit >= 30.0 {
        let message = format!("the metric is in seconds: {limit} are {limit} seconds");
        desk.say(
            &UNIT_OF_TIME,
            format!("{}.{field}", at.field),
            message,
            format!("For {limit} milliseconds write {}.", limit / 1000.0),
        );
    } else if ends(&["_milliseconds", "_ms_", "_duration_ms"]) && limit > 0.0 && limit < 2.0 {
        let message = format!("the metric is in milliseconds: {limit} is {limit} of them");
        desk.say(
            &UNIT_OF_TIME,
            format!("{}.{field}", at.field),
            message,
            format!("For {limit} seconds write {}.", limit * 1000.0),
        );
    }
}

/// The limit of a latency, its field, and the metrics that it is of.
fn latency(gate: &Gate) -> Option<(f64, String, Vec<String>)> {
    let of =
        |query: &str| parsed(query).ok().map(|it| promql::metrics(&it).into_iter().collect::<Vec<String>>());
    if let Some(quantile) = &gate.quantile {
        return Some((quantile.max, "quantile.max".to_owned(), of(gate.prometheus.buckets.as_deref()?)?));
    }
    if let Some(bounds) = gate.sequential_latency.as_ref().map(|it| &it.bounds).filter(|it| !it.is_empty()) {
        let metrics = of(gate.prometheus.buckets.as_deref()?)?;
        let index = if metrics.iter().any(|it| it.contains("milli")) { 0 } else { bounds.len() - 1 };
        return Some((bounds[index], format!("sequentialLatency.bounds[{index}]"), metrics));
    }
    let query = gate.prometheus.query.as_deref()?;
    let is_quantile = parsed(query).is_ok_and(|it| !promql::calls(&it, &["histogram_quantile"]).is_empty());
    let max = gate.threshold.as_ref()?.max?;
    is_quantile.then_some(())?;
    Some((max, "threshold.max".to_owned(), of(query)?))
}
