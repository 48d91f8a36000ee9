//! Evidence by example: what a metric server says, fails to say, and what people do meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use jiff::Timestamp;
use palier::api::{ActionKind, OnFailure, RolloutState, RunIntent, Span, Stage, TreatNoDataAs, Verdict};
use palier::engine::{Answer, Measurement, Plan, Reason, Write, decide};
use palier::sim::{Drive, Reply, Stop};

use crate::fixtures::{action, at, cluster, spec};
use crate::monitors::weight_of;

type Voice = Rc<RefCell<Box<dyn FnMut(Timestamp) -> Reply>>>;

fn says(value: f64) -> Box<dyn FnMut(Timestamp) -> Reply> {
    Box::new(move |now| Reply::Now(Answer::Sample { value, sampled_at: now }))
}

fn always(answer: Answer) -> Box<dyn FnMut(Timestamp) -> Reply> {
    Box::new(move |_| Reply::Now(answer.clone()))
}

/// A drive at rest on v1 and the voice of its metric server.
fn voiced(spec: palier::api::RolloutSpec) -> (Drive<impl FnMut(&Measurement, Timestamp) -> Reply>, Voice) {
    let voice: Voice = Rc::new(RefCell::new(says(0.0)));
    let speaker = Rc::clone(&voice);
    let mut drive = Drive::new(cluster(spec), move |_: &Measurement, now| (speaker.borrow_mut())(now));
    drive.run(at(30), |_, _| {});
    drive.cluster.now = at(30);
    (drive, voice)
}

fn no_evidence() -> Vec<Box<dyn FnMut(Timestamp) -> Reply>> {
    vec![
        says(f64::NAN),
        says(f64::INFINITY),
        says(f64::NEG_INFINITY),
        always(Answer::Empty),
        always(Answer::ManySeries(2)),
        always(Answer::WrongType("a matrix".into())),
        always(Answer::Warnings("partial".into())),
        always(Answer::Failed("429".into())),
        Box::new(|_| Reply::Late(Span::seconds(10), Answer::Failed("timed out".into()))),
    ]
}

#[test]
fn without_evidence_the_run_holds_and_goes_on_where_it_was() {
    for silence in no_evidence() {
        let (mut drive, voice) = voiced(spec());
        drive.cluster.push_image("shop-api", "app:v2");
        drive.run(at(65), |_, _| {});
        let earned = drive.working.components[0].bake.clone().expect("baking").earned;
        assert!(earned >= Span::seconds(20), "{earned}");
        *voice.borrow_mut() = silence;
        drive.run(at(1_000), |cluster, _| assert!(weight_of(cluster, "shop-api").0 <= 10));
        assert_eq!(drive.working.state, RolloutState::Held, "{:#?}", drive.working);
        assert!(drive.happened.iter().any(|(_, h)| h.reason == Reason::EvidenceMissing));
        let bake = drive.working.components[0].bake.clone().expect("baking");
        assert!(bake.earned >= earned);
        *voice.borrow_mut() = says(0.0);
        drive.run(at(1_000 + 85 - earned.as_millis() / 1_000), |_, _| {});
        assert_eq!(drive.working.components[0].phase_index, Some(1), "it started over: {:#?}", drive.working);
    }
}

#[test]
fn abort_works_while_the_metric_server_hangs() {
    let (mut drive, voice) = voiced(spec());
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(60), |_, _| {});
    *voice.borrow_mut() = Box::new(|_| Reply::Late(Span::seconds(86_400), Answer::Empty));
    let stop = drive.run(at(400), |_, _| {});
    assert_eq!(stop, Stop::Limit, "a silent server is no reason to spin");
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.turn(&mut |_, _| true);
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 0);
    drive.run(at(500), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack);
}

#[test]
fn the_deadline_without_evidence_rolls_back_or_holds_as_declared() {
    for (then, state) in [("FullRollback", RolloutState::RolledBack), ("Hold", RolloutState::Held)] {
        let mut spec = spec();
        spec.gates[0].on_no_data =
            serde_json::from_value(serde_json::json!({"deadline": "5m", "then": then})).unwrap();
        let (mut drive, voice) = voiced(spec);
        *voice.borrow_mut() = always(Answer::Empty);
        drive.cluster.push_image("shop-api", "app:v2");
        drive.run(at(900), |cluster, _| assert!(weight_of(cluster, "shop-api").0 <= 10));
        assert_eq!(drive.working.state, state, "{:#?}", drive.working);
    }
}

#[test]
fn no_evidence_can_count_as_failing() {
    let mut spec = spec();
    spec.gates[0].on_no_data.treat_as = TreatNoDataAs::Fail;
    let (mut drive, voice) = voiced(spec);
    *voice.borrow_mut() = always(Answer::Empty);
    drive.cluster.push_image("shop-api", "app:v2");
    // For one window the canary may have no samples yet; then each silence counts.
    drive.run(at(160), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack);
}

