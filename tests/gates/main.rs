//! The yardstick: how often each rule rolls back healthy releases, and what a bad one costs until it is rolled back. Run it with
//! `make bench-gates`.
//!
//! ```text
//! random ─► traffic (six scenarios × traffic × error rate × size of the regression) ─► ours, rules, kayenta ─► report
//! ```
//!
//! Everything has a fixed seed. `BENCH_REPS` sets the repetitions (1000; twice as many for healthy releases) and only prints; it
//! fails if the headline does not hold or the rules do not do what they did in the prototype.

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

mod agreement;
mod cost;
mod experiment;
mod kayenta;
mod latency;
mod ours;
mod pipeline;
mod random;
mod report;
mod rules;
mod traffic;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use experiment::Repetitions;
use report::Report;

const REPETITIONS: usize = 1000;
const TUNING: usize = 4000;
const LATENCY: usize = 500;

fn main() -> ExitCode {
    let begun = Instant::now();
    let tell = |what: &str| eprintln!("{:5.0} s  {what}", begun.elapsed().as_secs_f64());
    let asked = std::env::var("BENCH_REPS").ok().and_then(|text| text.parse::<usize>().ok());
    let each = asked.unwrap_or(REPETITIONS).max(10);
    let repetitions = Repetitions { each, tuning: TUNING };
    let rows = experiment::run(repetitions, tell);
    let pipeline = pipeline::run(repetitions);
    tell("whole releases");
    let latency = latency::run(LATENCY.min(each));
    tell("latency");
    let (micros, bytes) = cost::of_a_decision();
    tell(&format!("a decision takes {micros:.1} µs with 1000 Rollouts, and its state {bytes} bytes at most"));
    let report = Report { rows, pipeline, latency };
    let page = report.page();
    println!("{page}");
    if asked.is_none() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gates.md");
        if let Err(error) = std::fs::write(&path, page) {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if report.headline().holds() && report.agrees() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
