//! When a gate that counts will have shown something, if the traffic stays as it was.

use jiff::Timestamp;

use crate::api::{ComponentStatus, Gate, GateStatistics, RolloutSpec, Span, TimelineEntry};
use crate::engine::counting::{Counting, memory, trial_of};
use crate::engine::judges::{judges, steps};
use crate::engine::plan::Reason;
use crate::engine::statistics::Block;
use crate::engine::statistics::trial::{Settings, Trial};

/// Blocks that are looked ahead: at 30 s each, a day and a half.
const BLOCKS_MAX: u32 = 4_000;
/// The regression that people ask about.
const DOUBLING: f64 = 2.0;

/// What a gate will have shown, if the requests come on as they did since the run began. Times are seconds from the last block
/// that was counted; `None`: not within 4000 blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Requests a second, of both versions together.
    pub per_second: f64,
    /// The canary's share of them now, 0 to 1.
    pub weight: f64,
    /// Until the canary is shown to be safe, if its share of bad requests stays what it was.
    pub safe_in: Option<f64>,
    /// Until harm is shown, if its share of bad requests stays what it was.
    pub harm_in: Option<f64>,
    /// Until harm is shown, if from now on the canary has twice stable's share of bad requests; `None` also while stable has had
    /// no bad request or gets no traffic.
    pub doubling_in: Option<f64>,
}

/// The forecast for a gate of `component`; `None` for gates without a test, and before anything was counted.
#[must_use]
pub fn forecast(
    spec: &RolloutSpec,
    component: &ComponentStatus,
    timeline: &[TimelineEntry],
    gate: &str,
) -> Option<Forecast> {
    let counted = component.statistics.iter().find(|it| it.name == gate)?;
    let judge = judges(spec, &component.name).into_iter().find(|it| it.name == gate)?;
    let settings = settings(spec, component, &judge, counted)?;
    let seconds = counted_seconds(component, timeline, counted.counted_until?)?;
    let all = counted.canary_total + counted.stable_total;
    let per_second = all / seconds;
    if !(per_second > 0.0 && per_second.is_finite() && counted.canary_total > 0.0) {
        return None;
    }
    let weight = f64::from(component.weight.clamp(0, 100)) / 100.0;
    let block = judge.interval.as_millis() as f64 / 1_000.0;
    let share = |bad: f64, total: f64| if total > 0.0 { bad / total } else { 0.0 };
    let of_canary = share(counted.canary_bad, counted.canary_total);
    let of_stable = share(counted.stable_bad, counted.stable_total);
    let begun = trial_of(&memory(counted), &settings);
    let limit = if counted.limit > 0.0 { counted.limit } else { (1.0 / spec.alpha).ln() };
    let look = |of_canary: f64| {
        let requests = per_second * block;
        let (canary, stable) = (requests * weight, requests * (1.0 - weight));
        let next = Block::new((canary * of_canary, canary), (stable * of_stable, stable));
        ahead(&begun, &settings, next, limit)
    };
    let in_seconds = |blocks: Option<u32>| blocks.map(|blocks| f64::from(blocks) * block);
    let as_it_is = look(of_canary);
    let can_double = counted.stable_bad > 0.0 && weight < 1.0;
    let doubled = if can_double { look((of_stable * DOUBLING).min(1.0)).harm } else { None };
    Some(Forecast {
        per_second,
        weight,
        safe_in: in_seconds(as_it_is.safe),
        harm_in: in_seconds(as_it_is.harm),
        doubling_in: in_seconds(doubled),
    })
}

/// The test of a gate with what was learned when the run began.
fn settings(
    spec: &RolloutSpec,
    component: &ComponentStatus,
    gate: &Gate,
    counted: &GateStatistics,
) -> Option<Settings> {
    let planned = steps(spec, &component.name).iter().map(|step| step.phase.bake_time.as_millis()).sum();
    let counting = Counting {
        gate,
        rule: gate.rule()?,
        started_at: counted.counted_until?,
        planned: Span::millis(planned),
        sets: ("", ""),
        canary_pods: 1,
        is_whole: component.weight >= 100,
        has_service: false,
    };
    // Before the history was looked at nothing is frozen.
    counting.settings(counted).filter(|_| !counted.learned.is_empty())
}

/// Blocks until harm and safety are shown.
struct Ahead {
    harm: Option<u32>,
    safe: Option<u32>,
}

