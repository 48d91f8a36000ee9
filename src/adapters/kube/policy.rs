//! Whether the admission policy that pauses changed Deployments is in force.

use serde_json::Value;

use super::call::{Cluster, Path};
use crate::api::names::INTERCEPT_POLICY;

const GROUP: &str = "admissionregistration.k8s.io";

/// Whether the policy and its binding are there. Not served (before Kubernetes 1.36), not installed and not allowed to look
/// all mean that nothing may be built on it.
pub async fn is_in_force(cluster: &Cluster) -> bool {
    let policy = (GROUP, "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy");
    let binding = (GROUP, "v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding");
    for kind in [policy, binding] {
        if let Err(error) = cluster.get::<Value>(&Path::new(kind, "", INTERCEPT_POLICY)).await {
            tracing::debug!(%error, "changed Deployments are not paused by admission");
            return false;
        }
    }
    true
}
