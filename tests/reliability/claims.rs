//! What the page claims, compared with the code.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{at, read};

/// Files whose lines `… => "words",` name what is thrown at Palier, each kind of which must be on the page.
const FAULTS: [&str; 2] = ["tests/planner/record.rs", "tests/crash/counters.rs"];

/// Everything that is wrong with the page.
pub fn wrong(page: &str) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for test in tests_named(page) {
        if !exists(&test)? {
            wrong.push(format!("there is no test {test}"));
        }
    }
    if guarantees(page).count() == 0 {
        wrong.push("no guarantee is named".to_owned());
    }
    wrong.extend(guarantees(page).filter(|row| tests_named(row).is_empty()).map(|row| {
        let number = row.trim_start_matches("| ").split(" |").next().unwrap_or_default();
        format!("{number} names no test")
    }));
    for word in kinds_of_faults()? {
        if !page.contains(&format!("| {word} |")) {
            wrong.push(format!("nothing is said of the fault {word:?}: run make reliability"));
        }
    }
    for flaw in flaws()? {
        if !page.contains(&format!("| `{flaw}` |")) {
            wrong.push(format!("nothing is said of the bug {flaw}: run make reliability"));
        }
    }
    Ok(wrong)
}

/// Rows of the table of guarantees.
fn guarantees(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter(|line| line.starts_with("| P"))
}

/// Tests in backquotes, as `folder/file::name`.
fn tests_named(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|it| it.contains("::") && it.contains('/') && !it.contains(' '))
        .map(str::to_owned)
        .collect()
}

/// Whether a file below `tests` or `src` defines a function or a monitor of that name.
fn exists(test: &str) -> Result<bool, String> {
    let Some((file, name)) = test.split_once("::") else { return Ok(false) };
    let path = if file.starts_with("src/") { format!("{file}.rs") } else { format!("tests/{file}.rs") };
    if !Path::exists(&at(&path)) {
        return Ok(false);
    }
    let text = read(&at(&path))?;
    let is_defined = |keyword: &str, end: &[char]| {
        text.match_indices(&format!("{keyword}{name}"))
            .any(|(found, whole)| text[found + whole.len()..].starts_with(end))
    };
    Ok(is_defined("fn ", &['(', '<']) || is_defined("struct ", &[';', '<', ' ']))
}

/// The kinds of faults that the code counts.
fn kinds_of_faults() -> Result<BTreeSet<String>, String> {
    let mut kinds = BTreeSet::new();
    for file in FAULTS {
        for line in read(&at(file))?.lines() {
            let Some((_, words)) = line.split_once("=> \"") else { continue };
            kinds.extend(words.split('"').next().map(str::to_owned));
        }
    }
    Ok(kinds)
}

/// The bugs that the table puts back.
fn flaws() -> Result<BTreeSet<String>, String> {
    let text = read(&at("tests/flaws/table.rs"))?;
    let names = text.split("Flaw::").skip(1).filter_map(|rest| rest.split(',').next());
    Ok(names.map(|name| name.trim().to_owned()).collect())
}
