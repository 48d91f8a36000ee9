//! Patches.

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::refusal::Refusal;

/// The key by which the items of a list are told apart in a strategic merge patch, for the lists that are patched here.
/// <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>
const MERGE_KEYS: [(&str, &str); 12] = [
    ("ownerReferences", "uid"),
    ("conditions", "type"),
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("imagePullSecrets", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("ports", ""),
];

/// Changes `object` as a patch of this `content-type` says.
///
/// # Errors
/// The type is none that the kind takes (415), the patch cannot be read (400), or it cannot be applied (422).
pub fn apply(kind: Kind, object: &mut Value, content_type: &str, patch: &[u8]) -> Result<(), Refusal> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    match media {
        "application/json-patch+json" => json_patch_of(object, patch),
        "application/merge-patch+json" => {
            json_patch::merge(object, &read(patch)?);
            Ok(())
        }
        "application/strategic-merge-patch+json" if !kind.is_custom() => merge(object, read(patch)?),
        _ => Err(unsupported(kind)),
    }
}

/// Refuses a patch of a type that the kind does not take (415), before anything else is looked at.
///
/// # Errors
/// See above.
pub fn accept(kind: Kind, content_type: &str) -> Result<(), Refusal> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let is_taken = match media {
        "application/json-patch+json" | "application/merge-patch+json" => true,
        "application/strategic-merge-patch+json" => !kind.is_custom(),
        _ => false,
    };
    if is_taken { Ok(()) } else { Err(unsupported(kind)) }
}

fn unsupported(kind: Kind) -> Refusal {
    let mut accepted = vec!["application/json-patch+json", "application/merge-patch+json"];
    if !kind.is_custom() {
        accepted.push("application/strategic-merge-patch+json");
    }
    accepted.push("application/apply-patch+yaml");
    let why = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    Refusal::new(415, "UnsupportedMediaType", why)
}

fn read(patch: &[u8]) -> Result<Value, Refusal> {
    let read: Value = serde_json::from_slice(patch)
        .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
    if read.is_object() { Ok(read) } else { Err(Refusal::bad_request("error decoding patch: no object")) }
}

/// RFC 6902, but for `replace` of a field that is not there, which adds it. A failed `test` and a path that is not there are
/// answered alike.
fn json_patch_of(object: &mut Value, patch: &[u8]) -> Result<(), Refusal> {
    let patch: json_patch::Patch =
        serde_json::from_slice(patch).map_err(|error| Refusal::bad_request(error.to_string()))?;
    for mut operation in patch.0 {
        if let json_patch::PatchOperation::Replace(replace) = &operation {
            let parent = replace.path.parent().and_then(|parent| object.pointer(parent.as_str()));
            if parent.is_some_and(Value::is_object) {
                let (path, value) = (replace.path.clone(), replace.value.clone());
                operation = json_patch::PatchOperation::Add(json_patch::AddOperation { path, value });
            }
        }
        json_patch::patch(object, &[operation]).map_err(|_| {
            let why = "the server rejected our request due to an error in our request";
            Refusal { details: json!({}), ..Refusal::invalid(why) }
        })?;
    }
    Ok(())
}

/// Kubernetes' own: as RFC 7386, but for lists whose items have keys, and for directives.
/// <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>
fn merge(object: &mut Value, patch: Value) -> Result<(), Refusal> {
    let (Value::Object(patch), true) = (patch, object.is_object()) else {
        return Err(Refusal::bad_request("error decoding patch: no object"));
    };
    let Value::Object(object) = object else { return Ok(()) };
    merge_map(object, patch)
}

fn merge_map(object: &mut Map<String, Value>, mut patch: Map<String, Value>) -> Result<(), Refusal> {
    match patch.remove("$patch").as_ref().and_then(Value::as_str) {
        None | Some("merge") => {}
        Some("replace") => {
            *object = patch;
            return Ok(());
        }
        Some("delete") => {
            object.clear();
            return Ok(());
        }
        Some(other) => {
            return Err(Refusal::bad_request(format!("Unknown patch type: {other}")));
        }
    }
    for (field, value) in patch {
        if field.starts_with("$setElementOrder/") || field == "$retainKeys" {
            continue;
        }
        if let Some(list) = field.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(items) = object.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
                if items.is_empty() {
                    object.remove(list);
                }
            }
            continue;
        }
        merge_field(object, field, value)?;
    }
    Ok(())
}

