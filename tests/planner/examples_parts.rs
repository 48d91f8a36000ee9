//! Releases of several parts by example: order, partial rollback, steps back, room for extra pods.

use std::collections::BTreeMap;

use jiff::Timestamp;
use palier::api::{ActionKind, OnFailure, Outcome, Retain, RolloutState, RunIntent, Stage};
use palier::engine::Reason;
use palier::sim::{Cluster, Stop};

use crate::fixtures::{action, at};
use crate::monitors::weight_of;
use crate::parts::{CHAIN, part, push_all, say, spec, stages, voiced};

pub fn images(cluster: &Cluster) -> BTreeMap<&str, &str> {
    let serving = cluster.sets.values().filter(|set| set.available > 0);
    serving.map(|set| (set.app.as_str(), set.image.as_str())).collect()
}

#[test]
fn a_chain_is_released_in_its_order_and_adopted_together() {
    let (mut drive, _) = voiced(spec(&CHAIN));
    push_all(&mut drive.cluster, "app:v2");
    let mut full_since: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut begun: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut adopted_at = None::<Timestamp>;
    let stop = drive.run(at(3_000), |cluster, _| {
        for (name, _) in CHAIN {
            let weight = weight_of(cluster, name).0;
            if weight > 0 {
                begun.entry(name.to_owned()).or_insert(cluster.now);
            }
            if weight == 100 {
                full_since.entry(name.to_owned()).or_insert(cluster.now);
            }
        }
        let is_adopted = |set: &palier::sim::deployments::ReplicaSet| {
            set.image == "app:v2" && set.owner_uid.as_deref() != Some(palier::sim::cluster::ROLLOUT_UID)
        };
        if cluster.sets.values().any(is_adopted) {
            adopted_at.get_or_insert(cluster.now);
        }
    });
    assert_eq!(stop, Stop::AtRest);
    let run = drive.working.run.clone().expect("a run");
    assert_eq!(run.outcome, Some(Outcome::Completed), "{run:#?}");
    assert_eq!(run.number, 1, "one run for all");
    for (name, on) in CHAIN {
        for dependency in on {
            let baked = full_since[*dependency].duration_since(at(0)).as_secs() + 60;
            let began = begun[name].duration_since(at(0)).as_secs();
            assert!(began >= baked, "{name} began at {began} s, {dependency} had baked at {baked} s");
        }
    }
    assert!(
        begun["news"].duration_since(begun["suppliers"]).as_secs().abs() < 5,
        "independent ones go side by side"
    );
    let last = full_since["clients"].duration_since(at(0)).as_secs() + 60;
    let adopted = adopted_at.expect("adopted").duration_since(at(0)).as_secs();
    assert!(adopted >= last, "adopted at {adopted} s, the last had baked at {last} s");
    assert!(images(&drive.cluster).values().all(|image| *image == "app:v2"));
}

#[test]
fn the_third_of_a_chain_fails_and_the_others_finish() {
    let (mut drive, values) = voiced(spec(&CHAIN));
    push_all(&mut drive.cluster, "app:v2");
    let limit = at(4_000);
    // It fails as soon as it has half of the traffic.
    while weight_of(&drive.cluster, "production").0 < 50 {
        let next = drive.cluster.now + jiff::SignedDuration::from_secs(5);
        drive.run(next, |_, _| {});
        assert!(drive.cluster.now < limit, "{:#?}", drive.working);
    }
    say(&values, "production", "errors", 0.5);
    drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(25), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "production").0, 0);
    assert_eq!(weight_of(&drive.cluster, "stock").0, 100, "what it depends on stays");
    assert_eq!(drive.working.run.as_ref().expect("a run").intent, RunIntent::Release);
    let stop = drive
        .run(limit, |cluster, _| assert_eq!(weight_of(cluster, "clients").0, 0, "the fourth never starts"));
    assert_eq!(stop, Stop::AtRest);
    let run = drive.working.run.clone().expect("a run");
    assert_eq!(run.outcome, Some(Outcome::PartiallyCompleted), "{run:#?}");
    assert!(run.reason.contains("production, clients were taken back: gate errors failed"), "{}", run.reason);
    let serving = images(&drive.cluster);
    for (name, image) in [
        ("suppliers", "app:v2"),
        ("stock", "app:v2"),
        ("news", "app:v2"),
        ("production", "app:v1"),
        ("clients", "app:v1"),
    ] {
        assert_eq!(serving[name], image, "{name}");
    }
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    for name in ["production", "clients"] {
        assert_eq!(part(&drive.working, name).stage, Stage::RolledBack);
        assert!(drive.cluster.deployments[name].paused, "the rejected template of {name} must not roll");
    }
    assert!(part(&drive.working, "clients").failure.starts_with("it depends on production"));
    // Retry brings the two through once the cause is mended.
    say(&values, "production", "errors", 0.0);
    drive.cluster.act(action(ActionKind::Retry, 1));
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::Completed));
    assert!(images(&drive.cluster).values().all(|image| *image == "app:v2"));
}

