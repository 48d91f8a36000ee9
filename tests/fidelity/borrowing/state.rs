//! What of a cluster is compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

const HASH: &str = "pod-template-hash";
/// Labels that hold identities.
const IDENTITIES: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];

/// What of a cluster is compared, by kind and name.
pub type State = BTreeMap<String, Value>;

/// The state of the objects, listed by kind.
pub fn of(lists: &[Vec<Value>]) -> State {
    let objects: Vec<&Value> = lists.iter().flatten().collect();
    let aliases = aliases(&objects);
    let mut state = State::new();
    for object in &objects {
        let seen = match object_kind(object) {
            "Deployment" => deployment(object),
            "ReplicaSet" => replica_set(object),
            "EndpointSlice" => slice(object, &objects),
            "Service" => json!({"selector": object["spec"]["selector"]}),
            "Job" => job(object),
            _ => continue,
        };
        let name = text(&object["metadata"]["name"]);
        // The end of a slice's name is by chance.
        let name = if object_kind(object) == "EndpointSlice" { service_of(object) } else { name };
        let text = renamed(&format!("{seen}"), &aliases);
        let key = renamed(&format!("{} {name}", object_kind(object)), &aliases);
        state.insert(key, serde_json::from_str(&text).unwrap());
    }
    state.extend(pods(&objects, &aliases));
    state
}

/// Kinds of listed objects are told by what they have: lists leave `kind` out.
fn object_kind(object: &Value) -> &'static str {
    let spec = &object["spec"];
    if object.get("addressType").is_some() {
        "EndpointSlice"
    } else if spec.get("backoffLimit").is_some() {
        "Job"
    } else if spec.get("strategy").is_some() {
        "Deployment"
    } else if spec.get("template").is_some() {
        "ReplicaSet"
    } else if spec.get("containers").is_some() {
        "Pod"
    } else {
        "Service"
    }
}

/// What stands for the hashes that a controller chose: the image of the template.
fn aliases(objects: &[&Value]) -> Vec<(String, String)> {
    let sets = objects.iter().filter(|object| object_kind(object) == "ReplicaSet");
    let alias = |set: &&Value| {
        let alias = || format!("<{}>", image(&set["spec"]["template"]));
        (!is_chosen_hash(set)).then(|| (text(&set["metadata"]["labels"][HASH]), alias()))
    };
    sets.filter_map(alias).collect()
}

/// Whether the hash of a ReplicaSet is one that the sequences choose: these are short.
pub fn is_chosen_hash(set: &Value) -> bool {
    text(&set["metadata"]["labels"][HASH]).len() <= 3
}

fn renamed(text: &str, aliases: &[(String, String)]) -> String {
    aliases.iter().fold(text.to_owned(), |text, (hash, alias)| text.replace(hash, alias))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The image of the first container of a pod or a template.
pub fn image(pod: &Value) -> &str {
    pod.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default()
}

fn owners(object: &Value) -> Value {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let words = owners.map(|it| format!("{} {} {}", text(&it["kind"]), text(&it["name"]), it["controller"]));
    words.collect()
}

/// A status without times; conditions as sentences, in the order of their kinds.
fn status(object: &Value) -> Value {
    let mut status = object["status"].as_object().cloned().unwrap_or_default();
    status.retain(|field, _| !["startTime", "completionTime"].contains(&field.as_str()));
    if let Some(seen) = status.remove("observedGeneration") {
        status.insert("isObserved".to_owned(), json!(seen == object["metadata"]["generation"]));
    }
    if let Some(Value::Array(conditions)) = status.remove("conditions") {
        let words = |it: &Value| {
            let [kind, is, reason, message] =
                ["type", "status", "reason", "message"].map(|field| text(&it[field]));
            // Whose progress it is depends on whether the controller came by between two steps of an update.
            let message = if kind == "Progressing" { "…" } else { &message };
            format!("{kind} {is} {reason}: {message}")
        };
        let mut words: Vec<String> = conditions.iter().map(words).collect();
        words.sort_unstable();
        status.insert("conditions".to_owned(), json!(words));
    }
    Value::Object(status)
}

fn deployment(object: &Value) -> Value {
    json!({
        "replicas": object["spec"]["replicas"],
        "paused": object["spec"]["paused"] == true,
        "annotations": object["metadata"]["annotations"],
        "generation": object["metadata"]["generation"],
        "status": status(object),
    })
}

fn replica_set(object: &Value) -> Value {
    json!({
        "replicas": object["spec"]["replicas"],
        "minReadySeconds": object["spec"]["minReadySeconds"].as_i64().unwrap_or(0),
        "image": image(&object["spec"]["template"]),
        "selector": object["spec"]["selector"],
        "labels": object["metadata"]["labels"],
        "annotations": object["metadata"]["annotations"],
        "owners": owners(object),
        "isDeleting": object["metadata"]["deletionTimestamp"].is_string(),
        "status": status(object),
    })
}

fn job(object: &Value) -> Value {
    json!({
        "finalizers": object["metadata"]["finalizers"],
        "isDeleting": object["metadata"]["deletionTimestamp"].is_string(),
        "status": status(object),
    })
}

fn service_of(slice: &Value) -> String {
    text(&slice["metadata"]["labels"]["kubernetes.io/service-name"])
}

fn slice(slice: &Value, objects: &[&Value]) -> Value {
    let behind = |endpoint: &Value| {
        let name = &endpoint["targetRef"]["name"];
        let pod = objects.iter().find(|it| object_kind(it) == "Pod" && it["metadata"]["name"] == *name);
        format!("{} {}", pod.map_or("gone", |pod| image(pod)), endpoint["conditions"])
    };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let mut endpoints: Vec<String> = endpoints.map(behind).collect();
    endpoints.sort_unstable();
    json!({
        "labels": slice["metadata"]["labels"], "owners": owners(slice), "endpoints": endpoints,
        "ports": slice["ports"].as_array().cloned().unwrap_or_default(), "addressType": slice["addressType"],
    })
}

/// Pods by their owner: how many are alike.
fn pods(objects: &[&Value], aliases: &[(String, String)]) -> State {
    let mut state = State::new();
    for pod in objects.iter().filter(|object| object_kind(object) == "Pod") {
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        // KWOK leaves pods that ended ready.
        let is_ready = pod["status"]["phase"] == "Running"
            && conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
        let mut labels: Map<String, Value> =
            pod["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.retain(|name, _| !IDENTITIES.contains(&name.as_str()));
        let words = format!(
            "{} {} ready={is_ready} deleting={} {}",
            image(pod),
            text(&pod["status"]["phase"]),
            pod["metadata"]["deletionTimestamp"].is_string(),
            Value::Object(labels),
        );
        let owner = renamed(&format!("pods of {}", owners(pod)), aliases);
        let counts = state.entry(owner).or_insert_with(|| json!({}));
        let words = renamed(&words, aliases);
        counts[&words] = json!(counts[&words].as_i64().unwrap_or(0) + 1);
    }
    state
}

/// Where two states differ: lines of the real one and of ours.
pub fn difference(real: &State, ours: &State) -> String {
    let mut lines = String::new();
    let keys: std::collections::BTreeSet<&String> = real.keys().chain(ours.keys()).collect();
    for key in keys.into_iter().filter(|key| real.get(*key) != ours.get(*key)) {
        let _ = writeln!(lines, "{key}");
        for (who, state) in [("real", real), ("ours", ours)] {
            let value = state.get(key).map_or("not there".to_owned(), Value::to_string);
            let _ = writeln!(lines, "  {who}: {value}");
        }
    }
    lines
}
