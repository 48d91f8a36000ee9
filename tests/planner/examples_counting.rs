//! Gates that count requests, by example: what they show, what they survive, and what they do without proof.

use std::cell::RefCell;
use std::rc::Rc;

use jiff::Timestamp;
use palier::api::{GateStatistics, Outcome, Preset, RolloutSpec, RolloutState, Stage, Verdict};
use palier::engine::{Measurement, Reason};
use palier::sim::{Drive, Reply};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::fixtures::{action, at, cluster, spec};
use crate::record;
use crate::seeds;
use crate::traffic::Traffic;

type Shared = Rc<RefCell<Traffic>>;

/// The usual spec with gates that count.
fn counting(gates: serde_json::Value) -> RolloutSpec {
    let mut spec = spec();
    spec.gates = serde_json::from_value(gates).expect("valid gates");
    spec
}

fn errors() -> serde_json::Value {
    let query = |what: &str| format!("{what}{{pod=~\"$pods\"}}");
    json!([{"name": "errors", "interval": "10s", "prometheus": {"bad": query("bad"), "total": query("total")}}])
}

fn with(gates: serde_json::Value, fields: serde_json::Value) -> serde_json::Value {
    let mut gates = gates;
    let gate = gates[0].as_object_mut().expect("a gate");
    gate.extend(fields.as_object().expect("fields").clone());
    gates
}

/// A run of v2 that began at 30 s.
fn begun(
    spec: RolloutSpec,
    traffic: Traffic,
) -> (Drive<impl FnMut(&Measurement, Timestamp) -> Reply>, Shared) {
    let traffic = Rc::new(RefCell::new(traffic));
    let server = Rc::clone(&traffic);
    let mut drive =
        Drive::new(cluster(spec), move |asked: &Measurement, now| server.borrow().answer(asked, now));
    drive.run(at(30), |_, _| {});
    drive.cluster.now = at(30);
    drive.cluster.push_image("shop-api", "app:v2");
    (drive, traffic)
}

fn statistics<F: FnMut(&Measurement, Timestamp) -> R, R: Into<Reply>>(drive: &Drive<F>) -> GateStatistics {
    drive.working.components[0].statistics.first().expect("a gate that counts").clone()
}

fn outcome<F: FnMut(&Measurement, Timestamp) -> R, R: Into<Reply>>(drive: &Drive<F>) -> Option<Outcome> {
    drive.working.run.as_ref().and_then(|run| run.outcome)
}

#[test]
fn a_healthy_version_is_shown_safe_and_reaches_everyone() {
    let (mut drive, _) = begun(counting(errors()), Traffic::healthy());
    drive.run(at(70), |_, _| {});
    let known = statistics(&drive);
    assert!(known.learned.starts_with("360 minutes of 4 stable pods"), "{known:?}");
    assert!(known.phi >= 1.0 && known.tolerance >= 1.05, "{known:?}");
    assert!(known.canary_total > 0.0 && known.stable_total > known.canary_total, "{known:?}");
    drive.run(at(210), |_, _| {});
    let known = statistics(&drive);
    assert!(known.safe && known.evidence < known.limit, "{known:?}");
    assert!(known.state.len() < 2048, "{} bytes", known.state.len());
    // 40 a second from the first bake on, over all three phases.
    assert!(known.canary_total > 40.0 * 120.0, "{known:?}");
    drive.run(at(400), |_, _| {});
    assert_eq!(outcome(&drive), Some(Outcome::Completed), "{:#?}", drive.working);
}

#[test]
fn harm_takes_the_release_back_at_once_and_says_how_much() {
    let bad = Traffic { bad: (0.05, 0.01), ..Traffic::healthy() };
    let (mut drive, _) = begun(counting(errors()), bad);
    drive.run(at(200), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack, "{:#?}", drive.working);
    let told = drive.happened.iter().find(|(_, it)| it.reason == Reason::RollbackStarted).expect("told");
    assert!(told.0 < at(70), "at {}", told.0);
    for words in ["gate errors failed: harm is shown", "times stable's", "(5.0 %)"] {
        assert!(told.1.message.contains(words), "{}", told.1.message);
    }
}

