//! Time, tasks and order: what drives observe → decide → act.

pub mod options;

pub use options::{PrometheusFlag, RunOptions};

/// Why the controller ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// This build holds no control loop.
    #[error("this build holds no control loop")]
    Absent,
}

/// Runs until `options.shutdown` is cancelled.
///
/// # Errors
/// When the controller cannot work or lost its lease.
pub async fn run(options: RunOptions) -> Result<(), RunError> {
    drop(options);
    Err(RunError::Absent)
}
