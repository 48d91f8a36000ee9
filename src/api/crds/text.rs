//! The written form of a definition: YAML, with whatever fits on a line on one.
//!
//! Indentation would be half of the file otherwise, and a field that is read at one glance is easier to check.

use std::fmt::Write as _;

use serde_json::Value;

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
                entry(out, item, indent, 1);
            }
        }
        _ => {
            let _ = writeln!(out, "{}", flow(value));
        }
    }
}

/// Writes what stands behind a name or a dash: on the same line if it fits.
fn entry(out: &mut String, value: &Value, indent: usize, before: usize) {
    let line = flow(value);
    let is_nested = value.as_object().is_some_and(|it| !it.is_empty())
        || value.as_array().is_some_and(|it| !it.is_empty());
    if is_nested && indent + before + 1 + line.chars().count() > LINE_MAX {
        out.push('\n');
        block(out, value, indent + 1);
    } else {
        let _ = writeln!(out, " {line}");
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
            "list": [{"long": long, "n": 1}, []],
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
        assert!(text.contains("\nlist:\n -\n  long: \"a sentence"), "{text}");
    }
}
