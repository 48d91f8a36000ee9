//! What the gates of a component can find out in a run to come.

use crate::api::{CountersRule, Gate, OnFailure, RolloutSpec, Rule, Span};
use crate::engine::counting::Counting;
use crate::engine::judges::{Judge, Step, judges, steps};
use crate::engine::statistics::alarms;
use crate::engine::statistics::history::{PHI_UNKNOWN, RHO0_UNKNOWN};
use crate::engine::statistics::planner::{self, Traffic};
use crate::engine::statistics::windows;

/// The share of regressions that shall be found.
pub const POWER: f64 = 0.8;
/// The chance at which a single check of a healthy canary fails, for rules that count failed checks.
pub const CHECK_FAILS: f64 = 0.01;
/// The answer to a question of a metric server is read this long after the block's end, at most.
const LAG: Span = Span::seconds(5);

/// The traffic that a component is taken to have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumed {
    /// Requests a second, to both versions together.
    pub per_second: f64,
    /// The share of them that goes badly today, 0 to 1.
    pub bad: f64,
}

/// One gate in a run to come.
#[derive(Clone, Debug, PartialEq)]
pub struct GateOutlook {
    /// Its name.
    pub name: String,
    /// What happens when it trips.
    pub asks: OnFailure,
    /// Whether it is a test, with a part in `spec.alpha`.
    pub is_test: bool,
    /// The time from the moment at which the first phase's weight is in force to the first moment at which it can trip.
    pub first_trip: Span,
    /// The chance that it trips in a run of a healthy version: at most, for a test; if one check in a hundred fails by chance, for
    /// rules that count failed checks. `None`: unknown.
    pub false_alarm: Option<f64>,
    /// φ that is reckoned with.
    pub phi: f64,
    /// The tolerance that is reckoned with.
    pub tolerance: f64,
    /// What can be found by the end of each phase; for tests of bad requests with known traffic.
    pub phases: Vec<PhaseOutlook>,
}

/// What a gate can find out in one phase alone.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseOutlook {
    /// Its name.
    pub phase: String,
    /// Its share of traffic in per cent.
    pub traffic: i32,
    /// The canary's requests in it.
    pub requests: f64,
    /// The smallest ratio to stable's share that is found with [`POWER`]; `None`: none up to a thousand, or nothing to compare with.
    pub smallest: Option<f64>,
    /// Seconds until a doubled share is found with [`POWER`]; `None`: never.
    pub doubling: Option<f64>,
    /// The share of bad requests that the canary may still have if not one is seen, with 95 % confidence.
    pub most_if_none_bad: f64,
}

/// The gates that judge `component`. `learned` gives φ and the tolerance of a gate, if an earlier run has learned them.
#[must_use]
pub fn gates(
    spec: &RolloutSpec,
    component: &str,
    assumed: Option<Assumed>,
    learned: &dyn Fn(&str) -> Option<(f64, f64)>,
) -> Vec<GateOutlook> {
    let steps = steps(spec, component);
    let tests_of = |name: &str| judges(spec, name).iter().filter(|it| Counting::is_test(it)).count();
    let tests: usize = spec.components.iter().map(|it| tests_of(&it.name)).sum();
    let share = spec.alpha / tests.max(1) as f64;
    let outlook = |judge: &Judge<'_>| {
        let (phi, tolerance) = learned(&judge.name).unwrap_or((PHI_UNKNOWN, RHO0_UNKNOWN));
        let is_test = Counting::is_test(judge);
        let of_rate = matches!(judge.rule(), Some(Rule::Counters { by: CountersRule::Sequential(_), .. }));
        let traffic = assumed.filter(|it| of_rate && it.per_second > 0.0 && it.bad > 0.0 && it.bad < 1.0);
        let traffic = traffic.map(|it| Traffic {
            per_second: it.per_second,
            weight: 0.0,
            bad: it.bad,
            phi,
            rho0: tolerance,
            alpha: share,
        });
        GateOutlook {
            name: judge.name.clone(),
            asks: judge.asks,
            is_test,
            first_trip: first_trip(judge),
            false_alarm: if is_test { Some(share) } else { by_checks(judge, &steps) },
            phi,
            tolerance,
            phases: traffic.map(|it| of_phases(it, &steps)).unwrap_or_default(),
        }
    };
    judges(spec, component).iter().map(outlook).collect()
}

