//! Random stories: anything that people, nodes, networks, clocks, gateways and metric servers do, at any time; then everything heals, and
//! the cluster must come to rest with one version serving.

mod deals;
mod storm;
mod surroundings;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use palier::api::Span;
use palier::apiserver::natives::{Native, Settings};
use palier::apiserver::{Front, Kind, Revision, Store};
use palier::rig::given::SHOP;
use palier::rig::{Replica, Rig, RigTime, Setup, play};

use crate::counters;
use crate::dice::Dice;
use crate::judge::{Broken, Case, judge};
use crate::performance::{digest, is_work, line, opening, seen_at_the_end, told_in_full};
use crate::rest::{left_behind, wrong_with};
use crate::stories::{at_rest, rest as wait};
pub use deals::Deal;
use deals::{Stage, plan, plan_of_others};
use storm::Storm;
use surroundings::Surroundings;

/// In the stories of seeds from here on others work in the cluster too, and bad versions are bad.
const WITH_OTHERS: u64 = 1_000_000;
/// Seconds in which anything may happen.
const STORM: u64 = 400;
/// Seconds within which the cluster comes to rest once nothing happens any more: two bakes of everything, a progress deadline, and what
/// pauses after errors may add.
const HEALS: u64 = 2_400;
/// Nothing is written for so many seconds: that is rest.
const QUIET: u64 = 100;

/// What happened in a random story.
#[derive(Clone, Debug)]
pub struct Told {
    pub broken: Vec<Broken>,
    /// Every committed revision.
    pub log: Vec<Revision>,
    /// What was done, with the second at which it was.
    pub acts: Vec<(u64, Deal)>,
}

