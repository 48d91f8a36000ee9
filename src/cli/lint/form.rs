//! Findings for people, and as JSON.

use serde_json::json;

use crate::cli::CliError;
use crate::cli::view::{Ink, Style, clean};
use crate::engine::lint::{Check, Severity};

use super::gather::Gathered;

/// A finding with its file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// File as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// The field, entries of lists by their names.
    pub field: String,
    /// What was looked for.
    pub check: &'static Check,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub fix: String,
}

const fn ink(severity: Severity) -> Ink {
    match severity {
        Severity::Error => Ink::Bad,
        Severity::Warning => Ink::Warn,
        Severity::Note => Ink::Busy,
    }
}

/// A paragraph for each finding, then the sum.
pub fn text(found: &[Placed], gathered: &Gathered, hint: Option<&str>, style: Style) -> String {
    let mut out = String::new();
    for it in found {
        let place = style.paint(Ink::Strong, &clean(&format!("{}:{}:{}", it.file, it.line, it.column)));
        let word = style.paint(ink(it.check.severity), it.check.severity.word());
        let field = if it.field.is_empty() { String::new() } else { format!("{}: ", clean(&it.field)) };
        let (message, fix) = (clean(&it.message), style.paint(Ink::Dim, &clean(&it.fix)));
        out += &format!("{place}: {word} {}: {field}{message}\n    {fix}\n", it.check.code);
    }
    let count = |severity: Severity| found.iter().filter(|it| it.check.severity == severity).count();
    let number = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    if !found.is_empty() {
        let words =
            [Severity::Error, Severity::Warning, Severity::Note].map(|it| number(count(it), it.word()));
        out += &format!("{} in {}\n", words.join(", "), number(gathered.files, "file"));
    } else {
        out += &format!("{}, nothing to mend\n", number(gathered.files, "file"));
    }
    if let Some(hint) = hint {
        out += &format!("{}\n", style.paint(Ink::Dim, hint));
    }
    out
}

/// A list of findings.
///
/// # Errors
/// When it cannot be written.
pub fn json(found: &[Placed]) -> Result<String, CliError> {
    let all: Vec<_> = found
        .iter()
        .map(|it| {
            json!({
                "code": it.check.code,
                "severity": it.check.severity.word(),
                "file": it.file,
                "line": it.line,
                "column": it.column,
                "kind": it.kind,
                "name": it.name,
                "field": it.field,
                "message": it.message,
                "fix": it.fix,
            })
        })
        .collect();
    crate::cli::format::write(&all, crate::cli::Format::Json)
}
