//! Deployments and ReplicaSets.

use serde_json::{Value, json};

use super::super::fields::{condition, name, number, text, uid};
use super::super::{Settings, given};
use super::{NS, Play, owner, revision};
use crate::api::Span;
use crate::apiserver::{Kind, Verb};

fn slow() -> Settings {
    Settings { pod_start: Span::seconds(2), pod_end: Span::seconds(1), ..Settings::default() }
}

fn sizes(play: &Play) -> Vec<(String, i64)> {
    play.sets().into_iter().map(|(image, size, _)| (image, size)).collect()
}

fn progressing(play: &Play) -> String {
    let deployment = play.get(Kind::Deployment, "api");
    text(condition(&deployment["status"], "Progressing").unwrap(), "/reason").to_owned()
}

#[test]
fn an_update_stays_within_its_fences() {
    let mut play = Play::new(slow());
    play.workload("api", "app:v1", 8);
    play.wait(5);
    let before = play.store.revision();
    play.push("api", "app:v2");
    play.wait(60);
    assert_eq!(play.sets(), [("app:v1".to_owned(), 0, 0), ("app:v2".to_owned(), 8, 8)]);
    for change in play.store.since(before).unwrap().iter().filter(|it| it.key.kind == Kind::Deployment) {
        let status = |field: &str| number(&change.after, &format!("/status/{field}")).unwrap_or(0);
        // A quarter may be missing, a quarter may be too many.
        assert!(status("availableReplicas") >= 6, "{}", change.after);
        assert!(status("replicas") <= 10, "{}", change.after);
    }
    assert_eq!(progressing(&play), "NewReplicaSetAvailable");
}

#[test]
fn what_is_stuck_is_called_stuck_after_its_deadline() {
    let mut play = Play::new(slow());
    play.workload("api", "app:v1", 4);
    play.wait(10);
    play.push("api", "app:v2-neverready");
    play.wait(590);
    assert_eq!(progressing(&play), "ReplicaSetUpdated");
    play.wait(20);
    assert_eq!(progressing(&play), "ProgressDeadlineExceeded");
    assert_eq!(sizes(&play), [("app:v1".to_owned(), 3), ("app:v2-neverready".to_owned(), 2)]);
    play.push("api", "app:v1");
    play.wait(10);
    assert_eq!(sizes(&play), [("app:v2-neverready".to_owned(), 0), ("app:v1".to_owned(), 4)]);
    assert_eq!(progressing(&play), "NewReplicaSetAvailable");
}

#[test]
fn several_share_in_proportion_while_paused() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 10);
    play.pause("api", true);
    play.push("api", "app:v2");
    let canary = play.canary("api", "c1", 5);
    play.release(&canary);
    // Thirteen may be there; what rounding leaves goes to the largest.
    assert_eq!(sizes(&play).iter().map(|it| it.1).sum::<i64>(), 13);
    play.scale("api", 20);
    assert_eq!(sizes(&play).iter().map(|it| it.1).sum::<i64>(), 25);
    play.scale("api", 0);
    assert_eq!(sizes(&play).iter().map(|it| it.1).sum::<i64>(), 0);
}

#[test]
fn of_twins_the_older_is_the_newest_one() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 4);
    play.wait(2);
    play.push("api", "app:v2");
    play.wait(2);
    play.push("api", "app:v1");
    play.wait(2);
    let twin = name(&play.set_of("app:v2")).to_owned();
    play.pause("api", true);
    play.push("api", "app:v2");
    play.wait(2);
    let canary = play.canary("api", "c1", 4);
    play.release(&canary);
    play.wait(2);
    play.pause("api", false);
    play.wait(2);
    assert_eq!(number(&play.get(Kind::ReplicaSet, &twin), "/spec/replicas"), Some(4));
    assert_eq!(
        number(&play.get(Kind::ReplicaSet, &canary), "/spec/replicas"),
        Some(0),
        "its pods were restarted"
    );
}

