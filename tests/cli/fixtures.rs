//! Rollouts in their states, as the API server would send them.

use std::path::PathBuf;

use jiff::Timestamp;
use palier::api::{Rollout, RolloutRun};

/// The time at which the fixtures are looked at.
pub fn now() -> Timestamp {
    "2026-03-01T14:12:00Z".parse().unwrap()
}

pub fn path(folder: &str, file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(folder).join(file)
}

/// The Rollout of `rollouts/<name>.yaml`.
pub fn rollout(name: &str) -> Rollout {
    let text = std::fs::read_to_string(path("rollouts", &format!("{name}.yaml"))).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The record of a run in `rollouts/<name>.yaml`.
pub fn run(name: &str) -> RolloutRun {
    let text = std::fs::read_to_string(path("rollouts", &format!("{name}.yaml"))).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The runs of `rollouts/runs.yaml`.
pub fn runs() -> Vec<RolloutRun> {
    let text = std::fs::read_to_string(path("rollouts", "runs.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// Files that end in this, by their names without it.
pub const ROLLOUTS: [&str; 9] = [
    "baking",
    "completed",
    "held",
    "idle",
    "paused",
    "rolled-back",
    "rolling-back",
    "stalled",
    "two-components",
];
