//! Every story with every fault at every write: it ends as it does without. Pairs of faults, time travels and deletions by chance.
//!
//! | variable | what | usually |
//! |---|---|---|
//! | `SIEVE` | performances of each story with one fault; `full` for all of them | see [`SINGLES`] |
//! | `PAIRS` | performances with two faults, over all stories | see [`PAIRS`] |
//! | `TRAVELS`, `DELETIONS` | performances with a time travel, and with a deletion | see there |
//! | `SIEVE_SEED` | which ones are taken | 1 |
//! | `ONLY` | of those, the ones whose description holds this; with `TELL=1` every revision of them | all |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use palier::apiserver::{Kind, Stream};

use crate::counters;
use crate::dice::Dice;
use crate::faults::{Fault, Faults, deeds};
use crate::performance::{Performance, digest, perform};
use crate::stories::{STORIES, Story, with_stories};

/// Performances of each story with one fault, unless all are asked for: those take two cores half an hour.
const SINGLES: usize = 150;
/// Performances with two faults.
const PAIRS: usize = 200;
/// Performances with a time travel.
const TRAVELS: usize = 150;
/// Performances in which the Rollout is deleted at some write.
const DELETIONS: usize = 150;

/// What is different from the performance without faults.
fn differences(calm: &Performance, rough: &Performance) -> Vec<String> {
    let mut found: Vec<String> = rough.broken.iter().map(ToString::to_string).collect();
    for key in calm.end.keys().chain(rough.end.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (calm.end.get(key), rough.end.get(key));
        if before != after {
            found.push(format!("{key} ends otherwise:\n  calm  {before:?}\n  rough {after:?}"));
        }
    }
    found
}

/// The performance without faults, once for each story.
fn calm(story: Story) -> Arc<Performance> {
    static CALM: OnceLock<Mutex<BTreeMap<&'static str, Arc<Performance>>>> = OnceLock::new();
    let all = CALM.get_or_init(Mutex::default);
    let known = all.lock().expect("a calm performance").get(story.name).cloned();
    known.unwrap_or_else(|| {
        let calm = Arc::new(perform(story, 0, &Faults::default()));
        assert!(
            calm.broken.is_empty(),
            "{} without faults: {:#?}\nwrites: {:#?}",
            story.name,
            calm.broken,
            calm.writes
        );
        all.lock().expect("a calm performance").insert(story.name, calm.clone());
        calm
    })
}

/// Faults with which a story may come to another end that is as good. While the watch of the route is silent a raise is not known to
/// be in force, but the visitors that it brought are counted: what fails then is the proof of the phase before, below which there
/// is none to step back to.
const OTHER_ENDS: [(&str, &str); 1] = [("stepped_back", "watch of HttpRoute: Silent")];

/// Every single fault of a story.
fn singles(story: Story) -> Vec<(String, Fault)> {
    let calm = calm(story);
    let mut plans: Vec<(String, Fault)> = Vec::new();
    for (place, write) in calm.counted.writes.iter().enumerate() {
        let number = place + 1;
        for (word, deed) in deeds() {
            plans.push((format!("write {number} ({write}) {word}"), Fault::Write(number, deed)));
        }
        let late = Fault::Slow(number, Duration::from_secs(20));
        plans.push((format!("write {number} ({write}) late"), late));
    }
    for kind in [
        Kind::Rollout,
        Kind::Deployment,
        Kind::ReplicaSet,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::HttpRoute,
    ] {
        for event in 0..6 {
            for stream in [
                Stream::Cut { event, within: true },
                Stream::Twice { event },
                Stream::Lose { event },
                Stream::Silent { event },
            ] {
                plans.push((format!("watch of {kind:?}: {stream:?}"), Fault::Watch(kind, stream)));
            }
        }
    }
    let other_end = OTHER_ENDS.iter().find(|(name, _)| *name == story.name);
    plans.retain(|(what, _)| other_end.is_none_or(|(_, words)| !what.starts_with(words)));
    plans
}

fn number(name: &str, usual: usize) -> usize {
    match std::env::var(name).as_deref() {
        Ok("full") => usize::MAX,
        Ok(text) => text.parse().unwrap_or(usual),
        Err(_) => usual,
    }
}

