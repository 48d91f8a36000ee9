//! Findings as SARIF 2.1.0, for code scanning.
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use serde_json::{Value, json};

use crate::cli::{CliError, Format, format};
use crate::engine::lint::{ALL, Severity};

use super::form::Placed;

/// Where the checks are explained.
const MANUAL: &str = "docs/lint.md";

const fn level(severity: Severity) -> &'static str {
    severity.word()
}

/// One run with all rules and results.
///
/// # Errors
/// When it cannot be written.
pub fn sarif(found: &[Placed]) -> Result<String, CliError> {
    let rules: Vec<Value> = ALL
        .iter()
        .map(|check| {
            json!({
                "id": check.code,
                "shortDescription": {"text": check.title},
                "help": {"text": format!("{} explains {}.", MANUAL, check.code)},
                "defaultConfiguration": {"level": level(check.severity)},
            })
        })
        .collect();
    let results: Vec<Value> = found.iter().map(result).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "palier", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format::write(&log, Format::Json)
}

fn result(it: &Placed) -> Value {
    let index = ALL.iter().position(|check| *check == it.check).unwrap_or_default();
    let field = if it.field.is_empty() { String::new() } else { format!("{}: ", it.field) };
    json!({
        "ruleId": it.check.code,
        "ruleIndex": index,
        "level": level(it.check.severity),
        "message": {"text": format!("{field}{} {}", ended(&it.message), it.fix)},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(&it.file)},
                "region": {"startLine": it.line, "startColumn": it.column},
            },
        }],
    })
}

fn ended(sentence: &str) -> String {
    format!("{}.", sentence.trim_end_matches('.'))
}

/// A relative reference: what cannot stand in one is written as `%XX` (RFC 3986).
fn uri(file: &str) -> String {
    let file = file.strip_prefix("./").unwrap_or(file);
    let mut out = String::with_capacity(file.len());
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
