//! Whether an admission policy is in force.

use serde_json::Value;

use super::call::{Cluster, Path};

const GROUP: &str = "admissionregistration.k8s.io";

/// Whether the policy `name` and its binding are there. Not served (before Kubernetes 1.36), not installed and not allowed to look
/// all mean that nothing may be built on it.
pub async fn is_in_force(cluster: &Cluster, name: &str) -> bool {
    let policy = (GROUP, "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy");
    let binding = (GROUP, "v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding");
    for kind in [policy, binding] {
        if let Err(error) = cluster.get::<Value>(&Path::new(kind, "", name)).await {
            tracing::debug!(%error, policy = name, "an admission policy is not in force");
            return false;
        }
    }
    true
}
