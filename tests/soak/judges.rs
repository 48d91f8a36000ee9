//! The soak's judges are fed with what must not be: each has to say so, and to be silent about what is right.

mod judge;

use jiff::{SignedDuration, Timestamp};
use judge::flat::Trend;
use judge::outcomes::Story;
use judge::requests::Asked;
use judge::rest::{Expected, Seen};
use judge::steps::{Answer, Rule, Write};
use serde_json::{Value, json};

/// A sample each ten seconds for an hour.
fn series(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    (0..360).map(|index| f64::from(index) * 10.0).map(|seconds| (seconds, value(seconds))).collect()
}

#[test]
fn a_leak_is_seen_through_noise() {
    let noise = |seconds: f64| (seconds / 7.0).sin();
    // 30 MiB that become 33 within the hour
    let leaking = series(|seconds| 30.0 + 3.0 * seconds / 3600.0 + noise(seconds));
    let trend = Trend::of(&leaking, 120.0).expect("enough samples");
    assert!(trend.wrong("memory", 5.0, 0.5).is_some(), "{trend:?}");
    let flat = series(|seconds| 30.0 + noise(seconds));
    let trend = Trend::of(&flat, 120.0).expect("enough samples");
    assert_eq!(trend.wrong("memory", 5.0, 0.5), None);
}

#[test]
fn a_warm_up_is_no_leak() {
    let warming = series(|seconds| if seconds < 120.0 { 10.0 } else { 30.0 });
    assert_eq!(Trend::of(&warming, 120.0).and_then(|trend| trend.wrong("memory", 5.0, 0.5)), None);
    assert!(Trend::of(&warming, 0.0).is_some());
}

#[test]
fn descriptors_that_are_never_closed_are_seen() {
    let leaking = series(|seconds| 40.0 + (seconds / 600.0).floor());
    let trend = Trend::of(&leaking, 120.0).expect("enough samples");
    assert!(trend.wrong("descriptors", 5.0, 2.0).is_some(), "{trend:?}");
    // one connection more or less is none
    let flat = series(|seconds| if seconds < 1800.0 { 12.0 } else { 13.0 });
    let trend = Trend::of(&flat, 120.0).expect("enough samples");
    assert_eq!(trend.wrong("descriptors", 5.0, 2.0), None);
}

#[test]
fn few_samples_say_nothing() {
    assert_eq!(Trend::of(&series(|_| 1.0)[..20], 120.0), None);
}

#[test]
fn an_end_that_nobody_asked_for_is_seen() {
    assert!(Story::Good.wrong("RolledBack", false).is_some());
    assert!(Story::Bad.wrong("Completed", true).is_some());
    assert!(Story::BadAtHalf.wrong("Completed", true).is_some());
    assert!(Story::Superseded.wrong("RolledBack", false).is_some());
    assert!(Story::Aborted.wrong("Superseded", false).is_some());
    for (story, outcome) in [
        (Story::Good, "Completed"),
        (Story::Bad, "RolledBack"),
        (Story::BadAtHalf, "RolledBack"),
        (Story::Superseded, "Completed"),
        (Story::Aborted, "RolledBack"),
    ] {
        assert_eq!(story.wrong(outcome, true), None);
    }
}

#[test]
fn a_storm_of_requests_is_seen() {
    let usual = Asked { requests: 4000, runs: 100, peak: 90, ..Asked::default() };
    assert_eq!(usual.wrong(), Vec::<String>::new());
    for too_much in [
        Asked { requests: 40_000, ..usual.clone() },
        Asked { peak: 5000, ..usual.clone() },
        Asked { at_rest: 1, ..usual },
    ] {
        assert_eq!(too_much.wrong().len(), 1, "{too_much:?}");
    }
}

fn set(image: &str, replicas: i64, owner: &str) -> Value {
    json!({
        "metadata": {"ownerReferences": [{"kind": owner, "controller": true}]},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"image": image}]}}},
        "status": {"availableReplicas": replicas},
    })
}

