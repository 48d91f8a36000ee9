use proptest::prelude::*;

use crate::api::{FailureWindow, NoDataPolicy, OnInconclusive, PrometheusQuery, Span};

use super::*;

fn gate(min: Option<f64>, max: Option<f64>) -> Gate {
    Gate {
        name: "errors".to_owned(),
        interval: Span::seconds(30),
        initial_delay: Span::seconds(10),
        window: Span::seconds(60),
        failure_threshold: 2,
        failure_window: None,
        min_evaluations: 2,
        prometheus: PrometheusQuery {
            query: Some("up".to_owned()),
            source: "default".to_owned(),
            ..PrometheusQuery::default()
        },
        threshold: Some(Threshold { min, max, min_samples: None }),
        compare: None,
        sequential_rate: None,
        sequential_latency: None,
        quantile: None,
        budget: None,
        on_inconclusive: OnInconclusive::Hold,
        on_failure: None,
        degraded_mode: None,
        on_no_data: NoDataPolicy::default(),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn sample(value: f64) -> Answer {
    Answer::Sample { value, sampled_at: at(0) }
}

/// Asks at each second in turn what the letter says: P, F, N (no data), E (error).
fn folded(gate: &Gate, letters: &str) -> GateStatus {
    let start = GateStatus { key: "k".to_owned(), ..GateStatus::default() };
    letters.chars().zip(1..).fold(start, |status, (letter, second)| {
        let answer = match letter {
            'P' => Answer::Sample { value: 0.0, sampled_at: at(second) },
            'F' => Answer::Sample { value: 2.0, sampled_at: at(second) },
            'N' => Answer::Empty,
            _ => Answer::Failed("no answer".to_owned()),
        };
        fold(gate, &status, &answered(answer, second))
    })
}

fn answered(answer: Answer, second: i64) -> Answered {
    Answered {
        component: "api".to_owned(),
        gate: "errors".to_owned(),
        key: "k".to_owned(),
        at: at(second),
        answer,
    }
}

#[test]
fn judges_numbers_by_both_limits_inclusive() {
    use Verdict::{Fail, NoData, Pass};
    for (min, max, value, verdict, shown, words) in [
        (None, Some(0.01), 0.0, Pass, "0", "0 is at most 0.01"),
        (None, Some(0.01), 0.01, Pass, "0.01", "0.01 is at most 0.01"),
        (None, Some(0.01), 0.02, Fail, "0.02", "0.02 is above the most allowed, 0.01"),
        (None, Some(0.01), 0.010000000000000002, Fail, "0.01", "1.0000000000000002e-2 is above"),
        (None, Some(0.01), -5.0, Pass, "-5", "at most"),
        (Some(0.99), None, 0.99, Pass, "0.99", "0.99 is at least 0.99"),
        (Some(0.99), None, 0.5, Fail, "0.5", "0.5 is below the least allowed, 0.99"),
        (Some(1.0), Some(2.0), 1.5, Pass, "1.5", "1.5 is within 1 and 2"),
        (Some(1.0), Some(2.0), 0.9, Fail, "0.9", "below"),
        (Some(1.0), Some(2.0), 2.1, Fail, "2.1", "above"),
        (None, Some(0.01), f64::NAN, NoData, "NaN", "NaN"),
        (None, Some(0.01), f64::NEG_INFINITY, NoData, "-Inf", "-Inf"),
        (Some(0.01), None, f64::INFINITY, NoData, "+Inf", "+Inf"),
        (Some(0.01), None, f64::NAN, NoData, "NaN", "no traffic yet"),
        (None, None, 1.0, NoData, "1", "no limit"),
        (Some(f64::NAN), None, 1.0, Fail, "1", "below"),
        (None, Some(f64::NAN), 1.0, Fail, "1", "above"),
    ] {
        let judged = judge(&gate(min, max), &sample(value));
        assert_eq!((judged.verdict, judged.value.as_str()), (verdict, shown), "{value} in {min:?}..{max:?}");
        assert!(judged.message.contains(words), "{value}: {}", judged.message);
    }
}

#[test]
fn shows_numbers_briefly() {
    for (number, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (0.123_456_789, "0.123456789"),
        (1.0 / 3.0, "0.333333"),
        (1_234.567_891_234, "1234.57"),
        (1e15, "1e15"),
        (1.234_567_891e-7, "1.23457e-7"),
        (f64::MAX, "1.79769e308"),
        (-f64::MIN_POSITIVE, "-2.22507e-308"),
    ] {
        assert_eq!(shown(number), text);
    }
}

#[test]
fn every_other_answer_is_no_evidence_with_a_cure() {
    use Verdict::{Error, NoData};
    for (answer, verdict, words) in [
        (Answer::Empty, NoData, "or vector(0)"),
        (Answer::ManySeries(7), NoData, "7 series: aggregate them to one, for example with sum()"),
        (Answer::WrongType("a matrix".to_owned()), NoData, "a matrix, not one number"),
        (Answer::Warnings("2 warnings".to_owned()), NoData, "2 warnings"),
        (Answer::Failed("no answer\nwithin 10s".to_owned()), Error, "no answer within 10s"),
        (Answer::Failed("x".repeat(1000)), Error, "xxx"),
    ] {
        for gate in [gate(Some(0.0), None), gate(None, Some(1.0))] {
            let judged = judge(&gate, &answer);
            assert_eq!(judged.verdict, verdict, "{answer:?}");
            assert!(judged.message.contains(words), "{}", judged.message);
            assert!(judged.message.chars().count() <= 256 && judged.value.is_empty());
        }
    }
}

#[test]
fn counts_passes_and_failures() {
    let gate = gate(None, Some(1.0));
    for (letters, passes, in_a_row, tripped, no_data) in [
        ("", 0, 0, false, None),
        ("P", 1, 0, false, None),
        ("PP", 2, 0, false, None),
        ("F", 0, 1, false, None),
        ("FF", 0, 2, true, None),
        ("FPF", 1, 1, false, None),
        ("FFP", 1, 0, false, None),
        // No evidence neither passes nor fails, and does not forgive.
        ("FNF", 0, 2, true, None),
        ("FEF", 0, 2, true, None),
        ("PNN", 1, 0, false, Some(2)),
        ("PEN", 1, 0, false, Some(2)),
        ("PNPN", 2, 0, false, Some(4)),
        ("FFN", 0, 2, true, Some(3)),
        ("NNNN", 0, 0, false, Some(1)),
    ] {
        let status = folded(&gate, letters);
        assert_eq!(
            (status.passes, status.consecutive_failures, status.tripped, status.no_data_since),
            (passes, in_a_row, tripped, no_data.map(at)),
            "{letters}"
        );
    }
}

#[test]
fn a_failure_window_trips_without_a_row() {
    let mut gate = gate(None, Some(1.0));
    gate.failure_threshold = 100;
    gate.failure_window = Some(FailureWindow { failures: 2, of: 3 });
    for (letters, tripped) in [
        ("F", false),
        ("FPF", true),
        ("FPPF", false),
        ("FF", true),
        ("FPFP", false),
        ("FPFPF", true),
        ("FPFN", true),
    ] {
        assert_eq!(folded(&gate, letters).tripped, tripped, "{letters}");
    }
}

#[test]
fn no_data_counts_as_a_failure_where_the_gate_says_so() {
    let mut gate = gate(None, Some(1.0));
    gate.on_no_data.treat_as = TreatNoDataAs::Fail;
    let status = folded(&gate, "PN");
    assert_eq!((status.verdict, status.consecutive_failures, status.tripped), (Verdict::NoData, 1, false));
    let status = folded(&gate, "PNE");
    assert_eq!((status.verdict, status.tripped, status.recent.as_str()), (Verdict::Error, true, "PFF"));
    assert_eq!(status.no_data_since, Some(at(2)));
}

#[test]
fn an_answer_to_another_question_changes_nothing() {
    let gate = gate(None, Some(1.0));
    let before = folded(&gate, "PF");
    let other = Answered { key: "other".to_owned(), ..answered(sample(0.0), 3) };
    assert_eq!(fold(&gate, &before, &other), before);
}

#[test]
fn a_sample_of_another_time_is_no_evidence() {
    let gate = gate(None, Some(1.0));
    let before = folded(&gate, "P");
    for (sampled_at, words) in
        [(at(1), "no newer"), (at(0), "no newer"), (at(900), "ahead of us"), (at(2), "s old")]
    {
        let second = if words == "s old" { 400 } else { 3 };
        let after = fold(&gate, &before, &answered(Answer::Sample { value: 0.0, sampled_at }, second));
        assert_eq!((after.verdict, after.passes), (Verdict::NoData, 1), "{words}");
        assert_eq!((after.sampled_at, after.no_data_since), (Some(at(1)), Some(at(second))), "{words}");
        assert!(after.message.contains(words), "{}", after.message);
    }
}

#[test]
fn remembers_fifty_evaluations() {
    let gate = gate(None, Some(1.0));
    let status = folded(&gate, &("F".to_owned() + &"P".repeat(50)));
    assert_eq!(status.recent, "P".repeat(50));
    assert_eq!(status.passes, 50);
}

#[test]
fn knows_when_the_next_answer_is_due() {
    let gate = gate(None, Some(1.0));
    let fresh = GateStatus::default();
    assert_eq!(due_at(&gate, &fresh, at(0), Some(at(5))), at(10), "initialDelay wins");
    let status = GateStatus { evaluated_at: Some(at(100)), ..fresh };
    for (finish_at, due) in
        [(None, 130), (Some(120), 120), (Some(100), 130), (Some(50), 130), (Some(500), 130)]
    {
        assert_eq!(due_at(&gate, &status, at(0), finish_at.map(at)), at(due), "{finish_at:?}");
    }
}

#[test]
fn knows_how_long_evidence_may_be_missing() {
    let gate = gate(None, Some(1.0));
    assert_eq!(no_data_deadline(&gate, &folded(&gate, "P")), None);
    assert_eq!(no_data_deadline(&gate, &folded(&gate, "PN")), Some(at(2 + 3_600)));
    let end = GateStatus { no_data_since: Some(Timestamp::MAX), ..GateStatus::default() };
    assert_eq!(no_data_deadline(&gate, &end), Some(Timestamp::MAX));
}

#[test]
fn evidence_belongs_to_everything_that_it_rests_on() {
    let base = gate(None, Some(1.0));
    let key = |gate: &Gate| evidence_key(1, "pilot", 10, "abc", at(0), gate);
    let changes: [fn(&mut Gate); 8] = [
        |g| g.prometheus.query = Some("down".to_owned()),
        |g| g.prometheus.source = "other".to_owned(),
        |g| g.threshold.as_mut().unwrap().max = Some(2.0),
        |g| g.threshold.as_mut().unwrap().min = Some(0.0),
        |g| g.window = Span::seconds(61),
        |g| g.interval = Span::seconds(31),
        |g| g.failure_threshold = 3,
        |g| g.on_no_data.treat_as = TreatNoDataAs::Fail,
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(key(&other), key(&base), "change {i}");
    }
    for other in [
        evidence_key(2, "pilot", 10, "abc", at(0), &base),
        evidence_key(1, "half", 10, "abc", at(0), &base),
        evidence_key(1, "pilot", 11, "abc", at(0), &base),
        evidence_key(1, "pilot", 10, "abd", at(0), &base),
        evidence_key(1, "pilot", 10, "abc", at(1), &base),
    ] {
        assert_ne!(other, key(&base));
    }
    assert_eq!(key(&base), key(&base.clone()));
    assert!(key(&base).len() <= 64);
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), -2.0..2.0f64, Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)]
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => (any_number(), -400i64..400).prop_map(|(value, s)| Answer::Sample { value, sampled_at: at(s) }),
        1 => Just(Answer::Empty),
        1 => (2usize..9).prop_map(Answer::ManySeries),
        1 => Just(Answer::WrongType("a string".to_owned())),
        1 => Just(Answer::Warnings("1 warning".to_owned())),
        1 => Just(Answer::Failed("no answer".to_owned())),
    ]
}