#[test]
fn a_hold_gate_that_fails_while_the_next_pods_start_keeps_the_raise_back() {
    let mut spec = spec();
    spec.gates[0].on_failure = Some(OnFailure::Hold);
    let (mut drive, voice) = voiced(spec);
    drive.cluster.pod_lag = Span::seconds(60);
    drive.cluster.push_image("shop-api", "app:v2");
    // The pods of the second phase start half a minute before the first is earned, and need a minute.
    let mut limit = 100;
    while drive.working.components[0].earned.is_empty() {
        drive.run(at(limit), |_, _| {});
        limit += 1;
    }
    assert_eq!(drive.working.components[0].stage, Stage::Preparing);
    *voice.borrow_mut() = says(0.5);
    drive.run(at(limit + 120), |cluster, _| assert!(weight_of(cluster, "shop-api").0 <= 10));
    assert_eq!(drive.working.components[0].stage, Stage::Preparing);
    *voice.borrow_mut() = says(0.0);
    drive.run(at(limit + 160), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 50);
}

#[test]
fn a_slow_gate_does_not_cover_the_failure_of_a_fast_one() {
    let mut spec = spec();
    let mut slow = spec.gates[0].clone();
    slow.name = "slow".into();
    slow.interval = Span::seconds(60);
    spec.gates[0].failure_threshold = 5;
    spec.gates.push(slow);
    let mut asked = 0;
    let mut drive = Drive::new(cluster(spec), move |m: &Measurement, now| {
        asked += i32::from(m.gate == "errors");
        // The fast gate fails at 30 s of the bake.
        let value = if m.gate == "errors" && asked == 4 { 0.5 } else { 0.0 };
        Answer::Sample { value, sampled_at: now }
    });
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    let pushed = drive.cluster.now;
    drive.cluster.push_image("shop-api", "app:v2");
    let mut raised = None;
    drive.run(at(400), |cluster, _| {
        if weight_of(cluster, "shop-api").0 > 10 && raised.is_none() {
            raised = Some(cluster.now.duration_since(pushed).as_secs());
        }
    });
    // 30 to 40 s are not proven, and what the slow gate said at 0 s proves nothing of them.
    assert!(raised.is_some_and(|seconds| seconds >= 100), "{raised:?}");
}

#[test]
fn an_edited_gate_voids_what_was_proven() {
    let (mut drive, _) = voiced(spec());
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(80), |_, _| {});
    assert!(drive.working.components[0].bake.as_ref().unwrap().earned >= Span::seconds(40));
    drive.cluster.edit_spec(|spec| spec.gates[0].threshold.as_mut().unwrap().max = Some(0.02));
    drive.turn(&mut |_, _| true);
    assert_eq!(drive.working.components[0].bake.as_ref().unwrap().earned, Span::ZERO);
    drive.run(at(130), |cluster, _| assert_eq!(weight_of(cluster, "shop-api").0, 10));
    drive.run(at(145), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 50);
}