#[test]
fn recreating_never_runs_two_versions() {
    let mut play = Play::new(slow());
    let mut deployment = given::deployment("api", "app:v1", 3);
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    play.create(Kind::Deployment, deployment);
    play.wait(5);
    let before = play.store.revision();
    play.push("api", "app:v2");
    play.wait(20);
    assert_eq!(play.sets(), [("app:v1".to_owned(), 0, 0), ("app:v2".to_owned(), 3, 3)]);
    let changes = play.store.since(before).unwrap();
    let of = |verb: Verb| changes.iter().filter(move |it| it.key.kind == Kind::Pod && it.verb == verb);
    let last_gone = of(Verb::Delete).map(|it| it.number).max().unwrap();
    assert!(of(Verb::Create).all(|it| it.number > last_gone));
}

#[test]
fn a_name_that_is_taken_leads_to_another_one() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 2);
    let taken = name(&play.set_of("app:v1")).to_owned();
    play.delete(Kind::Deployment, "api", None);
    let mut foreign = given::deployment("api", "app:other", 0);
    foreign["metadata"] = json!({"name": taken, "labels": {"app": "other"}});
    foreign["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
    foreign["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    play.create(Kind::ReplicaSet, foreign);
    play.create(Kind::Deployment, given::deployment("api", "app:v1", 2));
    play.wait(2);
    let set = play.set_of("app:v1");
    assert_ne!(name(&set), taken);
    assert_eq!(number(&play.get(Kind::Deployment, "api"), "/status/collisionCount"), Some(1));
    assert_eq!(number(&set, "/status/availableReplicas"), Some(2));
}

#[test]
fn old_ones_are_forgotten() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 1);
    play.edit(Kind::Deployment, "api", |it| it["spec"]["revisionHistoryLimit"] = json!(1));
    for image in ["app:v2", "app:v3", "app:v4"] {
        play.wait(2);
        play.push("api", image);
    }
    assert_eq!(sizes(&play), [("app:v3".to_owned(), 0), ("app:v4".to_owned(), 1)]);
    assert_eq!(revision(&play.set_of("app:v4")), 4);
}

#[test]
fn a_quota_is_said_and_met_again() {
    let mut play = Play::new(Settings { quota: Some(3), ..Settings::default() });
    play.workload("api", "app:v1", 4);
    let failure = |play: &Play| condition(&play.set_of("app:v1")["status"], "ReplicaFailure").cloned();
    let words = failure(&play).unwrap();
    assert_eq!(words["reason"], "FailedCreate");
    assert!(text(&words, "/message").contains("exceeded quota"), "{words}");
    assert_eq!(play.pods("app:v1").len(), 3);
    let deployment = play.get(Kind::Deployment, "api");
    assert!(condition(&deployment["status"], "ReplicaFailure").is_some());
    play.nature.settings.quota = None;
    play.wait(1);
    assert_eq!((play.pods("app:v1").len(), failure(&play)), (4, None));
}

#[test]
fn pods_that_are_not_ready_go_first() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 3);
    let victim = play.pods("app:v1")[1].clone();
    let key = crate::apiserver::Key::new(Kind::Pod, NS, name(&victim));
    play.nature.lives.crash(&victim, play.at);
    play.nature.wake_at((super::super::Native::Pods, key), play.at);
    play.settle();
    play.scale("api", 2);
    assert!(play.pods("app:v1").iter().all(|pod| uid(pod) != uid(&victim)));
}

#[test]
fn pods_are_adopted_and_let_go() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 2);
    let pod = name(&play.pods("app:v1")[0]).to_owned();
    let labels = |play: &mut Play, labels: Value| {
        play.edit(Kind::Pod, &pod, |it| it["metadata"]["labels"] = labels);
    };
    let own = play.get(Kind::Pod, &pod)["metadata"]["labels"].clone();
    labels(&mut play, json!({"app": "other"}));
    assert_eq!((play.all(Kind::Pod).len(), owner(&play.get(Kind::Pod, &pod))), (3, String::new()));
    labels(&mut play, own);
    // One is too many now.
    assert_eq!(play.all(Kind::Pod).len(), 2);
}

#[test]
fn what_is_ready_is_available_after_a_while() {
    let mut play = Play::new(Settings::default());
    let mut deployment = given::deployment("api", "app:v1", 2);
    deployment["spec"]["minReadySeconds"] = json!(10);
    play.create(Kind::Deployment, deployment);
    play.wait(9);
    assert_eq!(play.sets(), [("app:v1".to_owned(), 2, 0)]);
    play.wait(1);
    assert_eq!(play.sets(), [("app:v1".to_owned(), 2, 2)]);
}
