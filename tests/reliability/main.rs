//! `docs/reliability.md`: what it claims is there, and what it counts was counted.
//!
//! Without arguments it is a test: every test that the page names exists, and every fault and every bug that the code knows is on
//! the page. `make reliability` plays the searches and calls it with `write`, which puts their counters into the page.

#![allow(clippy::print_stdout, reason = "what is wrong is told to whoever asked")]

mod claims;
mod counted;

use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// A file of the project.
fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write() -> Result<(), String> {
    let path = at("docs/reliability.md");
    let (page, missing) = counted::filled(&read(&path)?)?;
    missing.iter().for_each(|why| println!("not counted: {why}"));
    fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("written to docs/reliability.md");
    Ok(())
}

fn main() {
    let is_asked_to_write = env::args().any(|argument| argument == "write");
    let written = if is_asked_to_write { write() } else { Ok(()) };
    let wrong = match written.and_then(|()| claims::wrong(&read(&at("docs/reliability.md"))?)) {
        Ok(wrong) => wrong,
        Err(why) => vec![why],
    };
    if !wrong.is_empty() {
        println!("docs/reliability.md:\n  {}", wrong.join("\n  "));
        process::exit(1);
    }
}