#[test]
fn edited_phases_are_followed_without_a_skip() {
    // Shorter bake: ends when that much is proven. Less traffic: the present phase goes there. More, or the phase removed: what is
    // there is proven first.
    for (edit, weight) in [("shorter", 50), ("lower", 5), ("higher", 10), ("removed", 10)] {
        let (mut drive, _) = voiced(spec());
        drive.cluster.push_image("shop-api", "app:v2");
        drive.run(at(70), |_, _| {});
        drive.cluster.edit_spec(|spec| match edit {
            "shorter" => spec.phases[0].bake_time = Span::seconds(20),
            "lower" => spec.phases[0].traffic = 5,
            "higher" => spec.phases[0].traffic = 20,
            _ => drop(spec.phases.remove(0)),
        });
        drive.run(at(80), |_, _| {});
        assert_eq!(weight_of(&drive.cluster, "shop-api").0, weight, "{edit}");
        assert_eq!(drive.run(at(900), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.state, RolloutState::Completed);
    }
}

#[test]
fn a_share_that_is_edited_upwards_is_earned_by_the_present_one() {
    // One failure stands, two would turn the run back: the gate's last word is Fail.
    let mut spec = spec();
    spec.gates[0].failure_threshold = 2;
    let (mut drive, voice) = voiced(spec);
    drive.cluster.push_image("shop-api", "app:v2");
    let mut limit = 31;
    while weight_of(&drive.cluster, "shop-api").0 < 50 {
        drive.run(at(limit), |_, _| {});
        limit += 1;
        assert!(limit < 200, "{:#?}", drive.working);
    }
    drive.run(at(limit + 20), |_, _| {});
    *voice.borrow_mut() = says(0.5);
    while drive.working.components[0].gates[0].verdict != Verdict::Fail {
        limit += 1;
        drive.run(at(limit + 20), |_, _| {});
        assert!(limit < 200, "{:#?}", drive.working);
    }
    drive.cluster.edit_spec(|spec| spec.phases[1].traffic = 60);
    *voice.borrow_mut() = says(0.0);
    let edited = drive.cluster.now;
    let mut reached = Vec::new();
    let stop = drive.run(at(900), |cluster, _| {
        let share = weight_of(cluster, "shop-api").0;
        if reached.last().is_none_or(|(last, _)| *last != share) {
            reached.push((share, cluster.now.duration_since(edited).as_secs()));
        }
    });
    // A whole bake at 50 % from the edit on, then one at 60 %.
    assert_eq!(reached.iter().map(|(share, _)| *share).collect::<Vec<_>>(), [50, 60, 100, 0], "{reached:?}");
    assert!(reached[1].1 >= 60 && reached[2].1 >= reached[1].1 + 60, "{reached:?}");
    assert_eq!((stop, drive.working.state), (Stop::AtRest, RolloutState::Completed));
}

#[test]
fn an_edit_while_a_failing_gate_keeps_the_raise_back_does_not_make_up_for_it() {
    for share in [40, 60] {
        let (mut drive, _) = voiced(spec());
        drive.cluster.push_image("shop-api", "app:v2");
        drive.run(at(60), |_, _| {});
        assert_eq!(weight_of(&drive.cluster, "shop-api").0, 10);
        let is_raise = |write: &Write| matches!(write, Write::SetBackends { .. });
        let raises =
            |plan: &Plan| plan.status.components[0].target_weight == 50 && plan.writes.iter().any(is_raise);
        for _ in 0..2_000 {
            // The raise to 50 % is decided, and never written.
            let plan = drive.turn(&mut |_, plan| !raises(plan));
            if raises(&plan) {
                break;
            }
            drive.cluster.now = drive.next(&plan).unwrap_or(drive.cluster.now).max(drive.cluster.now);
        }
        let mut world = drive.world();
        assert_eq!(world.rollout.status.components[0].stage, Stage::Raising);
        world.rollout.status.components[0].gates[0].verdict = Verdict::Fail;
        world.rollout.spec.phases[1].traffic = share;
        world.rollout.generation += 1;
        for _ in 0..4 {
            let plan = decide(&world, drive.cluster.now);
            assert!(!plan.writes.iter().any(is_raise), "{:#?}", plan.writes);
            assert_eq!(plan.status.components[0].gates[0].verdict, Verdict::Fail);
            world.rollout.status = plan.status;
        }
        world.rollout.status.components[0].gates[0].verdict = Verdict::Pass;
        let plan = decide(&world, drive.cluster.now);
        // 60 % wait for their pods first.
        let said = plan.writes.iter().find_map(|write| match write {
            Write::SetBackends { weight, .. } => Some(weight.percent()),
            _ => None,
        });
        assert_eq!(said, (share == 40).then_some(40), "{plan:#?}");
    }
}

#[test]
fn a_clock_that_is_set_back_delays_by_one_bake_at_most() {
    let (mut drive, _) = voiced(spec());
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(60), |_, _| {});
    drive.cluster.now = at(60 - 3_600);
    drive.run(at(60 - 3_600 + 100), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 50, "{:#?}", drive.working);
    assert_eq!(drive.working.run.as_ref().unwrap().intent, RunIntent::Release);
}

#[test]
fn pods_that_were_started_ahead_outlive_a_silence_of_the_metrics() {
    let (mut drive, voice) = voiced(spec());
    drive.cluster.push_image("shop-api", "app:v2");
    let size = |cluster: &palier::sim::Cluster| {
        cluster.sets.values().find(|set| set.image == "app:v2").map_or(0, |set| set.replicas)
    };
    let mut limit = 31;
    while size(&drive.cluster) < 2 {
        drive.run(at(limit), |_, _| {});
        limit += 1;
        assert!(limit < 100, "{:#?}", drive.working);
    }
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 10, "started ahead");
    *voice.borrow_mut() = says(f64::NAN);
    drive.run(at(limit + 60), |cluster, _| assert!(size(cluster) >= 2, "sent away at {}", cluster.now));
    assert_eq!(drive.working.state, RolloutState::Held);
    *voice.borrow_mut() = says(0.0);
    drive.run(at(limit + 200), |cluster, _| assert!(size(cluster) >= 2, "sent away at {}", cluster.now));
    assert!(weight_of(&drive.cluster, "shop-api").0 >= 50);
}
