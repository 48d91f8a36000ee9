//! The Jobs of hooks, made from the templates of CronJobs as `kubectl create job --from` does.

use serde_json::{Map, Value, json};

use super::run::{self, Record};
use super::{Effect, Now, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch, Path};
use crate::adapters::kube::row::{Row, View};
use crate::adapters::kube::views::{CronJobView, JobView, RunView};
use crate::api::names::{COMPONENT_LABEL, JOB_FINALIZER, ROLLOUT_LABEL, RUN_LABEL};
use crate::engine::world::Seen;

/// What `kubectl create job --from=cronjob/…` writes on a Job.
/// <https://kubernetes.io/docs/reference/kubectl/generated/kubectl_create/kubectl_create_job/>
const INSTANTIATE: &str = "cronjob.kubernetes.io/instantiate";

/// The Job to create.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// The component; empty for the whole run.
    pub component: &'a str,
    /// The CronJob; its uid must still be this one.
    pub cron_job: &'a Seen,
    /// What every container gets as environment.
    pub environment: &'a [(&'static str, String)],
    /// The record of the run, which owns the Job.
    pub run: Record<'a>,
}

/// Creates the Job. One of that name that is of this run already is as good. What the API server refuses for good is no
/// error but an effect: it is the hook that failed.
pub(super) async fn create(
    cluster: &Cluster,
    subject: Subject<'_>,
    wanted: &Wanted<'_>,
) -> Result<Effect, CallError> {
    let path = Path::of::<CronJobView>(subject.namespace(), &wanted.cron_job.name);
    let cron_job: Value = cluster.get(&path).await?;
    if cron_job.pointer("/metadata/uid").and_then(Value::as_str) != Some(&wanted.cron_job.uid) {
        return Err(CallError::Conflict(format!("CronJob {}/{}", subject.namespace(), wanted.cron_job.name)));
    }
    match create_from(cluster, subject, &cron_job, wanted).await {
        Err(
            error @ (CallError::AlreadyExists(_) | CallError::Refused { .. } | CallError::Forbidden { .. }),
        ) => Ok(Effect::JobRefused { name: wanted.name.to_owned(), why: error.to_string() }),
        created => created,
    }
}

/// Takes our finalizer off; those of others stay. One that is gone needs none.
pub(super) async fn release(
    cluster: &Cluster,
    subject: Subject<'_>,
    job: &Seen,
) -> Result<Effect, CallError> {
    let path = Path::of::<JobView>(subject.namespace(), &job.name);
    let metadata = json!({"$deleteFromPrimitiveList/finalizers": [JOB_FINALIZER]});
    let patch = Patch::strategic(job, json!({"metadata": metadata}));
    match cluster.patch(&path, "", &patch).await {
        Ok(row) => Ok(Effect::Job(Now::Is(row))),
        Err(CallError::NotFound(_)) => {
            Ok(Effect::Job(Now::Gone { name: job.name.clone(), uid: Some(job.uid.clone()) }))
        }
        Err(error) => Err(error),
    }
}

async fn create_from(
    cluster: &Cluster,
    subject: Subject<'_>,
    cron_job: &Value,
    wanted: &Wanted<'_>,
) -> Result<Effect, CallError> {
    let owner = match subject.run.filter(|run| run.name == wanted.run.name) {
        Some(seen) => seen.clone(),
        None => match run::create(cluster, subject, &wanted.run).await? {
            Now::Is(row) => row.seen(),
            Now::Gone { name, .. } => return Err(CallError::NotFound(format!("RolloutRun {name}"))),
        },
    };
    let path = Path::of::<JobView>(subject.namespace(), wanted.name);
    let error = match cluster.create(&path, &job_of(subject, cron_job, &owner, wanted)).await {
        Ok(row) => return Ok(Effect::Job(Now::Is(row))),
        Err(error) => error,
    };
    if !matches!(error, CallError::AlreadyExists(_)) {
        return Err(error);
    }
    let row: Box<Row<JobView>> = cluster.get(&path).await?;
    let is_ours = row.view.as_ref().is_ok_and(|view| {
        view.rollout.as_deref() == Some(&subject.rollout.at.name) && view.seen.run == wanted.run.number
    });
    if is_ours { Ok(Effect::Job(Now::Is(row))) } else { Err(error) }
}

fn job_of(subject: Subject<'_>, cron_job: &Value, owner: &Seen, wanted: &Wanted<'_>) -> Value {
    let template = |pointer: &str| {
        cron_job.pointer(&format!("/spec/jobTemplate{pointer}")).cloned().unwrap_or(Value::Null)
    };
    let map = |value: Value| if let Value::Object(map) = value { map } else { Map::new() };
    let mut labels = map(template("/metadata/labels"));
    labels.insert(ROLLOUT_LABEL.to_owned(), subject.rollout.at.name.clone().into());
    labels.insert(RUN_LABEL.to_owned(), wanted.run.number.to_string().into());
    if !wanted.component.is_empty() {
        labels.insert(COMPONENT_LABEL.to_owned(), wanted.component.into());
    }
    let mut annotations = map(template("/metadata/annotations"));
    annotations.insert(INSTANTIATE.to_owned(), "manual".into());
    let mut spec = template("/spec");
    if let Some(spec) = spec.as_object_mut() {
        // The Job is the proof that the attempt was made: it goes with the record of the run, not before.
        spec.remove("ttlSecondsAfterFinished");
    }
    for containers in ["/template/spec/initContainers", "/template/spec/containers"] {
        let containers = spec.pointer_mut(containers).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(|container| tell(container, wanted.environment));
    }
    json!({
        "apiVersion": "batch/v1",
        "kind": JobView::KIND,
        "metadata": {
            "name": wanted.name,
            "namespace": subject.namespace(),
            "labels": labels,
            "annotations": annotations,
            "finalizers": [JOB_FINALIZER],
            "ownerReferences": [{
                "apiVersion": format!("{}/{}", RunView::GROUP, RunView::VERSION),
                "kind": RunView::KIND,
                "name": owner.name,
                "uid": owner.uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        },
        "spec": spec,
    })
}

/// Puts our variables first, so that the container's own can refer to them; its own of the same names go.
fn tell(container: &mut Value, environment: &[(&'static str, String)]) {
    let is_ours = |it: &Value| {
        let name = it.get("name").and_then(Value::as_str);
        environment.iter().any(|(ours, _)| Some(*ours) == name)
    };
    let own = container.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
    let own = own.into_iter().filter(|it| !is_ours(it));
    let ours = environment.iter().map(|(name, value)| json!({"name": name, "value": value}));
    container["env"] = ours.chain(own).collect();
}
