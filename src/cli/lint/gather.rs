//! The objects of files and folders.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::CliError;
use crate::engine::lint::Finding;
use crate::engine::lint::catalog::NOT_YAML;

use super::form::Placed;
use super::yaml::{self, Document, Place};

/// The largest file that is read.
const BYTES_MAX: u64 = 16 << 20;
/// The most files of one call.
const FILES_MAX: usize = 10_000;

/// In place of a file, of an object that the cluster has.
const CLUSTER: &str = "<cluster>";

/// One object with where it comes from.
struct Object {
    value: Value,
    file: String,
    /// Index in `documents`.
    document: usize,
    /// `items[3]` for an object of a List.
    prefix: String,
}

/// All objects of all files.
#[derive(Default)]
pub struct Gathered {
    objects: Vec<Object>,
    documents: Vec<Document>,
    /// Files that were read.
    pub files: usize,
    /// What is no YAML.
    pub broken: Vec<Placed>,
}

impl Gathered {
    /// The objects, by the index that findings name.
    pub fn values(&self) -> Vec<Value> {
        self.objects.iter().map(|it| it.value.clone()).collect()
    }

    /// Adds what the cluster has, after everything else.
    pub fn add_live(&mut self, objects: Vec<Value>) {
        let document = self.documents.len();
        self.documents.push(Document { value: Value::Null, places: BTreeMap::new() });
        let object = |value| Object { value, file: CLUSTER.to_owned(), document, prefix: String::new() };
        self.objects.extend(objects.into_iter().map(object));
    }

    /// The finding with its file, line and column: those of the field, or of what it is missing in.
    pub fn place(&self, finding: Finding) -> Placed {
        let object = &self.objects[finding.object];
        let places = &self.documents[object.document].places;
        let mut path = joined(&object.prefix, &finding.field);
        let at = loop {
            match places.get(&path) {
                Some(at) => break *at,
                None if path.is_empty() => break Place { line: 1, column: 1 },
                None => path.truncate(path.rfind(['.', '[']).unwrap_or(0)),
            }
        };
        let text = |pointer: &str| {
            object.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Placed {
            file: object.file.clone(),
            line: at.line,
            column: at.column,
            kind: text("/kind"),
            name: text("/metadata/name"),
            field: named(&object.value, &finding.field),
            check: finding.check,
            message: finding.message,
            fix: finding.fix,
        }
    }
}

fn joined(prefix: &str, field: &str) -> String {
    match (prefix, field) {
        ("", _) => field.to_owned(),
        (_, "") => prefix.to_owned(),
        _ => format!("{prefix}.{field}"),
    }
}

/// `spec.gates[errors]` for `spec.gates[0]`: entries of lists by their names, where they have one.
fn named(value: &Value, field: &str) -> String {
    let (mut out, mut at) = (String::new(), value);
    for part in field.split('.') {
        let (key, rest) = part.split_once('[').unwrap_or((part, ""));
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(key);
        at = &at[key];
        for index in rest.split('[').filter(|it| !it.is_empty()) {
            let index = index.trim_end_matches(']');
            at = index.parse::<usize>().map_or(&Value::Null, |it| &at[it]);
            let name = at["name"].as_str().or(at.as_str()).unwrap_or(index);
            out.push_str(&format!("[{name}]"));
        }
    }
    out
}

/// Reads everything that the paths name.
///
/// # Errors
/// A file that cannot be read or is too large, a folder with no YAML in it.
pub fn gather(paths: &[PathBuf]) -> Result<Gathered, CliError> {
    let mut gathered = Gathered::default();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| unreadable("standard input", &error.to_string()))?;
            add("<stdin>", &text, &mut gathered);
            continue;
        }
        let mut files = Vec::new();
        list(path, true, &mut files)?;
        if files.is_empty() {
            return Err(unreadable(&shown(path), "there is no .yaml, .yml or .json file in it"));
        }
        for file in files {
            let why = |error: &dyn std::fmt::Display| unreadable(&shown(&file), &error.to_string());
            let size = std::fs::metadata(&file).map_err(|error| why(&error))?.len();
            if size > BYTES_MAX {
                return Err(why(&format!("it has {size} bytes, and {BYTES_MAX} is the most")));
            }
            let text = std::fs::read_to_string(&file).map_err(|error| why(&error))?;
            add(&shown(&file), &text, &mut gathered);
        }
    }
    Ok(gathered)
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

fn unreadable(what: &str, why: &str) -> CliError {
    CliError::Usage(format!("cannot read {what}: {why}"))
}

/// The files below a path, by name. Folders whose names begin with a dot are left out, and so are links to folders.
fn list(path: &Path, is_named: bool, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let why = |error: std::io::Error| unreadable(&shown(path), &error.to_string());
    if is_named && !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(why)?
        .map(|it| it.map(|it| it.path()))
        .collect::<Result<_, _>>()
        .map_err(why)?;
    entries.sort();
    for entry in entries {
        let is_hidden = entry.file_name().is_some_and(|it| it.to_string_lossy().starts_with('.'));
        let kind = entry.extension().and_then(|it| it.to_str()).unwrap_or_default();
        if entry.is_dir() && !entry.is_symlink() && !is_hidden {
            list(&entry, false, files)?;
        } else if ["yaml", "yml", "json"].contains(&kind) && entry.is_file() {
            files.push(entry);
        }
        if files.len() > FILES_MAX {
            return Err(unreadable(&shown(path), &format!("more than {FILES_MAX} files")));
        }
    }
    Ok(())
}

fn add(file: &str, text: &str, gathered: &mut Gathered) {
    gathered.files += 1;
    let (documents, broken) = yaml::read(text);
    // Templates of other programs and values of charts are no manifests: only a file that speaks of ours has to be sound.
    if text.contains("palier.dev") {
        gathered.broken.extend(broken.into_iter().map(|it| Placed {
            file: file.to_owned(),
            line: it.place.line,
            column: it.place.column,
            kind: String::new(),
            name: String::new(),
            field: String::new(),
            check: &NOT_YAML,
            message: it.says,
            fix: "Mend the YAML; render templates first, for example with `helm template`.".to_owned(),
        }));
    }
    for document in documents {
        let index = gathered.documents.len();
        let object = |value: &Value, prefix: String| Object {
            value: value.clone(),
            file: file.to_owned(),
            document: index,
            prefix,
        };
        let items = document.value["items"]
            .as_array()
            .filter(|_| document.value["kind"].as_str().is_some_and(|it| it.ends_with("List")));
        match items {
            Some(items) => gathered
                .objects
                .extend(items.iter().enumerate().map(|(at, item)| object(item, format!("items[{at}]")))),
            None => gathered.objects.push(object(&document.value, String::new())),
        }
        gathered.documents.push(document);
    }
}
