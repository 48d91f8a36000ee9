use serde_json::json;

use crate::api::Verdict;
use crate::engine::Answer;
use crate::engine::statistics::counters::MISSING_MAX;
use crate::engine::statistics::histogram::Bucket;
use crate::engine::world::{Answered, Line, Reading};

use super::*;

const SETS: (&str, &str) = ("shop-new", "shop-old");

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn line(pod: &str, points: &[(i64, f64)]) -> Line {
    let points = points.iter().map(|(second, value)| (at(*second), Reading::Number(*value)));
    Line { pod: pod.to_owned(), upper: None, points: points.collect() }
}

fn gate(fields: serde_json::Value) -> Gate {
    let mut gate =
        json!({"name": "errors", "interval": "10s", "prometheus": {"bad": "bad", "total": "total"}});
    gate.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(gate).unwrap()
}

fn counting(gate: &Gate) -> Counting<'_> {
    Counting {
        gate,
        rule: gate.rule().unwrap(),
        started_at: at(0),
        planned: Span::seconds(600),
        sets: SETS,
        canary_pods: 1,
        is_whole: false,
        has_service: true,
    }
}

fn variables() -> Variables {
    let text = str::to_owned;
    Variables {
        namespace: text("shop"),
        rollout: text("shop"),
        component: text("shop"),
        phase: text("pilot"),
        window: Span::seconds(60),
        canary_pods: text("shop-new-[a-z0-9]{5}"),
        stable_pods: text("shop-old-[a-z0-9]{5}"),
        canary_revision: text("new"),
        stable_revision: text("old"),
        canary_set: text("shop-new"),
        stable_set: text("shop-old"),
        service: None,
        route: None,
    }
}

fn learned() -> GateStatistics {
    GateStatistics { learned: "something".to_owned(), phi: 1.0, tolerance: 1.1, ..GateStatistics::default() }
}

fn alone() -> Others {
    Others { shown: Vec::new(), tests: 1, alpha: 0.01 }
}

#[test]
fn a_question_begins_where_the_last_block_ended_and_holds_whole_blocks() {
    let gate = gate(json!({"initialDelay": "5s"}));
    let counting = counting(&gate);
    let next = |counted: &GateStatistics, now| {
        counting.next(counted, &GateStatus::default(), &variables(), at(now)).unwrap()
    };
    // Before the first block is over, and has been taken in.
    assert!(matches!(next(&learned(), 19), Next::Later(time) if time == at(20)));
    let asked = |next| match next {
        Next::Ask(Ask::Series { from, until, step, .. }, _) => (from, until, step),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(next(&learned(), 20)), (at(5), at(15), Span::seconds(10)));
    let counted = GateStatistics { counted_until: Some(at(35)), ..learned() };
    assert_eq!(asked(next(&counted, 73)), (at(35), at(65), Span::seconds(10)));
    // A day later 240 points are enough: blocks are counted together.
    assert_eq!(asked(next(&counted, 86_400)), (at(35), at(86_395), Span::seconds(360)));
    // The history comes first, and is asked for once.
    let Next::Ask(Ask::Series { step, queries, .. }, first) = next(&GateStatistics::default(), 20) else {
        panic!()
    };
    assert_eq!((step, queries.len()), (Span::seconds(60), 2));
    let Next::Ask(_, second) = next(&learned(), 20) else { panic!() };
    assert_ne!(first, second);
}

#[test]
fn what_was_asked_in_vain_is_asked_again_after_a_while() {
    let gate = gate(json!({}));
    let counting = counting(&gate);
    let status = GateStatus { evaluated_at: Some(at(20)), ..GateStatus::default() };
    let next = |now| counting.next(&learned(), &status, &variables(), at(now)).unwrap();
    assert!(matches!(next(21), Next::Later(time) if time == at(30)));
    assert!(matches!(next(30), Next::Ask(..)));
}

#[test]
fn an_answer_counts_once_and_only_for_the_question_that_is_open() {
    let gate = gate(json!({}));
    let counting = counting(&gate);
    let status = GateStatus::default();
    let Next::Ask(_, key) = counting.next(&learned(), &status, &variables(), at(15)).unwrap() else {
        panic!()
    };
    let bad = vec![line("shop-new-aaaaa", &[(10, 2.0)])];
    let total = vec![
        line("shop-new-aaaaa", &[(0, 50.0), (10, 80.0)]),
        line("shop-old-bbbbb", &[(0, 500.0), (10, 770.0)]),
    ];
    let answer = Answer::Series(vec![bad, total]);
    let answered = Answered { component: String::new(), gate: String::new(), key, at: at(15), answer };
    let (after, counted) = fold(&counting, (&status, &learned()), &answered, &alone());
    assert_eq!((counted.canary_bad, counted.canary_total, counted.stable_total), (2.0, 30.0, 270.0));
    assert_eq!((counted.counted_until, after.verdict), (Some(at(10)), Verdict::Wait));
    let (again, same) = fold(&counting, (&after, &counted), &answered, &alone());
    assert_eq!((&again, &same), (&after, &counted));
}

