//! What borrowing a Deployment depends on.

use serde_json::json;

use super::super::Settings;
use super::super::fields::{condition, name, number, text};
use super::{Play, owner, revision};
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
