//! The written form of a definition: YAML, with whatever fits on a line on one.
//!
//! Indentation would be half of the file otherwise, and a field that is read at one glance is easier to check.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The longest line in characters, unless one text alone is longer.
const LINE_MAX: usize = 118;

/// A definition as one YAML document; the same bytes every time.
#[must_use]
pub fn yaml(definition: &Value) -> String {
    let mut out = String::new();
    block(&mut out, definition, 0);
    out
}

/// Writes the entries of a list or a map, each on lines of its own.
fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let _ = write!(out, "{:indent$}{}:", "", scalar(name));
                entry(out, value, indent, name.chars().count() + 1);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                match item {
                    Value::Object(fields) if is_flat(fields) && !fits(item, indent + 1) => {
                        on_the_dash(out, fields, indent);
                    }
                    _ => entry(out, item, indent, 1),
                }
            }
        }
        _ => {
            let _ = writeln!(out, "{}", flow(value));
        }
    }
}

/// Writes what stands behind a name or a dash: on the same line if it fits.
fn entry(out: &mut String, value: &Value, indent: usize, before: usize) {
    let is_nested = value.as_object().is_some_and(|it| !it.is_empty())
        || value.as_array().is_some_and(|it| !it.is_empty());
    if is_nested && !fits(value, indent + before) {
        out.push('\n');
        block(out, value, indent + 1);
    } else {
        let _ = writeln!(out, " {}", flow(value));
    }
}

/// Whether a value fits on the line on which so much stands already.
fn fits(value: &Value, before: usize) -> bool {
    before + 1 + flow(value).chars().count() <= LINE_MAX
}

/// Whether all fields are plain, so that it costs nothing to write them two columns further in.
fn is_flat(fields: &Map<String, Value>) -> bool {
    !fields.is_empty() && fields.values().all(|it| !it.is_object() && !it.is_array())
}

/// The fields of an entry of a list, the first of them beside its dash.
fn on_the_dash(out: &mut String, fields: &Map<String, Value>, indent: usize) {
    for (index, (name, value)) in fields.iter().enumerate() {
        let before = if index == 0 { 0 } else { indent + 1 };
        let _ = writeln!(out, "{:before$} {}: {}", "", scalar(name), flow(value));
    }
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{}: {}", scalar(name), flow(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// A text, bare where no reader of YAML could take it for anything else, else as in JSON, which YAML reads too.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"];
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let is_bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.split(' ').all(|word| !word.is_empty() && word.chars().all(is_word))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_bare { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_stands_on_one_line_and_texts_stay_what_they_are() {
        let long = "a sentence, ".repeat(12);
        let value = json!({
            "a": {"type": "string", "maxLength": 40, "enum": ["true", "On", "1", "x: y", "#", "two words", "", " "]},
            "list": [{"long": long, "n": 1}, [], {"deep": {"long": long}}],
            "none": {},
        });
        let text = yaml(&value);
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), value, "{text}");
        assert!(
            text.starts_with(
                "a: {enum: [\"true\", \"On\", \"1\", \"x: y\", \"#\", two words, \"\", \" \"], "
            ),
            "{text}"
        );
        assert!(text.contains("\nlist:\n - long: \"a sentence"), "{text}");
        assert!(text.contains("\"\n   \"n\": 1\n - []\n -\n  deep:\n   long: \"a"), "{text}");
    }
}