fn ahead(begun: &Trial, settings: &Settings, next: Block, limit: f64) -> Ahead {
    let blocks = match begun {
        Trial::Latency { safe, .. } => vec![next; safe.len()],
        _ => vec![next],
    };
    let (mut trial, mut found) = (begun.clone(), Ahead { harm: None, safe: None });
    for count in 0..BLOCKS_MAX {
        if found.harm.is_none() && trial.harm() >= limit {
            found.harm = Some(count);
        }
        if found.safe.is_none() && trial.is_safe(settings) {
            found.safe = Some(count);
        }
        if found.harm.is_some() || found.safe.is_some() {
            break;
        }
        trial = trial.step(settings, &blocks);
    }
    found
}

/// The time in which requests were counted: from each moment at which a phase was reached to the one at which it was left.
fn counted_seconds(component: &ComponentStatus, timeline: &[TimelineEntry], until: Timestamp) -> Option<f64> {
    let reached = Reason::PhaseReached.as_str();
    let left = [Reason::PhaseEarned, Reason::SteppedBack].map(Reason::as_str);
    let (mut since, mut seconds) = (None, 0.0);
    let past = |from: Timestamp, to: Timestamp| to.min(until).duration_since(from).as_secs_f64().max(0.0);
    for entry in timeline.iter().filter(|entry| entry.component == component.name) {
        if entry.reason == reached {
            since.get_or_insert(entry.at);
        } else if left.contains(&entry.reason.as_str())
            && let Some(from) = since.take()
        {
            seconds += past(from, entry.at);
        }
    }
    let open =
        since.or_else(|| component.bake.as_ref().filter(|_| seconds == 0.0).map(|bake| bake.started_at));
    let seconds = seconds + open.map_or(0.0, |from| past(from, until));
    (seconds > 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> RolloutSpec {
        serde_json::from_value(serde_json::json!({
            "components": [{"name": "api", "workloadRef": {"name": "api"}}],
            "gates": [{"name": "errors", "interval": "30s", "prometheus": {"bad": "bad", "total": "total"}}],
        }))
        .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Five minutes at 10 % of 100 requests a second.
    fn component(canary_bad: f64) -> (ComponentStatus, Vec<TimelineEntry>) {
        let statistics = GateStatistics {
            name: "errors".into(),
            counted_until: Some(at(300)),
            canary_bad,
            canary_total: 3_000.0,
            stable_bad: 135.0,
            stable_total: 27_000.0,
            limit: 100.0_f64.ln(),
            phi: 1.0,
            tolerance: 1.05,
            learned: "the past".into(),
            ..GateStatistics::default()
        };
        let entry = TimelineEntry {
            at: at(0),
            component: "api".into(),
            reason: Reason::PhaseReached.as_str().into(),
            message: String::new(),
        };
        let component = ComponentStatus {
            name: "api".into(),
            weight: 10,
            statistics: vec![statistics],
            ..ComponentStatus::default()
        };
        (component, vec![entry])
    }

    #[test]
    fn a_healthy_canary_will_be_shown_safe_and_a_bad_one_harmful() {
        let (healthy, timeline) = component(15.0);
        let known = forecast(&spec(), &healthy, &timeline, "errors").unwrap();
        assert!((known.per_second - 100.0).abs() < 1e-9 && (known.weight - 0.1).abs() < 1e-9, "{known:?}");
        assert!(known.safe_in.is_some_and(|seconds| seconds > 0.0), "{known:?}");
        assert_eq!(known.harm_in, None);
        assert!(known.doubling_in > known.safe_in.map(|_| 0.0), "{known:?}");
        let (bad, timeline) = component(60.0);
        let known = forecast(&spec(), &bad, &timeline, "errors").unwrap();
        assert!(known.safe_in.is_none() && known.harm_in < known.doubling_in.or(Some(1e9)), "{known:?}");
    }

    #[test]
    fn before_anything_was_counted_nothing_is_foretold() {
        let (mut none, timeline) = component(0.0);
        none.statistics[0].counted_until = None;
        assert_eq!(forecast(&spec(), &none, &timeline, "errors"), None);
        assert_eq!(forecast(&spec(), &none, &timeline, "other"), None);
    }

    #[test]
    fn the_time_between_two_phases_is_not_counted() {
        let (known, mut timeline) = component(1.0);
        let entry = |second, reason: Reason| TimelineEntry {
            at: at(second),
            component: "api".into(),
            reason: reason.as_str().into(),
            message: String::new(),
        };
        timeline.extend([entry(100, Reason::PhaseEarned), entry(160, Reason::PhaseReached)]);
        assert_eq!(counted_seconds(&known, &timeline, at(300)), Some(240.0));
        assert_eq!(counted_seconds(&known, &timeline, at(60)), Some(60.0));
    }
}
