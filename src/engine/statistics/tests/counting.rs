//! Counters, histograms, time and history: what is counted, and how often.

use jiff::{SignedDuration, Timestamp};

use super::super::counters::{Counted, PodReading, Reading, Side, State, step};
use super::super::histogram::{self, Bucket};
use super::super::schedule::{CATCH_UP_MAX, Schedule};
use super::super::{Arm, Block, history};
use super::{near, same};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn pod(name: &str, created: i64, bad: Option<f64>, total: Option<f64>) -> PodReading {
    let side = if name.starts_with('c') { Side::Canary } else { Side::Stable };
    PodReading { pod: name.to_owned(), side, created_at: at(created), bad, total }
}

/// What the last of some readings, 30 s apart, counted.
fn counted(readings: &[Vec<PodReading>]) -> Counted {
    let mut state = State::default();
    let mut last = None;
    for (nth, pods) in (0..).zip(readings) {
        (state, last) = step(&state, &Reading { at: at(30 * nth), pods: pods.clone() });
    }
    last.unwrap()
}

#[test]
fn differences_are_counted_by_arm() {
    let counted = counted(&[
        vec![
            pod("c1", -9, Some(1.0), Some(100.0)),
            pod("s1", -9, Some(5.0), Some(1000.0)),
            pod("s2", -9, None, Some(7.0)),
        ],
        vec![
            pod("c1", -9, Some(4.0), Some(150.0)),
            pod("s1", -9, Some(5.0), Some(1400.0)),
            pod("s2", -9, Some(2.0), Some(17.0)),
        ],
    ]);
    assert_eq!(counted.block, Block::new((3.0, 50.0), (2.0, 410.0)));
    assert_eq!((counted.pods, counted.silent, counted.resets), (3, 0, 0));
}

#[test]
fn the_first_error_counts_though_its_series_is_new() {
    let one = |bad, total| vec![pod("c1", -9, bad, Some(total))];
    assert_eq!(counted(&[one(None, 10.0), one(Some(1.0), 20.0)]).block.canary, Arm::new(1.0, 10.0));
}

#[test]
fn a_pod_is_counted_from_its_birth_only_if_it_was_born_meanwhile() {
    let first = vec![pod("s1", -9, None, Some(1.0))];
    let joined = |created| vec![pod("s1", -9, None, Some(1.0)), pod("c1", created, Some(2.0), Some(9.0))];
    assert_eq!(counted(&[first.clone(), joined(5)]).block.canary, Arm::new(2.0, 9.0));
    assert_eq!(counted(&[first, joined(-5)]).block.canary, Arm::default());
    assert_eq!(counted(&[joined(5)]).block.canary, Arm::default(), "the first reading is the baseline");
}

#[test]
fn a_reset_counts_what_came_after_it() {
    let read = |bad, total| vec![pod("c1", -9, bad, Some(total))];
    let after_reset = counted(&[read(Some(5.0), 100.0), read(Some(1.0), 20.0)]);
    assert_eq!((after_reset.block.canary, after_reset.resets), (Arm::new(1.0, 20.0), 1));
    let total_only = counted(&[read(Some(5.0), 100.0), read(Some(7.0), 20.0)]);
    assert_eq!(total_only.block.canary, Arm::new(7.0, 20.0));
    let bad_only = counted(&[read(Some(5.0), 100.0), read(Some(1.0), 120.0)]);
    assert_eq!(bad_only.block.canary, Arm::new(1.0, 120.0), "both together");
    let without_bad = counted(&[read(Some(5.0), 100.0), read(None, 20.0)]);
    assert_eq!(without_bad.block.canary, Arm::new(0.0, 20.0));
}

#[test]
fn a_series_that_comes_back_is_no_burst_of_errors() {
    let read = |bad, total| vec![pod("c1", -9, bad, Some(total))];
    let lost = [read(Some(5.0), 100.0), read(None, 120.0)];
    assert_eq!(counted(&lost).block.canary, Arm::new(0.0, 20.0));
    let back = [lost.to_vec(), vec![read(Some(6.0), 130.0)]].concat();
    assert_eq!(counted(&back).block.canary, Arm::new(1.0, 10.0));
    let born_anew = [lost.to_vec(), vec![read(Some(2.0), 130.0)]].concat();
    assert_eq!(counted(&born_anew).block.canary, Arm::new(2.0, 10.0));
}

