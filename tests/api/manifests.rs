//! The manifests of `examples/` and `tests/bad-manifests/`, read for the tests that need no cluster.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::root;

/// A manifest with one mistake, and what its header promises.
pub struct Bad {
    /// File name.
    pub name: String,
    /// Who refuses it: `schema`, `cel`, `policy` or `stalled`.
    pub refused_by: String,
    /// Path of the mistake.
    pub field: String,
    /// A part of the message.
    pub says: String,
    /// The objects in it.
    pub documents: Vec<Value>,
}

/// All files with this ending in a folder, by name.
fn files(dir: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut all: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn documents(name: &str, text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every manifest with a mistake.
pub fn bad() -> Vec<Bad> {
    let header = |text: &str, key: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {key}: ")));
        line.unwrap_or_else(|| panic!("{name} has no header line `# {key}: …`")).to_owned()
    };
    let read = |(name, text): (String, String)| Bad {
        refused_by: header(&text, "refused-by", &name),
        field: header(&text, "field", &name),
        says: header(&text, "says", &name),
        documents: documents(&name, &text),
        name,
    };
    files(&root().join("tests/bad-manifests")).into_iter().map(read).collect()
}

/// Every object of ours in the examples, with its file.
pub fn examples() -> Vec<(String, Value)> {
    let ours = |value: &Value| {
        value["apiVersion"].as_str().is_some_and(|version| version.starts_with("palier.dev/"))
    };
    files(&root().join("examples"))
        .into_iter()
        .flat_map(|(name, text)| documents(&name, &text).into_iter().map(move |value| (name.clone(), value)))
        .filter(|(_, value)| ours(value))
        .collect()
}

#[test]
fn each_bad_manifest_says_what_to_expect() {
    let bad = bad();
    assert!(bad.len() >= 40, "{} manifests", bad.len());
    for Bad { name, refused_by, field, says, documents } in bad {
        assert!(
            ["schema", "cel", "policy", "stalled"].contains(&refused_by.as_str()),
            "{name}: {refused_by}"
        );
        assert!(name.starts_with(&refused_by), "{name} is refused by {refused_by}");
        assert!(!field.is_empty() && !says.is_empty() && !documents.is_empty(), "{name}");
    }
}
