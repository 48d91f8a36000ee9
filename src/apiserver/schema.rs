//! The schemas of Palier's own kinds: what is not in them is dropped, what is left out gets its default, and what does not fit is
//! refused.
//!
//! Left out: rules in CEL (but for the one that says that a part is never changed), and that what was wrong before may stay so.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::refusal::Refusal;
use super::store::Key;
use crate::api::crds;

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Where: `spec.phases[0].weight`.
    pub field: String,
    /// A word, such as `FieldValueInvalid`.
    pub reason: &'static str,
    /// In a sentence, without the field.
    pub text: String,
}

impl Cause {
    /// A mistake in a field.
    #[must_use]
    pub fn new(field: &str, reason: &'static str, text: impl Into<String>) -> Self {
        Self { field: field.to_owned(), reason, text: text.into() }
    }

    /// Something is missing.
    #[must_use]
    pub fn required(field: &str) -> Self {
        Self::new(field, "FieldValueRequired", "Required value")
    }

    /// Something has a value that it must not have.
    #[must_use]
    pub fn invalid(field: &str, value: &Value, why: &str) -> Self {
        Self::new(field, "FieldValueInvalid", format!("Invalid value: {value}: {why}"))
    }

    /// Something must not be there, or not be changed.
    #[must_use]
    pub fn forbidden(field: &str, why: &str) -> Self {
        Self::new(field, "FieldValueForbidden", format!("Forbidden: {why}"))
    }
}

/// 422 with everything that is wrong.
#[must_use]
pub fn refusal(key: &Key, causes: &[Cause]) -> Refusal {
    let facts = key.kind.facts();
    let dot = if facts.group.is_empty() { "" } else { "." };
    let texts: Vec<String> = causes.iter().map(|it| format!("{}: {}", it.field, it.text)).collect();
    let text = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
    let why = format!("{}{dot}{} \"{}\" is invalid: {text}", facts.name, facts.group, key.name);
    let mut refusal = Refusal::invalid(why).about(key);
    refusal.details["kind"] = facts.name.into();
    refusal.details["causes"] =
        causes.iter().map(|it| json!({"reason": it.reason, "message": it.text, "field": it.field})).collect();
    refusal
}

/// The schema of a kind; `None` if it is none of Palier's.
#[must_use]
pub fn of(kind: Kind) -> Option<&'static JSONSchemaProps> {
    static SCHEMAS: OnceLock<BTreeMap<String, JSONSchemaProps>> = OnceLock::new();
    let all = SCHEMAS.get_or_init(|| {
        let schema = |crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
            let version = crd.spec.versions.into_iter().next()?;
            Some((crd.spec.names.kind, version.schema?.open_api_v3_schema?))
        };
        crds::all().into_iter().filter_map(schema).collect()
    });
    if kind.is_custom() { all.get(kind.facts().name) } else { None }
}

/// Drops what the schema of its kind does not know and adds the defaults.
pub fn fit(kind: Kind, object: &mut Value) {
    let (Some(schema), Value::Object(fields)) = (of(kind), object) else { return };
    let known = schema.properties.as_ref();
    fields.retain(|name, _| is_of_every_object(name) || known.is_some_and(|known| known.contains_key(name)));
    for (name, schema) in known.into_iter().flatten().filter(|(name, _)| !is_of_every_object(name)) {
        fit_field(fields, name, schema);
    }
}

fn is_of_every_object(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

fn fit_field(fields: &mut Map<String, Value>, name: &str, schema: &JSONSchemaProps) {
    let is_absent = fields.get(name).is_none_or(Value::is_null);
    match (&schema.default, is_absent) {
        (Some(default), true) => drop(fields.insert(name.to_owned(), default.0.clone())),
        (None, true) => return,
        _ => {}
    }
    if let Some(value) = fields.get_mut(name) {
        fit_value(value, schema);
    }
}

fn fit_value(value: &mut Value, schema: &JSONSchemaProps) {
    match value {
        Value::Object(fields) => {
            let others = match &schema.additional_properties {
                Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(&**schema),
                _ => None,
            };
            let known = schema.properties.as_ref();
            let is_known = |name: &String| known.is_some_and(|known| known.contains_key(name));
            let keeps_all = schema.x_kubernetes_preserve_unknown_fields == Some(true)
                || matches!(schema.additional_properties, Some(JSONSchemaPropsOrBool::Bool(true)));
            if !keeps_all && others.is_none() {
                fields.retain(|name, _| is_known(name));
            }
            for (name, schema) in known.into_iter().flatten() {
                fit_field(fields, name, schema);
            }
            let Some(schema) = others else { return };
            fields.iter_mut().filter(|(name, _)| !is_known(name)).for_each(|(_, it)| fit_value(it, schema));
        }
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                items.iter_mut().for_each(|item| fit_value(item, schema));
            }
        }
        _ => {}
    }
}

