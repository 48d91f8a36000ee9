//! Writes on copies of configuration, and on the map that the admission policy reads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Effect, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch};
use crate::adapters::kube::config::{content_of, path_of};
use crate::api::names::{COMPONENT_LABEL, CONFIG_COPY, CONFIG_LABEL, CONFIG_MAP_LABEL, ROLLOUT_LABEL};
use crate::engine::config::copy_name;
use crate::engine::world::{ConfigKind, Seen};

/// Copies an object, if it still holds what the copy is named after.
pub(super) async fn create_copy(
    cluster: &Cluster,
    subject: Subject<'_>,
    component: &str,
    (kind, source): (ConfigKind, &str),
    name: &str,
) -> Result<Effect, CallError> {
    let path = path_of(kind, subject.namespace(), source);
    let original: Value = cluster.get(&path).await?;
    let content = content_of(&original);
    if copy_name(&subject.rollout.at.uid, component, kind, source, &content) != name {
        let what = format!("{} {}/{source}", kind.as_str(), subject.namespace());
        return Err(CallError::Conflict(what));
    }
    let mut copy = json!({
        "apiVersion": "v1",
        "kind": kind.as_str(),
        "metadata": {
            "name": name,
            "namespace": subject.namespace(),
            "labels": {
                ROLLOUT_LABEL: subject.rollout.at.name, COMPONENT_LABEL: component, CONFIG_LABEL: CONFIG_COPY,
            },
            "ownerReferences": [subject.owner()],
        },
        "immutable": true,
    });
    if let (Some(copy), Value::Object(fields)) = (copy.as_object_mut(), content) {
        copy.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    let path = path_of(kind, subject.namespace(), name);
    match cluster.create::<Ignored>(&path, &copy).await {
        // Its name says what it holds. One that is not ours shows at the next look.
        Ok(Ignored {}) | Err(CallError::AlreadyExists(_)) => Ok(Effect::Config(component.to_owned())),
        Err(error) => Err(error),
    }
}

/// Creates the map, or replaces what it says.
pub(super) async fn put_map(
    cluster: &Cluster,
    subject: Subject<'_>,
    component: &str,
    (name, seen): (&str, Option<&Seen>),
    data: &BTreeMap<String, String>,
) -> Result<Effect, CallError> {
    let path = path_of(ConfigKind::ConfigMap, subject.namespace(), name);
    let mut map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": subject.namespace(),
            "labels": {
                ROLLOUT_LABEL: subject.rollout.at.name, COMPONENT_LABEL: component, CONFIG_MAP_LABEL: "true",
            },
            "ownerReferences": [subject.owner()],
        },
        "data": data,
    });
    match seen {
        None => cluster.create::<Ignored>(&path, &map).await?,
        Some(seen) => {
            map["metadata"]["uid"] = seen.uid.clone().into();
            map["metadata"]["resourceVersion"] = seen.resource_version.clone().into();
            cluster.replace::<Ignored>(&path, &map).await?
        }
    };
    Ok(Effect::Config(component.to_owned()))
}

/// Deletes a copy or the map; one that is gone already is as good.
pub(super) async fn delete(
    cluster: &Cluster,
    subject: Subject<'_>,
    component: &str,
    kind: ConfigKind,
    object: &Seen,
) -> Result<Effect, CallError> {
    match cluster.remove(&path_of(kind, subject.namespace(), &object.name), object).await {
        Ok(()) | Err(CallError::NotFound(_)) => Ok(Effect::Config(component.to_owned())),
        Err(error) => Err(error),
    }
}

/// Makes the Deployment the owner in place of the Rollout.
pub(super) async fn hand(
    cluster: &Cluster,
    subject: Subject<'_>,
    component: &str,
    (kind, object): (ConfigKind, &Seen),
    deployment: &Seen,
) -> Result<Effect, CallError> {
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name, "uid": deployment.uid,
    });
    let body = json!({"metadata": {
        "labels": {ROLLOUT_LABEL: null, COMPONENT_LABEL: null},
        "ownerReferences": [owner],
    }});
    let path = path_of(kind, subject.namespace(), &object.name);
    cluster.patch::<Ignored>(&path, "", &Patch::merge(object, body)).await?;
    Ok(Effect::Config(component.to_owned()))
}

/// The answer to a write: the object, of which nothing is kept.
#[derive(serde::Deserialize)]
struct Ignored {}
