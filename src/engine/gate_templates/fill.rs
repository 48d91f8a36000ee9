//! Bodies: parameters in their places.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engine::query::{KNOWN, QueryError, replace};

use super::parameters::Filled;

/// The fields of a gate that hold PromQL.
const QUERIES: [&str; 4] = ["prometheus.query", "prometheus.bad", "prometheus.total", "prometheus.buckets"];

/// A field, and why its parameters cannot be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub field: String,
    pub says: String,
}

/// The body of a gate with all its parameters filled in.
///
/// # Errors
/// A name that is none of a parameter, or one where it cannot stand.
pub(super) fn filled(body: &Value, field: &str, values: &BTreeMap<String, Filled>) -> Result<Value, Misfit> {
    Ok(match body {
        Value::Object(fields) => {
            let below = |key: &str| if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") };
            let fields = fields.iter().map(|(key, it)| Ok((key.clone(), filled(it, &below(key), values)?)));
            Value::Object(fields.collect::<Result<_, _>>()?)
        }
        Value::Array(items) => {
            let items =
                items.iter().enumerate().map(|(at, it)| filled(it, &format!("{field}[{at}]"), values));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::String(text) if QUERIES.contains(&field) => Value::String(
            query(text, values).map_err(|says| Misfit { field: field.to_owned(), says: says.0 })?,
        ),
        Value::String(text) if text.contains('$') => {
            plain(text, values).map_err(|says| Misfit { field: field.to_owned(), says })?
        }
        other => other.clone(),
    })
}

/// A value that is a parameter as a whole.
fn plain(text: &str, values: &BTreeMap<String, Filled>) -> Result<Value, String> {
    if let Some(value) = text.strip_prefix('$').and_then(|name| values.get(name)) {
        return Ok(value.json());
    }
    Err(match text.strip_prefix('$').filter(|name| !name.contains('$')) {
        Some(name) if KNOWN.contains(&name) => {
            format!("${name} stands in queries only: write a value, or a parameter of the template")
        }
        Some(name) => unknown(name, values),
        None => "a parameter is the whole value or none of it: write it alone, like $limit".to_owned(),
    })
}

struct Says(String);

impl From<QueryError> for Says {
    fn from(error: QueryError) -> Self {
        Self(match error {
            QueryError::Unquoted { name } => format!(
                "${name} is a String: put it between double quotes, or give it the type Metric, Number or Duration"
            ),
            QueryError::Backtick { name } => format!(
                "the value of ${name} has a backtick or a '$': put the parameter between double quotes instead of backticks"
            ),
            other => other.to_string(),
        })
    }
}

/// PromQL with the parameters filled in, and the variables left for later.
fn query(text: &str, values: &BTreeMap<String, Filled>) -> Result<String, Says> {
    replace(text, |name, place| match values.get(name) {
        Some(value) => Ok(value.promql(name, place)?),
        None if KNOWN.contains(&name) => Ok(format!("${name}")),
        None => Err(Says(unknown(name, values))),
    })
}

fn unknown(name: &str, values: &BTreeMap<String, Filled>) -> String {
    let name: String = name.chars().take(64).collect();
    let known: Vec<String> = values.keys().map(|it| format!("${it}")).collect();
    let known = if known.is_empty() { "there are none".to_owned() } else { known.join(" ") };
    format!(
        "${name} is neither a parameter of the template ({known}) nor a variable: declare it under spec.parameters"
    )
}
