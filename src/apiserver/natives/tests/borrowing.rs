//! What borrowing a Deployment depends on.

use serde_json::json;

use super::super::fields::{condition, is_active, is_ready, name, number, text};
use super::super::{Native, Settings};
use super::{Play, owner, revision};
use crate::api::Span;
use crate::apiserver::Kind;

fn image(tag: &str) -> String {
    format!("app:{tag}")
}

fn sets(of: &[(&str, i64, i64)]) -> Vec<(String, i64, i64)> {
    of.iter().map(|(tag, size, available)| (image(tag), *size, *available)).collect()
}

#[test]
fn a_release_goes_through() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 4);
    assert_eq!(play.sets(), sets(&[("v1", 4, 4)]));
    assert_eq!(play.behind("api"), vec!["app:v1"; 4]);

    play.pause("api", true);
    play.push("api", "app:v2");
    assert_eq!(play.sets(), sets(&[("v1", 4, 4)]), "a paused Deployment starts nothing");

    let stable = text(&play.set_of("app:v1"), "/metadata/labels/pod-template-hash").to_owned();
    play.edit(Kind::Service, "api", |it| it["spec"]["selector"]["pod-template-hash"] = json!(stable));
    let canary = play.canary("api", "canary1", 1);
    assert_eq!(play.pods("app:v2").len(), 1);
    assert_eq!(owner(&play.get(Kind::ReplicaSet, &canary)), "Rollout shop", "it is not taken away");
    assert_eq!(play.behind("api"), vec!["app:v1"; 4], "the pin keeps the canary out");

    play.edit(Kind::HttpRoute, "api", |it| {
        it["spec"]["rules"][0]["backendRefs"] = json!([{"name": "api", "port": 80, "weight": 50}, {"name": "api-canary", "port": 80, "weight": 50}]);
    });
    let route = play.get(Kind::HttpRoute, "api");
    assert_eq!(condition(&route["status"]["parents"][0], "ResolvedRefs").unwrap()["status"], "False");
    let mut service = super::given::service("api");
    service["metadata"]["name"] = json!("api-canary");
    service["spec"]["selector"]["pod-template-hash"] = json!("canary1");
    play.create(Kind::Service, service);
    let route = play.get(Kind::HttpRoute, "api");
    let resolved = condition(&route["status"]["parents"][0], "ResolvedRefs").unwrap();
    assert_eq!((&resolved["status"], &resolved["observedGeneration"]), (&json!("True"), &json!(2)));
    assert_eq!(play.nature.in_effect(Kind::HttpRoute, super::NS, "api").unwrap()[0].len(), 2);
    assert_eq!(play.behind("api-canary"), ["app:v2"]);

    play.edit(Kind::ReplicaSet, &canary, |it| it["spec"]["replicas"] = json!(4));
    play.release(&canary);
    assert_eq!(play.sets(), sets(&[("v1", 0, 0), ("v2", 4, 4)]), "adopted, and the old one is empty");
    let adopted = play.get(Kind::ReplicaSet, &canary);
    assert_eq!((owner(&adopted), revision(&adopted)), ("Deployment api".to_owned(), 2));
    let pods: Vec<String> = play.pods("app:v2").iter().map(|pod| name(pod).to_owned()).collect();

    play.pause("api", false);
    play.wait(5);
    assert_eq!(play.sets(), sets(&[("v1", 0, 0), ("v2", 4, 4)]));
    let after: Vec<String> = play.pods("app:v2").iter().map(|pod| name(pod).to_owned()).collect();
    assert_eq!(pods, after, "no pod restarts");
    let deployment = play.get(Kind::Deployment, "api");
    assert_eq!(number(&deployment, "/status/updatedReplicas"), Some(4));
    assert_eq!(
        number(&deployment, "/status/observedGeneration"),
        number(&deployment, "/metadata/generation")
    );
    assert_eq!(condition(&deployment["status"], "Progressing").unwrap()["reason"], "NewReplicaSetAvailable");
}

/// Borrows, raises and hands over; the ready pods at each moment are counted.
fn handed_over(settings: Settings) -> (Play, usize) {
    let mut play = Play::new(settings);
    play.workload("api", "app:v1", 4);
    play.wait(60);
    play.pause("api", true);
    play.push("api", "app:v2");
    play.wait(60);
    let canary = play.canary("api", "c1", 4);
    play.wait(60);
    play.release(&canary);
    let mut fewest = usize::MAX;
    for _ in 0..60 {
        play.wait(1);
        let ready = play.all(Kind::Pod).iter().filter(|pod| is_active(pod) && is_ready(pod)).count();
        fewest = fewest.min(ready);
    }
    play.pause("api", false);
    play.wait(60);
    (play, fewest)
}

#[test]
fn late_controllers_end_like_prompt_ones() {
    let (prompt, _) = handed_over(Settings::default());
    for seed in 0..30 {
        let lags = [
            Native::Deployments,
            Native::ReplicaSets,
            Native::Pods,
            Native::Endpoints,
            Native::Gateway,
            Native::Garbage,
        ];
        let lags = lags.into_iter().map(|native| (native, Span::seconds(7))).collect();
        let (late, fewest) = handed_over(Settings { seed, lags, shuffles: true, ..Settings::default() });
        assert_eq!(late.sets(), prompt.sets(), "seed {seed}");
        assert_eq!(late.pods("app:v1").len(), 0, "seed {seed}");
        assert_eq!(late.behind("api"), vec!["app:v2"; 4], "seed {seed}");
        assert!(fewest >= 4, "seed {seed}: {fewest} were left");
    }
}

#[test]
fn what_is_settled_stays_as_it_is() {
    let (mut play, _) = handed_over(Settings::default());
    let before = play.store.revision();
    play.wait(100_000);
    assert_eq!((play.store.revision(), play.settle()), (before, None));
}

#[test]
fn nothing_rolls_when_a_borrowed_one_goes_on() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 3);
    play.pause("api", true);
    play.push("api", "app:v2");
    let canary = play.canary("api", "c1", 2);
    play.delete(Kind::ReplicaSet, &canary, None);
    assert_eq!(play.sets(), sets(&[("v1", 3, 3)]), "the canary's pods went with it");
    play.push("api", "app:v1");
    let before = play.pods("app:v1");
    play.pause("api", false);
    play.wait(60);
    assert_eq!(play.sets(), sets(&[("v1", 3, 3)]));
    let names = |pods: &[std::sync::Arc<serde_json::Value>]| {
        pods.iter().map(|pod| name(pod).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&play.pods("app:v1")));
}
