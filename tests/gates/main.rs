//! The yardstick: how often each rule rolls back healthy releases, and what a bad one costs until it is rolled back. Run it with
//! `make bench-gates`.
//!
//! ```text
//! random ─► traffic (six scenarios × traffic × error rate × size of the regression) ─► ours, rules, kayenta ─► report
//! ```
//!
//! Everything has a fixed seed. `BENCH_REPS` sets the repetitions (1000; twice as many for healthy releases).

#![allow(clippy::unwrap_used, reason = "a thread that panics ends the benchmark")]
#![allow(clippy::disallowed_methods, reason = "what is told is real time")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the benchmark speaks to the person at the terminal"
)]
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

use std::process::ExitCode;
use std::time::Instant;

use experiment::Repetitions;

const REPETITIONS: usize = 1000;
const TUNING: usize = 4000;

fn main() -> ExitCode {
    let begun = Instant::now();
    let tell = |what: &str| eprintln!("{:5.0} s  {what}", begun.elapsed().as_secs_f64());
    let each = std::env::var("BENCH_REPS").ok().and_then(|text| text.parse().ok()).unwrap_or(REPETITIONS);
    let rows = experiment::run(Repetitions { each, tuning: TUNING }, tell);
    for row in &rows {
        println!(
            "{},{},{},{},{},{},{},{},{:.3},{:.3}",
            row.cell.scenario.name(),
            row.cell.rps,
            row.cell.bad,
            row.cell.ratio,
            row.rule.replace(',', ";"),
            row.tried,
            row.rolled_back,
            row.median,
            row.bad,
            row.deviation
        );
    }
    ExitCode::SUCCESS
}
