//! Edits of a Rollout that its own schema suggests, by chance.
//!
//! The schema says which fields there are, of which form, within which bounds; a few words say what is there to be named. What the API
//! server would refuse, by schema or by rule, is no edit.

use palier::api::crds;
use palier::engine::lint::{Given, lint};
use palier::rig::prometheus::query;
use serde_json::{Map, Value, json};

use crate::dice::Dice;

/// Names that may be given: of workloads, phases, gates, objects, and of nothing.
const NAMES: [&str; 12] = [
    "api",
    "web",
    "worker",
    "missing",
    "pilot",
    "half",
    "everyone",
    "errors",
    "other",
    "flags",
    "backup",
    "no-search",
];
/// Durations: none, some of the order of the others, one that is longer.
const SPANS: [&str; 6] = ["0s", "1s", "7s", "20s", "45s", "3m"];
/// Entries that are made up for a list.
const ITEMS_MAX: usize = 4;
/// Tries to find an edit that the API server takes.
const TRIES: usize = 400;

/// Where something is in a spec: keys and indices.
type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// An edit, and the spec after it.
#[derive(Clone, Debug)]
pub struct Edit {
    pub what: String,
    pub spec: Value,
}

/// The schema of `spec`.
fn schema() -> Value {
    let crds = crds::all().into_iter().find(|crd| crd.spec.names.kind == "Rollout");
    let schema = crds.and_then(|crd| crd.spec.versions.into_iter().next()?.schema?.open_api_v3_schema);
    let schema = serde_json::to_value(schema).expect("a schema is JSON");
    schema["properties"]["spec"].clone()
}

/// An edit of this spec that the API server takes.
pub fn edit(spec: &Value, dice: &mut Dice) -> Edit {
    let schema = schema();
    for _ in 0..TRIES {
        let mut places = Vec::new();
        visit(spec, &schema, &mut Vec::new(), &mut places);
        let (path, place) = places.swap_remove(dice.index(places.len()));
        let mut after = spec.clone();
        let Some(made) = made(&mut after, &path, &place, dice) else { continue };
        if after != *spec && !is_refused(&after) {
            return Edit { what: format!("{} {made}", words(&path)), spec: after };
        }
    }
    Edit { what: "nothing".to_owned(), spec: spec.clone() }
}

/// Whether the API server would refuse a Rollout with this spec.
fn is_refused(spec: &Value) -> bool {
    let rollout = json!({
        "apiVersion": "palier.dev/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "shop", "namespace": "shop"}, "spec": spec,
    });
    let found = lint(&[rollout], &Given::default());
    found.iter().any(|it| ("PAL003".."PAL009").contains(&it.check.code))
}

fn words(path: &Path) -> String {
    let words = path.iter().map(|step| match step {
        Step::Key(key) => format!(".{key}"),
        Step::Index(index) => format!("[{index}]"),
    });
    words.collect()
}

/// Every place that can be edited, with its schema.
fn visit(value: &Value, schema: &Value, path: &mut Path, places: &mut Vec<(Path, Value)>) {
    if !path.is_empty() {
        places.push((path.clone(), schema.clone()));
    }
    match value {
        Value::Object(fields) => {
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                path.push(Step::Key(name.clone()));
                match fields.get(name) {
                    Some(value) => visit(value, schema, path, places),
                    None => places.push((path.clone(), schema.clone())),
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                visit(item, &schema["items"], path, places);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Makes an edit at a place; says which.
fn made(spec: &mut Value, path: &Path, schema: &Value, dice: &mut Dice) -> Option<String> {
    let (last, above) = path.split_last()?;
    let mut parent = spec;
    for step in above {
        parent = match step {
            Step::Key(key) => parent.get_mut(key)?,
            Step::Index(index) => parent.get_mut(*index)?,
        };
    }
    match (parent, last) {
        (Value::Object(fields), Step::Key(key)) => {
            if fields.contains_key(key) && dice.upto(2) == 0 {
                fields.remove(key);
                return Some("taken out".to_owned());
            }
            let before = fields.get(key).cloned();
            let value = changed(before.as_ref(), schema, key, dice);
            let said = format!("= {value}");
            fields.insert(key.clone(), value);
            Some(said)
        }
        (Value::Array(items), Step::Index(index)) => match dice.upto(2) {
            0 => {
                items.remove(*index);
                Some("taken out".to_owned())
            }
            _ => {
                let value = changed(items.get(*index), schema, "", dice);
                let said = format!("= {value}");
                items[*index] = value;
                Some(said)
            }
        },
        _ => None,
    }
}

/// Another value in the place of one: a list gets an entry more, anything else is made up anew.
fn changed(before: Option<&Value>, schema: &Value, key: &str, dice: &mut Dice) -> Value {
    if let Some(Value::Array(items)) = before
        && items.len() < ITEMS_MAX
    {
        let mut items = items.clone();
        let place = if items.is_empty() { 0 } else { dice.index(items.len() + 1) };
        items.insert(place, value(&schema["items"], key, dice));
        return Value::Array(items);
    }
    value(schema, key, dice)
}

/// A value of this form.
fn value(schema: &Value, key: &str, dice: &mut Dice) -> Value {
    if let Some(words) = schema["enum"].as_array() {
        return words[dice.index(words.len())].clone();
    }
    match schema["type"].as_str() {
        Some("object") => object(schema, dice),
        Some("array") => Value::Array(vec![value(&schema["items"], key, dice)]),
        Some("boolean") => json!(dice.upto(1) == 0),
        Some("integer") => {
            let least = schema["minimum"].as_f64().unwrap_or(1.0).max(0.0);
            let most = schema["maximum"].as_f64().unwrap_or(100.0).min(100.0);
            let some = [least, least + 1.0, (least + most) / 2.0, most];
            #[expect(clippy::cast_possible_truncation, reason = "at most a hundred")]
            let whole = some[dice.index(some.len())] as i64;
            json!(whole)
        }
        Some("number") => json!([0.01, 0.05, 0.5, 2.0][dice.index(4)]),
        _ => text(schema, key, dice),
    }
}

/// All that is required, and some of the rest.
fn object(schema: &Value, dice: &mut Dice) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut fields = Map::new();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if required.iter().any(|it| it == name) || dice.upto(7) == 0 {
            fields.insert(name.clone(), value(schema, name, dice));
        }
    }
    Value::Object(fields)
}

fn text(schema: &Value, key: &str, dice: &mut Dice) -> Value {
    let rules = schema["x-kubernetes-validations"].to_string();
    // How the schema tells durations from other texts.
    if rules.contains("ms)?)$") {
        return json!(SPANS[dice.index(SPANS.len())]);
    }
    match key {
        "query" | "bad" | "total" | "buckets" => json!(query(["errors", "other"][dice.index(2)])),
        "apiVersion" => json!("apps/v1"),
        "kind" => json!("Deployment"),
        "source" => json!(["default", "missing"][dice.index(2)]),
        "pointer" => json!("/flags/search"),
        "json" => json!("false"),
        _ => json!(NAMES[dice.index(NAMES.len())]),
    }
}
