//! Objects of ours against their definitions: fields, types, words, bounds; and the rules, see [`super::promises`].
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation>

use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::api::crds;

use super::catalog::{
    MISSING_FIELD, OUT_OF_BOUNDS, RULE_BROKEN, STATUS_GIVEN, UNKNOWN_FIELD, UNKNOWN_KIND, UNKNOWN_WORD,
    WRONG_TYPE,
};
use super::scene::meant;
use super::{Desk, promises};

/// The schemas by kind, as the API server gets them.
fn schemas() -> &'static Map<String, Value> {
    static SCHEMAS: OnceLock<Map<String, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let schema = |version: Value| version.pointer("/schema/openAPIV3Schema").cloned();
        let all = crds::all().into_iter().filter_map(|crd| {
            let version = serde_json::to_value(crd.spec.versions.first()?).ok()?;
            Some((crd.spec.names.kind, schema(version)?))
        });
        all.collect()
    })
}

/// Checks an object; those of other groups pass.
pub fn check(object: &Value, desk: &mut Desk<'_>) {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version.split('/').next() != Some("palier.dev") {
        return;
    }
    let Some(schema) = schemas().get(kind) else {
        let near = meant(kind, schemas().keys().map(String::as_str));
        let fix = match near {
            Some(near) => format!("Write kind: {near}."),
            None => format!("The kinds are {}.", schemas().keys().cloned().collect::<Vec<_>>().join(", ")),
        };
        desk.say(&UNKNOWN_KIND, "kind", format!("palier.dev has no kind {kind:?}"), fix);
        return;
    };
    if version != "palier.dev/v1alpha1" {
        let message = format!("{version} is not served: the one version is palier.dev/v1alpha1");
        desk.say(&UNKNOWN_KIND, "apiVersion", message, "Write apiVersion: palier.dev/v1alpha1.");
        return;
    }
    let is_named = |key: &str| object["metadata"][key].as_str().is_some_and(|it| !it.is_empty());
    if !is_named("name") && !is_named("generateName") {
        let message = "the object has no name".to_owned();
        desk.say(&MISSING_FIELD, "metadata.name", message, "Give it one under metadata.name.");
    }
    if object.get("status").is_some() {
        let message = "the status belongs to the controller; in a manifest nobody reads it".to_owned();
        desk.say(&STATUS_GIVEN, "status", message, "Take status out; `kubectl get -o yaml` adds it.");
    }
    node(object, schema, "", desk);
}

/// The first thing that is wrong with a gate, as the API server would find it in a Rollout: its field, and what is wrong with it.
pub(crate) fn flaw_of_gate(gate: &Value) -> Option<(String, String)> {
    let schema = schemas().get("Rollout")?.pointer("/properties/spec/properties/gates/items")?;
    let mut found = Vec::new();
    node(gate, schema, "", &mut Desk { object: 0, found: &mut found });
    let first = found.into_iter().next()?;
    let fix = first.fix.trim_end_matches('.');
    // In the middle of a sentence, but for words of the definition such as DegradedMode.
    let word = fix.split(' ').next().unwrap_or_default();
    let is_ours = word.chars().skip(1).any(char::is_uppercase);
    let fix = if is_ours { fix.to_owned() } else { word.to_lowercase() + &fix[word.len()..] };
    Some((first.field, format!("{}: {fix}", first.message)))
}

fn below(field: &str, key: &str) -> String {
    if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") }
}

fn node(value: &Value, schema: &Value, field: &str, desk: &mut Desk<'_>) {
    if !has_type(value, schema) {
        let wanted = schema["type"].as_str().unwrap_or("another type");
        let message = format!("{} is {}, and a {wanted} is asked for", shown(value), type_of(value));
        desk.say(&WRONG_TYPE, field, message, cure_of_type(value, wanted));
        return;
    }
    let known = desk.found.len();
    bounds(value, schema, field, desk);
    match value {
        Value::Object(fields) => object(fields, schema, field, desk),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                node(item, &schema["items"], &format!("{field}[{index}]"), desk);
            }
        }
        _ => {}
    }
    // As the API server does: rules are not evaluated over what is not well formed.
    if desk.found[known..]
        .iter()
        .all(|it| it.check.code == STATUS_GIVEN.code || it.check.code == RULE_BROKEN.code)
    {
        rules(value, schema, field, desk);
    }
}