fn merge_field(object: &mut Map<String, Value>, field: String, value: Value) -> Result<(), Refusal> {
    if value.is_null() {
        object.remove(&field);
        return Ok(());
    }
    match (value, object.get_mut(&field)) {
        (Value::Object(value), Some(Value::Object(found))) => merge_map(found, value),
        (Value::Object(value), _) => {
            let mut made = Map::new();
            merge_map(&mut made, value)?;
            object.insert(field, Value::Object(made));
            Ok(())
        }
        (Value::Array(items), found) => {
            let mut list = found.map(Value::take).and_then(|found| match found {
                Value::Array(items) => Some(items),
                _ => None,
            });
            merge_list(&field, list.get_or_insert_default(), items)?;
            object.insert(field, Value::Array(list.unwrap_or_default()));
            Ok(())
        }
        (value, _) => {
            object.insert(field, value);
            Ok(())
        }
    }
}

fn merge_list(field: &str, found: &mut Vec<Value>, items: Vec<Value>) -> Result<(), Refusal> {
    if field == "finalizers" {
        found.retain(|it| !items.contains(it));
        let rest = std::mem::replace(found, items);
        found.extend(rest);
        return Ok(());
    }
    let Some((_, key)) = MERGE_KEYS.iter().find(|(name, _)| *name == field) else {
        *found = items;
        return Ok(());
    };
    if items.iter().any(|item| item["$patch"] == "replace") {
        *found = items.into_iter().filter(|item| item["$patch"] != "replace").collect();
        return Ok(());
    }
    let key_of = |item: &Value| match *key {
        "" if item.get("containerPort").is_some() => "containerPort",
        "" => "port",
        key => key,
    };
    let mut named = Vec::new();
    for mut item in items {
        let key = key_of(&item);
        let Some(wanted) = item.get(key).cloned() else {
            return Err(Refusal::invalid(format!("map: {item} does not contain declared merge key: {key}")));
        };
        let place = found.iter().position(|it| it[key] == wanted);
        let is_deleted = item["$patch"] == "delete";
        let there = place.map(|place| (place, found.remove(place)));
        if is_deleted {
            continue;
        }
        let place = there.as_ref().map(|(place, _)| *place);
        if let Some((_, mut there)) = there {
            merge(&mut there, item)?;
            item = there;
        }
        named.push((place, item));
    }
    // What is new comes before what the patch does not name; what was there stays in its order.
    for (place, item) in named.into_iter().rev() {
        let at = place.map_or(0, |place| place.min(found.len()));
        found.insert(at, item);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(kind: Kind, media: &str, object: Value, patch: Value) -> Result<Value, Refusal> {
        let mut object = object;
        let media = format!("application/{media}");
        apply(kind, &mut object, &media, patch.to_string().as_bytes()).map(|()| object)
    }

    #[test]
    fn a_merge_patch_takes_nulls_away() {
        let patch = json!({"a": null, "b": {"c": 2}});
        let after = patched(Kind::Rollout, "merge-patch+json", json!({"a": 1, "b": {"d": 3}}), patch);
        assert_eq!(after, Ok(json!({"b": {"c": 2, "d": 3}})));
    }

    #[test]
    fn a_failed_test_is_no_conflict() {
        let patch = json!([{"op": "test", "path": "/a", "value": 2}]);
        let refusal = patched(Kind::Pod, "json-patch+json", json!({"a": 1}), patch).unwrap_err();
        assert_eq!((refusal.code, refusal.reason), (422, "Invalid"));
        let patch =
            json!([{"op": "test", "path": "/a", "value": 1}, {"op": "replace", "path": "/a", "value": 5}]);
        assert_eq!(patched(Kind::Pod, "json-patch+json", json!({"a": 1}), patch), Ok(json!({"a": 5})));
    }

    #[test]
    fn owners_are_merged_by_uid() {
        let object = json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}, {"uid": "2"}]}});
        let patch = json!({"metadata": {"ownerReferences": [
            {"$patch": "delete", "uid": "2"}, {"uid": "1", "controller": true}, {"uid": "3"},
        ]}});
        let after = patched(Kind::ReplicaSet, "strategic-merge-patch+json", object, patch).unwrap();
        let owners = json!([{"uid": "1", "name": "a", "controller": true}, {"uid": "3"}]);
        assert_eq!(after["metadata"]["ownerReferences"], owners);
    }

    #[test]
    fn finalizers_are_taken_off_one_by_one() {
        let object = json!({"metadata": {"finalizers": ["a", "b"]}});
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
        let after = patched(Kind::Job, "strategic-merge-patch+json", object, patch).unwrap();
        assert_eq!(after["metadata"]["finalizers"], json!(["b"]));
    }

    #[test]
    fn custom_resources_take_no_strategic_patch() {
        let refusal = patched(Kind::Rollout, "strategic-merge-patch+json", json!({}), json!({})).unwrap_err();
        assert_eq!((refusal.code, refusal.reason), (415, "UnsupportedMediaType"));
    }
}
