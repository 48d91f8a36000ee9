//! What the cluster has to be like when everything is well again.

use std::sync::Arc;

use palier::apiserver::{Key, Kind, Store};
use palier::rig::given::SHOP;
use serde_json::Value;

/// What is not as it should be at rest.
pub fn wrong_with(store: &Store, name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let get = |kind, name: &str| store.get(kind, SHOP, name).map(|it| Value::clone(it)).unwrap_or_default();
    let deployment = get(Kind::Deployment, name);
    if deployment["status"]["readyReplicas"] != deployment["spec"]["replicas"] {
        wrong.push(format!(
            "{name}: {} of {} pods",
            deployment["status"]["readyReplicas"], deployment["spec"]["replicas"]
        ));
    }
    if !get(Kind::Service, name)["spec"]["selector"]["pod-template-hash"].is_null() {
        wrong.push(format!("{name}: its Service is still pinned"));
    }
    if store.get(Kind::Service, SHOP, &format!("{name}-canary")).is_some() {
        wrong.push(format!("{name}: the canary's Service is still there"));
    }
    let backends = &get(Kind::HttpRoute, name)["spec"]["rules"][0]["backendRefs"];
    if backends.as_array().is_none_or(|it| it.len() != 1) {
        wrong.push(format!("{name}: its route says {backends}"));
    }
    let sets: Vec<(&Key, &Arc<Value>)> = store
        .list(Kind::ReplicaSet, Some(SHOP))
        .filter(|(_, set)| {
            set["spec"]["selector"]["matchLabels"]["app"] == name && set["spec"]["replicas"] != 0
        })
        .collect();
    let is_native = |set: &Value| set["metadata"]["ownerReferences"][0]["kind"] == "Deployment";
    if sets.len() != 1 || !is_native(sets[0].1) {
        let told: Vec<String> = sets
            .iter()
            .map(|(key, set)| format!("{} of {}", key.name, set["metadata"]["ownerReferences"]))
            .collect();
        wrong.push(format!("{name}: serves from {}", told.join(" and ")));
    }
    wrong
}

/// What is not as it should be with any workload.
pub fn all_wrong(store: &Store) -> Vec<String> {
    let names: Vec<String> =
        store.list(Kind::Deployment, Some(SHOP)).map(|(key, _)| key.name.clone()).collect();
    names.iter().flat_map(|name| wrong_with(store, name)).collect()
}

/// P25: what a Rollout that is gone has left behind.
pub fn left_behind(store: &Store) -> Vec<String> {
    if store.get(Kind::Rollout, SHOP, "shop").is_some() {
        return Vec::new();
    }
    let is_ours = |object: &Value| {
        let owners = object["metadata"]["ownerReferences"].as_array();
        object["metadata"]["labels"]["palier.dev/rollout"].is_string()
            || owners.into_iter().flatten().any(|owner| owner["kind"] == "Rollout")
    };
    let kinds = Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Event | Kind::Lease));
    let all = kinds.flat_map(|kind| store.list(kind, Some(SHOP)));
    let mut left: Vec<String> =
        all.filter(|(_, object)| is_ours(object)).map(|(key, _)| format!("{key} is left behind")).collect();
    for (key, deployment) in store.list(Kind::Deployment, Some(SHOP)) {
        let is_marked = deployment["metadata"]["annotations"]["palier.dev/intercepted"].is_string();
        let serves = deployment["status"]["updatedReplicas"] == deployment["spec"]["replicas"];
        // A template that was not earned stays paused: the version that serves is the earned one.
        if is_marked && serves {
            left.push(format!("{key} is still paused in our name"));
        }
    }
    left
}
