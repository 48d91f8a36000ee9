//! Gates: judged metrics that a phase has to satisfy.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use super::preset::Preset;
use super::rule::{Budget, Compare, OnInconclusive, Quantile, SequentialLatency, SequentialRate, Threshold};

/// A judged metric. Every `interval` the question is asked; its answer passes, fails, or is no evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.failureWindow) || self.failureWindow.failures <= self.failureWindow.of", "failureWindow.failures cannot be more than failureWindow.of"))]
#[x_kube(validation = ("has(self.degradedMode) == (has(self.onFailure) && self.onFailure == 'DegradedMode')", "onFailure: DegradedMode and degradedMode go together: name an entry of spec.degradedModes"))]
#[x_kube(validation = ("[has(self.threshold), has(self.compare), has(self.sequentialRate), has(self.sequentialLatency), has(self.quantile), has(self.budget)].filter(it, it).size() <= 1", "a gate judges in one way: keep one of threshold, compare, sequentialRate, sequentialLatency, quantile and budget"))]
#[x_kube(validation = ("has(self.threshold) || !has(self.prometheus.query)", "a query of one number needs threshold: min, max or both"))]
#[x_kube(validation = ("!(has(self.compare) || has(self.sequentialRate) || has(self.budget)) || has(self.prometheus.bad) || has(self.prometheus.preset)", "compare, sequentialRate and budget need prometheus.bad and prometheus.total, or a preset"))]
#[x_kube(validation = ("(has(self.sequentialLatency) || has(self.quantile)) ? has(self.prometheus.buckets) || has(self.prometheus.preset) : (!has(self.prometheus.buckets) || !has(self.threshold))", "sequentialLatency and quantile go together with prometheus.buckets or a preset, and with nothing else"))]
#[x_kube(validation = ("!has(self.prometheus.preset) || self.prometheus.preset != 'Kubelet' || !(has(self.sequentialLatency) || has(self.quantile))", "the preset Kubelet counts periods of the CPU and has no latency: take sequentialLatency and quantile out"))]
#[x_kube(validation = ("!has(self.prometheus.preset) || self.prometheus.preset != 'KubeStateMetrics' || has(self.threshold)", "the preset KubeStateMetrics answers one number, the memory of the fullest canary container as a share of its limit: give threshold.max, such as 0.9"))]
pub struct Gate {
    /// Name, unique among the gates that a component is judged by.
    #[x_kube(validation = ("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "not a gate name: lower-case letters, digits and '-'"))]
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Time between two evaluations; the length of a block of counted requests.
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
    /// Judges by fixed limits: the number that `query` answers, or the canary's share of bad requests in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Judges `bad` and `total` in the window by their ratio and difference to stable's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// Judges `bad` and `total` against stable's since the run began. What a gate with these two does unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential_rate: Option<SequentialRate>,
    /// Judges `buckets` against stable's since the run began. What a gate with these does unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential_latency: Option<SequentialLatency>,
    /// Judges a quantile of `buckets` by a fixed limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<Quantile>,
    /// Judges `bad` and `total` by what they spend of an error budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// What happens when a phase's time is over and a sequential gate has shown neither harm nor safety.
    #[serde(default)]
    pub on_inconclusive: OnInconclusive,
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

/// How a gate judges, with what it judges by.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule<'g> {
    /// One number against limits.
    Number {
        /// PromQL.
        query: &'g str,
        /// The limits.
        limits: &'g Threshold,
    },
    /// Counters of bad and of all requests, by pod.
    Counters {
        /// PromQL of the bad requests and of all; `None` while the preset of `Auto` is not chosen.
        asked: Option<(&'g str, &'g str)>,
        /// The judgement.
        by: CountersRule<'g>,
    },
    /// A histogram of latency, by pod.
    Buckets {
        /// PromQL; `None` while the preset of `Auto` is not chosen.
        asked: Option<&'g str>,
        /// The judgement.
        by: BucketsRule<'g>,
    },
}

