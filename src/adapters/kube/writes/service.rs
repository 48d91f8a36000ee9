//! Writes on Services: the pin, and the Service of the canary.

use serde_json::{Value, json};

use super::{Effect, Now, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch, Path};
use crate::adapters::kube::row::Row;
use crate::adapters::kube::views::ServiceView;
use crate::api::names::{COMPONENT_LABEL, POD_TEMPLATE_HASH, ROLLOUT_LABEL};
use crate::engine::world::Seen;

/// Fields of a port that the canary's Service has in common with the component's; a node port can be had once only.
const PORT_FIELDS: [&str; 5] = ["name", "protocol", "port", "targetPort", "appProtocol"];

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
    let fresh;
    let original = match subject.service.filter(|view| view.seen.at.uid == service.uid) {
        Some(known) => known,
        None => {
            fresh = look(cluster, subject, service).await?;
            &fresh
        }
    };
    let object = canary_of(subject, original, component, name, pod_hash);
    let owner: fn(&ServiceView) -> Option<&str> = |view| view.seen.owner_uid.as_deref();
    super::create(cluster, subject, name, &object, owner).await.map(Effect::Service)
}

async fn look(cluster: &Cluster, subject: Subject<'_>, service: &Seen) -> Result<ServiceView, CallError> {
    let path = Path::of::<ServiceView>(subject.namespace(), &service.name);
    let row: Row<ServiceView> = cluster.get(&path).await?;
    row.view
        .ok()
        .filter(|view| view.seen.at.uid == service.uid)
        .ok_or_else(|| CallError::Conflict(format!("Service {}/{}", subject.namespace(), service.name)))
}

fn canary_of(
    subject: Subject<'_>,
    original: &ServiceView,
    component: &str,
    name: &str,
    pod_hash: &str,
) -> Value {
    let ports = original.common.get("ports").and_then(Value::as_array);
    let ports: Vec<Value> = ports.into_iter().flatten().map(|port| pick(port, &PORT_FIELDS)).collect();
    let mut spec = original.common.clone();
    spec["type"] = "ClusterIP".into();
    spec["ports"] = ports.into();
    spec["selector"] = json!(original.seen.selector);
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
