//! Parameters: what a Rollout gives against what the template asks for.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use crate::api::{GateParameter, GateTemplateSpec, GatesFrom, ParameterType, Span};
use crate::engine::lint::promises::fits;
use crate::engine::query::{Place, QueryError, escaped};

/// A parameter's value, of its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filled {
    Text(String),
    Number(Number),
    Duration(Span),
    Metric(String),
}

/// A parameter, and what is wrong with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub parameter: String,
    pub says: String,
}

/// The values of all parameters of a template.
///
/// # Errors
/// One that is given and not known, asked for and not given, of another type, or out of range.
pub(super) fn values(
    from: &GatesFrom,
    template: &GateTemplateSpec,
) -> Result<BTreeMap<String, Filled>, Wrong> {
    let label = format!("the {} {}", from.kind.as_str(), from.name);
    let names: Vec<&str> = template.parameters.iter().map(|it| it.name.as_str()).collect();
    if let Some(unknown) = from.parameters.keys().find(|name| !names.contains(&name.as_str())) {
        let known =
            if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        let says = format!("{label} has no parameter {unknown}, {known}: correct the name or take it out");
        return Err(Wrong { parameter: unknown.clone(), says });
    }
    let mut filled = BTreeMap::new();
    for parameter in &template.parameters {
        let wrong = |says: String| Wrong { parameter: parameter.name.clone(), says };
        let Some(text) = from.parameters.get(&parameter.name).or(parameter.default.as_ref()) else {
            let what = parameter.kind.like();
            let says =
                format!("{label} needs the parameter {}: give it {what} under parameters", parameter.name);
            return Err(wrong(says));
        };
        let value = value(parameter, text)
            .map_err(|why| wrong(format!("the parameter {} of {label} {why}", parameter.name)))?;
        filled.insert(parameter.name.clone(), value);
    }
    Ok(filled)
}

/// A value of the parameter's type, or what is wrong with the text and what helps.
fn value(parameter: &GateParameter, text: &str) -> Result<Filled, String> {
    let shown: String = text.chars().take(64).collect();
    let of_type = || format!("cannot be {shown:?}: give it {}", parameter.kind.like());
    if parameter.kind.pattern().is_some_and(|pattern| text.is_empty() || !fits(pattern, text)) {
        return Err(of_type());
    }
    if let Some(values) = parameter.values.as_ref().filter(|values| !values.iter().any(|it| it == text)) {
        return Err(format!("cannot be {shown:?}: give one of {}", values.join(", ")));
    }
    match parameter.kind {
        ParameterType::String => Ok(Filled::Text(text.to_owned())),
        ParameterType::Metric => Ok(Filled::Metric(text.to_owned())),
        ParameterType::Duration => text.parse().map(Filled::Duration).map_err(|_| of_type()),
        ParameterType::Number | ParameterType::Integer => {
            let number: Number = serde_json::from_str(text).map_err(|_| of_type())?;
            let size = number.as_f64().ok_or_else(of_type)?;
            match (parameter.minimum, parameter.maximum) {
                (Some(least), _) if size < least => Err(format!("cannot be {shown}: give at least {least}")),
                (_, Some(most)) if size > most => Err(format!("cannot be {shown}: give at most {most}")),
                _ => Ok(Filled::Number(number)),
            }
        }
    }
}

impl Filled {
    /// As the value of a field.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Text(text) | Self::Metric(text) => Value::String(text.clone()),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Duration(span) => Value::String(span.to_string()),
        }
    }

    /// As a part of a query, escaped for its place. What it holds is never taken for a variable.
    pub(super) fn promql(&self, name: &str, place: Place) -> Result<String, QueryError> {
        let text = match self {
            // A sign would bind to what stands before it.
            Self::Number(number) if number.to_string().starts_with('-') && place == Place::Bare => {
                return Ok(format!("({number})"));
            }
            Self::Number(number) => return Ok(number.to_string()),
            Self::Duration(span) => return Ok(span.to_string()),
            Self::Metric(text) => return Ok(text.clone()),
            Self::Text(text) => text,
        };
        let name = name.to_owned();
        match place {
            Place::Bare => Err(QueryError::Unquoted { name }),
            Place::Raw if text.contains(['`', '$']) => Err(QueryError::Backtick { name }),
            Place::Quoted(quote) => Ok(escaped(text, quote).replace('$', "\\x24")),
            Place::Raw | Place::Comment => Ok(text.clone()),
        }
    }
}
