//! `RolloutAction`: a person's word on a run.

#![allow(clippy::duplicated_attributes, reason = "several columns have one type")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person's decision. Created once and never changed; its author is stamped by the API server.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "palier.dev",
    version = "v1alpha1",
    kind = "RolloutAction",
    doc = "A person's word on a run of a Rollout.",
    namespaced,
    shortname = "roa",
    category = "palier",
    printcolumn(json_path = ".spec.rollout", name = "Rollout", type_ = "string"),
    printcolumn(json_path = ".spec.run", name = "Run", type_ = "integer"),
    printcolumn(json_path = ".spec.action", name = "Action", type_ = "string"),
    printcolumn(json_path = ".spec.requestedBy.user", name = "By", type_ = "string"),
    printcolumn(json_path = ".spec.reason", name = "Reason", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "a RolloutAction cannot be changed: create another one"))]
#[x_kube(validation = ("!has(self.full) || !self.full || self.action == 'Promote'", "full goes with action: Promote only"))]
pub struct RolloutActionSpec {
    /// Name of the Rollout in this namespace.
    #[schemars(length(min = 1, max = 63))]
    pub rollout: String,
    /// Number of the run it speaks of; it is void for any other.
    #[schemars(range(min = 1))]
    pub run: i64,
    /// What to do.
    pub action: ActionKind,
    /// With `Promote`: end every phase, not only this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// Why, for the record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Who asked: stamped and checked by the API server, whatever the request said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// What a person asks of a run. The verb on `rollouts` that grants it is the same word in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ActionKind {
    /// Go back to the stable revision.
    Abort,
    /// End the present bake now as if it had been earned.
    Promote,
    /// Stay where it is.
    Pause,
    /// End a pause.
    Resume,
    /// Try the rejected template again.
    Retry,
}

/// Who asked, as the API server saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requester {
    /// The user name of the request.
    #[schemars(length(max = 512))]
    pub user: String,
    /// The user's groups.
    #[serde(default)]
    #[schemars(length(max = 512), inner(length(max = 512)))]
    pub groups: Vec<String>,
}
