//! Live reads that no watch replaces.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::call::{CallError, Cluster, Path};
use super::row::{Meta, Row};
use super::views::ReplicaSetView;

/// Pods that will never serve again are nobody's endpoints.
pub(super) const LIVING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The ReplicaSets that a selector matches, at most 500.
///
/// # Errors
/// See [`CallError`].
pub async fn replica_sets(
    cluster: &Cluster,
    namespace: &str,
    selector: &BTreeMap<String, String>,
) -> Result<Vec<Row<ReplicaSetView>>, CallError> {
    let path = Path::of::<ReplicaSetView>(namespace, "");
    Ok(cluster.list(&path, &equals(selector), "", None).await?.items)
}

/// The name of a pod that the Service's `selector` matches and the Deployment's `labels` do not.
///
/// Each label of the Deployment that the Service does not ask for is asked about on its own, so that the API server does
/// the comparing and the answer is one pod at most, however many pods there are. Usually nothing has to be asked.
///
/// # Errors
/// See [`CallError`].
pub async fn foreign_pod(
    cluster: &Cluster,
    namespace: &str,
    selector: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> Result<Option<String>, CallError> {
    let path = Path::new(("", "v1", "pods", "Pod"), namespace, "");
    for (key, value) in labels {
        if selector.get(key) == Some(value) {
            continue;
        }
        let others = format!("{},{key}!={value}", equals(selector));
        let page = cluster.list::<Named>(&path, &others, LIVING, Some(1)).await?;
        if let Some(pod) = page.items.into_iter().next() {
            return Ok(Some(pod.metadata.name));
        }
    }
    Ok(None)
}

#[derive(Debug, Deserialize)]
struct Named {
    metadata: Meta,
}

fn equals(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}