#[test]
fn a_gate_of_the_rollout_takes_everything_back_the_dependents_first() {
    let (mut drive, values) = voiced(spec(&CHAIN[..4]));
    push_all(&mut drive.cluster, "app:v2");
    while weight_of(&drive.cluster, "clients").0 < 10 {
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(5), |_, _| {});
    }
    for name in ["suppliers", "stock", "production"] {
        assert_eq!(weight_of(&drive.cluster, name).0, 100);
    }
    say(&values, "stock", "all", 0.5);
    let mut back: Vec<String> = Vec::new();
    let mut first = None::<Timestamp>;
    let mut last = drive.cluster.now;
    drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(60), |cluster, _| {
        for (name, _) in &CHAIN[..4] {
            if weight_of(cluster, name).0 == 0 && !back.contains(&(*name).to_owned()) {
                first.get_or_insert(cluster.now);
                last = cluster.now;
                back.push((*name).to_owned());
            }
        }
    });
    assert_eq!(back, ["clients", "production", "stock", "suppliers"]);
    let took = last.duration_since(first.expect("went back"));
    assert!(took.as_millis() <= 2_000, "{took:#}");
    drive.run(at(9_000), |_, _| {});
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::RolledBack));
    assert!(images(&drive.cluster).values().all(|image| *image == "app:v1"));
}

#[test]
fn a_gateway_that_never_speaks_does_not_keep_the_rest_from_going_back() {
    let (mut drive, values) = voiced(spec(&CHAIN[..2]));
    push_all(&mut drive.cluster, "app:v2");
    while weight_of(&drive.cluster, "stock").0 < 10 {
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(5), |_, _| {});
    }
    drive.cluster.gateway_accepts = false;
    say(&values, "suppliers", "all", 0.5);
    drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(30), |_, _| {});
    assert_eq!((weight_of(&drive.cluster, "stock").0, weight_of(&drive.cluster, "suppliers").0), (0, 0));
}

#[test]
fn two_steps_back_then_the_component_goes() {
    let mut spec = spec(&CHAIN[..2]);
    spec.components[1].gates[0].on_failure = Some(OnFailure::StepBack);
    let (mut drive, values) = voiced(spec);
    push_all(&mut drive.cluster, "app:v2");
    for step in 1..=3 {
        while weight_of(&drive.cluster, "stock").0 < 50 {
            drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(5), |_, _| {});
            assert!(drive.cluster.now < at(4_000), "{:#?}", drive.working);
        }
        say(&values, "stock", "errors", 0.5);
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(25), |_, _| {});
        let expected = if step == 3 { 0 } else { 10 };
        assert_eq!(weight_of(&drive.cluster, "stock").0, expected, "step {step}: {:#?}", drive.working);
        say(&values, "stock", "errors", 0.0);
    }
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    let run = drive.working.run.clone().expect("a run");
    assert_eq!(run.outcome, Some(Outcome::PartiallyCompleted), "{run:#?}");
    let told =
        drive.happened.iter().filter(|(_, h)| h.reason == Reason::SteppedBack && h.component == "stock");
    assert_eq!(told.count(), 2);
}

#[test]
fn a_step_back_from_everyone_brings_callers_of_the_service_back_too() {
    let mut spec = spec(&CHAIN[..1]);
    spec.components[0].gates[0].on_failure = Some(OnFailure::StepBack);
    let (mut drive, values) = voiced(spec);
    push_all(&mut drive.cluster, "app:v2");
    while part(&drive.working, "suppliers").weight < 100 {
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(5), |_, _| {});
    }
    drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(20), |_, _| {});
    say(&values, "suppliers", "errors", 0.5);
    drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(25), |cluster, _| {
        let lost = cluster.shares("suppliers").get(&None).copied().unwrap_or(0.0);
        assert!(lost < f64::EPSILON, "{lost} % unserved");
    });
    assert_eq!(weight_of(&drive.cluster, "suppliers").0, 50);
    let stable = part(&drive.working, "suppliers").stable.clone().expect("stable");
    let pin = drive.cluster.services["suppliers"].selector.get("pod-template-hash").cloned();
    assert_eq!(pin, Some(stable.pod_hash));
    say(&values, "suppliers", "errors", 0.0);
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::Completed));
}

