//! What the soak is asked for, by the environment.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// See `main.rs` for the variables.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Rollouts of both fleets together.
    pub rollouts: usize,
    /// How long images are pushed and faults happen.
    pub lasts: Duration,
    /// From one fault to the next.
    pub between_faults: Duration,
    /// The seed of the faults and of what is pushed.
    pub seed: u64,
    /// Releases that are on their way at the same time.
    pub at_once: usize,
}

impl Settings {
    /// Reads them.
    pub fn read() -> Result<Self> {
        let settings = Self {
            rollouts: setting("SOAK_ROLLOUTS", 200)?,
            lasts: Duration::from_secs_f64(60.0 * setting("SOAK_MINUTES", 150.0)?),
            between_faults: Duration::from_secs(setting("SOAK_FAULT_SECONDS", 10)?),
            seed: setting("SOAK_SEED", 1)?,
            at_once: setting("SOAK_AT_ONCE", 24)?,
        };
        ensure!(settings.rollouts >= 2, "SOAK_ROLLOUTS: at least 2, one for each fleet");
        ensure!(settings.at_once >= 1, "SOAK_AT_ONCE: at least 1");
        Ok(settings)
    }
}

fn setting<T: std::str::FromStr>(name: &str, usual: T) -> Result<T> {
    match env::var(name) {
        Ok(text) => text.parse().ok().with_context(|| format!("{name}: not a number: {text}")),
        Err(_) => Ok(usual),
    }
}
