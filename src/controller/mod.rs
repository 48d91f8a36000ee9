//! Time, tasks and order: what drives observe → decide → act.

mod act;
mod context;
mod desk;
mod line;
mod look;
mod measure;
mod names;
mod observe;
pub mod options;
mod queue;
mod reconcile;
mod run;
mod sources;
#[cfg(test)]
mod stage;
mod watches;

pub use options::{PrometheusFlag, RunOptions};
pub use run::{RunError, run};