/// Numbers by chance for `what`.
fn dice_of(what: &str) -> Dice {
    let seed = what.bytes().fold(number("SIEVE_SEED", 1) as u64, |seed, byte| {
        seed.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte))
    });
    Dice::new(seed)
}

/// At most so many of them, by chance, in their order.
fn some<T>(mut all: Vec<T>, most: usize, dice: &mut Dice) -> Vec<T> {
    while all.len() > most {
        all.remove(dice.index(all.len()));
    }
    all
}

/// Performs each plan; every one that does not end as `wanted` says is told.
fn sift(plans: Vec<(Story, String, Faults)>, wanted: fn(Story, &Performance) -> Vec<String>) {
    let mut failed = Vec::new();
    let only = std::env::var("ONLY").unwrap_or_default();
    let plans: Vec<_> = plans.into_iter().filter(|(_, what, _)| what.contains(&only)).collect();
    let count = plans.len();
    for (story, what, faults) in plans {
        let rough = perform(story, 0, &faults);
        let found = wanted(story, &rough);
        if !found.is_empty() {
            failed.push(format!("{}, {what}:\n  {}", story.name, found.join("\n  ")));
        }
    }
    counters::performed(count);
    assert!(failed.is_empty(), "{} of {count} performances show:\n{}", failed.len(), failed.join("\n"));
}

fn as_calm(story: Story, rough: &Performance) -> Vec<String> {
    differences(&calm(story), rough)
}

fn of_one_story(name: &str) {
    let story = *STORIES.iter().find(|story| story.name == name).expect("a story of that name");
    let plans = some(singles(story), number("SIEVE", SINGLES), &mut dice_of(name));
    let plans = plans.into_iter().map(|(what, fault)| (story, what, Faults::one(fault)));
    sift(plans.collect(), as_calm);
    counters::sifted(0);
}

macro_rules! sieve {
    ($($name:ident),* $(,)?) => { $( #[test] fn $name() { of_one_story(stringify!($name)); } )* };
}

with_stories!(sieve);

#[test]
fn pairs_of_faults_end_as_calm() {
    let mut dice = dice_of("pairs");
    let mut plans = Vec::new();
    for _ in 0..number("PAIRS", PAIRS) {
        let story = STORIES[dice.index(STORIES.len())];
        let all = singles(story);
        let [(one, first), (other, second)] = [(); 2].map(|()| all[dice.index(all.len())].clone());
        plans.push((story, format!("{one} and {other}"), Faults { list: vec![first, second] }));
    }
    sift(plans, as_calm);
}

/// A front end that shows the past to a process which starts: what it asks for must be refused or harmless.
#[test]
fn time_travels_end_as_calm() {
    let mut dice = dice_of("travels");
    let mut plans = Vec::new();
    for _ in 0..number("TRAVELS", TRAVELS) {
        let story = STORIES[dice.index(STORIES.len())];
        let count = calm(story).counted.writes.len();
        let at = 1 + dice.index(count - 1);
        let until = (at + 1 + dice.index(8)).min(count);
        let what = format!("as of write {at} after write {until}");
        plans.push((story, what, Faults::one(Fault::TimeTravel { at, until })));
    }
    sift(plans, as_calm);
}

/// P25: a Rollout that is deleted at any write leaves one version serving and nothing behind.
#[test]
fn deletions_leave_nothing_behind() {
    let stories = STORIES.iter().filter(|story| story.name != "deleted");
    let all = stories.flat_map(|story| {
        let count = calm(*story).counted.writes.len();
        (1..=count).map(|at| (*story, format!("deleted at write {at}"), Faults::one(Fault::Deletion(at))))
    });
    let plans = some(all.collect(), number("DELETIONS", DELETIONS), &mut dice_of("deletions"));
    sift(plans, |_, rough| {
        let broken = rough.broken.iter().map(ToString::to_string);
        broken.chain(rough.wrong.iter().cloned()).collect()
    });
}

#[test]
fn every_story_is_the_same_again() {
    for story in STORIES {
        let [first, again] = [(); 2].map(|()| perform(*story, 7, &Faults::default()));
        assert_eq!(
            digest(&first.log),
            digest(&again.log),
            "{} differs from one time to the next",
            story.name
        );
    }
}