#[test]
fn only_paired_reads_count() {
    let read = |bad, total| vec![pod("c1", -9, bad, total)];
    let unpaired = counted(&[read(Some(1.0), Some(10.0)), read(Some(9.0), None)]);
    assert_eq!((unpaired.block, unpaired.silent), (Block::default(), 1));
    let later = counted(&[read(Some(1.0), Some(10.0)), read(Some(9.0), None), read(Some(9.0), Some(40.0))]);
    assert_eq!(later.block.canary, Arm::new(8.0, 30.0), "nothing is lost");
    for nonsense in [f64::NAN, f64::INFINITY, -1.0] {
        assert_eq!(counted(&[read(None, Some(10.0)), read(None, Some(nonsense))]).silent, 1);
    }
    let more_bad_than_all = counted(&[read(Some(0.0), Some(10.0)), read(Some(9.0), Some(12.0))]);
    assert_eq!(more_bad_than_all.block.canary, Arm::new(2.0, 2.0));
}

#[test]
fn a_pod_that_went_is_forgotten() {
    let both = vec![pod("c1", -9, Some(1.0), Some(10.0)), pod("s1", -9, Some(1.0), Some(10.0))];
    let one = vec![pod("s1", -9, Some(1.0), Some(30.0))];
    let counted = counted(&[both.clone(), one, both]);
    assert_eq!(counted.block.canary, Arm::default(), "an old pod that comes back is a baseline again");
}

#[test]
fn each_block_counts_once() {
    let read = |seconds, total| Reading { at: at(seconds), pods: vec![pod("c1", -9, None, Some(total))] };
    let (state, _) = step(&State::default(), &read(0, 10.0));
    let (state, first) = step(&state, &read(30, 20.0));
    assert_eq!(first.unwrap().block.canary.total, 10.0);
    for seconds in [30, 29, 0] {
        let (again, counted) = step(&state, &read(seconds, 25.0));
        assert_eq!((&again, counted), (&state, None));
    }
    assert_eq!(state.counted_until(), Some(at(30)));
}

#[test]
fn what_is_stored_and_read_again_goes_on_the_same() {
    let read = |seconds, bad, total| Reading { at: at(seconds), pods: vec![pod("c1", -9, bad, Some(total))] };
    let (state, _) = step(&State::default(), &read(0, Some(0.1), 10.3));
    let (state, _) = step(&state, &read(30, None, 20.7));
    let stored = serde_json::to_string(&state).unwrap();
    let restored: State = serde_json::from_str(&stored).unwrap();
    assert_eq!(restored, state);
    assert!(stored.len() < 200, "{stored}");
}

#[test]
fn blocks_lie_end_to_end_and_are_caught_up_on() {
    let schedule = Schedule {
        begins_at: at(0),
        block: SignedDuration::from_secs(30),
        lag: SignedDuration::from_secs(20),
    };
    assert!(schedule.due(None, at(19)).is_empty());
    assert_eq!(schedule.due(None, at(20)), [at(0)]);
    assert_eq!(schedule.due(Some(at(0)), at(110)), [at(30), at(60), at(90)]);
    assert_eq!(schedule.due(Some(at(31)), at(110)), [at(60), at(90)], "on the same cut as before");
    assert_eq!(schedule.due(Some(at(0)), at(1_000_000)).len(), CATCH_UP_MAX);
    assert_eq!(schedule.next_read(Some(at(30))), Some(at(80)));
    assert_eq!(schedule.next_read(None), Some(at(20)));
    assert!(schedule.due(Some(Timestamp::MAX), at(0)).is_empty());
    assert_eq!(Schedule::usual_block(SignedDuration::from_secs(5)), SignedDuration::from_secs(30));
    assert_eq!(Schedule::usual_block(SignedDuration::from_secs(60)), SignedDuration::from_secs(120));
    assert_eq!(Schedule::usual_lag(SignedDuration::from_secs(15)), SignedDuration::from_secs(20));
}

#[test]
fn a_bound_inside_a_bucket_has_two_sides() {
    let buckets =
        histogram::from_cumulative(&[(0.1, 700.0), (0.25, 960.0), (f64::INFINITY, 1000.0), (0.5, 985.0)]);
    let above = |bound, side| histogram::above(&buckets, bound, side);
    assert_eq!(above(0.3, histogram::Side::Surely), 15.0);
    assert_eq!(above(0.3, histogram::Side::Possibly), 40.0);
    assert_eq!((above(0.25, histogram::Side::Surely), above(0.25, histogram::Side::Possibly)), (40.0, 40.0));
    assert_eq!(histogram::total(&buckets), 1000.0);
    assert!(histogram::from_cumulative(&[(0.1, 5.0), (f64::INFINITY, 4.0)]).is_empty());
    assert!(histogram::from_cumulative(&[(0.1, 5.0)]).is_empty());
    assert!(histogram::from_cumulative(&[(0.1, 1.0), (0.1, 2.0), (f64::INFINITY, 3.0)]).is_empty());
    assert!(histogram::from_cumulative(&[(f64::NEG_INFINITY, 1.0), (f64::INFINITY, 3.0)]).is_empty());
    assert!(histogram::from_cumulative(&[(f64::NAN, 1.0), (f64::INFINITY, 3.0), (f64::NAN, 9.0)]).is_empty());
}

