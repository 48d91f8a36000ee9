//! Gates: judged metrics that a phase has to satisfy.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// A judged metric. Every `interval` the query is asked; its answer passes, fails, or is no evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.failureWindow) || self.failureWindow.failures <= self.failureWindow.of", "failureWindow.failures cannot be more than failureWindow.of"))]
#[x_kube(validation = ("has(self.degradedMode) == (has(self.onFailure) && self.onFailure == 'DegradedMode')", "onFailure: DegradedMode and degradedMode go together: name an entry of spec.degradedModes"))]
pub struct Gate {
    /// Name, unique among the gates that a component is judged by.
    #[x_kube(validation = ("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "not a gate name: lower-case letters, digits and '-'"))]
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Time between two evaluations.
    #[serde(default = "default_interval")]
    #[x_kube(validation = ("self.matches('[1-9][0-9]*([ywdhs]|m([0-9]|$))|[1-9][0-9]{2,}ms')", "interval must be at least 100ms"))]
    pub interval: Span,
    /// Time after the weight is in force before the first evaluation; it does not count as bake time.
    #[serde(default)]
    pub initial_delay: Span,
    /// What `$window` stands for in the query: how far back a rate looks.
    #[serde(default = "default_window")]
    #[x_kube(validation = ("self.matches('[1-9]')", "window must be longer than zero"))]
    pub window: Span,
    /// This many failing evaluations in a row trip the gate.
    #[serde(default = "default_failure_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: i32,
    /// The gate also trips when `failures` of the last `of` evaluations failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_window: Option<FailureWindow>,
    /// A phase cannot end before this many evaluations of it passed.
    #[serde(default = "default_min_evaluations")]
    #[schemars(range(min = 1, max = 10_000))]
    pub min_evaluations: i32,
    /// The question to Prometheus.
    pub prometheus: PrometheusQuery,
    /// The limits that the answer must stay within.
    pub threshold: Threshold,
    /// What happens when the gate trips: `FullRollback` for a gate of the Rollout and `PartialRollback` for a gate of a
    /// component, unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// With `onFailure: DegradedMode`: the entry of `spec.degradedModes` to enter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub degraded_mode: Option<String>,
    /// What happens while there is no answer that can be judged: no data, or the metric server fails.
    #[serde(default)]
    pub on_no_data: NoDataPolicy,
}

fn default_interval() -> Span {
    Span::seconds(30)
}
fn default_window() -> Span {
    Span::seconds(60)
}
const fn default_failure_threshold() -> i32 {
    2
}
const fn default_min_evaluations() -> i32 {
    2
}

/// `failures` of the last `of` evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureWindow {
    /// How many must have failed.
    #[schemars(range(min = 1, max = 50))]
    pub failures: i32,
    /// How many evaluations are looked at.
    #[schemars(range(min = 1, max = 50))]
    pub of: i32,
}

/// An instant query whose answer is one number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusQuery {
    /// PromQL. `$namespace $rollout $component $phase $window $canary_pods $stable_pods $canary_revision
    /// $stable_revision $service $route` are replaced, escaped for PromQL strings.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// Name of the MetricSource to ask.
    #[serde(default = "default_source")]
    #[schemars(length(min = 1, max = 253))]
    pub source: String,
}

fn default_source() -> String {
    "default".to_owned()
}

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
}

/// What a tripped gate asks for, the weakest first: of two gates that trip at once the stronger wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Say it, go on.
    Notify,
    /// No raise until the gate passes again or somebody acts.
    Hold,
    /// The switches of a degraded mode are set; the run stays where it is until the gate has passed for long enough.
    DegradedMode,
    /// The component returns to the phase that it had earned before, and bakes again; `spec.maxStepBacks` times, then it
    /// is a partial rollback.
    StepBack,
    /// The component and everything that depends on it go back to their stable revisions; the others go on.
    PartialRollback,
    /// Every component goes back to its stable revision.
    FullRollback,
}

/// What to do while a gate has no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoDataPolicy {
    /// How an evaluation without evidence counts. It is never a pass.
    #[serde(default)]
    pub treat_as: TreatNoDataAs,
    /// How long the run may go without evidence.
    #[serde(default = "default_no_data_deadline")]
    pub deadline: Span,
    /// What happens after the deadline: `FullRollback` for a gate of the Rollout and `PartialRollback` for a gate of a
    /// component, unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<NoDataThen>,
}

impl Default for NoDataPolicy {
    fn default() -> Self {
        Self { treat_as: TreatNoDataAs::Hold, deadline: default_no_data_deadline(), then: None }
    }
}

fn default_no_data_deadline() -> Span {
    Span::seconds(3_600)
}

/// How an evaluation without evidence counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TreatNoDataAs {
    /// Neither pass nor fail; the bake stands still.
    #[default]
    Hold,
    /// As a failing evaluation.
    Fail,
}

/// What happens when evidence stays away for longer than the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NoDataThen {
    /// Every component goes back to its stable revision.
    FullRollback,
    /// The component and everything that depends on it go back to their stable revisions.
    PartialRollback,
    /// Go on holding.
    Hold,
}