/// What of an object does not fit the schema of its kind, or must not be changed from what it was `before`.
#[must_use]
pub fn mistakes(kind: Kind, before: Option<&Value>, object: &Value) -> Vec<Cause> {
    let mut found = Vec::new();
    let Some(schema) = of(kind) else { return found };
    for (name, schema) in schema.properties.iter().flatten() {
        let rules = schema.x_kubernetes_validations.iter().flatten();
        let Some(rule) = rules.into_iter().find(|rule| rule.rule == "self == oldSelf") else { continue };
        if before.is_some_and(|before| before.get(name) != object.get(name)) {
            let why = rule.message.clone().unwrap_or_else(|| format!("failed rule: {}", rule.rule));
            found.push(Cause::invalid(name, &json!("object"), &why));
        }
    }
    for name in schema.required.iter().flatten().filter(|name| object.get(name.as_str()).is_none()) {
        found.push(Cause::required(name));
    }
    for (name, schema) in schema.properties.iter().flatten().filter(|(name, _)| !is_of_every_object(name)) {
        if let Some(value) = object.get(name) {
            look(name, value, schema, &mut found);
        }
    }
    found
}

fn look(field: &str, value: &Value, schema: &JSONSchemaProps, found: &mut Vec<Cause>) {
    if let Some(wanted) = schema.type_.as_deref().filter(|wanted| !is_of(value, wanted)) {
        let is = type_of(value);
        let why = format!("{field} in body must be of type {wanted}: \"{is}\"");
        let text = format!("Invalid value: \"{is}\": {why}");
        found.push(Cause::new(field, "FieldValueTypeInvalid", text));
        return;
    }
    if let Some(allowed) = schema.enum_.as_ref().filter(|all| !all.iter().any(|one| one.0 == *value)) {
        let all: Vec<String> = allowed.iter().map(|one| one.0.to_string()).collect();
        let text = format!("Unsupported value: {value}: supported values: {}", all.join(", "));
        found.push(Cause::new(field, "FieldValueNotSupported", text));
    }
    match value {
        Value::Number(_) => look_at_number(field, value, schema, found),
        Value::String(text) => look_at_text(field, text, schema, found),
        Value::Array(items) => look_at_list(field, items, schema, found),
        Value::Object(fields) => look_at_map(field, fields, schema, found),
        _ => {}
    }
}

fn look_at_number(field: &str, value: &Value, schema: &JSONSchemaProps, found: &mut Vec<Cause>) {
    let number = value.as_f64().unwrap_or_default();
    let strict = |it: Option<bool>| it == Some(true);
    if let Some(most) =
        schema.maximum.filter(|most| number > *most || (strict(schema.exclusive_maximum) && number >= *most))
    {
        let than = if strict(schema.exclusive_maximum) { "less than" } else { "less than or equal to" };
        found.push(Cause::invalid(field, value, &format!("{field} in body should be {than} {most}")));
    }
    if let Some(least) = schema
        .minimum
        .filter(|least| number < *least || (strict(schema.exclusive_minimum) && number <= *least))
    {
        let than = if strict(schema.exclusive_minimum) { "greater than" } else { "greater than or equal to" };
        found.push(Cause::invalid(field, value, &format!("{field} in body should be {than} {least}")));
    }
}

fn look_at_text(field: &str, text: &str, schema: &JSONSchemaProps, found: &mut Vec<Cause>) {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        let text = format!("Too long: may not be more than {most} bytes");
        found.push(Cause::new(field, "FieldValueTooLong", text));
    }
    if let Some(least) = schema.min_length.filter(|least| length < *least) {
        let why = format!("{field} in body should be at least {least} chars long");
        found.push(Cause::invalid(field, &json!(text), &why));
    }
    if let Some(pattern) = &schema.pattern
        && !regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
    {
        let why = format!("{field} in body should match '{pattern}'");
        found.push(Cause::invalid(field, &json!(text), &why));
    }
    let is_time = schema.format.as_deref() == Some("date-time");
    if is_time && text.parse::<jiff::Timestamp>().is_err() {
        let why = format!("{field} in body must be of type date-time: \"{text}\"");
        found.push(Cause::invalid(field, &json!(text), &why));
    }
}