#[test]
fn what_was_missed_is_counted_later_and_nothing_twice() {
    let until = at(140);
    let (mut plain, _) = begun(counting(errors()), Traffic::healthy());
    plain.run(until, |_, _| {});
    let undisturbed = statistics(&plain);
    assert!(undisturbed.counted_until.is_some());
    // The metric server is away for 25 s of the first bake; it took no samples meanwhile.
    let away = Traffic { outage: Some((at(52), at(77))), ..Traffic::healthy() };
    let (mut drive, _) = begun(counting(errors()), away);
    let mut held = false;
    drive.run(until, |_, plan| {
        held |= plan.status.components[0].gates.iter().any(|gate| gate.verdict == Verdict::Error);
    });
    assert!(held, "the outage was not seen");
    let known = statistics(&drive);
    let requests = |it: &GateStatistics| {
        let since = it.counted_until.expect("counted").duration_since(at(0)).as_secs_f64();
        // Requests in a second of counted time: the same whatever happened in between.
        (it.canary_total / (since - 33.0), it.stable_total / (since - 33.0))
    };
    let (a, b) = (requests(&undisturbed), requests(&known));
    assert!((a.0 - b.0).abs() < 4.0 && (a.1 - b.1).abs() < 16.0, "{a:?} {b:?}\n{undisturbed:?}\n{known:?}");
    // A controller that dies every ten seconds counts the same as one that does not.
    let (mut dying, _) = begun(counting(errors()), Traffic::healthy());
    for second in (40..140).step_by(10) {
        dying.run(at(second), |_, _| {});
        dying.crash();
    }
    dying.run(until, |_, _| {});
    let (known, same) = (statistics(&dying), statistics(&plain));
    if known.counted_until == same.counted_until {
        assert_eq!(known, same);
    }
    assert!(known.canary_total >= same.canary_total - 40.0 * 20.0, "{known:?}");
}

#[test]
fn processes_that_begin_anew_are_counted_once() {
    let (mut plain, _) = begun(counting(errors()), Traffic::healthy());
    let restart = Traffic { restart: Some(at(60)), ..Traffic::healthy() };
    let (mut again, _) = begun(counting(errors()), restart);
    plain.run(at(95), |_, _| {});
    again.run(at(95), |_, _| {});
    let (plain, again) = (statistics(&plain), statistics(&again));
    assert!(again.canary_total <= plain.canary_total && again.canary_total > plain.canary_total - 450.0);
}

#[test]
fn without_proof_a_phase_ends_as_the_gate_says() {
    // Four requests a minute and none bad: neither harm nor safety can be shown in three minutes.
    let quiet = Traffic { rates: (0.2, 0.2), bad: (0.0, 0.0), ..Traffic::healthy() };
    for (says, state) in [
        ("Hold", RolloutState::Held),
        ("Promote", RolloutState::Completed),
        ("Rollback", RolloutState::RolledBack),
    ] {
        let gates = with(errors(), json!({"onInconclusive": says}));
        let (mut drive, traffic) = begun(counting(gates), quiet.clone());
        drive.run(at(600), |_, _| {});
        assert_eq!(drive.working.state, state, "{says}: {:#?}", drive.working);
        if state == RolloutState::Held {
            let component = &drive.working.components[0];
            assert_eq!(component.stage, Stage::Baking);
            assert!(component.gates[0].message.starts_with("neither harm nor safety"), "{component:?}");
            // Traffic comes: the proof follows, and the run goes on by itself.
            traffic.borrow_mut().rates = (200.0, 200.0);
            drive.run(at(1_200), |_, _| {});
            assert_eq!(drive.working.state, RolloutState::Completed, "{:#?}", drive.working);
        }
    }
}

#[test]
fn no_traffic_is_no_evidence() {
    let none = Traffic { rates: (0.0, 40.0), ..Traffic::healthy() };
    let (mut drive, _) = begun(counting(errors()), none);
    drive.run(at(300), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Held);
    let gate = &drive.working.components[0].gates[0];
    assert_eq!(gate.verdict, Verdict::NoData, "{gate:?}");
    assert!(gate.message.contains("no request of the canary"), "{gate:?}");
}

#[test]
fn without_samples_no_bake_time_is_earned() {
    let blind = Traffic { blind_from: Some(at(62)), ..Traffic::healthy() };
    let (mut drive, _) = begun(counting(errors()), blind);
    drive.run(at(900), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Held, "{:#?}", drive.working);
    let component = &drive.working.components[0];
    assert_eq!(
        (component.phase_index, component.gates[0].verdict),
        (Some(0), Verdict::NoData),
        "{component:#?}"
    );
    assert!(component.gates[0].message.contains("no samples"), "{:?}", component.gates[0]);
}

#[test]
fn a_phase_ends_early_once_the_canary_is_shown_safe_if_it_may() {
    let mut spec = counting(errors());
    for phase in &mut spec.phases {
        phase.bake_time = palier::api::Span::seconds(600);
        phase.min_bake_time = Some(palier::api::Span::seconds(60));
    }
    let (mut drive, _) = begun(spec, Traffic::healthy());
    drive.run(at(500), |_, _| {});
    assert_eq!(outcome(&drive), Some(Outcome::Completed), "{:#?}", drive.working);
    let timeline = &drive.working.run.as_ref().expect("a run").timeline;
    let first = timeline.iter().find(|it| it.reason == Reason::PhaseEarned.as_str()).expect("earned");
    assert!(first.at >= at(93) && first.at < at(120), "{first:?}");
    assert!(first.message.contains("safe: "), "{first:?}");
}

