//! The tests are tested: bugs that peers of Palier had are put back into the engine, one at a time, and each must be seen
//! by a monitor or a property that looks at random scripts. Without a bug the same scripts must hold.
//!
//! `make flaws` runs it and writes the table; `-- NanPasses` after the test's arguments hunts one bug alone.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
#![allow(clippy::print_stdout, reason = "what was found is for people to read")]
#![allow(dead_code, unused_imports, reason = "the examples in these modules are tests of another target")]

#[path = "../planner/examples_counting.rs"]
mod examples_counting;
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

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process, thread};

use palier::engine::flaw::{Flaw, put_back};
use search::explore;
use shapes::{Broken, SHAPES, Shape, heard, named};
use table::{FLAWS, SMALL_WORLD};

/// Seeds of the likely shape that are played before the bug counts as missed.
const LIKELY_SEEDS: u64 = 600;
/// Seeds of each other shape.
const OTHER_SEEDS: u64 = 60;

/// States of the small world with two leaders that are looked at for a bug of theirs.
const STATES: usize = 20_000;

/// How a bug was seen.
struct Seen {
    /// The shape of the script, or the small world.
    shape: &'static str,
    seed: u64,
    /// Scripts that were played until then.
    played: u64,
    broken: Broken,
}

/// Puts a bug back and plays scripts until one of them shows it.
fn hunt(flaw: Flaw, likely: &str) -> Option<Seen> {
    let (first, others): (Vec<Shape>, Vec<Shape>) =
        SHAPES.into_iter().partition(|shape| shape.name == likely);
    let seeds = |shapes: Vec<Shape>, count: u64| {
        (0..count).flat_map(move |seed| shapes.clone().into_iter().map(move |it| (it, seed)))
    };
    let all = seeds(first, LIKELY_SEEDS).chain(seeds(others, OTHER_SEEDS));
    put_back(Some(flaw));
    if likely == SMALL_WORLD {
        let broken = heard(|| drop(explore(STATES, 1))).err();
        put_back(None);
        return broken.map(|broken| Seen { shape: SMALL_WORLD, seed: 0, played: 1, broken });
    }
    let mut played = 0;
    let seen = all.into_iter().find_map(|(shape, seed)| {
        played += 1;
        let broken = shape.play(seed).err()?;
        Some(Seen { shape: shape.name, seed, played, broken })
    });
    put_back(None);
    seen
}

/// The function that saw it, from the file and the line of its assertion.
fn name_of(broken: &Broken) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&broken.file);
    let text = fs::read_to_string(file).unwrap_or_default();
    let before = text.lines().take(broken.line as usize).collect::<Vec<_>>();
    let name = before.iter().rev().find_map(|line| {
        let after = line.trim_start().trim_start_matches("pub ").strip_prefix("fn ")?;
        after.split(['(', '<']).next()
    });
    let module = Path::new(&broken.file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    format!("{}::{}", module.unwrap_or_default(), name.unwrap_or("?"))
}

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

/// Without a bug every script that was played holds.
fn check_without(seen: &BTreeMap<Flaw, Option<Seen>>) -> Vec<String> {
    let mut last: BTreeMap<&str, (Shape, u64)> = BTreeMap::new();
    for seen in seen.values().flatten() {
        let Some(shape) = named(seen.shape) else { continue };
        let known = last.entry(shape.name).or_insert((shape, 0));
        known.1 = known.1.max(seen.seed);
    }
    let all: Vec<(Shape, u64)> =
        last.values().flat_map(|(shape, last)| (0..=*last).map(move |seed| (*shape, seed))).collect();
    let broken = Mutex::new(Vec::new());
    on_all_threads(all.len(), |index| {
        let (shape, seed) = all[index];
        if let Err(why) = shape.play(seed) {
            broken.lock().unwrap().push(format!("seed {seed} of {} breaks without a bug: {why}", shape.name));
        }
    });
    println!("{} scripts were played without a bug", all.len());
    broken.into_inner().unwrap()
}

fn as_table(seen: &BTreeMap<Flaw, Option<Seen>>) -> String {
    let mut text =
        "| bug | from | seen by | after scripts | in its words |\n|---|---|---|---|---|\n".to_owned();
    for (flaw, from, _) in FLAWS {
        let row = match seen.get(&flaw) {
            Some(Some(it)) => {
                let words = it.broken.in_short(100).replace('|', "/").replace('`', "'");
                format!("`{}` | {} ({}) | {words}", name_of(&it.broken), it.played, it.shape)
            }
            Some(None) => "**nobody** | | ".to_owned(),
            None => continue,
        };
        let _ = writeln!(text, "| {flaw:?} | {from} | {row} |");
    }
    text
}

fn main() {
    let wanted = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let hunted: Vec<_> = FLAWS
        .into_iter()
        .filter(|it| wanted.as_ref().is_none_or(|name| format!("{:?}", it.0) == *name))
        .collect();
    assert!(!hunted.is_empty(), "there is no bug {wanted:?}");
    let seen = Mutex::new(BTreeMap::new());
    on_all_threads(hunted.len(), |index| {
        let (flaw, _, likely) = hunted[index];
        let found = hunt(flaw, likely);
        match &found {
            Some(it) => println!(
                "{flaw:?}: {} scripts, {} {}: {}: {}",
                it.played,
                it.shape,
                it.seed,
                name_of(&it.broken),
                it.broken.in_short(200)
            ),
            None => println!("{flaw:?}: MISSED"),
        }
        seen.lock().unwrap().insert(flaw, found);
    });
    let seen = seen.into_inner().unwrap();
    let table = as_table(&seen);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flaws.md");
    fs::write(&path, &table).unwrap();
    println!("\n{table}\nwritten to {}", path.display());
    let missed: Vec<Flaw> = seen.iter().filter(|(_, seen)| seen.is_none()).map(|(flaw, _)| *flaw).collect();
    let broken = check_without(&seen);
    println!("{} bugs, {} seen", seen.len(), seen.len() - missed.len());
    if !missed.is_empty() || !broken.is_empty() {
        println!("missed: {missed:?}\n{}", broken.join("\n"));
        process::exit(1);
    }
}
