//! Writes on Deployments: one label, `spec.paused` and the annotation that calls the pause ours, nothing else ever.

use serde_json::json;

use super::{Effect, Now, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch, Path};
use crate::adapters::kube::views::DeploymentView;
use crate::api::names::{INTERCEPTED, ROLLOUT_LABEL};
use crate::engine::world::Seen;

pub(super) async fn label(
    cluster: &Cluster,
    subject: Subject<'_>,
    deployment: &Seen,
    rollout: Option<&str>,
) -> Result<Effect, CallError> {
    let patch = Patch::merge(deployment, json!({"metadata": {"labels": {ROLLOUT_LABEL: rollout}}}));
    send(cluster, subject, deployment, &patch).await
}

pub(super) async fn pause(
    cluster: &Cluster,
    subject: Subject<'_>,
    deployment: &Seen,
) -> Result<Effect, CallError> {
    let body = json!({"metadata": {"annotations": {INTERCEPTED: "true"}}, "spec": {"paused": true}});
    let patch = Patch::merge(deployment, body);
    send(cluster, subject, deployment, &patch).await
}

/// The Deployment controller writes the status of a Deployment that it has just been given a ReplicaSet every few
/// milliseconds: its generation is what must not have changed, not its version.
pub(super) async fn resume(
    cluster: &Cluster,
    subject: Subject<'_>,
    deployment: &Seen,
    generation: i64,
) -> Result<Effect, CallError> {
    let mark = format!("/metadata/annotations/{}", INTERCEPTED.replace('/', "~1"));
    let patch = Patch::of_generation(
        deployment,
        generation,
        vec![
            json!({"op": "add", "path": "/spec/paused", "value": false}),
            // Added first: what is not there cannot be removed.
            json!({"op": "add", "path": mark, "value": ""}),
            json!({"op": "remove", "path": mark}),
        ],
    );
    match send(cluster, subject, deployment, &patch).await {
        // A failed test is answered as a bad patch is.
        Err(CallError::Refused { what, .. }) => Err(CallError::Conflict(what)),
        sent => sent,
    }
}

async fn send(
    cluster: &Cluster,
    subject: Subject<'_>,
    deployment: &Seen,
    patch: &Patch,
) -> Result<Effect, CallError> {
    let path = Path::of::<DeploymentView>(subject.namespace(), &deployment.name);
    Ok(Effect::Deployment(Now::Is(cluster.patch(&path, "", patch).await?)))
}
