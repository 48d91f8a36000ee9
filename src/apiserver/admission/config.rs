//! `palier-config` and `palier-config-writer`: pods get the copies of configuration that belong to their revision.

use serde_json::Value;

use super::{any, denied, has_label, items, text};
use crate::api::names::{CONFIG_LABEL, CONFIG_MAP_LABEL, POD_TEMPLATE_HASH};
use crate::apiserver::kinds::Kind;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::store::Review;

/// Gives a new pod of a Deployment whose configuration is released the names of the copies, as each map in its namespace says.
/// What is amiss with a map keeps no pod from starting.
///
/// # Errors
/// None.
pub fn give_copies(review: &Review<'_>, pod: &mut Value) -> Result<(), Refusal> {
    let is_new = review.key.kind == Kind::Pod && review.before.is_none();
    if !is_new || !has_label(pod, POD_TEMPLATE_HASH) {
        return Ok(());
    }
    for (_, map) in review.store.list(Kind::ConfigMap, Some(&review.key.namespace)) {
        if text(&map["metadata"]["labels"], CONFIG_MAP_LABEL) != "true" {
            continue;
        }
        let data = &map["data"];
        if !is_of(pod, text(data, "deployment")) {
            continue;
        }
        let hash = text(&pod["metadata"]["labels"], POD_TEMPLATE_HASH);
        let side = if text(data, "canary") == hash { "canary." } else { "stable." };
        let Some(digest) = data.get(format!("{side}config")) else { continue };
        pod["metadata"]["labels"][CONFIG_LABEL] = digest.clone();
        for (kind, name) in names_in(pod) {
            let copy = data.get(format!("{side}{kind}.{}", name.as_str().unwrap_or_default()));
            if let Some(copy) = copy {
                *name = copy.clone();
            }
        }
    }
    Ok(())
}

/// Whether a ReplicaSet of this Deployment makes the pod: it is named after both.
fn is_of(pod: &Value, deployment: &str) -> bool {
    let hash = text(&pod["metadata"]["labels"], POD_TEMPLATE_HASH);
    items(&pod["metadata"]["ownerReferences"]).iter().any(|owner| {
        text(owner, "kind") == "ReplicaSet"
            && owner["controller"] == true
            && text(owner, "name").strip_suffix(hash).and_then(|rest| rest.strip_suffix('-'))
                == Some(deployment)
    })
}

/// Every name of a ConfigMap or Secret in the spec of a pod, with the word that the map has for its kind.
fn names_in(pod: &mut Value) -> Vec<(&'static str, &mut Value)> {
    let mut found = Vec::new();
    let Value::Object(spec) = &mut pod["spec"] else { return found };
    for (field, list) in spec.iter_mut() {
        let Value::Array(list) = list else { continue };
        match field.as_str() {
            "volumes" => list.iter_mut().for_each(|volume| of_volume(volume, &mut found)),
            "containers" | "initContainers" => {
                list.iter_mut().for_each(|container| of_container(container, &mut found));
            }
            _ => {}
        }
    }
    found
}

fn of_volume<'p>(volume: &'p mut Value, found: &mut Vec<(&'static str, &'p mut Value)>) {
    let Value::Object(volume) = volume else { return };
    for (field, source) in volume.iter_mut() {
        match field.as_str() {
            "configMap" => found.extend(source.get_mut("name").map(|name| ("configMap", name))),
            "secret" => found.extend(source.get_mut("secretName").map(|name| ("secret", name))),
            "projected" => {
                let sources = source.get_mut("sources").and_then(Value::as_array_mut);
                sources.into_iter().flatten().for_each(|source| of_source(source, found));
            }
            _ => {}
        }
    }
}

fn of_source<'p>(source: &'p mut Value, found: &mut Vec<(&'static str, &'p mut Value)>) {
    let Value::Object(source) = source else { return };
    for (field, source) in source.iter_mut() {
        let kind = match field.as_str() {
            "configMap" | "configMapKeyRef" | "configMapRef" => "configMap",
            "secret" | "secretKeyRef" | "secretRef" => "secret",
            _ => continue,
        };
        found.extend(source.get_mut("name").map(|name| (kind, name)));
    }
}

fn of_container<'p>(container: &'p mut Value, found: &mut Vec<(&'static str, &'p mut Value)>) {
    let Value::Object(container) = container else { return };
    for (field, list) in container.iter_mut() {
        let Value::Array(list) = list else { continue };
        match field.as_str() {
            "env" => {
                let sources = list.iter_mut().filter_map(|variable| variable.get_mut("valueFrom"));
                sources.for_each(|source| of_source(source, found));
            }
            "envFrom" => list.iter_mut().for_each(|source| of_source(source, found)),
            _ => {}
        }
    }
}

/// Refuses that others say what pods mount. The garbage collector may edit owners.
///
/// # Errors
/// Somebody else writes such a map (403).
pub fn only_the_controller(review: &Review<'_>, map: &Value, controller: &str) -> Result<(), Refusal> {
    let is_map = review.key.kind == Kind::ConfigMap;
    if !is_map || !any(review, map, |object| has_label(object, CONFIG_MAP_LABEL)) {
        return Ok(());
    }
    let keeps = review.before.is_some_and(|before| {
        let label = |object: &Value| object["metadata"]["labels"].get(CONFIG_MAP_LABEL).cloned();
        before.get("data") == map.get("data") && label(before) == label(map)
    });
    if keeps || review.caller.user == controller {
        return Ok(());
    }
    let why = format!(
        "only the Palier controller ({controller}) may write ConfigMaps with the label {CONFIG_MAP_LABEL}: they say what pods mount"
    );
    Err(denied(review, "palier-config-writer", &why))
}
