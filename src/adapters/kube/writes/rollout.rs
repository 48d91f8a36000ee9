//! Writes on the Rollout itself: its finalizer and its status.

use serde_json::json;

use super::{Effect, Now, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch, Path};
use crate::adapters::kube::row::Row;
use crate::adapters::kube::views::RolloutView;
use crate::api::RolloutStatus;
use crate::api::names::FINALIZER;
use crate::engine::world::RolloutSeen;

/// Stores the status as a whole, if the Rollout is still the one that was looked at.
///
/// # Errors
/// See [`CallError`].
pub async fn store_status(
    cluster: &Cluster,
    rollout: &RolloutSeen,
    status: &RolloutStatus,
) -> Result<Row<RolloutView>, CallError> {
    let path = Path::of::<RolloutView>(&rollout.namespace, &rollout.at.name);
    let patch = Patch::json(&rollout.at, vec![json!({"op": "add", "path": "/status", "value": status})]);
    cluster.patch(&path, "/status", &patch).await
}

pub(super) async fn add_finalizer(cluster: &Cluster, subject: Subject<'_>) -> Result<Effect, CallError> {
    let mut finalizers = subject.finalizers.to_vec();
    if !finalizers.iter().any(|it| it == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    set_finalizers(cluster, subject, &finalizers).await
}

pub(super) async fn remove_finalizer(cluster: &Cluster, subject: Subject<'_>) -> Result<Effect, CallError> {
    let mut finalizers = subject.finalizers.to_vec();
    finalizers.retain(|it| it != FINALIZER);
    match set_finalizers(cluster, subject, &finalizers).await {
        // The last finalizer is off and the object is gone: what the finalizer was for is done.
        Err(CallError::NotFound(_)) => Ok(Effect::Rollout(Now::Gone {
            name: subject.rollout.at.name.clone(),
            uid: Some(subject.rollout.at.uid.clone()),
        })),
        other => other,
    }
}

async fn set_finalizers(
    cluster: &Cluster,
    subject: Subject<'_>,
    finalizers: &[String],
) -> Result<Effect, CallError> {
    let at = &subject.rollout.at;
    let path = Path::of::<RolloutView>(subject.namespace(), &at.name);
    let patch = Patch::merge(at, json!({"metadata": {"finalizers": finalizers}}));
    Ok(Effect::Rollout(Now::Is(cluster.patch(&path, "", &patch).await?)))
}
