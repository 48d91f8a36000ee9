//! How a gate judges what its queries answer.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits, both inclusive. At least one is given.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.min) || has(self.max)", "give a threshold: min, max or both"))]
#[x_kube(validation = ("!has(self.min) || !has(self.max) || self.min <= self.max", "threshold.min cannot be above threshold.max"))]
pub struct Threshold {
    /// The least value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// With `bad` and `total`: requests in the window before anything is judged. Without it, as many as one bad request among
    /// them would have to be expected at the limit, with 95 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: Option<i64>,
}

/// The canary's share of bad requests in the window beside stable's: it fails when it is too many times as high *and* too much
/// higher. A plain rule without a guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compare {
    /// The canary's share may be this many times stable's.
    #[serde(default = "default_compare_ratio")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_ratio: f64,
    /// The canary's share may be this much above stable's, from 0 to 1.
    #[serde(default = "default_min_difference")]
    #[schemars(range(min = 0, max = 1))]
    pub min_difference: f64,
    /// Requests of each version before anything is judged.
    #[serde(default = "default_min_samples")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: i64,
}

const fn default_compare_ratio() -> f64 {
    1.5
}
const fn default_min_difference() -> f64 {
    0.005
}
const fn default_min_samples() -> i64 {
    300
}

/// Whether the canary fails more often than stable, judged after every block of requests with one chance of error for the
/// whole run (`spec.alpha`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SequentialRate {
    /// Bad requests of the canary before anything is called harm.
    #[serde(default = "default_min_bad")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_bad: i64,
    /// How many times stable's share of bad requests is still no harm. Learned from how much stable's pods differ, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub tolerance: Option<f64>,
    /// The canary is safe when its share of bad requests is shown to be below this many times stable's, ...
    #[serde(default = "default_safe_ratio")]
    #[schemars(range(min = 1.01, max = 1000))]
    pub safe_ratio: f64,
    /// ... or below this, from 0 to 1.
    #[serde(default = "default_safe_below")]
    #[schemars(range(min = 0, max = 0.99))]
    pub safe_below: f64,
}

impl Default for SequentialRate {
    fn default() -> Self {
        Self {
            min_bad: default_min_bad(),
            tolerance: None,
            safe_ratio: default_safe_ratio(),
            safe_below: default_safe_below(),
        }
    }
}

const fn default_min_bad() -> i64 {
    5
}
const fn default_safe_ratio() -> f64 {
    2.0
}
const fn default_safe_below() -> f64 {
    0.01
}

/// Whether the canary is slower than stable anywhere, judged after every block with one chance of error for the whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SequentialLatency {
    /// The bounds that are compared, in the histogram's unit. Chosen from stable's history unless given: those above which
    /// stable has 20 % to 0.1 % of its requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6))]
    pub bounds: Vec<f64>,
    /// As for `sequentialRate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub tolerance: Option<f64>,
}

/// A quantile of the canary against a limit, judged by the requests above the limit, after every block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quantile {
    /// Which, such as 0.99.
    #[schemars(range(min = 0.01, max = 0.9999))]
    pub quantile: f64,
    /// The most that it may be, in the histogram's unit; best on a bucket's bound.
    #[schemars(range(min = 0))]
    pub max: f64,
}

/// What the canary may spend of the error budget of a service-level objective, beyond what stable would have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// The share of requests that shall go well, such as 0.999.
    #[schemars(range(min = 0.5, max = 0.999_999))]
    pub objective: f64,
    /// The requests in the objective's window, such as 30 days.
    #[schemars(range(min = 1))]
    pub window_requests: f64,
    /// The share of the budget that the canary may spend, such as 0.01.
    #[serde(default = "default_max_spend")]
    #[schemars(range(min = 0.000_001, max = 1))]
    pub max_spend: f64,
}

const fn default_max_spend() -> f64 {
    0.01
}

/// What happens to a phase that is over without proof, of harm or of safety.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnInconclusive {
    /// The phase goes on until there is proof, or somebody acts.
    #[default]
    Hold,
    /// The phase is earned.
    Promote,
    /// What `onFailure` says.
    Rollback,
}
