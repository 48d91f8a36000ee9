//! What controllers read of objects.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// The text at `pointer`; empty if there is none.
pub(super) fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at `pointer`.
pub(super) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// The list at `pointer`; empty if there is none.
pub(super) fn list<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The time at `pointer`.
pub(super) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

/// A time as statuses have it: whole seconds.
pub(super) fn written(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// `metadata.uid`.
pub(super) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// `metadata.name`.
pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// Whether somebody has deleted it.
pub(super) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// The reference to the controller that owns it.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    list(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true)
}

/// Whether the labels of an object have all of `wanted`.
pub(super) fn has_labels(object: &Value, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, value)| object["metadata"]["labels"].get(key) == Some(value))
}

/// Whether a label selector matches an object. One that is empty or missing matches nothing.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>
pub(super) fn selects(selector: &Value, object: &Value) -> bool {
    let empty = Map::new();
    let labels = selector["matchLabels"].as_object().unwrap_or(&empty);
    let expressions = list(selector, "/matchExpressions");
    if labels.is_empty() && expressions.is_empty() {
        return false;
    }
    let holds = |expression: &Value| {
        let found = object["metadata"]["labels"].get(text(expression, "/key"));
        let is_listed = found.is_some_and(|value| list(expression, "/values").contains(value));
        match text(expression, "/operator") {
            "In" => is_listed,
            "NotIn" => !is_listed,
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => false,
        }
    };
    has_labels(object, labels) && expressions.iter().all(holds)
}

/// The condition of a kind in a status.
pub(super) fn condition<'v>(status: &'v Value, kind: &str) -> Option<&'v Value> {
    list(status, "/conditions").iter().find(|condition| condition["type"] == kind)
}

/// Whether a pod is ready.
pub(super) fn is_ready(pod: &Value) -> bool {
    condition(&pod["status"], "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// Whether a pod has come to its end by itself.
pub(super) fn is_over(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"))
}

/// Whether a pod counts for its owner: it neither ended nor is it being deleted.
pub(super) fn is_active(pod: &Value) -> bool {
    !is_over(pod) && !is_deleting(pod)
}

/// The image of the first container of a pod, or of a pod template.
pub(super) fn image(pod: &Value) -> &str {
    text(pod, "/spec/containers/0/image")
}
