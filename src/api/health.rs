//! The health of canary pods: the gate that every release has.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GateStatus, OnFailure, Verdict};

/// The name under which the gate is shown.
pub const HEALTH: &str = "health";

/// How canary pods are judged by what becomes of them: containers that end again and again, images that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Whether they are judged at all. Without, pods that do not become ready are left to `progressDeadline`.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
    /// How often one container of a canary pod may be started again; once more fails the gate.
    #[serde(default = "default_max_restarts")]
    #[schemars(range(min = 0, max = 100))]
    pub max_restarts: i32,
    /// What happens when the gate fails.
    #[serde(default)]
    pub on_failure: OnUnhealthy,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            enabled: default_enabled(),
            max_restarts: default_max_restarts(),
            on_failure: OnUnhealthy::default(),
        }
    }
}

const fn default_enabled() -> bool {
    true
}
const fn default_max_restarts() -> i32 {
    2
}

/// What canary pods in a bad way ask for. A feature switch does not heal them: there is no degraded mode among it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUnhealthy {
    /// Say it, go on.
    Notify,
    /// No raise until all pods are ready again or somebody acts.
    Hold,
    /// The component returns to the phase that it had earned before.
    StepBack,
    /// The component and everything that depends on it go back to their stable revisions.
    #[default]
    PartialRollback,
    /// Every component goes back to its stable revision.
    FullRollback,
}

impl From<OnUnhealthy> for OnFailure {
    fn from(asks: OnUnhealthy) -> Self {
        match asks {
            OnUnhealthy::Notify => Self::Notify,
            OnUnhealthy::Hold => Self::Hold,
            OnUnhealthy::StepBack => Self::StepBack,
            OnUnhealthy::PartialRollback => Self::PartialRollback,
            OnUnhealthy::FullRollback => Self::FullRollback,
        }
    }
}

/// What is known of the canary's pods while some are not ready, and of the last time that they were not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthStatus {
    /// The latest verdict; `NoData` while stable's pods fail in the same way.
    pub verdict: Verdict,
    /// What the pods say, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub message: String,
    /// Since when pods are not ready; absent while all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Since when containers cannot be started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuck_since: Option<Timestamp>,
    /// When the pods were last looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Timestamp>,
    /// When they are looked at next, if they are not ready by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_at: Option<Timestamp>,
}

impl HealthStatus {
    /// As the status of a gate, once there is something to say.
    #[must_use]
    pub fn as_gate(&self) -> Option<GateStatus> {
        (!self.message.is_empty()).then(|| GateStatus {
            name: HEALTH.to_owned(),
            verdict: self.verdict,
            message: self.message.clone(),
            evaluated_at: self.looked_at,
            tripped: self.verdict == Verdict::Fail,
            ..GateStatus::default()
        })
    }
}
