//! What every object has to obey, and what the built-in kinds refuse, as far as Palier and its tests may run into it.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::schema::Cause;

/// What is wrong with an object that is to be stored in place of `before`.
#[must_use]
pub fn mistakes(kind: Kind, before: Option<&Value>, after: &Value) -> Vec<Cause> {
    let mut found = Vec::new();
    of_metadata(kind, before, after, &mut found);
    match kind {
        Kind::Deployment | Kind::ReplicaSet => of_workload(before, after, &mut found),
        Kind::ConfigMap | Kind::Secret => {
            let is_plain = |key: &str| {
                !key.is_empty()
                    && key.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter))
            };
            let keys = after["data"].as_object().into_iter().flatten().map(|(key, _)| key);
            for key in keys.filter(|key| !is_plain(key)) {
                let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                found.push(Cause::invalid(&format!("data[{key}]"), &json!(key), why));
            }
            if let Some(before) = before {
                of_immutable(kind, before, after, &mut found);
            }
        }
        Kind::Job if before.is_some_and(|it| it["spec"]["template"] != after["spec"]["template"]) => {
            found.push(Cause::invalid("spec.template", &json!("…"), "field is immutable"));
        }
        _ => {}
    }
    found
}

fn of_metadata(kind: Kind, before: Option<&Value>, after: &Value, found: &mut Vec<Cause>) {
    let metadata = &after["metadata"];
    if before.is_none() {
        let name = metadata["name"].as_str().unwrap_or_default();
        if !is_subdomain(name) {
            let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
            found.push(Cause::invalid("metadata.name", &metadata["name"], why));
        }
    }
    let is_controlling = |owner: &&Value| owner["controller"] == true;
    let owners = metadata["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    for (place, owner) in owners.iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let field = format!("metadata.ownerReferences[{place}].{field}");
                let text = if field.ends_with("apiVersion") {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                found.push(Cause::invalid(&field, &json!(""), text));
            }
        }
    }
    let controlling: Vec<&Value> = owners.iter().filter(is_controlling).collect();
    if let [first, second, ..] = controlling.as_slice() {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
            text(first, "kind"),
            text(first, "name"),
            text(second, "kind"),
            text(second, "name"),
        );
        found.push(Cause::invalid("metadata.ownerReferences", &json!(owners), &why));
    }
    let names = |object: &Value| {
        let list = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        list.into_iter().filter_map(|it| it.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    for (place, name) in names(after).into_iter().enumerate() {
        let is_standard = matches!(name.as_str(), "orphan" | "foregroundDeletion" | "kubernetes");
        let is_checked = !kind.is_custom() && !matches!(kind, Kind::Lease | Kind::Event);
        if is_checked && !is_standard && !name.contains('/') {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            found.push(Cause::invalid(&format!("metadata.finalizers[{place}]"), &json!(name), why));
        }
    }
    let Some(before) = before.filter(|before| before["metadata"]["deletionTimestamp"].is_string()) else {
        return;
    };
    let known = names(before);
    let new: Vec<String> = names(after)
        .into_iter()
        .filter(|name| !known.contains(name))
        .map(|name| format!("\"{name}\""))
        .collect();
    if !new.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            new.join(", ")
        );
        found.push(Cause::forbidden("metadata.finalizers", &why));
    }
}

fn of_workload(before: Option<&Value>, after: &Value, found: &mut Vec<Cause>) {
    let spec = &after["spec"];
    if !spec["selector"].is_object() {
        found.push(Cause::required("spec.selector"));
    }
    let wanted = spec["selector"]["matchLabels"].as_object();
    let labels = &spec["template"]["metadata"]["labels"];
    if wanted.into_iter().flatten().any(|(name, value)| labels.get(name) != Some(value)) {
        let why = "`selector` does not match template `labels`";
        found.push(Cause::invalid("spec.template.metadata.labels", labels, why));
    }
    if spec["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
        let why = "must be greater than or equal to 0";
        found.push(Cause::invalid("spec.replicas", &spec["replicas"], why));
    }
    if before.is_some_and(|before| before["spec"]["selector"] != spec["selector"]) {
        found.push(Cause::invalid("spec.selector", &spec["selector"], "field is immutable"));
    }
}

fn of_immutable(kind: Kind, before: &Value, after: &Value, found: &mut Vec<Cause>) {
    if kind == Kind::Secret && before["type"] != after["type"] {
        found.push(Cause::invalid("type", &after["type"], "field is immutable"));
    }
    if before["immutable"] != true {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    for field in ["immutable", "data", "binaryData"] {
        if before.get(field) != after.get(field) {
            found.push(Cause::forbidden(field, why));
        }
    }
}

fn is_subdomain(name: &str) -> bool {
    let is_plain = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|it| is_plain(*it))
            && bytes.last().is_some_and(|it| is_plain(*it))
            && bytes.iter().all(|it| is_plain(*it) || *it == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(kind: Kind, before: Option<Value>, after: Value) -> Vec<String> {
        mistakes(kind, before.as_ref(), &after).into_iter().map(|cause| cause.field).collect()
    }

    #[test]
    fn names_owners_and_finalizers_are_looked_at() {
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": true});
        let bad = json!({"metadata": {
            "name": "Bad_name", "ownerReferences": [owner, owner], "finalizers": ["nobody", "orphan", "a/b"],
        }});
        let told = fields(Kind::ConfigMap, None, bad);
        assert_eq!(told, ["metadata.name", "metadata.ownerReferences", "metadata.finalizers[0]"]);
        let before = json!({"metadata": {"name": "a", "deletionTimestamp": "x", "finalizers": ["a/b"]}});
        let after = json!({"metadata": {"name": "a", "finalizers": ["a/b", "c/d"]}});
        assert_eq!(fields(Kind::ConfigMap, Some(before), after), ["metadata.finalizers"]);
    }

    #[test]
    fn what_is_immutable_stays() {
        let map = |text: &str| json!({"metadata": {"name": "a"}, "immutable": true, "data": {"a": text}});
        assert_eq!(fields(Kind::ConfigMap, Some(map("1")), map("2")), ["data"]);
        assert!(fields(Kind::ConfigMap, Some(map("1")), map("1")).is_empty());
        let workload = |app: &str| {
            json!({"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"app": app}},
                "template": {"metadata": {"labels": {"app": app}}}}})
        };
        assert_eq!(fields(Kind::Deployment, Some(workload("a")), workload("b")), ["spec.selector"]);
    }
}
