//! The live status of a Rollout: what people read, and all that the controller remembers.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DegradedStatus, HealthStatus, HookStatus, Outcome, Preset, Span, TimelineEntry};

/// What the controller knows and is about to do. Its only memory: recovery reads the intents in here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// Where the Rollout is, in one word.
    pub state: RolloutState,
    /// Why it is there, in a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The phase of the component that is least far, such as `2/3 half`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub phase: String,
    /// The share of traffic on canary revisions as read back, such as `50%`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 16))]
    pub traffic: String,
    /// Gates that pass among those judged, such as `3/4`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 16))]
    pub gates: String,
    /// What comes next, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_action: Option<NextAction>,
    /// The present run, or the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,
    /// One entry per component of the spec.
    #[schemars(length(max = 16))]
    pub components: Vec<ComponentStatus>,
    /// `Ready`, `Reconciling`, `Stalled` (kstatus), `Progressing`, `Healthy`, `RolledBack`.
    #[schemars(length(max = 16))]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// When this was last stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpointed_at: Option<Timestamp>,
    /// Term of the leader that wrote this; a leader of an earlier term may not write any more.
    pub epoch: i64,
}

/// Conditions as a map by type, with bounds that the standard type leaves out.
fn conditions_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 64},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string", "maxLength": 64},
                "message": {"type": "string", "maxLength": 1024},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64"},
            },
        },
    })
}

/// Where a Rollout is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// Nothing to release.
    #[default]
    Idle,
    /// Canary pods start or traffic is being raised.
    Progressing,
    /// A phase proves itself.
    Baking,
    /// A gate or a missing answer keeps the run where it is.
    Held,
    /// A person keeps the run where it is.
    Paused,
    /// A gate keeps the run where it is, with some features off.
    DegradedMode,
    /// Every component goes back.
    RollingBack,
    /// The last run went back; its template is rejected.
    RolledBack,
    /// Canary revisions become the Deployments' own.
    Promoting,
    /// The last run reached its end.
    Completed,
    /// The spec or the cluster does not allow a run; `message` says what to change.
    Stalled,
}

/// What comes next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextAction {
    /// In words, such as `raise to 100 %`.
    #[schemars(length(max = 256))]
    pub what: String,
    /// The earliest time at which it can happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// One attempt to bring every changed component from stable to canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Counts up from 1 for each Rollout.
    pub number: i64,
    /// Where it is going: written before anything is done about it.
    pub intent: RunIntent,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// How it will end once what `intent` says is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_as: Option<Outcome>,
    /// Why it goes where it goes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Whether the record of the run holds its outcome.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
    /// Whether a person ended all phases at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub promoted_in_full: bool,
    /// Whether a person paused it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The uids of the actions that were obeyed or refused already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64)))]
    pub handled_actions: Vec<String>,
    /// The hooks that were started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub hooks: Vec<HookStatus>,
    /// The degraded modes that were entered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub degraded: Vec<DegradedStatus>,
    /// What happened, oldest first; the oldest entries go when it is full.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub timeline: Vec<TimelineEntry>,
}

/// Where a run is going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunIntent {
    /// Phase by phase to the canary revisions.
    #[default]
    Release,
    /// The canary revisions become the Deployments' own; no way back in this run.
    Adopt,
    /// Back to the stable revisions, for good.
    RollBack,
}

/// One component in the present run, or since the last one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Name of the component.
    #[schemars(length(max = 40))]
    pub name: String,
    /// The Deployment that this entry speaks of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub workload: String,
    /// The Service that this entry speaks of; empty without traffic.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub service: String,
    /// Where it is.
    pub stage: Stage,
    /// What it waits for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub message: String,
    /// The revision that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Revision>,
    /// The revision that is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Revision>,
    /// Index of the present phase in `spec.phases`, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_index: Option<i32>,
    /// The weight that the canary is to have: written before the route is.
    #[serde(default)]
    pub target_weight: i32,
    /// The weight that the canary has, read back from an accepted route.
    #[serde(default)]
    pub weight: i32,
    /// Pods that the Deployment asks for.
    #[serde(default)]
    pub desired_replicas: i32,
    /// Pods that the canary is to have.
    #[serde(default)]
    pub canary_replicas: i32,
    /// Canary pods that are available.
    #[serde(default)]
    pub canary_ready: i32,
    /// When the present stage began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The proof under way in the present phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<BakeStatus>,
    /// The gates of the present phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    pub gates: Vec<GateStatus>,
    /// The canary's pods, once some were not ready in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// What the gates that count requests have counted and shown in this run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    pub statistics: Vec<GateStatistics>,
    /// Why the component went back in this run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub failure: String,
    /// The failing component with which it went back; absent if it was judged itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 40))]
    pub went_back_with: String,
    /// Whether stable's ReplicaSet is marked, because the canary differs from it in its configuration alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
    /// How often the component stepped back in this run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step_backs: i32,
    /// Phases that this canary has earned, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub earned: Vec<EarnedPhase>,
    /// The weights of our backends in the routes before the run, to be put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub found: Vec<FoundRoute>,
    /// The revision that was rolled back and is not tried again without a person's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub rejected: Option<String>,
    /// Since when everything that the next step relies on has been in place: the data plane learns of it later than we.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
    /// Until when pods without traffic are kept for requests under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_until: Option<Timestamp>,
    /// When a route was first seen to say what a raise had written, or was put right after somebody else's change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_mended_at: Option<Timestamp>,
}

