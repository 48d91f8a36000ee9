//! Writes on the records of runs. A record is touched only if the Rollout controls it.

use jiff::Timestamp;
use kube::api::PropagationPolicy;
use serde_json::json;

use super::{Effect, Now, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch, Path};
use crate::adapters::kube::row::{Row, View};
use crate::adapters::kube::views::RunView;
use crate::api::names::ROLLOUT_LABEL;
use crate::api::{ReleasedComponent, RolloutRunSpec, RolloutRunStatus};
use crate::engine::world::Seen;

/// A record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// Its name.
    pub name: &'a str,
    /// Number of the run.
    pub number: i64,
    /// When the run started.
    pub started_at: Timestamp,
    /// What was released.
    pub components: &'a [ReleasedComponent],
}

pub(super) async fn create(
    cluster: &Cluster,
    subject: Subject<'_>,
    record: &Record<'_>,
) -> Result<Now<RunView>, CallError> {
    let rollout = &subject.rollout.at.name;
    let spec = RolloutRunSpec {
        rollout: rollout.clone(),
        number: record.number,
        components: record.components.to_vec(),
        phases: subject.rollout.spec.phases.clone(),
        started_at: record.started_at,
    };
    let object = json!({
        "apiVersion": format!("{}/{}", RunView::GROUP, RunView::VERSION),
        "kind": RunView::KIND,
        "metadata": {
            "name": record.name,
            "namespace": subject.namespace(),
            "labels": {ROLLOUT_LABEL: rollout},
            "ownerReferences": [subject.owner()],
        },
        "spec": spec,
    });
    let owner: fn(&RunView) -> Option<&str> = |view| view.owner_uid.as_deref();
    super::create(cluster, subject, record.name, &object, owner).await
}

/// Stores how the run went; somebody who deleted the record gets it again.
pub(super) async fn record(
    cluster: &Cluster,
    subject: Subject<'_>,
    record: &Record<'_>,
    status: &RolloutRunStatus,
) -> Result<Effect, CallError> {
    let path = Path::of::<RunView>(subject.namespace(), record.name);
    let seen = match subject.run.filter(|seen| seen.name == record.name) {
        Some(seen) => seen.clone(),
        None => {
            let Now::Is(row) = create(cluster, subject, record).await? else {
                return Err(CallError::NotFound(format!("RolloutRun {}", record.name)));
            };
            row.seen()
        }
    };
    let patch = Patch::json(&seen, vec![json!({"op": "add", "path": "/status", "value": status})]);
    Ok(Effect::Run(Now::Is(cluster.patch(&path, "/status", &patch).await?)))
}

pub(super) async fn delete(cluster: &Cluster, subject: Subject<'_>, name: &str) -> Result<Effect, CallError> {
    let gone = || Ok(Effect::Run(Now::Gone { name: name.to_owned(), uid: None }));
    let seen = match ours(cluster, subject, &Path::of::<RunView>(subject.namespace(), name)).await {
        Ok(seen) => seen,
        Err(CallError::NotFound(_)) => return gone(),
        Err(error) => return Err(error),
    };
    super::delete(cluster, subject, &seen, PropagationPolicy::Background).await.map(Effect::Run)
}

/// The record as it is now, if the Rollout controls it: a record of a former Rollout of that name is none of ours.
async fn ours(cluster: &Cluster, subject: Subject<'_>, path: &Path) -> Result<Seen, CallError> {
    let row: Row<RunView> = cluster.get(path).await?;
    match row.view {
        Ok(view) if view.owner_uid.as_deref() == Some(subject.rollout.at.uid.as_str()) => {
            Ok(view.at().clone())
        }
        _ => {
            let (namespace, name) = (subject.namespace(), path.name());
            Err(CallError::NotFound(format!("RolloutRun {namespace}/{name} of this Rollout")))
        }
    }
}
