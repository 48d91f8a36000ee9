//! Sequences on a store, with all controllers at work.

mod borrowing;
mod deployments;
mod garbage;
mod gateway;
mod jobs;
mod pods;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::fields::{controller, image, is_active, is_ready, name, number, text};
use super::{Nature, Settings, given};
use crate::apiserver::store::Precondition;
use crate::apiserver::{Caller, Key, Kind, Part, Store};

/// The namespace of all objects.
const NS: &str = "shop";

/// A cluster that is played with.
struct Play {
    store: Store,
    nature: Nature,
    at: Timestamp,
}

impl Play {
    fn new(settings: Settings) -> Self {
        let (store, at) = (Store::new(vec![super::assign_address]), "2026-01-01T00:00:00Z".parse().unwrap());
        Self { store, nature: Nature::new(settings), at }
    }

    fn user(&self) -> Caller {
        Caller::new("ana", self.at)
    }

    fn settle(&mut self) -> Option<Timestamp> {
        self.nature.step(&mut self.store, self.at)
    }

    fn wait(&mut self, seconds: i64) {
        let until = self.at + SignedDuration::from_secs(seconds);
        while let Some(next) = self.settle().filter(|next| *next <= until) {
            self.at = next.max(self.at);
        }
        self.at = until;
        self.settle();
    }

    fn create(&mut self, kind: Kind, object: Value) -> Arc<Value> {
        let user = self.user();
        let created = self.store.create(&user, kind, NS, object).unwrap();
        self.settle();
        created
    }

    fn edit(&mut self, kind: Kind, name: &str, edit: impl FnOnce(&mut Value)) {
        let user = self.user();
        let change = |mut object| {
            edit(&mut object);
            Ok(object)
        };
        self.store.update(&user, &Key::new(kind, NS, name), Part::Main, change).unwrap();
        self.settle();
    }

    fn delete(&mut self, kind: Kind, name: &str, finalizer: Option<&str>) {
        let (user, key) = (self.user(), Key::new(kind, NS, name));
        self.store.delete(&user, &key, &Precondition::default(), finalizer, None).unwrap();
        self.settle();
    }

    fn workload(&mut self, name: &str, image: &str, replicas: u32) {
        for (kind, object) in given::workload(name, image, replicas) {
            self.create(kind, object);
        }
    }

    fn get(&self, kind: Kind, name: &str) -> Arc<Value> {
        self.store.get(kind, NS, name).unwrap_or_else(|| panic!("no {kind:?} {name}")).clone()
    }

    fn all(&self, kind: Kind) -> Vec<Arc<Value>> {
        self.store.list(kind, Some(NS)).map(|(_, object)| object.clone()).collect()
    }

