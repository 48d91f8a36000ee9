//! Bugs put back into the edges: each must be seen by the judge of the simulator, or by an end that is another one than without
//! faults.

#[path = "caught.rs"]
mod caught;

use std::time::Duration;

use palier::apiserver::natives::Settings;
use palier::apiserver::{Front, Key, Kind, Sight, Store};
use palier::engine::flaw::{Flaw, let_stumble};
use palier::rig::given::{SHOP, image};
use palier::rig::{Late, Replica, Rig, Setup, play};

use crate::chance::tell;
use crate::faults::{Fault, Faults, deeds};
use crate::performance::{Performance, perform};
use crate::stories::{STORIES, Story, at_rest, rest};
use caught::caught;

/// Longer than the controller waits for an answer, and longer than it takes to try again.
const LATE: Duration = Duration::from_secs(20);

fn story(name: &str) -> Story {
    *STORIES.iter().find(|story| story.name == name).expect("a story of that name")
}

/// The fault of that word at every write whose line holds `of`.
fn faults_at(calm: &Performance, of: &str, word: &str) -> Vec<(String, Faults)> {
    let mut plans = Vec::new();
    for (index, write) in calm.counted.writes.iter().enumerate().filter(|(_, write)| write.contains(of)) {
        let fault = match deeds().into_iter().find(|(known, _)| *known == word) {
            Some((_, deed)) => Fault::Write(index + 1, deed),
            None => Fault::Slow(index + 1, LATE),
        };
        plans.push((format!("write {} ({write}) {word}", index + 1), Faults::one(fault)));
    }
    plans
}

/// What the sieve says of a performance.
fn said(calm: &Performance, what: &str, rough: &Performance) -> Option<String> {
    let broken = rough.broken.first().map(ToString::to_string);
    let other = || rough.end.iter().find(|(key, object)| calm.end.get(*key) != Some(object));
    let words = broken.or_else(|| other().map(|(key, object)| format!("{key} ends as {object}")))?;
    Some(format!("{what}: {words}"))
}

/// A bug that shows in a story with the fault of `word` at one of the writes `of`; or without any fault if there is no word.
fn sifted(flaw: Flaw, story: Story, (of, word): (&str, &str), expected: &str) {
    let name = story.name;
    let calm = perform(story, 0, &Faults::default());
    assert!(calm.broken.is_empty(), "{name} without faults: {:#?}", calm.broken);
    let plans = match word {
        "" => vec![("no fault".to_owned(), Faults::default())],
        word => faults_at(&calm, of, word),
    };
    assert!(!plans.is_empty(), "no write of {name} is {of}");
    let shown = if word.is_empty() {
        format!("story {name}")
    } else {
        format!("story {name}, a write that is {word}")
    };
    caught(flaw, (&shown, "crash/sieve::sift"), expected, || {
        plans.iter().find_map(|(what, faults)| said(&calm, what, &perform(story, 0, faults)))
    });
}

#[test]
fn a_write_without_the_version() {
    sifted(Flaw::WriteWithoutVersion, story("bad_at_half"), ("rollouts", "late"), "P");
}

#[test]
fn what_has_the_name_is_deleted() {
    sifted(Flaw::DeleteByName, story("superseded"), ("delete services", "late"), "P2");
}

#[test]
fn a_wake_up_is_forgotten() {
    sifted(Flaw::WakeUpForgotten, story("good"), ("", ""), "P21");
}

#[test]
fn a_status_whose_reply_was_lost_is_judged_again() {
    sifted(Flaw::LostStatusJudgedAgain, story("good"), ("rollouts", "answer lost"), "P5");
}

/// Nobody else writes the status: where a watch lags, a conflict there is one with an own write that was forgotten.
#[test]
fn own_writes_are_forgotten() {
    let by = ("a good release, watches 2 s behind", "flaws/at_the_api_server::conflicts_with_itself");
    caught(Flaw::OwnWritesForgotten, by, "rollout_status", conflicts_with_itself);
}

