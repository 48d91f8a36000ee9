//! P1, P12, P19, P20: what is written is well formed, and nothing that is somebody else's is touched.

use palier::apiserver::{Kind, Verb};
use serde_json::Value;

use super::{Broken, Look, Monitor, broke};

/// P1: weights are whole numbers from 0 to 100 and make up 100.
pub struct Sums;

impl Monitor for Sums {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        if !look.is_ours || !matches!(look.change.key.kind, Kind::HttpRoute | Kind::GrpcRoute) {
            return;
        }
        for rule in look.change.after["spec"]["rules"].as_array().into_iter().flatten() {
            let backends = rule["backendRefs"].as_array().cloned().unwrap_or_default();
            let weights: Vec<Option<i64>> = backends.iter().map(|it| it["weight"].as_i64()).collect();
            let has_canary =
                backends.iter().any(|it| it["name"].as_str().is_some_and(|name| name.ends_with("-canary")));
            let sum: i64 = weights.iter().flatten().sum();
            if has_canary
                && (sum != 100 || weights.iter().any(|it| it.is_none_or(|it| !(0..=100).contains(&it))))
            {
                broken.push(broke(look, "P1", format!("weights {weights:?} of {}", look.change.key)));
            }
        }
    }
}

/// P12, P19, P20: of a Deployment only the pause, one label and one annotation; of ReplicaSets and Services only our own, or the
/// pin; of a route only the backends.
pub struct Borders;

impl Monitor for Borders {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        if !look.is_ours {
            return;
        }
        let change = look.change;
        let before = change.before.as_deref().unwrap_or(&Value::Null);
        let wrong = match (change.key.kind, change.verb) {
            (Kind::Deployment, Verb::Update) => changed(before, &change.after, strip_deployment),
            (Kind::Deployment, _) => Some("created or deleted a Deployment".to_owned()),
            (Kind::HttpRoute | Kind::GrpcRoute, Verb::Update) => changed(before, &change.after, strip_route),
            (Kind::HttpRoute | Kind::GrpcRoute, _) => Some("created or deleted a route".to_owned()),
            (Kind::ReplicaSet, Verb::Delete | Verb::Update)
                if !was_ours(before)
                    && !is_twin(look, before)
                    && !is_former(before)
                    && !is_retired(before, &change.after)
                    && !is_replaced(look, before) =>
            {
                Some("wrote a ReplicaSet that is neither a Rollout's nor a twin of one".to_owned())
            }
            (Kind::Service, Verb::Delete) if !is_owned_by_rollout(before) => {
                Some("deleted a Service that no Rollout owns".to_owned())
            }
            (Kind::Service, Verb::Update) => changed(before, &change.after, strip_service),
            (
                Kind::Pod | Kind::EndpointSlice | Kind::MetricSource | Kind::RolloutAction | Kind::CronJob,
                _,
            ) => Some("wrote what it only reads".to_owned()),
            (Kind::ConfigMap | Kind::Secret | Kind::Job, Verb::Delete) if !was_ours(before) => {
                Some("deleted what no Rollout owns".to_owned())
            }
            (Kind::ConfigMap, Verb::Update) if !was_ours(before) => {
                let switches = switches_of(look);
                let mut after = Value::clone(&change.after);
                // What switches may set is judged by how it ends.
                for key in &switches {
                    after["data"][key.as_str()] = before["data"][key.as_str()].clone();
                }
                let strip: fn(&mut Value) = |object| {
                    if let Some(data) = object["data"].as_object_mut() {
                        data.retain(|_, value| !value.is_null());
                    }
                };
                changed(before, &after, strip)
            }
            (Kind::Secret, Verb::Update) if !was_ours(before) => Some("wrote somebody's Secret".to_owned()),
            _ => None,
        };
        broken.extend(wrong.map(|what| broke(look, "P19/P20", format!("{}: {what}", change.key))));
    }
}

/// The keys that switches of degraded modes set in the ConfigMap that changed.
fn switches_of(look: &Look<'_>) -> Vec<String> {
    let rollouts = look.scene.list(Kind::Rollout, &look.change.key.namespace);
    let modes = rollouts.flat_map(|it| it["spec"]["degradedModes"].as_array().into_iter().flatten());
    let switches = modes.flat_map(|mode| mode["switches"].as_array().into_iter().flatten());
    let here = switches.filter(|it| it["configMap"] == *look.change.key.name);
    here.filter_map(|it| it["key"].as_str().map(str::to_owned)).collect()
}

