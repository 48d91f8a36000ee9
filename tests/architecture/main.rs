//! The house: who may use whom, how large a file may be, what may stand in committed text.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A ring, the rings of ours that it may use, and what it must not name.
struct Ring {
    name: &'static str,
    may_use: &'static [&'static str],
    must_not_name: &'static [&'static str],
}

/// What would make a pure ring impure.
const IMPURE: &[&str] = &[
    "tokio",
    "tracing::",
    "reqwest",
    "axum",
    "std::env",
    "std::fs",
    "std::net",
    "std::time::Instant",
    "SystemTime",
    "Timestamp::now",
    "HashMap",
    "HashSet",
    "kube::Client",
    "kube::client",
    "kube::runtime",
    "rand::",
    "println!",
    "async fn",
];

const RINGS: &[Ring] = &[
    Ring { name: "api", may_use: &[], must_not_name: IMPURE },
    Ring { name: "engine", may_use: &["api"], must_not_name: IMPURE },
    Ring { name: "sim", may_use: &["api", "engine"], must_not_name: IMPURE },
    Ring {
        name: "apiserver",
        may_use: &["api"],
        must_not_name: &["println!", "Timestamp::now", "HashMap", "HashSet"],
    },
    Ring { name: "adapters", may_use: &["api", "engine"], must_not_name: &["println!"] },
    Ring { name: "server", may_use: &["api", "engine"], must_not_name: &["println!"] },
    Ring {
        name: "controller",
        may_use: &["api", "engine", "adapters", "server"],
        must_not_name: &["println!"],
    },
    Ring {
        name: "rig",
        may_use: &["api", "engine", "apiserver", "adapters", "controller", "server"],
        must_not_name: &["println!", "Timestamp::now", "SystemTime", "HashMap", "HashSet"],
    },
    Ring {
        name: "cli",
        may_use: &["api", "engine", "sim", "apiserver", "adapters", "controller", "server", "rig"],
        must_not_name: &[],
    },
];

const FILE_LINES_MAX: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code of a file without its comments and its inline tests.
fn code_of(path: &Path) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
}

#[test]
fn rings_use_only_the_rings_below() {
    let names: Vec<&str> = RINGS.iter().map(|ring| ring.name).collect();
    let mut wrong = Vec::new();
    for ring in RINGS {
        let dir = root().join("src").join(ring.name);
        for path in files_below(&dir, ".rs").into_iter().filter(|path| !is_test(path)) {
            let code = code_of(&path);
            for other in names.iter().filter(|other| **other != ring.name && !ring.may_use.contains(other)) {
                if code.contains(&format!("crate::{other}::")) || code.contains(&format!("crate::{other};")) {
                    wrong.push(format!("{} uses {other}", path.display()));
                }
            }
            for word in ring.must_not_name.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{} names {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "walls are crossed:\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_the_source_is_a_ring() {
    let rings: BTreeSet<String> = RINGS.iter().map(|ring| ring.name.to_owned()).collect();
    let folders = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir());
    let folders: BTreeSet<String> =
        folders.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(folders, rings);
}

#[test]
fn files_have_one_job() {
    let mut wrong = Vec::new();
    for path in
        files_below(&root().join("src"), ".rs").into_iter().chain(files_below(&root().join("tests"), ".rs"))
    {
        let lines = read(&path).lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["util", "utils", "helper", "helpers", "manager", "misc", "common"].contains(&stem.as_str()) {
            wrong.push(format!("{}: a name that says nothing", path.display()));
        }
    }
    assert!(wrong.is_empty(), "which two jobs do they hold?\n{}", wrong.join("\n"));
}

#[test]
fn every_file_of_the_source_is_compiled() {
    let mut dead = Vec::new();
    for path in files_below(&root().join("src"), ".rs") {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if ["lib", "main"].contains(&stem.as_str()) {
            continue;
        }
        let folder = path.parent().unwrap();
        let (name, parent_dir) = if stem == "mod" {
            (folder.file_name().unwrap().to_string_lossy().into_owned(), folder.parent().unwrap())
        } else {
            (stem, folder)
        };
        let parents = [parent_dir.join("mod.rs"), parent_dir.join("lib.rs"), parent_dir.with_extension("rs")];
        let is_declared = parents.iter().filter(|parent| parent.exists()).any(|parent| {
            let text = read(parent);
            text.lines().any(|line| {
                line.trim_end_matches(';').split_whitespace().last() == Some(name.as_str())
                    && line.contains("mod ")
            })
        });
        if !is_declared {
            dead.push(path.display().to_string());
        }
    }
    assert!(dead.is_empty(), "no module declares:\n{}", dead.join("\n"));
}

#[test]
fn no_test_is_switched_off_and_nothing_is_unfinished() {
    // Written in parts, so that this file does not find itself.
    let marks = [
        ["#[ig", "nore"].concat(),
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
        ["FIX", "ME"].concat(),
    ];
    let mut wrong = Vec::new();
    for path in
        files_below(&root().join("src"), ".rs").into_iter().chain(files_below(&root().join("tests"), ".rs"))
    {
        let text = read(&path);
        wrong.extend(
            marks
                .iter()
                .filter(|mark| text.contains(mark.as_str()))
                .map(|mark| format!("{}: {mark}", path.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
