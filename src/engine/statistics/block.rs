//! A block: what happened in one stretch of time, on the canary and on stable.

use serde::{Deserialize, Serialize};

/// The requests of one arm (the canary or stable) in one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Requests that went badly, 0 to `total`. May be a fraction where a server extrapolates.
    pub bad: f64,
    /// All requests.
    pub total: f64,
}

impl Arm {
    /// An arm with `bad` of `total` requests. What is no number or below 0 counts as 0; `bad` is at most `total`.
    #[must_use]
    pub fn new(bad: f64, total: f64) -> Self {
        let total = counted(total);
        Self { bad: counted(bad).min(total), total }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { bad: self.bad + other.bad, total: self.total + other.total }
    }

    /// Requests that went well.
    #[must_use]
    pub fn good(self) -> f64 {
        (self.total - self.bad).max(0.0)
    }
}

fn counted(number: f64) -> f64 {
    if number.is_finite() { number.max(0.0) } else { 0.0 }
}

/// One block of time, counted at both arms at the same two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// The canary's requests.
    pub canary: Arm,
    /// Stable's requests.
    pub stable: Arm,
}

impl Block {
    /// A block of `(bad, total)` of the canary and of stable, cleaned as [`Arm::new`] does.
    #[must_use]
    pub fn new(canary: (f64, f64), stable: (f64, f64)) -> Self {
        Self { canary: Arm::new(canary.0, canary.1), stable: Arm::new(stable.0, stable.1) }
    }

    /// The canary's share of the requests, between 0 and 1; `None` if one arm had none: then nothing can be compared.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let has_both = self.canary.total > 0.0 && self.stable.total > 0.0;
        has_both.then(|| self.canary.total / (self.canary.total + self.stable.total))
    }

    /// Bad requests of both arms.
    #[must_use]
    pub fn bad(&self) -> f64 {
        self.canary.bad + self.stable.bad
    }
}