fn changed(before: &Value, after: &Value, strip: fn(&mut Value)) -> Option<String> {
    let [mut before, mut after] = [before.clone(), after.clone()];
    for object in [&mut before, &mut after] {
        for field in ["resourceVersion", "generation", "managedFields"] {
            object["metadata"].as_object_mut().map(|it| it.remove(field));
        }
        strip(object);
    }
    (before != after).then(|| format!("changed more than it may:\n{before}\n{after}"))
}

fn remove(object: &mut Value, parent: &str, name: &str) {
    let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    fields.remove(name);
    if fields.is_empty()
        && let Some((above, last)) = parent.rsplit_once('/')
    {
        object.pointer_mut(above).and_then(Value::as_object_mut).map(|it| it.remove(last));
    }
}

fn strip_deployment(object: &mut Value) {
    remove(object, "/spec", "paused");
    remove(object, "/metadata/labels", "palier.dev/rollout");
    remove(object, "/metadata/annotations", "palier.dev/intercepted");
}

fn strip_service(object: &mut Value) {
    remove(object, "/spec/selector", "pod-template-hash");
    remove(object, "/metadata/labels", "palier.dev/rollout");
}

fn strip_route(object: &mut Value) {
    for rule in object.pointer_mut("/spec/rules").and_then(Value::as_array_mut).into_iter().flatten() {
        rule.as_object_mut().map(|rule| rule.remove("backendRefs"));
    }
}

/// An empty ReplicaSet of a Deployment with the template of one that a Rollout owns: it has to go before the adoption.
fn is_twin(look: &Look<'_>, set: &Value) -> bool {
    let bare = |set: &Value| {
        let mut template = set["spec"]["template"].clone();
        remove(&mut template, "/metadata/labels", "pod-template-hash");
        template
    };
    let mut sets = look.scene.list(Kind::ReplicaSet, &look.change.key.namespace);
    set["spec"]["replicas"] == 0 && sets.any(|other| is_owned_by_rollout(other) && bare(other) == bare(set))
}

/// An empty ReplicaSet of a former configuration.
fn is_former(set: &Value) -> bool {
    set["spec"]["replicas"] == 0
        && set["spec"]["template"]["metadata"]["annotations"]["palier.dev/retired"].is_string()
}

/// Whether nothing but our mark came on the pod template of a former configuration: only one ReplicaSet of a template is the
/// Deployment's.
fn is_retired(before: &Value, after: &Value) -> bool {
    let strip: fn(&mut Value) = |object| {
        remove(object, "/spec/template/metadata/annotations", "palier.dev/retired");
        remove(object, "/metadata/labels", "palier.dev/rollout");
    };
    before["kind"] == after["kind"] && changed(before, after, strip).is_none()
}

/// Whether nothing but the size of a Deployment's ReplicaSet went to zero while one that Palier brought serves whole in its place:
/// the Deployment has a third template already, so its own controller shares its size out among both.
fn is_replaced(look: &Look<'_>, before: &Value) -> bool {
    let after = &look.change.after;
    let owner = |set: &Value| set["metadata"]["ownerReferences"][0]["uid"].clone();
    let serves = |other: &Value| {
        let (wanted, available) =
            (other["spec"]["replicas"].as_i64(), other["status"]["availableReplicas"].as_i64());
        other["metadata"]["name"] != before["metadata"]["name"]
            && other["metadata"]["labels"]["palier.dev/rollout"].is_string()
            && owner(other) == owner(before)
            && wanted > Some(0)
            && available >= wanted
    };
    let strip: fn(&mut Value) = |object| {
        remove(object, "/spec", "replicas");
    };
    after["spec"]["replicas"] == 0
        && changed(before, after, strip).is_none()
        && look.scene.list(Kind::ReplicaSet, &look.change.key.namespace).any(serves)
}

fn was_ours(set: &Value) -> bool {
    set["metadata"]["labels"]["palier.dev/rollout"].is_string() || is_owned_by_rollout(set)
}

fn is_owned_by_rollout(object: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    owners.iter().any(|owner| owner["kind"] == "Rollout")
}