fn any_gate() -> impl Strategy<Value = Gate> {
    let limit = || prop::option::of(any_number());
    let window = prop::option::of((1i32..5, 1i32..60));
    (limit(), limit(), 1i32..5, window, any::<bool>()).prop_map(|(min, max, failures, window, fail)| {
        let mut gate = gate(min, max);
        gate.failure_threshold = failures;
        gate.failure_window = window.map(|(failures, of)| FailureWindow { failures, of });
        gate.on_no_data.treat_as = if fail { TreatNoDataAs::Fail } else { TreatNoDataAs::Hold };
        gate
    })
}

proptest! {
    /// P6: only a finite, fresh number within at least one limit, and outside of none, is ever a pass.
    #[test]
    fn nothing_else_is_ever_a_pass(gate in any_gate(), answers in prop::collection::vec(any_answer(), 1..80)) {
        let mut status = GateStatus { key: "k".to_owned(), ..GateStatus::default() };
        for (answer, second) in answers.into_iter().zip(1..) {
            let after = fold(&gate, &status, &answered(answer.clone(), second));
            let proven = match answer {
                Answer::Sample { value, sampled_at } => {
                    let limits = gate.threshold.unwrap();
                    let within = limits.min.is_none_or(|min| value >= min)
                        && limits.max.is_none_or(|max| value <= max);
                    let limited = limits.min.is_some() || limits.max.is_some();
                    let fresh = status.sampled_at.is_none_or(|last| sampled_at > last)
                        && sampled_at >= at(second - 300) && sampled_at <= at(second + 300);
                    value.is_finite() && within && limited && fresh
                }
                _ => false,
            };
            prop_assert_eq!(after.passes, status.passes + i32::from(proven));
            prop_assert_eq!(after.verdict == Verdict::Pass, proven);
            // What has tripped stays so until a pass; failures are only forgiven by a pass.
            prop_assert!(proven || after.tripped >= status.tripped);
            prop_assert!(proven || after.consecutive_failures >= status.consecutive_failures);
            // Evidence and its absence exclude each other.
            let judged = matches!(after.verdict, Verdict::Pass | Verdict::Fail);
            prop_assert_eq!(after.no_data_since.is_none(), judged);
            prop_assert!(after.value.len() <= 32 && after.message.chars().count() <= 256);
            prop_assert!(after.recent.len() <= 50 && after.recent.chars().all(|c| c == 'P' || c == 'F'));
            prop_assert!(due_at(&gate, &after, at(0), None) > at(second));
            status = after;
        }
    }

    /// A wider limit never turns a pass into a failure.
    #[test]
    fn wider_limits_pass_more(value in -10.0..10.0f64, max in -10.0..10.0f64, more in 0.0..5.0f64) {
        let pass = |max: f64| judge(&gate(None, Some(max)), &sample(value)).verdict == Verdict::Pass;
        prop_assert!(!pass(max) || pass(max + more));
    }

    /// Turning one evaluation from a pass into a failure never untrips the gate.
    #[test]
    fn more_failures_trip_no_later(letters in "[PF]{1,30}", index in any::<prop::sample::Index>()) {
        let gate = gate(None, Some(1.0));
        let trips = |letters: &str| (1..=letters.len()).find(|n| folded(&gate, &letters[..*n]).tripped);
        let mut worse = letters.clone();
        let i = index.index(worse.len());
        worse.replace_range(i..=i, "F");
        match (trips(&letters), trips(&worse)) {
            (Some(before), Some(after)) => prop_assert!(after <= before),
            (Some(_), None) => prop_assert!(false, "{} trips, {} does not", letters, worse),
            _ => {}
        }
    }
}
