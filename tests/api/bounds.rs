//! Every value of the schemas has a bound: the API server estimates the cost of rules from them, and no object grows
//! without end.

use palier::api::crds;
use serde_json::Value;

use super::schema_of;

/// Calls `visit` for every schema in a schema, with its path.
pub fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&Value, &str)) {
    visit(schema, path);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            walk(property, &format!("{path}.{name}"), visit);
        }
    }
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), visit);
    }
}

fn fault(schema: &Value) -> Option<String> {
    let has = |key: &str| schema.get(key).is_some();
    let format = schema.get("format").and_then(Value::as_str);
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if has("maxLength") || has("enum") || format == Some("date-time") => None,
        Some("string") => Some("a text without maxLength".into()),
        Some("array") if has("maxItems") => None,
        Some("array") => Some("a list without maxItems".into()),
        // The formats that the API server knows; it warns about any other.
        Some("integer") if matches!(format, Some("int32" | "int64")) => None,
        Some("number") if format == Some("double") => None,
        Some("integer" | "number") => Some(format!("a number of format {format:?}")),
        Some("boolean") => None,
        Some("object")
            if has("additionalProperties") && !(has("maxProperties") && keys_are_bounded(schema)) =>
        {
            Some("a map: keys have no bound".into())
        }
        Some("object") => None,
        other => Some(format!("type {other:?}")),
    }
}

/// Whether a rule says how long a key may be.
fn keys_are_bounded(schema: &Value) -> bool {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules
        .into_iter()
        .any(|it| it["rule"].as_str().is_some_and(|it| it.starts_with("self.all(name, name.size() <= ")))
}

#[test]
fn every_value_has_a_bound_and_a_known_type() {
    let mut faults = Vec::new();
    for crd in crds::all() {
        let kind = crd.spec.names.kind;
        walk(&schema_of(&kind), &kind, &mut |schema, path| {
            faults.extend(fault(schema).map(|fault| format!("{path}: {fault}")));
        });
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_value_is_explained_and_none_may_be_null() {
    let mut faults = Vec::new();
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let mut said = std::collections::BTreeSet::new();
    for crd in crds::all() {
        let kind = crd.spec.names.kind;
        walk(&schema_of(&kind), &kind, &mut |schema, path| {
            if schema.get("description").is_some() {
                said.insert(last(path));
            }
        });
    }
    for crd in crds::all() {
        let kind = crd.spec.names.kind;
        walk(&schema_of(&kind), &kind, &mut |schema, path| {
            // A list's items are explained by the list, and a part that comes twice where it comes first.
            let explained = schema.get("description").is_some()
                || path.ends_with("[]")
                || path.contains(".conditions")
                || said.contains(&last(path));
            if !explained && !path.ends_with(".metadata") {
                faults.push(format!("{path}: no description for kubectl explain"));
            }
            if schema.get("nullable").is_some() {
                faults.push(format!("{path}: nullable"));
            }
        });
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_kind_has_columns_a_short_name_and_a_category() {
    for crd in crds::all() {
        let names = &crd.spec.names;
        assert!(names.short_names.as_ref().is_some_and(|short| !short.is_empty()), "{}", names.kind);
        assert!(
            names.categories.as_ref().is_some_and(|all| all.iter().any(|one| one == "palier")),
            "{}",
            names.kind
        );
        let columns = crd.spec.versions[0].additional_printer_columns.as_ref();
        assert!(
            columns.is_some_and(|columns| columns.last().is_some_and(|last| last.name == "Age")),
            "{}",
            names.kind
        );
    }
}