/// Plays the story of a seed; `without` leaves out the deals of these places, to find the shortest story that fails.
pub fn tell(seed: u64, without: &[usize]) -> Told {
    let mut dice = Dice::new(seed);
    let parts: &[&'static str] = [&["api"][..], &["api", "web"], &["api", "web<api"]][dice.index(3)];
    let names: Vec<&'static str> = parts.iter().map(|part| part.split('<').next().unwrap_or(part)).collect();
    let mut plan = plan(&mut dice, &names);
    let has_others = seed >= WITH_OTHERS;
    if has_others {
        plan.extend(plan_of_others(&mut Dice::new(seed ^ 0x07e5), &names));
        plan.sort_by_key(|(at, _)| *at);
    }
    let settings = settings(seed, &mut dice);
    let replicas = 1 + dice.index(2);
    play(seed, settings, async |rig: Rig| {
        let storm = Arc::new(Mutex::new(Storm::new(seed)));
        let fronts = [Front::default(), Front::default()];
        let clocks = [rig.time.another(), rig.time.another()];
        let crew = (0..replicas).map(|number| start(&rig, (&fronts, &clocks), &storm, number)).collect();
        rig.furnish(parts).expect("the cluster takes it");
        let others = Surroundings::begin(&rig, seed, &names);
        let stage = Stage { rig: rig.clone(), crew, fronts, clocks, storm: storm.clone(), others };
        let opened = tokio::spawn(opening(rig.clone()));
        let bad = has_others.then(|| tokio::spawn(bad_ones_are_bad(rig.clone())));
        let began = at_rest(&rig, &names).await;
        let mut told = Vec::new();
        let mut losses = Vec::new();
        if began.is_ok() {
            let start = tokio::time::Instant::now();
            for (place, (at, deal)) in plan.iter().enumerate() {
                tokio::time::sleep_until(start + Duration::from_secs(*at)).await;
                if !without.contains(&place) {
                    losses.extend(stage.carry_out(deal));
                    told.push((*at, deal.clone()));
                }
            }
        }
        stage.heal();
        let is_quiet = until_quiet(&rig).await;
        let lost = opened.await.map_or(0, |crowd| crowd.visits().lost);
        if let Some(task) = bad {
            task.abort();
        }
        let log = rig.server.read(|store| store.log().to_vec());
        told_in_full(&log);
        let mut broken = Vec::new();
        if lost > 0 && losses.is_empty() {
            broken.push(seen_at_the_end("P2", &log, format!("{lost} requests of visitors were lost")));
        }
        if let Err(late) = began {
            broken.push(seen_at_the_end("P21", &log, late.to_string()));
        }
        broken.extend(judged(&rig, (&log, &losses), is_quiet, &names));
        Told { broken, log, acts: told }
    })
    .expect("a runtime can be had")
}

fn settings(seed: u64, dice: &mut Dice) -> Settings {
    Settings {
        seed,
        pod_start: Span::seconds(1 + i64::try_from(dice.upto(8)).expect("small")),
        pod_end: Span::seconds(1),
        lags: [
            (Native::Deployments, Span::seconds(1)),
            (Native::ReplicaSets, Span::seconds(1)),
            (Native::Endpoints, Span::seconds(2)),
        ]
        .into(),
        shuffles: true,
        ..Settings::default()
    }
}

/// What is broken in the history, and wrong at its end.
fn judged(
    rig: &Rig,
    (log, losses): (&[Revision], &[Timestamp]),
    is_quiet: bool,
    names: &[&'static str],
) -> Vec<Broken> {
    let given = rig.prometheus.given();
    let mut broken = judge(&Case { log, given: &given, losses, has_jumped: false });
    if !is_quiet {
        let last: Vec<String> = log.iter().rev().filter(|it| is_work(it)).take(6).map(line).collect();
        broken.push(seen_at_the_end("P21", log, format!("no rest: {}", last.join("; "))));
    }
    let wrong = |store: &Store| names.iter().flat_map(|name| wrong_with(store, name)).collect::<Vec<_>>();
    let wrong = rig.server.read(wrong).into_iter().map(|what| seen_at_the_end("P21", log, what));
    let left = rig.server.read(left_behind);
    let left = left.into_iter().map(|what| seen_at_the_end("P25", log, what));
    broken.into_iter().chain(wrong).chain(left).collect()
}

fn start(
    rig: &Rig,
    (fronts, clocks): (&[Front; 2], &[RigTime; 2]),
    storm: &Arc<Mutex<Storm>>,
    number: usize,
) -> Replica {
    let storm = storm.clone();
    let setup = Setup {
        front: fronts[number].clone(),
        weather: Box::new(move |_| Some(Storm::weather(&storm))),
        time: clocks[number].clone(),
        ..Setup::plain(rig, ["a", "b"][number])
    };
    Replica::start(rig, setup)
}

/// Metrics tell of each version whose tag says so that it is bad.
async fn bad_ones_are_bad(rig: Rig) {
    let mut changes = rig.server.changes(Kind::ReplicaSet);
    while changes.changed().await.is_ok() {
        let bad: Vec<String> = rig.server.read(|store| {
            let is_bad = |set: &serde_json::Value| {
                let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
                image.is_some_and(|image| image.ends_with("-bad"))
            };
            let sets = store.list(Kind::ReplicaSet, Some(SHOP)).filter(|(_, set)| is_bad(set));
            sets.map(|(key, _)| key.name.clone()).collect()
        });
        bad.iter().for_each(|name| rig.prometheus.set_bad(name, 0.3));
    }
}

/// Whether the controllers come to rest.
async fn until_quiet(rig: &Rig) -> bool {
    for _ in 0..HEALS / QUIET {
        let before = rig.server.read(Store::revision);
        wait(QUIET).await;
        let is_quiet = rig.server.read(|store| !store.since(before).unwrap_or_default().iter().any(is_work));
        if is_quiet && !rig.server.read(is_under_way) {
            return true;
        }
    }
    false
}

/// A run is on that neither waits for a person nor for anything else.
fn is_under_way(store: &Store) -> bool {
    let Some(rollout) = store.get(Kind::Rollout, SHOP, "shop") else { return false };
    let run = &rollout["status"]["run"];
    run.is_object() && run["endedAt"].is_null()
}

/// The fewest deals with which the story of a seed still fails.
fn shrunk(seed: u64, count: usize) -> (Vec<usize>, Told) {
    let (mut without, mut told) = (Vec::new(), tell(seed, &[]));
    for place in 0..count {
        without.push(place);
        let again = tell(seed, &without);
        if again.broken.is_empty() {
            without.pop();
        } else {
            told = again;
        }
    }
    (without, told)
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(usual)
}

/// Plays every `step`-th seed of those that are asked for, or else of `usual` ones.
fn play_seeds(offset: u64, step: u64, (usual_first, usual_count): (u64, u64)) {
    let (first, count) = (number("FIRST_SEED", usual_first), number("SEEDS", usual_count));
    let (mut failed, mut played) = (Vec::new(), 0);
    let is_ours =
        |seed: &u64| seed % step == offset && (*seed >= WITH_OTHERS) == (usual_first >= WITH_OTHERS);
    for seed in (first..first + count).filter(is_ours) {
        let told = tell(seed, &[]);
        played += 1;
        if seed % 50 == 0 {
            assert_eq!(
                digest(&told.log),
                digest(&tell(seed, &[]).log),
                "seed {seed} differs from one time to the next"
            );
        }
        if told.broken.is_empty() {
            continue;
        }
        let (without, told) =
            if number("SHRINK", 1) == 1 { shrunk(seed, told.acts.len()) } else { (vec![], told) };
        let broken: Vec<String> = told.broken.iter().map(ToString::to_string).collect();
        failed.push(format!(
            "FIRST_SEED={seed} SEEDS=1 cargo test --profile search --test crash random\n  without {without:?}: {:?}\n  {}",
            told.acts,
            broken.join("\n  "),
        ));
        if failed.len() >= number("FAILURES", 3) as usize {
            break;
        }
    }
    counters::told(first, played);
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn random_stories_of_even_seeds_end_well() {
    play_seeds(0, 2, (1, 1_700));
}

#[test]
fn random_stories_of_odd_seeds_end_well() {
    play_seeds(1, 2, (1, 1_700));
}

#[test]
fn random_stories_with_others_of_even_seeds_end_well() {
    play_seeds(0, 2, (WITH_OTHERS, 300));
}

#[test]
fn random_stories_with_others_of_odd_seeds_end_well() {
    play_seeds(1, 2, (WITH_OTHERS, 300));
}

/// Seeds that once found something.
#[test]
fn kept_seeds_end_well() {
    for seed in include_str!("kept.txt").lines().filter_map(|line| line.split_whitespace().next()) {
        let told = tell(seed.parse().expect("a line of kept.txt begins with a seed"), &[]);
        assert!(told.broken.is_empty(), "seed {seed}: {}", told.broken[0]);
    }
}
