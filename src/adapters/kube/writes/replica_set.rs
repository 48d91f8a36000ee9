//! Writes on ReplicaSets.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Effect, Now, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch, Path};
use crate::adapters::kube::views::{DeploymentView, ReplicaSetView};
use crate::api::names::{
    COMPONENT_LABEL, DESIRED_REPLICAS, MAX_REPLICAS, POD_TEMPLATE_HASH, RETIRED, ROLLOUT_LABEL,
};
use crate::engine::revision::revision_of;
use crate::engine::world::Seen;

/// The ReplicaSet to create.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Name of the component.
    pub component: &'a str,
    /// The revision that the Deployment's template must still be.
    pub revision: &'a str,
    /// Name of the ReplicaSet.
    pub name: &'a str,
    /// Value of the `pod-template-hash` label.
    pub pod_hash: &'a str,
    /// Its size.
    pub replicas: i32,
}

pub(super) async fn create(
    cluster: &Cluster,
    subject: Subject<'_>,
    deployment: &Seen,
    wanted: &Wanted<'_>,
) -> Result<Effect, CallError> {
    let spec = match spec_kept(subject, deployment, wanted) {
        Some(spec) => spec,
        None => spec_now(cluster, subject, deployment, wanted).await?,
    };
    let object = canary_of(subject, &spec, wanted);
    let owner: fn(&ReplicaSetView) -> Option<&str> = |view| view.seen.owner_uid.as_deref();
    super::create(cluster, subject, wanted.name, &object, owner).await.map(Effect::ReplicaSet)
}

/// The spec of the Deployment as a watch has told it, if it is the one that was looked at.
fn spec_kept(subject: Subject<'_>, deployment: &Seen, wanted: &Wanted<'_>) -> Option<Arc<Value>> {
    let view = subject.deployment.filter(|view| view.seen.at.uid == deployment.uid)?;
    view.spec.clone().filter(|_| view.seen.revision == wanted.revision)
}

/// The spec of the Deployment as it is now.
async fn spec_now(
    cluster: &Cluster,
    subject: Subject<'_>,
    deployment: &Seen,
    wanted: &Wanted<'_>,
) -> Result<Arc<Value>, CallError> {
    let path = Path::of::<DeploymentView>(subject.namespace(), &deployment.name);
    let mut now: Value = cluster.get(&path).await?;
    let is_same = now.pointer("/metadata/uid").and_then(Value::as_str) == Some(&deployment.uid);
    let spec = now.get_mut("spec").map(Value::take).unwrap_or_default();
    if !is_same || revision_of(spec.get("template").unwrap_or(&Value::Null)) != wanted.revision {
        return Err(CallError::Conflict(format!("Deployment {}/{}", subject.namespace(), deployment.name)));
    }
    Ok(Arc::new(spec))
}

fn canary_of(subject: Subject<'_>, deployment: &Value, wanted: &Wanted<'_>) -> Value {
    let spec = |pointer: &str| deployment.pointer(pointer).cloned().unwrap_or(Value::Null);
    let mut template = spec("/template");
    template["metadata"]["labels"][POD_TEMPLATE_HASH] = wanted.pod_hash.into();
    let mut selector = spec("/selector");
    selector["matchLabels"][POD_TEMPLATE_HASH] = wanted.pod_hash.into();
    let mut labels = template["metadata"]["labels"].clone();
    labels[ROLLOUT_LABEL] = subject.rollout.at.name.clone().into();
    labels[COMPONENT_LABEL] = wanted.component.into();
    let desired = spec("/replicas").as_i64().unwrap_or(1);
    let most = desired + surge_of(&spec("/strategy/rollingUpdate/maxSurge"), desired);
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": wanted.name,
            "namespace": subject.namespace(),
            "labels": labels,
            "annotations": {DESIRED_REPLICAS: desired.to_string(), MAX_REPLICAS: most.to_string()},
            "ownerReferences": [subject.owner()],
        },
        "spec": {
            "replicas": wanted.replicas,
            "minReadySeconds": spec("/minReadySeconds").as_i64().unwrap_or(0),
            "selector": selector,
            "template": template,
        },
    })
}

/// Pods above `desired` that a rolling update may have: a number or a percentage, rounded up; 25 % if nothing is said.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-surge>
fn surge_of(max_surge: &Value, desired: i64) -> i64 {
    let percent = match max_surge {
        Value::Number(number) => return number.as_i64().unwrap_or(0),
        Value::String(text) => text.trim_end_matches('%').parse().unwrap_or(25),
        _ => 25,
    };
    desired.saturating_mul(percent).saturating_add(99) / 100
}

pub(super) async fn scale(
    cluster: &Cluster,
    subject: Subject<'_>,
    replica_set: &Seen,
    replicas: i32,
    desired: i32,
) -> Result<Effect, CallError> {
    let annotations = json!({DESIRED_REPLICAS: desired.to_string()});
    let body = json!({"metadata": {"annotations": annotations}, "spec": {"replicas": replicas}});
    send(cluster, subject, replica_set, &Patch::merge(replica_set, body)).await
}

pub(super) async fn release(
    cluster: &Cluster,
    subject: Subject<'_>,
    replica_set: &Seen,
    desired: i32,
) -> Result<Effect, CallError> {
    let body = json!({"metadata": {
        "annotations": {DESIRED_REPLICAS: desired.to_string()},
        // Owners are merged by uid, so that nobody else's reference is touched.
        "ownerReferences": [{"$patch": "delete", "uid": subject.rollout.at.uid}],
    }});
    send(cluster, subject, replica_set, &Patch::strategic(replica_set, body)).await
}

pub(super) async fn retire(
    cluster: &Cluster,
    subject: Subject<'_>,
    replica_set: &Seen,
    retired: bool,
) -> Result<Effect, CallError> {
    let annotations = json!({RETIRED: retired.then_some("true")});
    let body = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    send(cluster, subject, replica_set, &Patch::merge(replica_set, body)).await
}

pub(super) async fn unlabel(
    cluster: &Cluster,
    subject: Subject<'_>,
    replica_set: &Seen,
) -> Result<Effect, CallError> {
    let body = json!({"metadata": {"labels": {ROLLOUT_LABEL: null, COMPONENT_LABEL: null}}});
    send(cluster, subject, replica_set, &Patch::merge(replica_set, body)).await
}

async fn send(
    cluster: &Cluster,
    subject: Subject<'_>,
    replica_set: &Seen,
    patch: &Patch,
) -> Result<Effect, CallError> {
    let path = Path::of::<ReplicaSetView>(subject.namespace(), &replica_set.name);
    Ok(Effect::ReplicaSet(Now::Is(cluster.patch(&path, "", patch).await?)))
}
