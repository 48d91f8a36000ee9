//! The tests are tested: bugs that peers of Palier had are put back into the engine, one at a time, and each must be seen
//! by the monitor that is there for it. Without the bug the same script must hold.
//!
//! `make flaws` plays for each bug the script that is on record for it, and looks for another one when that does not show it any
//! more; `-- NanPasses` after the test's arguments hunts one bug alone. Bugs of the edges are put back by other suites: see
//! `at_the_api_server.rs`.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
#![allow(clippy::print_stdout, reason = "what was found is for people to read")]
#![allow(dead_code, unused_imports, reason = "the examples in these modules are tests of another target")]

#[path = "../planner/examples_counting.rs"]
mod examples_counting;
#[path = "../planner/fixtures.rs"]
mod fixtures;
mod hunt;
#[path = "../planner/monitors.rs"]
mod monitors;
#[path = "../planner/monitors_parts.rs"]
mod monitors_parts;
#[path = "../planner/monitors_runs.rs"]
mod monitors_runs;
#[path = "../planner/monitors_serving.rs"]
mod monitors_serving;
#[path = "../planner/parts.rs"]
mod parts;
#[path = "../planner/play.rs"]
mod play;
#[path = "../planner/properties.rs"]
mod properties;
#[path = "../planner/properties_config.rs"]
mod properties_config;
#[path = "../planner/properties_degraded.rs"]
mod properties_degraded;
#[path = "../planner/properties_hooks.rs"]
mod properties_hooks;
#[path = "../planner/properties_parts.rs"]
mod properties_parts;
#[path = "../planner/record.rs"]
mod record;
#[path = "../model/search.rs"]
mod search;
#[path = "../planner/seeds.rs"]
mod seeds;
#[path = "../planner/shapes.rs"]
mod shapes;
#[path = "../planner/switches.rs"]
mod switches;
mod table;
#[path = "../planner/traffic.rs"]
mod traffic;
#[path = "../model/world.rs"]
mod world;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process, thread};

use hunt::{Hunt, hunt};
use table::{ENGINE, Known};

fn on_all_threads(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    work(index);
                }
            });
        }
    });
}

/// What is wrong with a hunt, if anything is; says how it went.
fn judged(known: &Known, found: &Hunt) -> Option<String> {
    let flaw = known.flaw;
    match &found.seen {
        None => Some(format!("{flaw:?} is not seen by {:?}; others: {:?}", known.by, found.others)),
        Some(seen) => {
            println!("{flaw:?}: {} ({} scripts), {}: {}", seen.shown, seen.played, seen.by, seen.words);
            found.unsound.clone()
        }
    }
}

fn counters(found: &[(Known, Hunt)]) -> serde_json::Value {
    let rows = found.iter().filter_map(|(known, hunt)| {
        let seen = hunt.seen.as_ref()?;
        Some(known.row(&seen.shown, &seen.by, &seen.words))
    });
    rows.collect()
}

fn main() {
    let wanted = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let is_wanted = |it: &Known| wanted.as_ref().is_none_or(|name| format!("{:?}", it.flaw) == *name);
    let hunted: Vec<Known> = ENGINE.into_iter().filter(is_wanted).collect();
    assert!(!hunted.is_empty(), "there is no bug {wanted:?}");
    let (found, wrong) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    // Those that take longest come first.
    let order: Vec<usize> = {
        let mut order: Vec<usize> = (0..hunted.len()).collect();
        order.sort_by_key(|index| hunted[*index].shown != table::Shown::SmallWorld);
        order
    };
    on_all_threads(hunted.len(), |index| {
        let known = hunted[order[index]];
        let hunt = hunt(&known);
        wrong.lock().unwrap().extend(judged(&known, &hunt));
        found.lock().unwrap().push((known, hunt));
    });
    let (found, wrong) = (found.into_inner().unwrap(), wrong.into_inner().unwrap());
    let seen = found.iter().filter(|(_, hunt)| hunt.seen.is_some()).count();
    println!("{} bugs, {seen} seen", found.len());
    if wanted.is_none() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flaws.json");
        fs::write(&path, format!("{}\n", counters(&found))).unwrap();
        println!("written to {}", path.display());
    }
    if !wrong.is_empty() {
        println!("{}", wrong.join("\n"));
        process::exit(1);
    }
}
