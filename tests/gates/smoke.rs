//! The yardstick in small: a few hundred rollouts with fixed seeds. `make bench-gates` runs all of it.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
#![allow(dead_code, reason = "shared with the whole yardstick")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of a simulation"
)]

mod experiment;
mod kayenta;
mod ours;
mod random;
mod rules;
mod traffic;

use experiment::{ARGO, DEFAULT, Repetitions, Row};
use traffic::Scenario;

fn rule<'r>(rows: &'r [Row], name: &str, ratio: f64) -> &'r Row {
    rows.iter().find(|row| row.rule == name && row.cell.ratio == ratio).unwrap()
}

#[test]
fn healthy_releases_stay_and_regressions_go_the_larger_the_sooner() {
    let rows = experiment::run_place(Scenario::Bursty, 100.0, 0.01, Repetitions { each: 60, tuning: 200 });
    assert!(rule(&rows, DEFAULT, 1.0).rate() <= 0.02, "{:?}", rule(&rows, DEFAULT, 1.0));
    let found = [1.5, 2.0, 5.0].map(|ratio| rule(&rows, DEFAULT, ratio));
    assert!(found[0].rate() > 0.9 && found[1].rate() == 1.0 && found[2].rate() == 1.0, "{found:?}");
    assert!(found[0].median > found[1].median && found[1].median > found[2].median, "{found:?}");
    let (ours, theirs) = (rule(&rows, DEFAULT, 2.0), rule(&rows, ARGO, 2.0));
    assert!(ours.bad < 0.2 * theirs.bad, "{ours:?} {theirs:?}");
}

#[test]
fn clusters_need_what_history_teaches() {
    let rows = experiment::run_place(Scenario::Clustered, 100.0, 0.001, Repetitions { each: 60, tuning: 50 });
    assert!(rule(&rows, DEFAULT, 1.0).rate() <= 0.02);
    assert!(rule(&rows, "seq phi=1", 1.0).rate() > 0.3, "the very yardstick could not tell a difference");
    assert!(rule(&rows, DEFAULT, 5.0).rate() > 0.8);
}
