//! Every story with every fault at every write: it ends as it does without.

use std::time::Duration;

use palier::apiserver::{Kind, Stream};

use crate::counters;
use crate::faults::{Fault, Faults, deeds};
use crate::performance::{Performance, perform};
use crate::stories::{STORIES, Story, with_stories};

/// What is different from the performance without faults.
fn differences(calm: &Performance, rough: &Performance) -> Vec<String> {
    let mut found: Vec<String> = rough.broken.iter().map(ToString::to_string).collect();
    for key in calm.end.keys().chain(rough.end.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (before, after) = (calm.end.get(key), rough.end.get(key));
        if before != after {
            found.push(format!("{key} ends otherwise:\n  calm  {before:?}\n  rough {after:?}"));
        }
    }
    found
}

fn calm(story: Story) -> Performance {
    let calm = perform(story, 0, &Faults::default());
    assert!(
        calm.broken.is_empty(),
        "{} without faults: {:#?}\nwrites: {:#?}",
        story.name,
        calm.broken,
        calm.writes
    );
    calm
}

fn sift(name: &str) {
    let story = *STORIES.iter().find(|story| story.name == name).expect("a story of that name");
    let calm = calm(story);
    let mut plans: Vec<(String, Faults)> = Vec::new();
    for number in 1..=calm.counted.writes.len() {
        for (word, deed) in deeds() {
            let what = format!("write {number} ({}) {word}", calm.counted.writes[number - 1]);
            plans.push((what, Faults::one(Fault::Write(number, deed))));
        }
        let what = format!("write {number} ({}) late", calm.counted.writes[number - 1]);
        plans.push((what, Faults::one(Fault::Slow(number, Duration::from_secs(20)))));
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
                plans.push((
                    format!("watch of {kind:?}: {stream:?}"),
                    Faults::one(Fault::Watch(kind, stream)),
                ));
            }
        }
    }
    let mut failed = Vec::new();
    for (what, faults) in &plans {
        let found = differences(&calm, &perform(story, 0, faults));
        if !found.is_empty() {
            failed.push(format!("{name}, {what}:\n  {}", found.join("\n  ")));
        }
    }
    counters::sifted(plans.len());
    assert!(failed.is_empty(), "{} of {} faults show:\n{}", failed.len(), plans.len(), failed.join("\n"));
}

macro_rules! sieve {
    ($($name:ident),* $(,)?) => { $( #[test] fn $name() { sift(stringify!($name)); } )* };
}

with_stories!(sieve);

#[test]
fn every_story_is_sifted_and_the_same_again() {
    for story in STORIES {
        let [first, again] = [(); 2].map(|()| perform(*story, 7, &Faults::default()));
        assert_eq!(first.digest, again.digest, "{} differs from one time to the next", story.name);
    }
}
