//! What the cluster has: the objects that Rollouts name, and those that could stand in their way.

use std::collections::BTreeSet;

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::cli::{Asked, CliError, Cluster};
use crate::engine::lint::{Finding, Given, Kind, Wanted, around, named_objects, not_in_the_cluster};

/// The most objects of one list.
const PAGE_MAX: u32 = 1_000;

/// What was found, and what was not.
#[derive(Debug, Default)]
pub struct Live {
    /// The objects, each once; without those that the files have, which are to be applied in their place.
    pub objects: Vec<Value>,
    /// Findings about objects that are missing.
    pub missing: Vec<Finding>,
}

/// Looks at the cluster. Nothing is written.
///
/// # Errors
/// When the cluster cannot be asked; an object that is missing is a finding.
pub async fn look(cluster: &Cluster, values: &[Value], given: &Given) -> Result<Live, CliError> {
    let mut live = Live::default();
    let mut seen: BTreeSet<(String, String, String)> =
        values.iter().map(|it| identity(it, &cluster.namespace)).collect();
    let mut add = |live: &mut Live, object: Value| {
        if seen.insert(identity(&object, &cluster.namespace)) {
            live.objects.push(object);
        }
    };
    let mut asked = BTreeSet::new();
    // Gates of the cluster's templates name sources in their turn.
    for _ in 0..2 {
        let known = [values, &live.objects].concat();
        let given = Given { live: live.objects.len(), ..given.clone() };
        for wanted in named_objects(&known, &given) {
            if !asked.insert((wanted.kind, wanted.namespace.clone(), wanted.name.clone())) {
                continue;
            }
            match get(cluster, &wanted).await? {
                Some(object) => add(&mut live, object),
                None => live.missing.push(not_in_the_cluster(&wanted)),
            }
        }
    }
    for wanted in around(values, &live.objects, given) {
        for object in list(cluster, &wanted.kind, &wanted.namespace, &wanted.labels).await? {
            add(&mut live, object);
        }
    }
    Ok(live)
}

/// Kind, namespace and name.
fn identity(object: &Value, usual: &str) -> (String, String, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (kind, name) = (text("/kind").unwrap_or_default(), text("/metadata/name").unwrap_or_default());
    let namespace = if kind == "MetricSource" { "" } else { text("/metadata/namespace").unwrap_or(usual) };
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

fn api(cluster: &Cluster, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
    let (group, version, name) = kind.kind;
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), kind.resource);
    if namespace.is_empty() {
        Api::all_with(cluster.client.clone(), &resource)
    } else {
        Api::namespaced_with(cluster.client.clone(), namespace, &resource)
    }
}

async fn get(cluster: &Cluster, wanted: &Wanted) -> Result<Option<Value>, CliError> {
    let asked = Asked {
        verb: "get",
        resource: wanted.kind.resource,
        kind: wanted.kind.kind.2,
        name: &wanted.name,
        namespace: &wanted.namespace,
        server: &cluster.server,
    };
    let api = api(cluster, &wanted.kind, &wanted.namespace);
    let found = cluster.ask(asked, api.get_opt(&wanted.name)).await?;
    Ok(found.and_then(|it| as_value(it, &wanted.kind)))
}

async fn list(cluster: &Cluster, kind: &Kind, namespace: &str, labels: &str) -> Result<Vec<Value>, CliError> {
    let asked = Asked {
        verb: "list",
        resource: kind.resource,
        kind: kind.kind.2,
        name: "",
        namespace,
        server: &cluster.server,
    };
    let params = ListParams { limit: Some(PAGE_MAX), ..ListParams::default() }.labels(labels);
    let page = cluster.ask(asked, api(cluster, kind, namespace).list(&params)).await?;
    Ok(page.items.into_iter().filter_map(|it| as_value(it, kind)).collect())
}

/// The object as it would stand in a file. Items of a list do not say what they are.
fn as_value(object: DynamicObject, kind: &Kind) -> Option<Value> {
    let mut value = serde_json::to_value(object).ok()?;
    let (group, version, name) = kind.kind;
    let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    value["apiVersion"] = Value::String(version);
    value["kind"] = Value::String(name.to_owned());
    value.pointer_mut("/metadata")?.as_object_mut()?.remove("managedFields");
    Some(value)
}