fn object(fields: &Map<String, Value>, schema: &Value, field: &str, desk: &mut Desk<'_>) {
    if let Some(others) = schema.get("additionalProperties").filter(|it| it.is_object()) {
        fields.iter().for_each(|(name, value)| node(value, others, &below(field, name), desk));
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            let what = properties.get(name).and_then(|it| it["description"].as_str()).unwrap_or_default();
            let fix = format!("Add {name}: {}", what.lines().next().unwrap_or_default());
            desk.say(&MISSING_FIELD, below(field, name), format!("{name} is missing"), fix);
        }
    }
    for (name, value) in fields {
        let path = below(field, name);
        if field.is_empty() && ["apiVersion", "kind", "metadata", "status"].contains(&name.as_str()) {
            continue;
        }
        match properties.get(name) {
            Some(schema) => node(value, schema, &path, desk),
            None if schema["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true) => {}
            None => {
                let fix = match meant(name, properties.keys().map(String::as_str)) {
                    Some(near) => format!("Write {near}."),
                    None => {
                        format!("Known here: {}.", properties.keys().cloned().collect::<Vec<_>>().join(", "))
                    }
                };
                let message =
                    format!("there is no field {name} here: the API server would drop or refuse it");
                desk.say(&UNKNOWN_FIELD, path, message, fix);
            }
        }
    }
}

fn has_type(value: &Value, schema: &Value) -> bool {
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0)
        }
        Some("number") => value.is_number(),
        _ => true,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing (null)",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 { format!("{}…", text.chars().take(39).collect::<String>()) } else { text }
}

fn cure_of_type(value: &Value, wanted: &str) -> String {
    match (value, wanted) {
        (Value::Null, _) => "Give it a value, or take the key out: the default applies then.".to_owned(),
        (Value::Bool(_) | Value::Number(_), "string") => {
            "Put it between quotes: without them YAML reads yes, no, on, off and digits as something else."
                .to_owned()
        }
        (Value::String(_), "number" | "integer" | "boolean") => "Take the quotes away.".to_owned(),
        (Value::Object(_), "array") => {
            "Make it a list: begin with '-', or put it between [ and ].".to_owned()
        }
        _ => format!("Write a {wanted}; `kubectl explain` shows the form."),
    }
}

fn bounds(value: &Value, schema: &Value, field: &str, desk: &mut Desk<'_>) {
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        let near = value.as_str().and_then(|it| meant(it, words.iter().copied()));
        let fix =
            near.map_or_else(|| format!("Write one of {}.", words.join(", ")), |it| format!("Write {it}."));
        desk.say(&UNKNOWN_WORD, field, format!("{} is not one of {}", shown(value), words.join(", ")), fix);
    }
    let limit = |key: &str| schema[key].as_f64();
    let (size, what) = match value {
        Value::String(it) => (it.chars().count(), ("minLength", "maxLength", "characters")),
        Value::Array(it) => (it.len(), ("minItems", "maxItems", "entries")),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            let (least, most) = (limit("minimum"), limit("maximum"));
            if least.is_some_and(|it| number < it) || most.is_some_and(|it| number > it) {
                let from = least.map(|it| format!("at least {it}"));
                let to = most.map(|it| format!("at most {it}"));
                let range = [from, to].into_iter().flatten().collect::<Vec<_>>().join(" and ");
                desk.say(
                    &OUT_OF_BOUNDS,
                    field,
                    format!("{number} is out of bounds"),
                    format!("It has to be {range}."),
                );
            }
            return;
        }
        _ => return,
    };
    #[allow(clippy::cast_precision_loss, reason = "far below the 53 bits that are exact")]
    let size_as_number = size as f64;
    let (least, most) = (limit(what.0), limit(what.1));
    if least.is_some_and(|it| size_as_number < it) || most.is_some_and(|it| size_as_number > it) {
        let range = match (least, most) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, most) => format!("at most {}", most.unwrap_or_default()),
        };
        desk.say(&OUT_OF_BOUNDS, field, format!("it has {size} {}", what.2), format!("It can have {range}."));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !promises::fits(pattern, text)
    {
        let message = format!("{} is not a name that an object can have", shown(value));
        desk.say(
            &OUT_OF_BOUNDS,
            field,
            message,
            "Lower-case letters, digits, '-' and '.', with a letter or digit at both ends.",
        );
    }
}

fn rules(value: &Value, schema: &Value, field: &str, desk: &mut Desk<'_>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let (Some(rule), Some(message)) = (rule["rule"].as_str(), rule["message"].as_str()) else { continue };
        if let Some(at) = promises::broken(rule, value) {
            let field = if at.is_empty() {
                field.to_owned()
            } else if at.starts_with('[') {
                format!("{field}{at}")
            } else {
                below(field, &at)
            };
            let (wrong, fix) = message.split_once(": ").unwrap_or((message, "See `kubectl explain`."));
            desk.say(&RULE_BROKEN, field, wrong.to_owned(), capital(fix));
            if value.is_string() {
                // What is no duration is no duration above 100 ms either.
                return;
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}