#[test]
fn what_a_window_still_holds_of_the_greater_share_is_no_reason_to_step_back_again() {
    let mut spec = spec(&CHAIN[..1]);
    spec.components[0].gates[0].on_failure = Some(OnFailure::StepBack);
    let (mut drive, values) = voiced(spec);
    push_all(&mut drive.cluster, "app:v2");
    while part(&drive.working, "suppliers").weight < 50 {
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(1), |_, _| {});
    }
    say(&values, "suppliers", "errors", 0.5);
    while part(&drive.working, "suppliers").step_backs == 0 {
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(1), |_, _| {});
    }
    // A rate over a minute falls slowly: for 50 s it is that of half of the traffic.
    drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(50), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "suppliers").0, 10, "{:#?}", drive.working);
    say(&values, "suppliers", "errors", 0.0);
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    let run = drive.working.run.clone().expect("a run");
    assert_eq!(run.outcome, Some(Outcome::Completed), "{run:#?}");
    let told = drive.happened.iter().filter(|(_, h)| h.reason == Reason::SteppedBack);
    assert_eq!(told.count(), 1, "{:#?}", drive.happened);
}

#[test]
fn a_version_that_fails_with_the_smaller_share_too_goes_when_the_window_has_passed() {
    let mut spec = spec(&CHAIN[..1]);
    spec.components[0].gates[0].on_failure = Some(OnFailure::StepBack);
    let (mut drive, values) = voiced(spec);
    push_all(&mut drive.cluster, "app:v2");
    while part(&drive.working, "suppliers").weight < 50 {
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(1), |_, _| {});
    }
    say(&values, "suppliers", "errors", 0.5);
    assert_eq!(drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(150), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::RolledBack));
}

#[test]
fn the_first_phase_has_nothing_to_step_back_to() {
    let mut spec = spec(&CHAIN[..1]);
    spec.components[0].gates[0].on_failure = Some(OnFailure::StepBack);
    let (mut drive, values) = voiced(spec);
    say(&values, "suppliers", "errors", 0.5);
    push_all(&mut drive.cluster, "app:v2");
    assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::RolledBack));
}

#[test]
fn of_two_gates_that_fail_at_once_the_stronger_wins_once() {
    let (mut drive, values) = voiced(spec(&CHAIN));
    push_all(&mut drive.cluster, "app:v2");
    while part(&drive.working, "news").weight < 10 {
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(1), |_, _| {});
    }
    say(&values, "news", "errors", 0.5);
    say(&values, "suppliers", "all", 0.5);
    assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::RolledBack));
    let told = drive.happened.iter().filter(|(_, h)| h.reason == Reason::RollbackStarted);
    assert_eq!(told.count(), 1, "{:#?}", drive.happened);
}

#[test]
fn what_changes_while_a_run_is_on_joins_it_in_a_new_one() {
    let (mut drive, _) = voiced(spec(&CHAIN[..3]));
    drive.cluster.push_image("suppliers", "app:v2");
    drive.run(at(60), |_, _| {});
    assert_eq!(stages(&drive.working), [Stage::Baking, Stage::Idle, Stage::Idle]);
    drive.cluster.push_image("production", "app:v2");
    drive.run(at(120), |_, _| {});
    let run = drive.working.run.clone().expect("a run");
    assert_eq!(run.number, 2, "{run:#?}");
    assert_eq!(
        part(&drive.working, "production").stage,
        Stage::Baking,
        "stock did not change: nothing to wait for"
    );
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::Completed));
    assert_eq!(images(&drive.cluster)["stock"], "app:v1");
}

#[test]
fn a_new_template_of_a_component_that_was_taken_back_waits_for_the_others() {
    let (mut drive, values) = voiced(spec(&CHAIN));
    say(&values, "news", "errors", 0.5);
    push_all(&mut drive.cluster, "app:v2");
    while part(&drive.working, "news").stage != Stage::TakenBack {
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(5), |_, _| {});
    }
    drive.cluster.push_image("news", "app:v3");
    say(&values, "news", "errors", 0.0);
    drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(60), |_, _| {});
    assert_eq!(drive.working.run.as_ref().expect("a run").number, 1, "the others go on");
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    let serving = images(&drive.cluster);
    assert_eq!((serving["news"], serving["clients"]), ("app:v3", "app:v2"));
    assert_eq!(drive.working.run.as_ref().expect("a run").number, 2);
}