fn conflicts_with_itself() -> Option<String> {
    let played = play(0, Settings::default(), async |rig: Rig| {
        let front = Front::default();
        let replica = Replica::start(&rig, Setup { front: front.clone(), ..Setup::plain(&rig, "a") });
        rig.furnish(&["api"]).expect("the cluster takes it");
        at_rest(&rig, &["api"]).await?;
        front.set(Sight::Late(Duration::from_secs(2)));
        rig.push(SHOP, "api", &image("api", "v2")).expect("a Deployment takes another image");
        // Long enough for a whole release, if nothing stands in its way.
        rest(300).await;
        Ok::<String, Late>(replica.metrics().encode().unwrap_or_default())
    });
    let text = played.expect("a runtime can be had").expect("the workloads are taken hold of");
    let is_it = |line: &&str| line.contains("rollout_status") && line.contains("conflict");
    text.lines().find(is_it).map(str::to_owned)
}

/// A run is aborted, the Rollout is deleted and made again, and the next version is pushed: it is released.
const RENEWED: Story = Story {
    name: "renewed",
    tell: |rig| {
        Box::pin(async move {
            rig.furnish(&["api"]).expect("the cluster takes it");
            at_rest(rig, &["api"]).await?;
            rig.push(SHOP, "api", &image("api", "v2")).expect("a Deployment takes another image");
            until_run(rig, "begun", |run| run["number"] == 1).await?;
            rig.act(SHOP, "shop", "Abort").expect("an action is taken");
            until_run(rig, "ended", |run| run["endedAt"].is_string()).await?;
            let key = Key::new(Kind::Rollout, SHOP, "shop");
            let rollout = rig.server.read(|store| store.get(Kind::Rollout, SHOP, "shop").cloned());
            rig.delete("operator", &key).expect("a Rollout can be deleted");
            let is_gone = |store: &Store| store.get(Kind::Rollout, SHOP, "shop").is_none();
            rig.until("the Rollout is gone", PATIENCE, is_gone).await?;
            let spec = rollout.map(|it| it["spec"].clone());
            rig.push(SHOP, "api", &image("api", "v1")).expect("a Deployment takes another image");
            rig.create(
                "platform",
                serde_json::json!({
                    "apiVersion": "palier.dev/v1alpha1", "kind": "Rollout",
                    "metadata": {"name": "shop", "namespace": SHOP}, "spec": spec,
                }),
            )
            .expect("the cluster takes it");
            at_rest(rig, &["api"]).await?;
            rig.push(SHOP, "api", &image("api", "v3")).expect("a Deployment takes another image");
            until_run(rig, "ended", |run| run["endedAt"].is_string()).await
        })
    },
};

/// Long enough for anything but being stuck.
const PATIENCE: Duration = Duration::from_secs(1_800);

async fn until_run(rig: &Rig, what: &str, is_so: fn(&serde_json::Value) -> bool) -> Result<(), Late> {
    let is_so = |store: &Store| {
        store.get(Kind::Rollout, SHOP, "shop").is_some_and(|rollout| is_so(&rollout["status"]["run"]))
    };
    rig.until(&format!("the run has {what}"), PATIENCE, is_so).await
}

#[test]
fn what_was_asked_of_a_former_rollout_is_obeyed() {
    sifted(Flaw::FormerRolloutsActions, RENEWED, ("", ""), "ends as");
}

/// The third piece of work panics. The Rollout is tried again after a pause, and the story ends as ever.
#[test]
fn a_panic_is_the_end() {
    let calm = perform(story("good"), 0, &Faults::default());
    caught(Flaw::PanicIsTheEnd, ("story good, the work panics once", "crash/sieve::sift"), "P21", || {
        let_stumble(20);
        let rough = perform(story("good"), 0, &Faults::default());
        let_stumble(0);
        said(&calm, "a panic", &rough)
    });
}

/// The story of a seed that is kept because it found the bug.
#[test]
fn a_list_is_waited_for_for_ever() {
    caught(Flaw::ListWithoutDeadline, ("random story of seed 138", "crash/chance::tell"), "P", || {
        tell(138, &[]).broken.first().map(ToString::to_string)
    });
}
