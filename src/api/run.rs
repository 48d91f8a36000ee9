//! `RolloutRun`: the record of one run.

#![allow(clippy::duplicated_attributes, reason = "several columns have one type")]

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ComponentStatus, DegradedStatus, EarnedPhase, GateStatistics, GateStatus, HookStatus, Phase, Revision,
    Stage,
};

/// What was released, how it went and how it ended. Written by the controller, kept for `spec.runHistoryLimit`.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "palier.dev",
    version = "v1alpha1",
    kind = "RolloutRun",
    doc = "The record of one run of a Rollout.",
    namespaced,
    status = "RolloutRunStatus",
    shortname = "rorun",
    category = "palier",
    printcolumn(json_path = ".spec.rollout", name = "Rollout", type_ = "string"),
    printcolumn(json_path = ".spec.number", name = "Run", type_ = "integer"),
    printcolumn(json_path = ".status.outcome", name = "Outcome", type_ = "string"),
    printcolumn(json_path = ".status.reason", name = "Reason", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "the record of a run cannot be changed"))]
pub struct RolloutRunSpec {
    /// Name of the Rollout.
    #[schemars(length(max = 63))]
    pub rollout: String,
    /// Number of the run.
    pub number: i64,
    /// What is released.
    #[schemars(length(max = 16))]
    pub components: Vec<ReleasedComponent>,
    /// The phases as they were at the start.
    #[schemars(length(max = 20))]
    pub phases: Vec<Phase>,
    /// When it started.
    pub started_at: Timestamp,
}

/// One component of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleasedComponent {
    /// Name of the component.
    #[schemars(length(max = 40))]
    pub name: String,
    /// Name of the Deployment.
    #[schemars(length(max = 253))]
    pub workload: String,
    /// What served at the start.
    pub stable: Revision,
    /// What is released.
    pub canary: Revision,
}

/// How the run went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutRunStatus {
    /// How it ended; absent while it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it ended like that.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The components that were taken back while others were adopted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 40)))]
    pub taken_back: Vec<String>,
    /// The hooks that were started, and how they ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub hooks: Vec<HookStatus>,
    /// The degraded modes that were entered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub degraded: Vec<DegradedStatus>,
    /// What happened, oldest first.
    #[schemars(length(max = 128))]
    pub timeline: Vec<TimelineEntry>,
    /// The components with the evidence of their last phase.
    #[schemars(length(max = 16))]
    pub components: Vec<ComponentRecord>,
}

/// How far one component came, and the evidence of its last phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentRecord {
    /// Name of the component.
    #[schemars(length(max = 40))]
    pub name: String,
    /// Where it was when the record was written.
    pub stage: Stage,
    /// The share of traffic that its canary had then, in per cent.
    #[serde(default)]
    pub weight: i32,
    /// The phases that it earned, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub earned: Vec<EarnedPhase>,
    /// How often it stepped back.
    #[serde(default)]
    pub step_backs: i32,
    /// Why it went back.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub failure: String,
    /// The gates of its last phase, and the health of its pods if some were not ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 41))]
    pub gates: Vec<GateStatus>,
    /// What its gates that count requests counted and showed in the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    pub statistics: Vec<GateStatistics>,
}

impl ComponentRecord {
    /// What is recorded of a component.
    #[must_use]
    pub fn of(component: &ComponentStatus) -> Self {
        ComponentRecord {
            name: component.name.clone(),
            stage: component.stage,
            weight: component.weight,
            earned: component.earned.clone(),
            step_backs: component.step_backs,
            failure: component.failure.clone(),
            gates: component.all_gates(),
            statistics: component.statistics.iter().map(GateStatistics::for_people).collect(),
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Every component runs its new revision.
    Completed,
    /// Some components run their new revision; the others were taken back and their templates are rejected.
    PartiallyCompleted,
    /// Every component is back on its former revision; the template is rejected.
    RolledBack,
    /// Another template came before the end.
    Superseded,
    /// The former template was put back before the end.
    Withdrawn,
}

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// The component it happened to; absent for the whole run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 40))]
    pub component: String,
    /// One word, the reason of the Kubernetes Event.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// In a sentence.
    #[schemars(length(max = 512))]
    pub message: String,
}