#[test]
fn promoting_past_harm_begins_the_evidence_anew() {
    let bad = Traffic { bad: (0.05, 0.01), ..Traffic::healthy() };
    let gates = with(errors(), json!({"onFailure": "Hold"}));
    let (mut drive, traffic) = begun(counting(gates), bad);
    drive.run(at(90), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Held, "{:#?}", drive.working);
    assert!(drive.working.components[0].gates[0].tripped);
    traffic.borrow_mut().bad = (0.01, 0.01);
    traffic.borrow_mut().restart = Some(at(90));
    drive.cluster.act(action(palier::api::ActionKind::Promote, 1));
    drive.run(at(600), |_, _| {});
    assert_eq!(outcome(&drive), Some(Outcome::Completed), "{:#?}", drive.working);
}

#[test]
fn a_step_back_is_judged_by_what_the_smaller_share_does() {
    let gates = with(errors(), json!({"onFailure": "StepBack"}));
    let (mut drive, traffic) = begun(counting(gates), Traffic::healthy());
    let mut second = 30;
    while drive.working.components[0].phase_index != Some(1) {
        second += 1;
        drive.run(at(second), |_, _| {});
        assert!(second < 300, "{:#?}", drive.working);
    }
    // Bad for half a minute, and good again.
    let anew =
        |second: i64, bad: f64| Traffic { bad: (bad, 0.01), restart: Some(at(second)), ..Traffic::healthy() };
    *traffic.borrow_mut() = anew(second, 0.1);
    while drive.working.components[0].step_backs == 0 {
        second += 1;
        drive.run(at(second), |_, _| {});
        assert!(second < 400, "{:#?}", drive.working);
    }
    *traffic.borrow_mut() = anew(second, 0.01);
    drive.run(at(second + 700), |_, _| {});
    assert_eq!(outcome(&drive), Some(Outcome::Completed), "{:#?}", drive.working);
    let run = drive.working.run.as_ref().expect("a run");
    let back = run.timeline.iter().filter(|it| it.reason == Reason::SteppedBack.as_str()).count();
    assert_eq!(back, 1, "{:#?}", run.timeline);
}

#[test]
fn windows_budgets_and_histograms_judge_too() {
    let query = |what: &str| format!("{what}{{pod=~\"$pods\"}}");
    let counters = json!({"bad": query("bad"), "total": query("total")});
    let buckets = json!({"buckets": "sum by (pod, le) (buckets{pod=~\"$pods\"})"});
    let gate = |asked: &serde_json::Value, by: serde_json::Value| {
        with(json!([{"name": "it", "interval": "10s", "prometheus": asked}]), by)
    };
    for gates in [
        gate(&counters, json!({"threshold": {"max": 0.02}})),
        gate(&counters, json!({"compare": {}})),
        gate(
            &counters,
            json!({"budget": {"objective": 0.99, "windowRequests": 1_000_000.0, "maxSpend": 0.02}}),
        ),
        gate(&buckets, json!({"quantile": {"quantile": 0.98, "max": 0.5}})),
        gate(&buckets, json!({})),
    ] {
        for (bad, expected) in [(0.005, Outcome::Completed), (0.2, Outcome::RolledBack)] {
            let traffic = Traffic { bad: (bad, 0.005), rates: (100.0, 100.0), ..Traffic::healthy() };
            let (mut drive, _) = begun(counting(gates.clone()), traffic);
            drive.run(at(900), |_, _| {});
            assert_eq!(outcome(&drive), Some(expected), "{bad} {gates}: {:#?}", drive.working);
        }
    }
}

/// What happens to the controller, the metric server and the canary while requests are counted; seconds from the start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    crashes: Vec<i64>,
    outage: Option<(i64, i64)>,
    restart: Option<i64>,
}

impl crate::shapes::Script for Script {
    fn any() -> BoxedStrategy<Self> {
        let crashes = prop::collection::vec(40i64..88, 0..5);
        let outage = prop::option::of((40i64..70, 1i64..25));
        let script = (crashes, outage, prop::option::of(45i64..80));
        script.prop_map(|(crashes, outage, restart)| Self { crashes, outage, restart }).boxed()
    }

    fn play(&self) {
        self.crashes.iter().for_each(|_| record::count(&"Crash"));
        self.outage.iter().for_each(|_| record::count(&"Outage"));
        self.restart.iter().for_each(|_| record::count(&"Reset"));
        count(self);
    }
}