/// What judges counters.
#[derive(Clone, Debug, PartialEq)]
pub enum CountersRule<'g> {
    /// The canary's share in the window against limits.
    Share(&'g Threshold),
    /// The canary's share in the window beside stable's.
    Compare(&'g Compare),
    /// The canary's share against stable's since the run began.
    Sequential(SequentialRate),
    /// The spending of an error budget since the run began.
    Budget(&'g Budget),
}

/// What judges a histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum BucketsRule<'g> {
    /// Against stable's since the run began.
    Sequential(SequentialLatency),
    /// A quantile against a limit since the run began.
    Quantile(&'g Quantile),
}

impl Gate {
    /// A gate that asks nothing and so is never passed, for one that is not known.
    #[must_use]
    pub fn unknown(name: String) -> Self {
        Self {
            name,
            interval: default_interval(),
            initial_delay: Span::ZERO,
            window: default_window(),
            failure_threshold: default_failure_threshold(),
            failure_window: None,
            min_evaluations: default_min_evaluations(),
            prometheus: PrometheusQuery::default(),
            threshold: None,
            compare: None,
            sequential_rate: None,
            sequential_latency: None,
            quantile: None,
            budget: None,
            on_inconclusive: OnInconclusive::default(),
            on_failure: None,
            degraded_mode: None,
            on_no_data: NoDataPolicy::default(),
        }
    }

    /// How the gate judges; `None` for a combination that the API server refuses.
    #[must_use]
    pub fn rule(&self) -> Option<Rule<'_>> {
        self.rule_by(self.prometheus.preset)
    }

    /// The same with the queries of `preset` in place of those that `Auto` stands for.
    #[must_use]
    pub fn rule_by(&self, preset: Option<Preset>) -> Option<Rule<'_>> {
        let asked = &self.prometheus;
        if let Some(query) = asked.query.as_deref().or_else(|| preset.and_then(Preset::number)) {
            return self.threshold.as_ref().map(|limits| Rule::Number { query, limits });
        }
        let is_of_latency =
            asked.buckets.is_some() || self.sequential_latency.is_some() || self.quantile.is_some();
        let counters = match (&asked.bad, &asked.total, preset) {
            (Some(bad), Some(total), _) => Some(Some((bad.as_str(), total.as_str()))),
            (_, _, Some(Preset::Auto)) if !is_of_latency => Some(None),
            (_, _, Some(preset)) if !is_of_latency => preset.bad().zip(preset.total()).map(Some),
            _ => None,
        };
        if let Some(asked) = counters {
            let by = match (&self.threshold, &self.compare, &self.budget) {
                (Some(limits), _, _) => CountersRule::Share(limits),
                (_, Some(compare), _) => CountersRule::Compare(compare),
                (_, _, Some(budget)) => CountersRule::Budget(budget),
                _ => CountersRule::Sequential(self.sequential_rate.unwrap_or_default()),
            };
            return Some(Rule::Counters { asked, by });
        }
        let asked = match (&asked.buckets, preset) {
            (Some(buckets), _) => Some(buckets.as_str()),
            (None, Some(Preset::Auto)) => None,
            (None, preset) => Some(preset.and_then(Preset::buckets)?),
        };
        let by = match &self.quantile {
            Some(quantile) => BucketsRule::Quantile(quantile),
            None => BucketsRule::Sequential(self.sequential_latency.clone().unwrap_or_default()),
        };
        Some(Rule::Buckets { asked, by })
    }
}

impl Gate {
    /// Whether the limits of a latency are in a unit that depends on whose metrics are read.
    #[must_use]
    pub fn has_bounds(&self) -> bool {
        self.quantile.is_some() || self.sequential_latency.as_ref().is_some_and(|it| !it.bounds.is_empty())
    }
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

/// What is asked of the metric server: `query`, or `bad` and `total`, or `buckets`, or a `preset`.
///
/// In all of them `$namespace $rollout $component $phase $window $canary_pods $stable_pods $canary_revision $stable_revision
/// $service $route` are replaced, escaped for PromQL strings; `$pods` stands for the pods of both revisions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[has(self.query), has(self.bad), has(self.buckets), has(self.preset)].filter(it, it).size() == 1 && has(self.bad) == has(self.total)", "give query, or bad and total together, or buckets, or preset"))]
pub struct PrometheusQuery {
    /// PromQL that answers one number, for `threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub query: Option<String>,
    /// PromQL that answers the counter of bad requests by pod, such as `sum by (pod) (requests_total{pod=~"$pods",code=~"5.."})`:
    /// never a rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub bad: Option<String>,
    /// The same for all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub total: Option<String>,
    /// PromQL that answers the buckets of a histogram of latency by pod and bound, such as
    /// `sum by (pod, le) (request_duration_seconds_bucket{pod=~"$pods"})`, or a native histogram by pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub buckets: Option<String>,
    /// Known queries of what serves the metrics, in place of `bad` and `total`, or of `buckets` where latency is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Name of the MetricSource to ask.
    #[serde(default = "default_source")]
    #[schemars(length(min = 1, max = 253))]
    pub source: String,
}

fn default_source() -> String {
    "default".to_owned()
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
