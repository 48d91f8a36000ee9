//! What belongs to others: how it was found, and what of it is different later.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use palier::api::names::{FIELD_MANAGER, INTERCEPTED, ROLLOUT_LABEL};
use serde_json::{Value, json};

use super::given::Workload;
use crate::lab::Lab;

/// What the Deployment controller keeps on a Deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// What `kubectl apply` keeps for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Fields that say when and how often, not what.
const BOOKKEEPING: [&str; 4] = ["resourceVersion", "generation", "managedFields", "creationTimestamp"];

/// A workload's Deployment, Service and route, without status and bookkeeping.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The Deployment. `paused: false` is the same as no word about it.
    pub deployment: Value,
    /// The Service.
    pub service: Value,
    /// The HTTPRoute.
    pub route: Value,
}

/// How much may be different of a Deployment while a Rollout names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::enum_variant_names, reason = "read as a sentence: apart from …")]
pub enum Apart {
    /// Nothing: Palier has let go of it.
    FromNothing,
    /// Its label.
    FromTheLabel,
    /// Its label, and the pause with its annotation.
    FromTheLabelAndThePause,
}

impl Found {
    /// Looks at a workload.
    pub async fn look(lab: &Lab, namespace: &str, workload: &Workload) -> Result<Self> {
        let read = async |version: &str, kind: &str| {
            let object = lab.api(version, kind, namespace).await?.get(&workload.name).await?;
            anyhow::Ok(without_bookkeeping(serde_json::to_value(object)?))
        };
        Ok(Self {
            deployment: read("apps/v1", "Deployment").await?,
            service: read("v1", "Service").await?,
            route: read("gateway.networking.k8s.io/v1", "HTTPRoute").await?,
        })
    }

    /// The same with another image in the Deployment, as a user has set it.
    pub fn with_image(mut self, image: &str) -> Self {
        self.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        self
    }

    /// The same with another size of the Deployment, as a user has set it.
    pub fn with_replicas(mut self, replicas: u32) -> Self {
        self.deployment["spec"]["replicas"] = json!(replicas);
        self
    }

    /// The same with the restart that a user has asked for since.
    pub fn restarted_as(mut self, deployment: &Deployment) -> Self {
        let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
        self.deployment["spec"]["template"]["metadata"]["annotations"] =
            json!(template.and_then(|meta| meta.annotations.clone()));
        self
    }

    /// Fails with every field that is different now.
    pub fn is_kept(&self, now: &Self, apart: Apart) -> Result<()> {
        let mut differences = Vec::new();
        let (before, after) = (bare(&self.deployment, apart), bare(&now.deployment, apart));
        compare("Deployment", &before, &after, &mut differences);
        compare("Service", &self.service, &now.service, &mut differences);
        compare("HTTPRoute", &self.route, &now.route, &mut differences);
        ensure!(differences.is_empty(), "not as found:\n  {}", differences.join("\n  "));
        Ok(())
    }
}

fn without_bookkeeping(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if let Some(meta) = object["metadata"].as_object_mut() {
        BOOKKEEPING.iter().for_each(|field| drop(meta.remove(*field)));
        for field in ["labels", "annotations"] {
            if let Some(map) = meta.get_mut(field).and_then(Value::as_object_mut) {
                map.remove(REVISION);
                map.remove(LAST_APPLIED);
            }
        }
    }
    drop_empty_maps(&mut object);
    object
}

fn drop_empty_maps(object: &mut Value) {
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.retain(|_, value| !value.as_object().is_some_and(serde_json::Map::is_empty));
    }
}

fn bare(deployment: &Value, apart: Apart) -> Value {
    let mut deployment = deployment.clone();
    if deployment["spec"]["paused"] == json!(false) || apart == Apart::FromTheLabelAndThePause {
        deployment["spec"].as_object_mut().map(|spec| spec.remove("paused"));
    }
    if apart != Apart::FromNothing {
        deployment["metadata"]["labels"].as_object_mut().map(|labels| labels.remove(ROLLOUT_LABEL));
    }
    if apart == Apart::FromTheLabelAndThePause {
        deployment["metadata"]["annotations"].as_object_mut().map(|all| all.remove(INTERCEPTED));
    }
    // Reading a field that is not there has made it `null`.
    if let Some(meta) = deployment["metadata"].as_object_mut() {
        meta.retain(|_, value| !value.is_null());
    }
    drop_empty_maps(&mut deployment);
    deployment
}

/// Every path at which two values differ, with both.
fn compare(path: &str, before: &Value, after: &Value, differences: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                compare(&format!("{path}.{key}"), &of(a), &of(b), differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{index}]"), a, b, differences);
            }
        }
        (a, b) if a == b => {}
        // No map is the same as one in which nothing is said.
        (Value::Object(_), Value::Null) => compare(path, before, &json!({}), differences),
        (Value::Null, Value::Object(_)) => compare(path, &json!({}), after, differences),
        (a, b) => differences.push(format!("{path}: {a} became {b}")),
    }
}

/// Fails when Palier owns a field of a Deployment that is not its own to write.
pub async fn only_our_fields(lab: &Lab, namespace: &str, deployment: &str) -> Result<()> {
    let object = lab.api("apps/v1", "Deployment", namespace).await?.get(deployment).await?;
    for entry in object.metadata.managed_fields.unwrap_or_default() {
        if entry.manager.as_deref() != Some(FIELD_MANAGER) {
            continue;
        }
        let mut paths = Vec::new();
        leaves("", &entry.fields_v1.map(|fields| fields.0).unwrap_or_default(), &mut paths);
        let ours = [
            format!(".f:metadata.f:labels.f:{ROLLOUT_LABEL}"),
            format!(".f:metadata.f:annotations.f:{INTERCEPTED}"),
            ".f:metadata.f:labels".to_owned(),
            ".f:metadata.f:annotations".to_owned(),
            ".f:spec.f:paused".to_owned(),
        ];
        let foreign: Vec<&String> = paths.iter().filter(|path| !ours.contains(path)).collect();
        ensure!(foreign.is_empty(), "Palier owns fields of the Deployment that are not its own: {foreign:?}");
    }
    Ok(())
}

fn leaves(path: &str, fields: &Value, found: &mut Vec<String>) {
    match fields.as_object().filter(|map| !map.is_empty()) {
        Some(map) => {
            for (key, inner) in map {
                let path = if key == "." { path.to_owned() } else { format!("{path}.{key}") };
                leaves(&path, inner, found);
            }
        }
        None => found.push(path.to_owned()),
    }
}
