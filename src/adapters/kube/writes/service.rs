//! Writes on Services: the pin, and the Service of the canary.

use serde_json::{Value, json};

use super::{Effect, Now, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch, Path};
use crate::adapters::kube::views::ServiceView;
use crate::api::names::{COMPONENT_LABEL, POD_TEMPLATE_HASH, ROLLOUT_LABEL};
use crate::engine::world::Seen;

/// Fields of a port that the canary's Service has in common with the component's; a node port can be had once only.
const PORT_FIELDS: [&str; 5] = ["name", "protocol", "port", "targetPort", "appProtocol"];
/// Fields of the Service that the canary's has in common; addresses are its own.
const FIELDS: [&str; 6] = [
    "sessionAffinity",
    "sessionAffinityConfig",
    "internalTrafficPolicy",
    "trafficDistribution",
    "ipFamilies",
    "ipFamilyPolicy",
];

pub(super) async fn pin(
    cluster: &Cluster,
    subject: Subject<'_>,
    service: &Seen,
    pod_hash: Option<&str>,
) -> Result<Effect, CallError> {
    let label = pod_hash.map(|_| subject.rollout.at.name.as_str());
    let body = json!({
        "metadata": {"labels": {ROLLOUT_LABEL: label}},
        "spec": {"selector": {POD_TEMPLATE_HASH: pod_hash}},
    });
    let path = Path::of::<ServiceView>(subject.namespace(), &service.name);
    Ok(Effect::Service(Now::Is(cluster.patch(&path, "", &Patch::merge(service, body)).await?)))
}

pub(super) async fn create_canary(
    cluster: &Cluster,
    subject: Subject<'_>,
    service: &Seen,
    component: &str,
    name: &str,
    pod_hash: &str,
) -> Result<Effect, CallError> {
    let path = Path::of::<ServiceView>(subject.namespace(), &service.name);
    let original: Value = cluster.get(&path).await?;
    if original.pointer("/metadata/uid").and_then(Value::as_str) != Some(&service.uid) {
        return Err(CallError::Conflict(format!("Service {}/{}", subject.namespace(), service.name)));
    }
    let object = canary_of(subject, &original, component, name, pod_hash);
    let owner: fn(&ServiceView) -> Option<&str> = |view| view.0.owner_uid.as_deref();
    super::create(cluster, subject, name, &object, owner).await.map(Effect::Service)
}

fn canary_of(subject: Subject<'_>, original: &Value, component: &str, name: &str, pod_hash: &str) -> Value {
    let ports = original.pointer("/spec/ports").and_then(Value::as_array);
    let ports: Vec<Value> = ports.into_iter().flatten().map(|port| pick(port, &PORT_FIELDS)).collect();
    let mut spec = pick(original.get("spec").unwrap_or(&Value::Null), &FIELDS);
    spec["type"] = "ClusterIP".into();
    spec["ports"] = ports.into();
    spec["selector"] = original.pointer("/spec/selector").cloned().unwrap_or_else(|| json!({}));
    spec["selector"][POD_TEMPLATE_HASH] = pod_hash.into();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": subject.namespace(),
            "labels": {ROLLOUT_LABEL: subject.rollout.at.name, COMPONENT_LABEL: component},
            "ownerReferences": [subject.owner()],
        },
        "spec": spec,
    })
}

fn pick(from: &Value, fields: &[&str]) -> Value {
    let found = fields.iter().filter_map(|field| Some(((*field).to_owned(), from.get(field)?.clone())));
    Value::Object(found.collect())
}