/// Whatever dies, and however long the metric server is away: no request is counted twice, and none is lost but in a block in
/// which the canary's processes began anew.
fn count(script: &Script) {
    let Script { crashes, outage, restart } = script.clone();
    let traffic = Traffic {
        outage: outage.map(|(from, seconds)| (at(from), at(from + seconds))),
        restart: restart.map(at),
        ..Traffic::healthy()
    };
    let (mut drive, _) = begun(counting(errors()), traffic);
    let mut crashes = crashes;
    crashes.sort_unstable();
    for second in crashes {
        drive.run(at(second), |_, plan| record::decision(plan));
        drive.crash();
    }
    drive.run(at(90), |_, plan| record::decision(plan));
    let known = statistics(&drive);
    if let (Some(until), Some(bake)) = (known.counted_until, drive.working.components[0].bake.as_ref()) {
        let seconds = until.duration_since(bake.started_at).as_secs_f64();
        // The block is longer where its end fell into the outage.
        let longest = 20.0 + outage.map_or(0.0, |(_, seconds)| seconds as f64);
        let lost = if restart.is_some() { 40.0 * longest } else { 0.0 };
        // A counter shows whole requests only, and a bad one less where it is cut.
        assert!(known.canary_total <= 40.0 * seconds + 2.0, "{known:?} in {seconds} s");
        assert!(known.canary_total >= 40.0 * seconds - lost - 2.0 - 41.0, "{known:?} in {seconds} s");
        assert!((known.stable_total - 160.0 * seconds).abs() <= 8.0 + 161.0, "{known:?} in {seconds} s");
    } else {
        assert!(outage.is_some(), "nothing was counted: {:#?}", drive.working);
    }
}

proptest! {
    #![proptest_config(seeds::config("tests/planner/examples_counting.proptest-regressions"))]

    #[test]
    fn requests_are_counted_once(
        crashes in prop::collection::vec(40i64..88, 0..5),
        outage in prop::option::of((40i64..70, 1i64..25)),
        restart in prop::option::of(45i64..80),
    ) {
        count(&Script { crashes, outage, restart });
    }
}

fn auto() -> serde_json::Value {
    json!([{"name": "errors", "interval": "10s", "prometheus": {"preset": "Auto"}}])
}

#[test]
fn a_preset_is_chosen_where_there_is_one_answer_and_kept_for_the_run() {
    let traffic = Traffic { presets: vec![Preset::Istio], bad: (0.02, 0.01), ..Traffic::healthy() };
    let (mut drive, server) = begun(counting(auto()), traffic);
    drive.run(at(45), |_, _| {});
    assert_eq!(statistics(&drive).preset, Some(Preset::Istio));
    // What appears later does not change what is read.
    server.borrow_mut().presets = vec![Preset::OTel, Preset::Traefik];
    drive.run(at(60), |_, _| {});
    assert_eq!(statistics(&drive).preset, Some(Preset::Istio));
    drive.run(at(400), |_, _| {});
    assert_eq!(outcome(&drive), Some(Outcome::RolledBack), "{}", drive.working.message);
}

#[test]
fn without_one_answer_nothing_is_judged_and_it_says_what_was_looked_for() {
    for (presets, words) in [
        (
            vec![],
            vec![
                "istio_requests_total (Istio)",
                "traefik_service_requests_total (Traefik)",
                "set prometheus.preset",
            ],
        ),
        (vec![Preset::Istio, Preset::OTel], vec!["Istio and OTel all have series", "set prometheus.preset"]),
    ] {
        let (mut drive, server) = begun(counting(auto()), Traffic { presets, ..Traffic::healthy() });
        drive.run(at(300), |_, _| {});
        let component = &drive.working.components[0];
        let gate = component.gates.first().expect("a gate that is judged");
        assert_eq!((gate.verdict, statistics(&drive).preset), (Verdict::NoData, None), "{}", gate.message);
        for words in words {
            assert!(gate.message.contains(words), "{}", gate.message);
        }
        assert_eq!((component.phase_index, drive.working.state), (Some(0), RolloutState::Held));
        // As soon as there is one it goes on.
        server.borrow_mut().presets = vec![Preset::Istio];
        drive.run(at(340), |_, _| {});
        assert_eq!(statistics(&drive).preset, Some(Preset::Istio));
    }
}

#[test]
fn a_limit_in_a_unit_that_is_not_known_starts_nothing() {
    let gates = json!([{"name": "slow", "prometheus": {"preset": "Auto"}, "quantile": {"quantile": 0.99, "max": 0.5}}]);
    let (mut drive, _) = begun(counting(gates), Traffic::healthy());
    drive.run(at(100), |_, _| {});
    assert!(
        drive.working.run.is_none() && drive.working.message.contains("name the preset"),
        "{}",
        drive.working.message
    );
}