#[test]
fn native_histograms_are_subtracted_on_the_coarser_buckets() {
    let fine = |a, b, c, d| {
        [(1.0, 1.5, a), (1.5, 2.0, b), (2.0, 3.0, c), (3.0, 4.0, d)]
            .map(|(lower, upper, count)| Bucket { lower, upper, count })
            .to_vec()
    };
    let coarse = |a, b| {
        [(1.0, 2.0, a), (2.0, 4.0, b)].map(|(lower, upper, count)| Bucket { lower, upper, count }).to_vec()
    };
    let counts = |buckets: Option<Vec<Bucket>>| {
        buckets.map(|buckets| buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>())
    };
    assert_eq!(
        counts(histogram::added(&fine(1.0, 2.0, 3.0, 4.0), &fine(1.0, 3.0, 5.0, 4.0))),
        Some(vec![0.0, 1.0, 2.0, 0.0])
    );
    assert_eq!(counts(histogram::added(&fine(1.0, 2.0, 3.0, 4.0), &coarse(4.0, 9.0))), Some(vec![1.0, 2.0]));
    assert_eq!(counts(histogram::added(&coarse(1.0, 2.0), &fine(1.0, 1.0, 2.0, 2.0))), Some(vec![1.0, 2.0]));
    assert_eq!(
        counts(histogram::added(&coarse(4.0, 9.0), &coarse(5.0, 8.0))),
        Some(vec![5.0, 8.0]),
        "a reset"
    );
    let gone = histogram::added(&fine(1.0, 2.0, 3.0, 4.0), &fine(1.0, 2.0, 3.0, 4.0)[..3]);
    assert_eq!(counts(gone), Some(vec![1.0, 2.0, 3.0]), "a bucket fell to nothing: a reset");
    assert_eq!(counts(histogram::added(&[], &coarse(1.0, 2.0))), Some(vec![1.0, 2.0]));
    let across = [Bucket { lower: 1.5, upper: 2.5, count: 1.0 }];
    assert_eq!(histogram::added(&across, &coarse(1.0, 2.0)), None);
}

fn minutes(rows: &[[f64; 3]], totals: [f64; 3]) -> history::Dispersion {
    rows.iter().fold(history::Dispersion::default(), |sums, row| {
        let pods: Vec<Arm> = row.iter().zip(totals).map(|(bad, total)| Arm::new(*bad, total)).collect();
        history::step(&sums, &pods)
    })
}

#[test]
fn how_much_counts_vary() {
    let rows = [[0.0, 2.0, 1.0], [5.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 6.0]];
    same(history::phi(&minutes(&rows, [100.0; 3])), 2.1875);
    same(history::phi(&minutes(&rows, [100.0, 200.0, 100.0])), 84.25 / 31.25);
    near(history::phi(&history::Dispersion::default()), history::PHI_UNKNOWN, 1e-12);
    assert_eq!(minutes(&[[0.0; 3]], [100.0; 3]), history::Dispersion::default(), "nothing to learn from");
    assert_eq!(minutes(&[[5.0, 0.0, 0.0]], [100.0, 0.0, 0.0]), history::Dispersion::default());
    let storm = [[900.0, 0.0, 0.0]; 9];
    assert_eq!(history::phi(&minutes(&storm, [1e6; 3])), history::PHI_MAX);
}

#[test]
fn how_much_pods_differ() {
    let counts = [120.0, 95.0, 140.0, 101.0, 99.0, 130.0, 88.0, 110.0, 117.0];
    let pods = counts.map(|bad| Arm::new(bad, 1e5));
    near(history::spread(&pods, 1.2).unwrap(), 0.113940774, 4e-9);
    near(history::rho0(&pods, 1, 1.2), 1.416057664, 4e-10);
    near(history::tolerance(&pods, 1, 1.2), 1.1533077131763054, 1e-9);
    assert_eq!(history::tolerance(&[Arm::new(100.0, 1e5); 9], 1, 1.2), history::TOLERANCE_MIN);
    assert_eq!(history::tolerance(&[Arm::new(0.0, 1e5); 9], 1, 1.2), history::RHO0_UNKNOWN);
    assert_eq!(history::rho0(&pods[..3], 1, 1.2), history::RHO0_UNKNOWN);
    assert_eq!(history::rho0(&[Arm::new(0.0, 1e5); 9], 1, 1.2), history::RHO0_UNKNOWN);
    assert_eq!(history::rho0(&[Arm::new(100.0, 1e5); 9], 1, 1.2), history::RHO0_MIN);
    let wild: Vec<Arm> = (0..9).map(|nth| Arm::new(f64::from(nth * 100), 1e5)).collect();
    assert_eq!(history::rho0(&wild, 1, 1.2), history::RHO0_MAX);
}