fn look_at_list(field: &str, items: &[Value], schema: &JSONSchemaProps, found: &mut Vec<Cause>) {
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if let Some(most) = schema.max_items.filter(|most| length > *most) {
        let text = format!("Too many: {length}: must have at most {most} items");
        found.push(Cause::new(field, "FieldValueTooMany", text));
    }
    if let Some(least) = schema.min_items.filter(|least| length < *least) {
        let why = format!("{field} in body should have at least {least} items");
        found.push(Cause::invalid(field, &json!(length), &why));
    }
    if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
        for (place, item) in items.iter().enumerate() {
            look(&format!("{field}[{place}]"), item, schema, found);
        }
    }
    let keys: Vec<&str> = schema.x_kubernetes_list_map_keys.iter().flatten().map(String::as_str).collect();
    let keys_of = |item: &Value| keys.iter().map(|key| item[*key].clone()).collect::<Vec<_>>();
    for (place, item) in items.iter().enumerate().filter(|_| !keys.is_empty()) {
        if items[..place].iter().any(|earlier| keys_of(earlier) == keys_of(item)) {
            let named: Map<String, Value> =
                keys.iter().map(|key| ((*key).to_owned(), item[*key].clone())).collect();
            let text = format!("Duplicate value: {}", Value::Object(named));
            found.push(Cause::new(&format!("{field}[{place}]"), "FieldValueDuplicate", text));
        }
    }
}

fn look_at_map(field: &str, fields: &Map<String, Value>, schema: &JSONSchemaProps, found: &mut Vec<Cause>) {
    for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        found.push(Cause::required(&format!("{field}.{name}")));
    }
    let size = i64::try_from(fields.len()).unwrap_or(i64::MAX);
    if let Some(most) = schema.max_properties.filter(|most| size > *most) {
        let text = format!("Too many: {size}: must have at most {most} items");
        found.push(Cause::new(field, "FieldValueTooMany", text));
    }
    let known = schema.properties.as_ref();
    for (name, value) in fields {
        let place = format!("{field}.{name}");
        match (known.and_then(|known| known.get(name)), &schema.additional_properties) {
            (Some(schema), _) => look(&place, value, schema, found),
            (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => look(&place, value, schema, found),
            _ => {}
        }
    }
}

fn is_of(value: &Value, wanted: &str) -> bool {
    match wanted {
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0),
        "number" => value.is_number(),
        wanted => type_of(value) == wanted,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_go_and_defaults_come() {
        let mut action = json!({
            "apiVersion": "palier.dev/v1alpha1", "kind": "RolloutAction", "metadata": {"name": "a"},
            "spec": {"action": "Abort", "rollout": "shop", "run": 1, "nonsense": 1}, "more": 2,
        });
        fit(Kind::RolloutAction, &mut action);
        assert_eq!(action["spec"], json!({"action": "Abort", "rollout": "shop", "run": 1}));
        assert!(action.get("more").is_none());
        assert_eq!(mistakes(Kind::RolloutAction, None, &action), []);
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let wrong = json!({"metadata": {"name": "a"}, "spec": {"action": "Jump", "rollout": 3, "run": 1}});
        let found = mistakes(Kind::RolloutAction, None, &wrong);
        let told: Vec<_> = found.iter().map(|it| (it.field.as_str(), it.reason)).collect();
        let wanted = [("spec.action", "FieldValueNotSupported"), ("spec.rollout", "FieldValueTypeInvalid")];
        assert_eq!(told, wanted);
        let missing = mistakes(Kind::RolloutAction, None, &json!({"metadata": {"name": "a"}}));
        assert_eq!(missing, [Cause::required("spec")]);
        let refusal = refusal(&Key::new(Kind::RolloutAction, "shop", "a"), &missing);
        assert_eq!(
            refusal.to_string(),
            "422 Invalid: RolloutAction.palier.dev \"a\" is invalid: spec: Required value"
        );
    }

    #[test]
    fn kinds_of_others_stay_as_they_are() {
        let mut pod = json!({"spec": {"any": "thing"}});
        fit(Kind::Pod, &mut pod);
        assert_eq!(pod, json!({"spec": {"any": "thing"}}));
    }
}
