//! What goes with what.

use serde_json::json;

use super::super::Settings;
use super::super::fields::{is_deleting, name};
use super::{Play, owner};
use crate::api::Span;
use crate::apiserver::Kind;

fn left(play: &Play) -> [usize; 3] {
    [Kind::Deployment, Kind::ReplicaSet, Kind::Pod].map(|kind| play.all(kind).len())
}

#[test]
fn what_belongs_to_it_goes_after_it() {
    let mut play = Play::new(Settings { pod_end: Span::seconds(2), ..Settings::default() });
    play.workload("api", "app:v1", 2);
    play.canary("api", "c1", 1);
    play.delete(Kind::Deployment, "api", None);
    assert_eq!(left(&play), [0, 1, 3]);
    play.wait(2);
    assert_eq!(left(&play), [0, 1, 1], "what is the Rollout's stays");
    play.delete(Kind::Rollout, "shop", None);
    play.wait(2);
    assert_eq!(left(&play), [0, 0, 0]);
}

#[test]
fn or_before_it() {
    let mut play = Play::new(Settings { pod_end: Span::seconds(2), ..Settings::default() });
    play.workload("api", "app:v1", 2);
    play.delete(Kind::Deployment, "api", Some("foregroundDeletion"));
    play.wait(1);
    assert_eq!(left(&play), [1, 1, 2]);
    assert!(play.all(Kind::Pod).iter().all(|pod| is_deleting(pod)));
    play.wait(1);
    assert_eq!(left(&play), [0, 0, 0]);
}

#[test]
fn or_stays_without_it() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 2);
    play.delete(Kind::Deployment, "api", Some("orphan"));
    assert_eq!(left(&play), [0, 1, 2]);
    assert_eq!(owner(&play.set_of("app:v1")), "");
    play.create(Kind::Deployment, super::given::deployment("api", "app:v1", 2));
    play.wait(2);
    assert_eq!((left(&play), owner(&play.set_of("app:v1"))), ([1, 1, 2], "Deployment api".to_owned()));
}

#[test]
fn one_owner_of_two_is_enough() {
    let mut play = Play::new(Settings::default());
    let owners: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| {
            let map = play.create(Kind::ConfigMap, json!({"metadata": {"name": name}}));
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": map["metadata"]["uid"]})
        })
        .collect();
    play.create(Kind::Secret, json!({"metadata": {"name": "owned", "ownerReferences": owners}}));
    let foreign = json!([{"apiVersion": "x.dev/v1", "kind": "Thing", "name": "thing", "uid": "1"}]);
    play.create(Kind::Secret, json!({"metadata": {"name": "foreign", "ownerReferences": foreign}}));
    play.delete(Kind::ConfigMap, "one", None);
    assert_eq!(play.get(Kind::Secret, "owned")["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    play.delete(Kind::ConfigMap, "two", None);
    let names: Vec<String> = play.all(Kind::Secret).iter().map(|it| name(it).to_owned()).collect();
    assert_eq!(names, ["foreign"], "what is not known is not judged");
}

#[test]
fn a_namespace_is_emptied() {
    let mut play = Play::new(Settings::default());
    let user = play.user();
    play.store.create(&user, Kind::Namespace, "", json!({"metadata": {"name": super::NS}})).unwrap();
    play.workload("api", "app:v1", 2);
    let key = crate::apiserver::Key::new(Kind::Namespace, "", super::NS);
    play.store.delete(&user, &key, &crate::apiserver::store::Precondition::default(), None, None).unwrap();
    play.wait(60);
    for kind in Kind::ALL.into_iter().filter(|kind| kind.facts().namespaced) {
        assert_eq!(play.all(kind).len(), 0, "{kind:?}");
    }
}
