//! The real `decide` in a small world, every order of events to a bound: two controllers, three phases, two gates, views up to
//! two revisions old, writes that arrive late, crashes after any write, a clock that jumps, an edited spec, an abort.
//!
//! `make model` looks at the first 40 000 states; `STATES=5000000` at more.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
#![allow(clippy::print_stdout, reason = "what was found is for people to read")]
#![allow(dead_code, reason = "what these modules have besides is for the tests of another target")]

#[path = "../planner/fixtures.rs"]
mod fixtures;
#[path = "../planner/monitors.rs"]
mod monitors;
#[path = "../planner/monitors_parts.rs"]
mod monitors_parts;
#[path = "../planner/monitors_runs.rs"]
mod monitors_runs;
#[path = "../planner/monitors_serving.rs"]
mod monitors_serving;
#[path = "../planner/play.rs"]
mod play;
#[path = "../planner/record.rs"]
mod record;
mod search;
mod world;

use std::path::Path;
use std::{env, fs, panic, thread};

use search::{PATH, explore};

/// States that are looked at unless `STATES` says otherwise.
const USUAL: usize = 40_000;

fn main() {
    let max = env::var("STATES").map_or(USUAL, |text| text.parse().expect("STATES is a number"));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        println!("the path to it: {:?}", PATH.with_borrow(Clone::clone));
        usual(info);
    }));
    let explored = explore(max, threads);
    println!(
        "{} states, {} steps between them, every combination of {} troubles at any place of a run{}; {} aborts and {} ends were played from them; {} writes of a \
         former leader came late. Every monitor held.",
        explored.states,
        explored.steps,
        explored.troubles,
        if explored.is_whole { " (all there are)" } else { "" },
        explored.aborts,
        explored.ends,
        explored.late_writes
    );
    let counters = serde_json::json!({
        "states": explored.states, "steps": explored.steps, "troubles": explored.troubles, "aborts": explored.aborts,
        "ends": explored.ends, "late_writes": explored.late_writes, "whole": explored.is_whole,
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("model.json");
    fs::write(&path, format!("{counters}\n")).unwrap();
    println!("written to {}", path.display());
}
