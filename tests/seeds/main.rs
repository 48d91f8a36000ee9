//! Thousands of random scripts through the engine, by the number of their seeds.
//!
//! `make seeds` plays the first 10 000, `make soak-engine SEEDS=1000000` more; `-- 4711` after the test's arguments plays the
//! script of that seed alone. One that breaks a promise is made smaller and written to `tests/seeds`, where `cargo test`
//! plays it for ever. Every 50th is played twice, and must decide the same to the last byte.

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
#[path = "../planner/seeds.rs"]
mod seeds;
#[path = "../planner/shapes.rs"]
mod shapes;
#[path = "../planner/switches.rs"]
mod switches;
#[path = "../planner/traffic.rs"]
mod traffic;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs, process, thread};

use record::Counts;
use shapes::{Broken, shape_of};

/// Seeds that are played unless `SEEDS` says otherwise.
const USUAL: u64 = 10_000;
/// One of so many is played twice.
const TWICE_EVERY: u64 = 50;
/// After so many broken promises the search ends.
const BROKEN_MAX: usize = 5;

/// What all threads found together.
#[derive(Default)]
struct Found {
    counts: Counts,
    by_shape: BTreeMap<&'static str, (u64, Duration)>,
    decisions: u64,
    twice: u64,
    broken: Vec<u64>,
}

fn number(name: &str, usual: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => usual,
    }
}

/// Plays a seed; with `twice` once more, and compares.
fn play(seed: u64, twice: bool) -> Result<(), Broken> {
    let shape = shape_of(seed);
    if !twice {
        return shape.play(seed);
    }
    let mut records = Vec::new();
    for _ in 0..2 {
        record::keep();
        let played = shape.play(seed);
        records.push(record::kept());
        played?;
    }
    if records[0] == records[1] {
        return Ok(());
    }
    let at = records[0].lines().zip(records[1].lines()).position(|(one, other)| one != other);
    let message = format!("the same script is decided in another way the second time, at decision {at:?}");
    Err(Broken { file: "tests/seeds/main.rs".to_owned(), line: 0, message })
}

/// Says how to see a failure again, makes its script smaller and keeps it.
fn keep(seed: u64, broken: &Broken) {
    let shape = shape_of(seed);
    println!(
        "seed {seed} ({}) breaks a promise: {}:{}: {}",
        shape.name,
        broken.file,
        broken.line,
        broken.in_short(300)
    );
    println!("  again: cargo test --profile search --no-default-features --test seeds -- {seed}");
    let kept = shape.shrink(seed);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/seeds/{}-{seed}.json", shape.name));
    fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&kept).unwrap())).unwrap();
    println!("  made smaller: {}\n  {}", path.display(), kept.script);
}

fn search(first: u64, count: u64) -> Found {
    let (next, found) = (AtomicU64::new(first), Mutex::new(Found::default()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || found.lock().unwrap().broken.len() >= BROKEN_MAX {
                        break;
                    }
                    #[allow(clippy::disallowed_methods, reason = "how long a script takes is no part of it")]
                    let began = std::time::Instant::now();
                    let twice = seed % TWICE_EVERY == 0;
                    let played = play(seed, twice);
                    let mut found = found.lock().unwrap();
                    found.twice += u64::from(twice);
                    let shape = found.by_shape.entry(shape_of(seed).name).or_default();
                    (shape.0, shape.1) = (shape.0 + 1, shape.1 + began.elapsed());
                    if let Err(broken) = played {
                        found.broken.push(seed);
                        keep(seed, &broken);
                    }
                }
                let (counts, decisions) = record::counts();
                let mut found = found.lock().unwrap();
                found.decisions += decisions;
                for (kind, count) in counts {
                    *found.counts.entry(kind).or_default() += count;
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn report(found: &Found, first: u64) {
    for (shape, (seeds, time)) in &found.by_shape {
        let each = time.as_secs_f64() * 1e3 / (*seeds).max(1) as f64;
        println!("{seeds:>9} scripts of shape {shape}, {each:.1} ms each");
    }
    let mut counts: Vec<_> = found.counts.iter().collect();
    counts.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), (*kind).clone()));
    for (kind, count) in counts {
        println!("{count:>9} × {kind}");
    }
    println!("{:>9} decisions; {} scripts were played twice", found.decisions, found.twice);
    let seeds: u64 = found.by_shape.values().map(|shape| shape.0).sum();
    let counters = serde_json::json!({
        "first": first, "seeds": seeds, "twice": found.twice, "decisions": found.decisions,
        "shapes": found.by_shape.iter().map(|(name, shape)| (*name, shape.0)).collect::<BTreeMap<_, _>>(),
        "faults": found.counts, "broken": found.broken,
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seeds.json");
    fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&counters).unwrap())).unwrap();
    println!("written to {}", path.display());
}

fn main() {
    if let Some(seed) = env::args().skip(1).find_map(|argument| argument.parse().ok()) {
        println!("seed {seed}: {}", shape_of(seed).script(seed));
        if let Err(broken) = play(seed, true) {
            println!("{broken}");
            process::exit(1);
        }
        return println!("it holds");
    }
    if let Some(path) = env::args().skip(1).find(|argument| argument.ends_with(".json")) {
        let kept: shapes::Kept = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        if let Err(why) = kept.play() {
            println!("{why}");
            process::exit(1);
        }
        return println!("it holds");
    }
    let (first, count) = (number("FIRST", 0), number("SEEDS", USUAL));
    println!("seeds {first} to {}", first + count - 1);
    let found = search(first, count);
    report(&found, first);
    if !found.broken.is_empty() {
        println!("broken: {:?}", found.broken);
        process::exit(1);
    }
}
