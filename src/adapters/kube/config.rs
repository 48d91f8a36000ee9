//! Looks at the configuration of a component. Values are hashed here and go no further.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{CallError, Cluster, Path};
use super::row::Meta;
use crate::api::names::{COMPONENT_LABEL, CONFIG_COPY, CONFIG_LABEL, POD_TEMPLATE_HASH, ROLLOUT_LABEL};
use crate::api::{ComponentStatus, Revision};
use crate::engine::config::{copy_name, label_of, map_name};
use crate::engine::world::{
    ConfigKind, ConfigSeen, Content, CopySeen, DeploymentSeen, Look, MapSeen, RolloutSeen, Strays,
};

/// A type of Secret that the API server gives a meaning to: a copy would be another account's token.
const TOKEN: &str = "kubernetes.io/service-account-token";

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The Rollout.
    pub rollout: &'a RolloutSeen,
    /// Name of the component.
    pub component: &'a str,
    /// The component's status.
    pub status: Option<&'a ComponentStatus>,
    /// Its Deployment.
    pub deployment: &'a DeploymentSeen,
    /// The objects that hold its configuration.
    pub sources: &'a BTreeSet<(ConfigKind, String)>,
}

/// Where an object that holds configuration is served; the collection when `name` is empty.
pub(super) fn path_of(kind: ConfigKind, namespace: &str, name: &str) -> Path {
    let plural = match kind {
        ConfigKind::ConfigMap => "configmaps",
        ConfigKind::Secret => "secrets",
    };
    Path::new(("", "v1", plural, kind.as_str()), namespace, name)
}

/// What of an object is configuration: its data, and the type of a Secret.
pub(super) fn content_of(object: &Value) -> Value {
    let field = |name: &str| object.get(name).cloned().unwrap_or(Value::Null);
    json!({"data": field("data"), "binaryData": field("binaryData"), "type": field("type")})
}

/// Looks at everything that hangs together, each time anew. [`Look::Missing`] if the right to is missing.
///
/// # Errors
/// See [`CallError`]. None holds a value of an object.
pub async fn look(cluster: &Cluster, subject: Subject<'_>) -> Result<Look<ConfigSeen>, CallError> {
    match look_at_all(cluster, subject).await {
        Ok(seen) => Ok(Look::Found(seen)),
        Err(CallError::Forbidden { what, verb, .. }) => {
            tracing::debug!(what, verb, "the configuration cannot be looked at");
            Ok(Look::Missing)
        }
        Err(error) => Err(error),
    }
}

async fn look_at_all(cluster: &Cluster, subject: Subject<'_>) -> Result<ConfigSeen, CallError> {
    let at = cluster.now();
    let namespace = subject.rollout.namespace.as_str();
    let sources = subject.sources.iter().map(|(kind, name)| source(cluster, subject, *kind, name));
    let kinds = [ConfigKind::ConfigMap, ConfigKind::Secret];
    let copies = kinds.map(|kind| copies(cluster, subject, kind));
    let revisions = subject.status.into_iter().flat_map(|status| status.stable.iter().chain(&status.canary));
    let strays = revisions.map(|revision| strays(cluster, namespace, subject.deployment, revision));
    let map = path_of(ConfigKind::ConfigMap, namespace, &map_name(&subject.deployment.at.name));
    let (sources, copies, strays, map) = futures::future::join4(
        try_join_all(sources),
        try_join_all(copies),
        try_join_all(strays),
        cluster.get::<Map>(&map),
    )
    .await;
    let map = match map {
        Ok(map) => Some(MapSeen {
            at: map.metadata.seen(),
            owner_uids: map.metadata.owner_references.iter().map(|owner| owner.uid.clone()).collect(),
            data: map.data.unwrap_or_default(),
        }),
        Err(CallError::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(ConfigSeen {
        at,
        sources: sources?.into_iter().collect(),
        copies: copies?.into_iter().flatten().collect(),
        map,
        strays: strays?.into_iter().collect(),
    })
}

async fn source(
    cluster: &Cluster,
    subject: Subject<'_>,
    kind: ConfigKind,
    name: &str,
) -> Result<((ConfigKind, String), Content), CallError> {
    let rollout = subject.rollout;
    let content = match cluster.get::<Value>(&path_of(kind, &rollout.namespace, name)).await {
        Ok(object) if object.get("type").and_then(Value::as_str) == Some(TOKEN) => {
            Content::Refused("holds the token of a ServiceAccount, which cannot be copied".to_owned())
        }
        Ok(object) => {
            let content = content_of(&object);
            Content::Copy(copy_name(&rollout.at.uid, subject.component, kind, name, &content))
        }
        Err(CallError::NotFound(_)) => Content::Missing,
        Err(error) => return Err(error),
    };
    Ok(((kind, name.to_owned()), content))
}

async fn copies(
    cluster: &Cluster,
    subject: Subject<'_>,
    kind: ConfigKind,
) -> Result<Vec<CopySeen>, CallError> {
    let labels = format!(
        "{ROLLOUT_LABEL}={},{COMPONENT_LABEL}={},{CONFIG_LABEL}={CONFIG_COPY}",
        subject.rollout.at.name, subject.component
    );
    let path = path_of(kind, &subject.rollout.namespace, "");
    let page = cluster.list::<Named>(&path, &labels, "", None).await?;
    let seen =
        |copy: Named| CopySeen { kind, at: copy.metadata.seen(), owner_uid: copy.metadata.controller_uid() };
    Ok(page.items.into_iter().map(seen).collect())
}

/// Pods of a revision that have another configuration than it, one of each sort. The API server does the comparing.
async fn strays(
    cluster: &Cluster,
    namespace: &str,
    deployment: &DeploymentSeen,
    revision: &Revision,
) -> Result<(String, Strays), CallError> {
    let pods = Path::new(("", "v1", "pods", "Pod"), namespace, "");
    let mut of = String::new();
    for (key, value) in &deployment.selector {
        of.push_str(&format!("{key}={value},"));
    }
    of.push_str(&format!("{POD_TEMPLATE_HASH}={}", revision.pod_hash));
    let label = label_of(&revision.config);
    let first = async |selector: String| -> Result<Option<String>, CallError> {
        let page = cluster.list::<Named>(&pods, &selector, super::reads::LIVING, Some(1)).await?;
        Ok(page.items.into_iter().next().map(|pod| pod.metadata.name))
    };
    let unbound = first(format!("{of},!{CONFIG_LABEL}")).await?;
    let other = first(format!("{of},{CONFIG_LABEL},{CONFIG_LABEL}!={label}")).await?;
    Ok((revision.pod_hash.clone(), Strays { unbound, other }))
}

#[derive(Deserialize)]
struct Named {
    metadata: Meta,
}

#[derive(Deserialize)]
struct Map {
    metadata: Meta,
    data: Option<BTreeMap<String, String>>,
}