/// Rolled back from `app:2`: `app:1` serves.
fn at_rest() -> (Expected, Seen) {
    let expected = Expected {
        pushed: "app:2".into(),
        serves: "app:1".into(),
        outcome: "RolledBack".into(),
        selector: json!({"app": "a"}),
        rules: json!([{"backendRefs": [{"name": "a", "port": 80}]}]),
    };
    let seen = Seen {
        rollout: json!({"status": {"state": "RolledBack", "run": {"outcome": "RolledBack"}}}),
        deployment: json!({"spec": {"paused": true, "template": {"spec": {"containers": [{"image": "app:2"}]}}}}),
        sets: vec![set("app:0", 0, "Deployment"), set("app:1", 2, "Deployment")],
        service: json!({"spec": {"selector": {"app": "a"}}}),
        has_canary_service: false,
        route: json!({"spec": {"rules": [{"backendRefs": [{"name": "a", "port": 80}]}]}}),
    };
    (expected, seen)
}

#[test]
fn what_is_stuck_or_left_behind_is_seen() {
    let (expected, seen) = at_rest();
    assert_eq!(judge::rest::wrong(&expected, &seen), Vec::<String>::new());
    let changes: [fn(&mut Seen); 8] = [
        // stuck on its way back
        |seen| seen.rollout = json!({"status": {"state": "RollingBack", "run": {"outcome": "RolledBack"}}}),
        // the canary is there still
        |seen| seen.sets.push(set("app:2", 1, "Rollout")),
        // the wrong version serves
        |seen| seen.sets[1] = set("app:2", 2, "Deployment"),
        // a pod is missing
        |seen| seen.sets[1]["status"]["availableReplicas"] = json!(1),
        // the rejected template would roll
        |seen| seen.deployment["spec"]["paused"] = json!(false),
        // still pinned
        |seen| seen.service["spec"]["selector"]["pod-template-hash"] = json!("x"),
        |seen| seen.has_canary_service = true,
        // a weight is left on the route
        |seen| seen.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(100),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut seen = seen.clone();
        change(&mut seen);
        assert!(!judge::rest::wrong(&expected, &seen).is_empty(), "change {index} is not seen");
    }
}

const SHARES: Rule<'_> = Rule { shares: &[10, 50, 100], bake: SignedDuration::from_secs(4), limit: 0.5 };

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + seconds)
}

fn writes(of: &[(i64, i64)]) -> Vec<Write> {
    of.iter().map(|(seconds, share)| Write { at: at(*seconds), share: *share, is_sure: true }).collect()
}

/// A good answer each second, but for one.
fn answers(bad: Option<i64>) -> Vec<Answer> {
    (0..60).map(|second| (at(second), if Some(second) == bad { 1.0 } else { 0.0 })).collect()
}

fn refused(of: &[(i64, i64)], answers: &[Answer]) -> usize {
    judge::steps::wrong(&SHARES, &writes(of), answers).len()
}

#[test]
fn raises_that_were_not_earned_are_seen() {
    let good = [(0, 10), (5, 50), (10, 100), (16, 0), (20, 10), (23, 0)];
    assert_eq!(refused(&good, &answers(None)), 0);
    // a phase is left out
    assert_eq!(refused(&[(0, 10), (5, 100)], &answers(None)), 1);
    assert_eq!(refused(&[(0, 50)], &answers(None)), 1);
    // a share that nobody declared
    assert_eq!(refused(&[(0, 10), (5, 20)], &answers(None)), 1);
    // down, but not to stable
    assert_eq!(refused(&[(0, 10), (5, 50), (9, 10)], &answers(None)), 1);
    // before its time
    assert_eq!(refused(&[(0, 10), (3, 50)], &answers(None)), 1);
    // after a bad answer, or without any
    assert_eq!(refused(&good, &answers(Some(2))), 1);
    assert_eq!(refused(&good[..2], &[]), 1);
}

#[test]
fn a_write_that_nobody_heard_of_may_be_done_or_not() {
    let mut trail = writes(&[(0, 10), (5, 50), (6, 50), (11, 100)]);
    trail[1].is_sure = false;
    assert_eq!(judge::steps::wrong(&SHARES, &trail, &answers(None)), Vec::<String>::new());
    // not done, and then the next but one
    let mut trail = writes(&[(0, 10), (5, 50), (6, 0), (7, 50)]);
    trail[1].is_sure = false;
    assert_eq!(judge::steps::wrong(&SHARES, &trail, &answers(None)).len(), 1);
}
