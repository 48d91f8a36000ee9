//! Who has to look when something changed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::fields::{controller, has_labels, is_deleting, list, selects, text, uid};
use super::garbage::{Family, concerns};
use super::pods::Lives;
use super::{Native, Settings, Work};
use crate::apiserver::{Key, Kind, Revision, Store, Verb};

const SERVICE_NAME: &str = "/metadata/labels/kubernetes.io~1service-name";

/// Whether nothing changed of what controllers look at without being told.
pub(super) fn is_as_before(before: &Settings, now: &Settings) -> bool {
    before.gateway == now.gateway
        && before.nodes == now.nodes
        && before.lost_nodes == now.lost_nodes
        && before.pods_per_node == now.pods_per_node
        && before.quota == now.quota
}

/// The controllers of a kind.
pub(super) const fn of_kind(kind: Kind) -> &'static [Native] {
    match kind {
        Kind::Deployment => &[Native::Deployments],
        Kind::ReplicaSet => &[Native::ReplicaSets],
        Kind::Pod => &[Native::Pods],
        Kind::Service => &[Native::Endpoints],
        Kind::HttpRoute | Kind::GrpcRoute => &[Native::Gateway],
        Kind::Job => &[Native::Jobs],
        Kind::Namespace => &[Native::Namespaces],
        _ => &[],
    }
}

/// What is to do after a change.
pub(super) fn of(change: &Revision, store: &Store, family: &Family, lives: &Lives) -> BTreeSet<Work> {
    let (key, before, after) = (&change.key, change.before.as_deref(), &*change.after);
    let mut works: BTreeSet<Work> = of_kind(key.kind).iter().map(|native| (*native, key.clone())).collect();
    let states: Vec<&Value> = before.into_iter().chain([after]).collect();
    for state in &states {
        works.extend(owners(key, state, store));
    }
    match key.kind {
        Kind::Pod => {
            works.extend(services_of(key, &states, store));
            if change.verb == Verb::Delete {
                works.extend(lives.waiting.iter().map(|pod| (Native::Pods, pod.clone())));
                works.extend(deployment_of_pod(key, after, store));
            }
        }
        Kind::EndpointSlice => {
            let names = states.iter().map(|state| text(state, SERVICE_NAME)).filter(|name| !name.is_empty());
            works
                .extend(names.map(|name| (Native::Endpoints, Key::new(Kind::Service, &key.namespace, name))));
        }
        // A backend is there, or is gone.
        Kind::Service if change.verb != Verb::Update => {
            for kind in [Kind::HttpRoute, Kind::GrpcRoute] {
                works.extend(store.list(kind, None).map(|(route, _)| (Native::Gateway, route.clone())));
            }
        }
        _ => {}
    }
    works.extend(collected(change, store, family));
    works
}

/// What the garbage collector has to look at.
fn collected(change: &Revision, store: &Store, family: &Family) -> Vec<Work> {
    let (before, after) = (change.before.as_deref(), &*change.after);
    let mut works = Vec::new();
    let owners = |object: &Value| object["metadata"].get("ownerReferences").cloned();
    let is_new = before.is_none_or(|before| owners(before) != owners(after));
    if change.verb != Verb::Delete && concerns(after) && (is_new || is_deleting(after)) {
        works.push((Native::Garbage, change.key.clone()));
    }
    let is_marked = is_deleting(after) && !before.is_some_and(is_deleting);
    if change.verb == Verb::Delete || is_marked {
        works.extend(family.of(uid(after)).map(|key| (Native::Garbage, key.clone())));
    }
    // Its owners may have waited for it.
    let left = if change.verb == Verb::Delete || is_new { before } else { None };
    for owner in left.map_or(&[][..], |before| list(before, "/metadata/ownerReferences")) {
        let kind = Kind::of_manifest(text(owner, "/apiVersion"), text(owner, "/kind"));
        let Some(kind) = kind else { continue };
        let namespace = if kind.facts().namespaced { change.key.namespace.as_str() } else { "" };
        if store.get(kind, namespace, text(owner, "/name")).is_some_and(|owner| is_deleting(owner)) {
            works.push((Native::Garbage, Key::new(kind, namespace, text(owner, "/name"))));
        }
    }
    works
}

/// The controllers that own an object, or would adopt it.
fn owners(key: &Key, object: &Value, store: &Store) -> Vec<Work> {
    let (native, kind) = match key.kind {
        Kind::ReplicaSet => (Native::Deployments, Kind::Deployment),
        Kind::Pod => (Native::ReplicaSets, Kind::ReplicaSet),
        _ => return Vec::new(),
    };
    let Some(owner) = controller(object) else {
        let all = store.list(kind, Some(&key.namespace));
        let adopting = all.filter(|(_, owner)| selects(&owner["spec"]["selector"], object));
        return adopting.map(|(key, _)| (native, key.clone())).collect();
    };
    let place = |kind| Key::new(kind, &key.namespace, text(owner, "/name"));
    match text(owner, "/kind") {
        "Job" => vec![(Native::Jobs, place(Kind::Job))],
        name if name == kind.facts().name => vec![(native, place(kind))],
        _ => Vec::new(),
    }
}

/// The Deployment of a pod's ReplicaSet.
fn deployment_of_pod(key: &Key, pod: &Value, store: &Store) -> Option<Work> {
    let set = text(controller(pod)?, "/name");
    let set = store.get(Kind::ReplicaSet, &key.namespace, set)?;
    let deployment = text(controller(set)?, "/name");
    Some((Native::Deployments, Key::new(Kind::Deployment, &key.namespace, deployment)))
}

/// The Services that select a pod, or did.
fn services_of(key: &Key, pods: &[&Value], store: &Store) -> Vec<Work> {
    let none = Map::new();
    let is_behind = |service: &Value| {
        let selector = service.pointer("/spec/selector").and_then(Value::as_object).unwrap_or(&none);
        !selector.is_empty() && pods.iter().any(|pod| has_labels(pod, selector))
    };
    let services = store.list(Kind::Service, Some(&key.namespace)).filter(|(_, it)| is_behind(it));
    services.map(|(service, _)| (Native::Endpoints, service.clone())).collect()
}