fn of_phases(traffic: Traffic, steps: &[Step]) -> Vec<PhaseOutlook> {
    let of_step = |step: &Step| {
        let bake = step.phase.bake_time.as_millis() as f64 / 1_000.0;
        let weight = f64::from(step.phase.traffic) / 100.0;
        let whole = step.phase.traffic >= 100;
        // Without stable's requests there is nothing to compare with; how many there are is known all the same.
        let known = planner::outlook(&Traffic { weight: weight.min(0.99), ..traffic }, bake, POWER);
        let compared = |number: Option<f64>| number.filter(|it| it.is_finite() && !whole);
        PhaseOutlook {
            phase: step.phase.name.clone(),
            traffic: step.phase.traffic,
            requests: traffic.per_second * weight * bake,
            smallest: compared(known.smallest),
            doubling: compared(Some(known.doubling)),
            most_if_none_bad: known.most_if_none_bad,
        }
    };
    steps.iter().map(of_step).collect()
}

/// The earliest moment at which a gate can trip, from the moment at which the first weight is in force.
fn first_trip(gate: &Gate) -> Span {
    let (delay, interval) = (gate.initial_delay.as_millis(), gate.interval.as_millis());
    if Counting::is_test(gate) {
        return Span::millis(delay + interval + LAG.as_millis().min(interval));
    }
    let checks = i64::from(gate.failure_threshold.max(1));
    let checks = gate.failure_window.map_or(checks, |window| checks.min(i64::from(window.failures.max(1))));
    let first = if Counting::is_for(gate) { interval + LAG.as_millis().min(interval) } else { 0 };
    Span::millis(delay + first + interval * (checks - 1))
}

/// How often failed checks of a healthy canary would add up to a failure.
fn by_checks(gate: &Gate, steps: &[Step]) -> Option<f64> {
    let bake: i64 = steps.iter().map(|step| step.phase.bake_time.as_millis()).sum();
    let checks = u32::try_from(bake / gate.interval.as_millis().max(1)).ok()?.min(100_000);
    let in_a_row = u32::try_from(gate.failure_threshold).ok()?;
    let rule = match gate.failure_window {
        Some(window) => windows::Rule {
            failures: u32::try_from(window.failures).ok()?,
            of: u32::try_from(window.of).ok()?,
        },
        None => windows::Rule::consecutive(in_a_row),
    };
    alarms::sliding(CHECK_FAILS, checks, rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> RolloutSpec {
        serde_json::from_value(serde_json::json!({
            "components": [{"name": "api", "workloadRef": {"name": "api"}}],
            "gates": [
                {"name": "errors", "prometheus": {"bad": "bad", "total": "total"}},
                {"name": "load", "prometheus": {"query": "load"}, "threshold": {"max": 1.0}, "failureThreshold": 3, "initialDelay": "1m"},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn more_traffic_finds_smaller_regressions_sooner() {
        let of = |per_second| gates(&spec(), "api", Some(Assumed { per_second, bad: 0.01 }), &|_| None);
        let (few, many) = (of(5.0), of(500.0));
        let (few, many) = (&few[0].phases[0], &many[0].phases[0]);
        assert!(few.smallest.unwrap_or(f64::INFINITY) > many.smallest.unwrap(), "{few:?} {many:?}");
        assert!(few.doubling.unwrap_or(f64::INFINITY) > many.doubling.unwrap());
        assert!((few.requests - 300.0).abs() < 1e-6, "10 % of 5 a second for ten minutes");
    }

    #[test]
    fn the_test_has_all_of_alpha_and_checks_that_must_follow_each_other_rarely_do() {
        let known = gates(&spec(), "api", None, &|name| (name == "errors").then_some((1.0, 1.1)));
        assert_eq!((known[0].false_alarm, known[0].phi, known[0].tolerance), (Some(0.01), 1.0, 1.1));
        assert_eq!(known[0].first_trip, Span::seconds(35));
        assert!(known[0].phases.is_empty() && known[0].is_test && !known[1].is_test);
        // The third check, two intervals after the first.
        assert_eq!(known[1].first_trip, Span::seconds(120));
        assert!(known[1].false_alarm.is_some_and(|chance| chance > 0.0 && chance < 1e-4), "{known:?}");
    }

    #[test]
    fn at_all_of_the_traffic_there_is_nothing_to_compare_with() {
        let known = gates(&spec(), "api", Some(Assumed { per_second: 50.0, bad: 0.01 }), &|_| None);
        let last = known[0].phases.last().unwrap();
        assert_eq!((last.traffic, last.smallest, last.doubling), (100, None, None));
        assert!(known[1].phases.is_empty());
    }
}
