//! What the scenarios measured, for the table at the end.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Figure {
    scenario: String,
    order: usize,
    what: String,
    measured: String,
    wanted: String,
}

/// All lines so far.
#[derive(Default)]
pub struct Figures(Mutex<Vec<Figure>>);

impl Figures {
    /// Notes what was measured, beside what was wanted.
    pub fn note(&self, scenario: &str, what: &str, measured: &str, wanted: &str) {
        let mut figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = figures.len();
        figures.push(Figure {
            scenario: scenario.to_owned(),
            order,
            what: what.to_owned(),
            measured: measured.to_owned(),
            wanted: wanted.to_owned(),
        });
    }

    /// The table, as Markdown; empty when nothing was measured.
    pub fn table(&self) -> String {
        let mut figures = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if figures.is_empty() {
            return String::new();
        }
        figures.sort();
        let mut text = String::from("| scenario | what | measured | wanted |\n|---|---|---|---|\n");
        for Figure { scenario, what, measured, wanted, .. } in figures {
            let _ = writeln!(text, "| {scenario} | {what} | {measured} | {wanted} |");
        }
        text
    }

    /// Writes the table to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, self.table()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The value below which a share (0..1) of the durations lies, by nearest rank.
pub fn quantile(durations: &[Duration], share: f64) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
