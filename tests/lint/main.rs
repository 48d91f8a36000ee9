//! `palier lint` against recorded mistakes and good manifests, its forms, and what a metric server says.

// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used)]

mod forms;
mod live;
mod recorded;
mod rules;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PALIER: &str = env!("CARGO_BIN_EXE_palier");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn palier(args: &[&str]) -> Output {
    Command::new(PALIER).args(args).current_dir(root()).env("HOME", "/nonexistent").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The YAML files of a folder, by name.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = entries.filter(|it| it.extension().is_some_and(|it| it == "yaml")).collect();
    all.sort();
    all
}

/// The findings about a file, as JSON, with the arguments that its header names.
fn findings(file: &Path) -> Vec<serde_json::Value> {
    let header = fs::read_to_string(file).unwrap();
    let more = header.lines().find_map(|line| line.strip_prefix("# args: ")).unwrap_or_default();
    let name = file.strip_prefix(root()).unwrap().to_str().unwrap();
    let mut args = vec!["lint", "-o", "json", name];
    args.extend(more.split_whitespace());
    let output = palier(&args);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{name}: {}", text(&output.stderr)))
}