#[test]
fn a_circle_is_refused_by_name() {
    let (drive, _) = voiced(spec(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"])]));
    assert_eq!(drive.working.state, RolloutState::Stalled);
    let message = &drive.working.message;
    assert!(
        message.contains("spec.components[a].dependsOn") && message.contains("a → c → b → a"),
        "{message}"
    );
}

#[test]
fn a_component_skips_a_phase_and_bakes_longer() {
    let mut spec = spec(&CHAIN[..1]);
    spec.components[0].phases = serde_json::from_value(
        serde_json::json!([{"name": "pilot", "skip": true}, {"name": "half", "bakeTime": "5m"}]),
    )
    .expect("phases");
    let (mut drive, _) = voiced(spec);
    push_all(&mut drive.cluster, "app:v2");
    let mut weights: Vec<(i32, Timestamp)> = Vec::new();
    assert_eq!(
        drive.run(at(3_000), |cluster, _| {
            let weight = weight_of(cluster, "suppliers").0;
            if weights.last().is_none_or(|last| last.0 != weight) {
                weights.push((weight, cluster.now));
            }
        }),
        Stop::AtRest
    );
    let seen: Vec<i32> = weights.iter().map(|it| it.0).collect();
    assert_eq!(seen, [0, 50, 100, 0]);
    assert!(weights[2].1.duration_since(weights[1].1).as_secs() >= 300);
}

fn extra_pods(cluster: &Cluster) -> i32 {
    let ours = |set: &&palier::sim::deployments::ReplicaSet| {
        set.owner_uid.as_deref() == Some(palier::sim::cluster::ROLLOUT_UID)
    };
    cluster.sets.values().filter(ours).map(|set| set.replicas.max(set.current())).sum()
}

#[test]
fn extra_pods_stay_within_their_room_while_the_deployments_grow_and_shrink() {
    for retain in [Retain::UntilRunEnds, Retain::UntilBaked] {
        let mut spec = spec(&[("a", &[]), ("b", &[]), ("c", &["b"])]);
        let max = if retain == Retain::UntilBaked { 8 } else { 18 };
        (spec.max_extra_pods, spec.retain) = (Some(max), retain);
        let (mut drive, _) = voiced(spec);
        push_all(&mut drive.cluster, "app:v2");
        let mut most = 0;
        for (round, size) in [6, 3, 6, 5, 4].into_iter().enumerate() {
            for name in ["a", "b", "c"] {
                drive.cluster.scale(name, size);
            }
            drive.run(at(100 * (round as i64 + 1)), |cluster, _| most = most.max(extra_pods(cluster)));
        }
        assert_eq!(drive.run(at(9_000), |cluster, _| most = most.max(extra_pods(cluster))), Stop::AtRest);
        assert!(most <= max, "{most} extra pods of {max}, {retain:?}");
        let run = drive.working.run.clone().expect("a run");
        assert_eq!(run.outcome, Some(Outcome::Completed), "{retain:?} {run:#?}");
    }
}

#[test]
fn a_run_that_can_never_fit_does_not_start() {
    let mut spec = spec(&CHAIN[..2]);
    spec.max_extra_pods = Some(7);
    let (mut drive, _) = voiced(spec);
    push_all(&mut drive.cluster, "app:v2");
    drive.run(at(100), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Stalled);
    assert!(
        drive.working.message.contains("need up to 8 pods, and 7 are allowed"),
        "{}",
        drive.working.message
    );
    drive.cluster.spec.max_extra_pods = Some(8);
    drive.cluster.generation += 1;
    assert_eq!(drive.run(at(5_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::Completed));
}

#[test]
fn a_component_whose_old_version_was_given_up_is_not_taken_back() {
    let mut spec = spec(&CHAIN[..3]);
    spec.retain = Retain::UntilBaked;
    let (mut drive, values) = voiced(spec);
    push_all(&mut drive.cluster, "app:v2");
    while part(&drive.working, "stock").stage != Stage::Adopted {
        drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(5), |_, _| {});
        assert!(drive.cluster.now < at(4_000), "{:#?}", drive.working);
    }
    assert_eq!(stages(&drive.working)[..2], [Stage::Adopted, Stage::Adopted]);
    say(&values, "production", "all", 0.5);
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    let run = drive.working.run.clone().expect("a run");
    assert_eq!(run.outcome, Some(Outcome::PartiallyCompleted), "{run:#?}");
    let serving = images(&drive.cluster);
    assert_eq!(
        (serving["suppliers"], serving["stock"], serving["production"]),
        ("app:v2", "app:v2", "app:v1")
    );
}

#[test]
fn pods_that_never_become_ready_take_only_their_component_back() {
    let (mut drive, _) = voiced(spec(&CHAIN));
    drive.cluster.broken_images.insert("app:broken".into());
    push_all(&mut drive.cluster, "app:v2");
    drive.cluster.push_image("news", "app:broken");
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    let run = drive.working.run.clone().expect("a run");
    assert_eq!(run.outcome, Some(Outcome::PartiallyCompleted), "{run:#?}");
    let serving = images(&drive.cluster);
    assert_eq!((serving["news"], serving["clients"]), ("app:v1", "app:v2"));
}