    fn push(&mut self, name: &str, image: &str) {
        self.edit(Kind::Deployment, name, |it| {
            it["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        });
    }

    fn pause(&mut self, name: &str, paused: bool) {
        self.edit(Kind::Deployment, name, |it| it["spec"]["paused"] = json!(paused));
    }

    fn scale(&mut self, name: &str, replicas: u32) {
        self.edit(Kind::Deployment, name, |it| it["spec"]["replicas"] = json!(replicas));
    }

    /// The ReplicaSets: image, size, available pods, oldest revision first.
    fn sets(&self) -> Vec<(String, i64, i64)> {
        let mut sets = self.all(Kind::ReplicaSet);
        sets.sort_by_key(|set| number(set, "/metadata/generation").map(|_| revision(set)));
        let of = |set: &Arc<Value>| {
            let available = number(set, "/status/availableReplicas").unwrap_or(0);
            (image(&set["spec"]["template"]).to_owned(), number(set, "/spec/replicas").unwrap(), available)
        };
        sets.iter().map(of).collect()
    }

    fn set_of(&self, of_image: &str) -> Arc<Value> {
        let sets = self.all(Kind::ReplicaSet);
        sets.into_iter().find(|set| image(&set["spec"]["template"]) == of_image).unwrap()
    }

    /// Active pods of an image.
    fn pods(&self, of_image: &str) -> Vec<Arc<Value>> {
        let pods = self.all(Kind::Pod);
        pods.into_iter().filter(|pod| image(pod) == of_image && is_active(pod)).collect()
    }

    /// The ready pods behind a Service, by their images.
    fn behind(&self, service: &str) -> Vec<String> {
        let slices = self.all(Kind::EndpointSlice);
        let slice =
            slices.iter().find(|it| it["metadata"]["labels"]["kubernetes.io/service-name"] == service);
        let endpoints = slice.unwrap()["endpoints"].as_array().unwrap().clone();
        let ready = endpoints.iter().filter(|it| it["conditions"]["ready"] == true);
        let of = |it: &Value| image(&self.get(Kind::Pod, text(it, "/targetRef/name"))).to_owned();
        ready.map(of).collect()
    }

    /// A ReplicaSet of the Deployment's template, as Palier makes it: owned by a Rollout.
    fn canary(&mut self, of: &str, hash: &str, replicas: u32) -> String {
        let deployment = self.get(Kind::Deployment, of);
        let rollout = json!({
            "apiVersion": "palier.dev/v1alpha1", "kind": "Rollout", "name": "shop", "uid": self.rollout(),
            "controller": true, "blockOwnerDeletion": true,
        });
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"]["pod-template-hash"] = json!(hash);
        let name = format!("{of}-{hash}");
        let desired = deployment["spec"]["replicas"].to_string();
        let object = json!({
            "metadata": {
                "name": name, "labels": template["metadata"]["labels"], "ownerReferences": [rollout],
                "annotations": {"deployment.kubernetes.io/desired-replicas": desired},
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        });
        self.create(Kind::ReplicaSet, object);
        name
    }

    fn rollout(&mut self) -> String {
        if self.store.get(Kind::Rollout, NS, "shop").is_none() {
            let components = json!([{"name": "api", "workloadRef": {"name": "api"}}]);
            let spec = json!({"components": components});
            self.create(Kind::Rollout, json!({"metadata": {"name": "shop"}, "spec": spec}));
        }
        text(&self.get(Kind::Rollout, "shop"), "/metadata/uid").to_owned()
    }

    /// Takes the owner off a ReplicaSet.
    fn release(&mut self, set: &str) {
        self.edit(Kind::ReplicaSet, set, |set| {
            set["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        });
    }
}

fn revision(set: &Value) -> i64 {
    text(set, "/metadata/annotations/deployment.kubernetes.io~1revision").parse().unwrap_or(0)
}

fn owner(object: &Value) -> String {
    controller(object)
        .map(|owner| format!("{} {}", text(owner, "/kind"), text(owner, "/name")))
        .unwrap_or_default()
}

#[test]
fn equal_seeds_act_equally() {
    let play = |seed| {
        let mut settings = Settings { seed, shuffles: true, ..Settings::default() };
        settings.lags.insert(super::Native::Deployments, crate::api::Span::seconds(5));
        settings.lags.insert(super::Native::ReplicaSets, crate::api::Span::seconds(3));
        let mut play = Play::new(settings);
        play.workload("api", "app:v1", 3);
        play.wait(30);
        play.push("api", "app:v2");
        play.wait(60);
        assert_eq!(play.sets(), [("app:v1".to_owned(), 0, 0), ("app:v2".to_owned(), 3, 3)]);
        play.store.log().iter().map(|change| format!("{} {}", change.at, change.after)).collect::<Vec<_>>()
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}

#[test]
fn all_names_of_pods_are_those_of_their_sets() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 2);
    let set = play.set_of("app:v1");
    for pod in play.pods("app:v1") {
        assert_eq!(name(&pod).rsplit_once('-').unwrap().0, name(&set));
        assert!(is_ready(&pod));
    }
}