#[test]
fn a_silent_pod_is_not_new_when_it_comes_back() {
    let read = |missing: &Missing, total: Vec<Line>, from: i64, until: i64| {
        read::counters((&[], &total), SETS, read::Before::Counted(missing), (at(from), at(until)))
    };
    let first = read(
        &Missing::new(),
        vec![line("shop-new-aaaaa", &[(0, 50.0)]), line("shop-old-bbbbb", &[(0, 1.0), (10, 2.0)])],
        0,
        10,
    );
    assert!(first.missing.contains_key("shop-new-aaaaa"), "{first:?}");
    let back = vec![
        line("shop-new-aaaaa", &[(20, 65.0)]),
        line("shop-new-ccccc", &[(20, 7.0)]),
        line("shop-old-bbbbb", &[(10, 2.0)]),
    ];
    let second = read(&first.missing, back.clone(), 10, 20);
    // What it did while it was silent, and all that the one counts that was never seen.
    assert_eq!(second.counted[0].blocks[0].canary.total, 15.0 + 7.0);
    assert_eq!(second.missing.len(), 1, "stable's pod is silent now: {second:?}");
    // With more silent pods than are remembered nobody can be called new.
    let many: Missing = (0..MISSING_MAX).map(|n| (format!("shop-new-x{n:04}"), (0.0, 1.0, false))).collect();
    assert_eq!(read(&many, back, 10, 20).counted[0].blocks[0].canary.total, 0.0);
}

#[test]
fn histograms_are_counted_by_their_bounds_through_resets() {
    let bucket = |lower, upper, count| Bucket { lower, upper, count };
    let points = |reads: &[(i64, f64, f64)]| {
        let point = |(second, fast, slow): &(i64, f64, f64)| {
            (at(*second), Reading::Buckets(vec![bucket(0.0, 0.5, *fast), bucket(0.5, 1.0, *slow)]))
        };
        reads.iter().map(point).collect::<Vec<_>>()
    };
    let canary = Line {
        pod: "shop-new-aaaaa".into(),
        upper: None,
        points: points(&[(0, 10.0, 1.0), (10, 30.0, 4.0), (20, 5.0, 1.0)]),
    };
    let lines = [canary];
    let answer =
        read::buckets(&lines, SETS, (read::Before::Counted(&Missing::new()), &[0.5]), (at(0), at(20)));
    let arms: Vec<(f64, f64)> =
        answer.counted.iter().map(|it| (it.blocks[0].canary.bad, it.blocks[0].canary.total)).collect();
    assert_eq!(arms, [(3.0, 23.0), (1.0, 6.0)]);
    // The same as a classic histogram, one series for each bound.
    let classic = |upper: f64, counts: [f64; 2]| Line {
        upper: Some(upper),
        ..line("shop-new-aaaaa", &[(0, counts[0]), (10, counts[1])])
    };
    let lines = [classic(0.5, [10.0, 30.0]), classic(f64::INFINITY, [11.0, 34.0])];
    let answer =
        read::buckets(&lines, SETS, (read::Before::Counted(&Missing::new()), &[0.5]), (at(0), at(10)));
    assert_eq!(
        (answer.counted[0].blocks[0].canary.bad, answer.counted[0].blocks[0].canary.total),
        (3.0, 23.0)
    );
}

#[test]
fn all_tests_of_a_run_share_one_chance_of_error() {
    let others = |shown: &[f64], tests| Others { shown: shown.to_vec(), tests, alpha: 0.01 };
    let limit = 100.0_f64.ln();
    assert!(others(&[], 1).is_harm(limit + 0.01) && !others(&[], 1).is_harm(limit - 0.01));
    // One of four has to show four times as much, unless others show something too.
    assert!(!others(&[0.0, 0.0], 4).is_harm(limit + 1.2) && others(&[0.0, 0.0], 4).is_harm(limit + 1.4));
    assert!(others(&[limit + 0.5, limit + 0.5], 3).is_harm(limit + 0.6));
    // The one that shows most is the one that is named.
    assert!(!others(&[limit + 9.0], 2).is_harm(limit + 5.0));
}

#[test]
fn history_teaches_what_the_pods_of_stable_did() {
    let gate = gate(json!({}));
    let counting = counting(&gate);
    let minutes = |rate: f64| (0..60).map(|minute| (minute * 60, minute as f64 * rate)).collect::<Vec<_>>();
    let pods = ["aaaaa", "bbbbb", "ccccc", "ddddd"].map(|name| format!("shop-old-{name}"));
    let total: Vec<Line> = pods.iter().map(|pod| line(pod, &minutes(600.0))).collect();
    let bad: Vec<Line> = pods.iter().map(|pod| line(pod, &minutes(6.0))).collect();
    let known = learn::learned(&counting, &GateStatistics::default(), Some(&[bad, total]));
    assert_eq!(known.learned, "59 minutes of 4 stable pods");
    // Alike to the last request: no more variance than chance, and the least tolerance.
    assert_eq!((known.phi, known.tolerance), (1.0, 1.05));
    let unknown = learn::learned(&counting, &GateStatistics::default(), None);
    assert!(unknown.learned.starts_with("nothing: ") && unknown.phi == 1.5 && unknown.tolerance == 1.25);
}
