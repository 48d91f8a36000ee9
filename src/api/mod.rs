//! Ring 0: what users write and read. Types, defaults and the rules that the API server enforces; no behaviour.
//!
//! Every list and string has a bound, so that the API server can estimate the cost of the CEL rules and no object
//! grows without end. Rules carry messages written for people: they are what `kubectl apply` prints.

pub mod action;
pub mod conditions;
pub mod config;
pub mod crds;
pub mod degraded;
pub mod duration;
pub mod gate;
pub mod gate_template;
pub mod health;
pub mod hook;
pub mod metric_source;
pub mod names;
pub mod preset;
pub mod rollout;
pub mod rule;
pub mod run;
pub mod status;
pub mod traffic;

pub use action::{ActionKind, Requester, RolloutAction, RolloutActionSpec};
pub use config::Config;
pub use degraded::{
    DegradedMode, DegradedState, DegradedStatus, DegradedThen, Switch, SwitchState, SwitchStatus,
};
pub use duration::Span;
pub use gate::{
    BucketsRule, CountersRule, FailureWindow, Gate, NoDataPolicy, NoDataThen, OnFailure, PrometheusQuery,
    Rule, TreatNoDataAs,
};
pub use gate_template::{
    GateBody, GateParameter, GateTemplate, GateTemplateSpec, GatesFrom, ParameterType, TemplateKind,
};
pub use health::{HEALTH, Health, HealthStatus, OnUnhealthy};
pub use hook::{CronJobRef, Hook, HookFailure, HookPoint, HookState, HookStatus};
pub use metric_source::{MetricSource, MetricSourceSpec, PrometheusServer};
pub use preset::Preset;
pub use rollout::{
    Component, Interception, OnDelete, Phase, PhaseOverride, Retain, Rollout, RolloutSpec, WorkloadRef,
};
pub use rule::{Budget, Compare, OnInconclusive, Quantile, SequentialLatency, SequentialRate, Threshold};
pub use run::{
    ComponentRecord, Outcome, ReleasedComponent, RolloutRun, RolloutRunSpec, RolloutRunStatus, TimelineEntry,
};
pub use status::{
    BakeStatus, ComponentStatus, EarnedPhase, FoundRoute, GateStatistics, GateStatus, NextAction, Revision,
    RolloutState, RolloutStatus, RunIntent, RunStatus, Stage, Verdict,
};
pub use traffic::{GatewayApi, RouteRef, Traffic};