impl ComponentStatus {
    /// The gates of the present phase, and that of the pods' health once it has something to say.
    #[must_use]
    pub fn all_gates(&self) -> Vec<GateStatus> {
        let health = self.health.as_ref().and_then(HealthStatus::as_gate);
        self.gates.iter().cloned().chain(health).collect()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// Where a component is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    /// Stable serves; nothing to do.
    #[default]
    Idle,
    /// The component takes part in the run and waits for those that it depends on.
    Waiting,
    /// Canary pods of the phase's size start.
    Preparing,
    /// The phase's weight is being put in force.
    Raising,
    /// The phase proves itself.
    Baking,
    /// Every phase is earned; the component waits for the others.
    Baked,
    /// The canary ReplicaSet becomes the Deployment's own.
    Adopting,
    /// It is, while the run goes on with others.
    Adopted,
    /// Traffic goes back to stable, then the canary goes.
    RollingBack,
    /// Back on stable while the run goes on without it.
    TakenBack,
    /// Stable serves; the template in the Deployment is rejected.
    RolledBack,
}

/// One pod template of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Hash of the template's canonical JSON.
    #[schemars(length(max = 64))]
    pub revision: String,
    /// Hash of the template with the restart annotation.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub template: String,
    /// Value of the pods' `pod-template-hash` label.
    #[schemars(length(max = 63))]
    pub pod_hash: String,
    /// Name of its ReplicaSet.
    #[schemars(length(max = 253))]
    pub replica_set: String,
    /// Its configuration, each as `configMap/<name>=<copy>` or `secret/<name>=<copy>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 520)))]
    pub config: Vec<String>,
}

/// The proof of one phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BakeStatus {
    /// When the weight was in force.
    pub started_at: Timestamp,
    /// The weight that is proven; less than the phase's once that was edited to a greater one.
    #[serde(default)]
    pub weight: i32,
    /// Time proven clean so far. Time without evidence, with a failing evaluation or under a pause is not in it.
    pub earned: Span,
    /// Until when time was counted; absent while the clock stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_until: Option<Timestamp>,
    /// Since when the weight is not in force or canary pods are missing; the progress deadline counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted_since: Option<Timestamp>,
}

/// One gate in the present phase of one component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Name of the gate.
    #[schemars(length(max = 40))]
    pub name: String,
    /// The latest verdict.
    pub verdict: Verdict,
    /// The latest value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub value: String,
    /// What the verdict rests on, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub message: String,
    /// When the latest evaluation was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluated_at: Option<Timestamp>,
    /// The metric server's time of the latest sample that counted; an answer that is no newer is no evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled_at: Option<Timestamp>,
    /// Evaluations of this phase that passed.
    #[serde(default)]
    pub passes: i32,
    /// Failing evaluations in a row, up to now.
    #[serde(default)]
    pub consecutive_failures: i32,
    /// The latest evaluations that counted, oldest first: `P` passed, `F` failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 50))]
    pub recent: String,
    /// Since when there has been no evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data_since: Option<Timestamp>,
    /// What the evidence belongs to; evidence with another key is void.
    #[schemars(length(max = 64))]
    pub key: String,
    /// Whether the gate has tripped and not passed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tripped: bool,
}

/// What a gate that counts requests has counted and shown since the run began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateStatistics {
    /// Name of the gate.
    #[schemars(length(max = 40))]
    pub name: String,
    /// What the counts belong to; counts with another key are void.
    #[schemars(length(max = 64))]
    pub key: String,
    /// The preset that was chosen when the run began, of a gate with `preset: Auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The end of the last block that was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_until: Option<Timestamp>,
    /// Bad requests of the canary.
    pub canary_bad: f64,
    /// Requests of the canary.
    pub canary_total: f64,
    /// Bad requests of stable in the same blocks.
    pub stable_bad: f64,
    /// Requests of stable in the same blocks.
    pub stable_total: f64,
    /// ln E, the evidence of harm; harm is shown at `limit`.
    pub evidence: f64,
    /// ln E at which harm is shown, for all gates of the run together.
    pub limit: f64,
    /// The least that the canary's share can be, in multiples of stable's; 0 if nothing bounds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_at_least: Option<f64>,
    /// Whether the canary is shown to be safe.
    pub safe: bool,
    /// How much more the counts vary than independent requests would (φ); frozen when the run began.
    pub phi: f64,
    /// How many times stable's share is no harm (ρ0); frozen when the run began.
    pub tolerance: f64,
    /// What φ and the tolerance were learned from, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub learned: String,
    /// The bounds that are compared, of a gate of latency.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6))]
    pub bounds: Vec<f64>,
    /// The state of the test, for the controller alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 8192))]
    pub state: String,
}

impl GateStatistics {
    /// Without the state of the test, which only a run under way needs.
    #[must_use]
    pub fn for_people(&self) -> Self {
        GateStatistics { state: String::new(), ..self.clone() }
    }
}

/// The verdict of a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Too early to say.
    #[default]
    Wait,
    /// Within its limits.
    Pass,
    /// Outside its limits.
    Fail,
    /// The server answered, but with nothing that can be judged.
    NoData,
    /// The server did not answer properly.
    Error,
}

/// A phase that the canary has earned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarnedPhase {
    /// Name of the phase.
    #[schemars(length(max = 40))]
    pub name: String,
    /// Its share in per cent.
    pub traffic: i32,
}

/// What a route said of our Service before the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoundRoute {
    /// `HTTPRoute` or `GRPCRoute`.
    #[schemars(length(max = 16))]
    pub kind: String,
    /// Name of the route.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Weights of the backends that name the Service, in order; -1 for none given.
    #[schemars(length(max = 64))]
    pub weights: Vec<i32>,
}
