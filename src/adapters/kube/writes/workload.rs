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
    paused: bool,
) -> Result<Effect, CallError> {
    let mark = paused.then_some("true");
    let body = json!({"metadata": {"annotations": {INTERCEPTED: mark}}, "spec": {"paused": paused}});
    let patch = Patch::merge(deployment, body);
    send(cluster, subject, deployment, &patch).await
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
