//! One version of an object and the next: what a write may change of it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kinds::{Generation, Kind};
use super::store::{Key, Part};

/// What the server says of a write on another object than the one that is there.
pub(super) fn other_uid(key: &Key, asked: &str, found: &str) -> String {
    let facts = key.kind.facts();
    let group = if key.kind.is_custom() { format!("{}/", facts.group) } else { String::new() };
    let plural = if key.kind == Kind::Service { "services/specs" } else { facts.plural };
    let (namespace, name) = (&key.namespace, &key.name);
    let place = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
    format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{group}{plural}/{place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {asked}, UID in object meta: {found}"
    )
}

/// What is stored when `asked` comes in for one part of an object.
pub(super) fn merged(kind: Kind, before: &Value, mut asked: Value, part: Part) -> Value {
    let facts = kind.facts();
    if part == Part::Status {
        let mut after = before.clone();
        if !kind.is_custom() {
            let kept: &[&str] = match kind {
                Kind::Deployment => &["labels"],
                Kind::Pod => &["ownerReferences"],
                _ => &[],
            };
            let metadata = std::mem::take(metadata_of(&mut asked));
            after["metadata"] = Value::Object(metadata);
            keep_metadata(before, &mut after, kept);
        }
        match asked.get_mut("status") {
            Some(status) => after["status"] = status.take(),
            None => drop(after.as_object_mut().map(|it| it.remove("status"))),
        }
        return after;
    }
    if let Some(object) = asked.as_object_mut()
        && facts.status
    {
        object.remove("status");
        object.extend(before.get("status").map(|status| ("status".to_owned(), status.clone())));
    }
    keep_metadata(before, &mut asked, &[]);
    asked["apiVersion"] = before["apiVersion"].clone();
    asked["kind"] = before["kind"].clone();
    asked
}

/// Puts back the metadata that only the server writes, and `more` of them.
fn keep_metadata(before: &Value, after: &mut Value, more: &[&str]) {
    let metadata = metadata_of(after);
    let owned = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "namespace",
        "name",
        "generateName",
    ];
    for field in owned.iter().chain(more) {
        match before["metadata"].get(*field) {
            Some(value) => drop(metadata.insert((*field).to_owned(), value.clone())),
            None => drop(metadata.remove(*field)),
        }
    }
    drop_empty(metadata);
}

/// What is empty is not written.
pub(super) fn drop_empty(metadata: &mut Map<String, Value>) {
    metadata.retain(|_, value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Null => false,
        _ => true,
    });
}

pub(super) fn bump_generation(kind: Kind, before: &Value, after: &mut Value) {
    let without = |object: &Value| {
        let content: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
        let is_content = |name: &String| name != "metadata" && name != "status";
        content.into_iter().filter(|(name, _)| is_content(name)).collect::<Map<_, _>>()
    };
    let is_changed = match kind.facts().generation {
        Generation::None => false,
        Generation::Spec => before.get("spec") != after.get("spec"),
        Generation::SpecAndAnnotations => {
            before.get("spec") != after.get("spec")
                || before["metadata"].get("annotations") != after["metadata"].get("annotations")
        }
        Generation::Content => {
            let labels = |object: &Value| object["metadata"].get("labels").cloned();
            let has_other_labels = kind == Kind::EndpointSlice && labels(before) != labels(after);
            has_other_labels || without(before) != without(after)
        }
    };
    if is_changed {
        let next = before["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        metadata_of(after).insert("generation".to_owned(), json!(next));
    }
}

/// The metadata of an object, empty ones if it has none.
pub(super) fn metadata_of(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    match &mut object["metadata"] {
        Value::Object(metadata) => metadata,
        _ => unreachable!("made an object above"),
    }
}

/// Times of metadata have whole seconds.
pub(super) fn whole_seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
