//! The writes of a plan as requests: each is refused by the API server unless the object is still the one that was
//! looked at.

mod config;
mod config_map;
mod job;
mod replica_set;
mod rollout;
mod route;
mod run;
mod service;
mod workload;

use kube::api::PropagationPolicy;

use super::call::{CallError, Cluster, Deleted, Path};
use super::row::{Row, View};
use super::views::{
    ConfigMapView, CronJobView, DeploymentView, GrpcRouteView, HttpRouteView, JobView, ReplicaSetView,
    RolloutView, RunView, ServiceView,
};
use crate::engine::Write;
use crate::engine::world::{RolloutSeen, RouteKind, Seen};

pub use rollout::store_status;

/// What the API server says an object is now.
#[derive(Debug)]
pub enum Now<V> {
    /// It is this.
    Is(Box<Row<V>>),
    /// It is gone.
    Gone {
        /// Its name.
        name: String,
        /// Its uid, if it was known.
        uid: Option<String>,
    },
}

/// What a write did, or a read after it found.
#[derive(Debug)]
pub enum Effect {
    /// On the Rollout.
    Rollout(Now<RolloutView>),
    /// On a Deployment.
    Deployment(Now<DeploymentView>),
    /// On a ReplicaSet.
    ReplicaSet(Now<ReplicaSetView>),
    /// On a Service.
    Service(Now<ServiceView>),
    /// On an HTTPRoute.
    HttpRoute(Now<HttpRouteView>),
    /// On a GRPCRoute.
    GrpcRoute(Now<GrpcRouteView>),
    /// On a ConfigMap.
    ConfigMap(Now<ConfigMapView>),
    /// On the record of a run.
    Run(Now<RunView>),
    /// On a Job.
    Job(Now<JobView>),
    /// On a CronJob, which is only read.
    CronJob(Now<CronJobView>),
    /// The API server refuses to create a Job.
    JobRefused {
        /// Its name.
        name: String,
        /// The server's words.
        why: String,
    },
    /// On the configuration of this component.
    Config(String),
}

/// The Rollout that a write is done for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The Rollout.
    pub rollout: &'a RolloutSeen,
    /// All its finalizers.
    pub finalizers: &'a [String],
    /// The Service of which a canary's Service is to be a copy, if it is watched.
    pub service: Option<&'a ServiceView>,
    /// The Deployment of which a canary is to be a copy, if it is watched.
    pub deployment: Option<&'a DeploymentView>,
    /// The record of the present run, if it was written before.
    pub run: Option<&'a Seen>,
}

impl Subject<'_> {
    fn namespace(&self) -> &str {
        &self.rollout.namespace
    }

    /// The owner reference to the Rollout. It does not block the Rollout's deletion: the finalizer does.
    fn owner(&self) -> serde_json::Value {
        serde_json::json!({
            "apiVersion": format!("{}/{}", RolloutView::GROUP, RolloutView::VERSION),
            "kind": RolloutView::KIND,
            "name": self.rollout.at.name,
            "uid": self.rollout.at.uid,
            "controller": true,
            "blockOwnerDeletion": false,
        })
    }
}

/// Does one write.
///
/// # Errors
/// See [`CallError`]. [`CallError::is_outdated_view`] and [`CallError::Lost`] ask for [`look_at_target`] before the next
/// decision.
pub async fn perform(cluster: &Cluster, subject: Subject<'_>, write: &Write) -> Result<Effect, CallError> {
    match write {
        Write::AddFinalizer => rollout::add_finalizer(cluster, subject).await,
        Write::RemoveFinalizer => rollout::remove_finalizer(cluster, subject).await,
        Write::LabelDeployment { deployment, rollout } => {
            workload::label(cluster, subject, deployment, rollout.as_deref()).await
        }
        Write::PauseDeployment { deployment } => workload::pause(cluster, subject, deployment).await,
        Write::ResumeDeployment { deployment, generation } => {
            workload::resume(cluster, subject, deployment, *generation).await
        }
        Write::CreateReplicaSet { component, deployment, revision, name, pod_hash, replicas } => {
            let wanted = replica_set::Wanted { component, revision, name, pod_hash, replicas: *replicas };
            replica_set::create(cluster, subject, deployment, &wanted).await
        }
        Write::ScaleReplicaSet { replica_set, replicas, desired } => {
            replica_set::scale(cluster, subject, replica_set, *replicas, *desired).await
        }
        Write::ReleaseReplicaSet { replica_set, desired } => {
            replica_set::release(cluster, subject, replica_set, *desired).await
        }
        Write::RetireReplicaSet { replica_set, retired } => {
            replica_set::retire(cluster, subject, replica_set, *retired).await
        }
        Write::UnlabelReplicaSet { replica_set } => replica_set::unlabel(cluster, subject, replica_set).await,
        Write::DeleteReplicaSet { replica_set } => {
            let propagation = PropagationPolicy::Foreground;
            delete(cluster, subject, replica_set, propagation).await.map(Effect::ReplicaSet)
        }
        Write::CreateCanaryService { component, service, name, pod_hash } => {
            service::create_canary(cluster, subject, service, component, name, pod_hash).await
        }
        Write::PinService { service, pod_hash } => {
            service::pin(cluster, subject, service, pod_hash.as_deref()).await
        }
        Write::DeleteService { service } => {
            let propagation = PropagationPolicy::Background;
            delete(cluster, subject, service, propagation).await.map(Effect::Service)
        }
        Write::SetBackends { kind, route, rules, .. } => {
            route::set_backends(cluster, subject, *kind, route, rules).await
        }
        Write::SetConfigMap { config_map, is_empty, changes } => {
            config_map::set(cluster, subject, config_map, *is_empty, changes).await
        }
        Write::CreateCopy { .. }
        | Write::PutConfigMap { .. }
        | Write::DeleteConfig { .. }
        | Write::HandConfig { .. } => config::perform(cluster, subject, write).await,
        Write::CreateRun { name, number, started_at, components } => {
            let record = run::Record { name, number: *number, started_at: *started_at, components };
            run::create(cluster, subject, &record).await.map(Effect::Run)
        }
        Write::RecordRun { name, number, started_at, components, status } => {
            let record = run::Record { name, number: *number, started_at: *started_at, components };
            run::record(cluster, subject, &record, status).await
        }
        Write::DeleteRun { name } => run::delete(cluster, subject, name).await,
        Write::CreateJob { name, component, cron_job, environment, run, number, started_at, components } => {
            let record = run::Record { name: run, number: *number, started_at: *started_at, components };
            let wanted = job::Wanted { name, component, cron_job, environment, run: record };
            job::create(cluster, subject, &wanted).await
        }
        Write::ReleaseJob { job } => job::release(cluster, subject, job).await,
        Write::DeleteJob { job } => {
            delete(cluster, subject, job, PropagationPolicy::Foreground).await.map(Effect::Job)
        }
    }
}

/// Reads from the API server what the object of a write is now.
///
/// # Errors
/// See [`CallError`]; that it is not there is no error.
pub async fn look_at_target(
    cluster: &Cluster,
    subject: Subject<'_>,
    write: &Write,
) -> Result<Effect, CallError> {
    let namespace = subject.namespace();
    match write {
        Write::AddFinalizer | Write::RemoveFinalizer => {
            now(cluster, namespace, &subject.rollout.at.name).await.map(Effect::Rollout)
        }
        Write::LabelDeployment { deployment, .. }
        | Write::PauseDeployment { deployment }
        | Write::ResumeDeployment { deployment, .. } => {
            now(cluster, namespace, &deployment.name).await.map(Effect::Deployment)
        }
        // The Deployment whose template was to be copied may be the one that changed, and it is what is decided from.
        Write::CreateReplicaSet { deployment, name, .. } => {
            match cluster.get(&Path::of::<ReplicaSetView>(namespace, name)).await {
                Ok(row) => Ok(Effect::ReplicaSet(Now::Is(row))),
                Err(CallError::NotFound(_)) => {
                    now(cluster, namespace, &deployment.name).await.map(Effect::Deployment)
                }
                Err(error) => Err(error),
            }
        }
        Write::ScaleReplicaSet { replica_set, .. }
        | Write::ReleaseReplicaSet { replica_set, .. }
        | Write::RetireReplicaSet { replica_set, .. }
        | Write::UnlabelReplicaSet { replica_set }
        | Write::DeleteReplicaSet { replica_set } => {
            now(cluster, namespace, &replica_set.name).await.map(Effect::ReplicaSet)
        }
        Write::CreateCanaryService { name, .. } => now(cluster, namespace, name).await.map(Effect::Service),
        Write::PinService { service, .. } | Write::DeleteService { service } => {
            now(cluster, namespace, &service.name).await.map(Effect::Service)
        }
        Write::SetBackends { kind: RouteKind::Http, route, .. } => {
            now(cluster, namespace, &route.name).await.map(Effect::HttpRoute)
        }
        Write::SetBackends { kind: RouteKind::Grpc, route, .. } => {
            now(cluster, namespace, &route.name).await.map(Effect::GrpcRoute)
        }
        Write::SetConfigMap { config_map, .. } => {
            now(cluster, namespace, &config_map.name).await.map(Effect::ConfigMap)
        }
        // One look tells of everything that hangs together: the next decision asks for it.
        Write::CreateCopy { component, .. }
        | Write::PutConfigMap { component, .. }
        | Write::DeleteConfig { component, .. }
        | Write::HandConfig { component, .. } => Ok(Effect::Config(component.clone())),
        Write::CreateRun { name, .. } | Write::RecordRun { name, .. } | Write::DeleteRun { name } => {
            now(cluster, namespace, name).await.map(Effect::Run)
        }
        // Without the Job it is its CronJob that has changed.
        Write::CreateJob { name, cron_job, .. } => {
            match cluster.get(&Path::of::<JobView>(namespace, name)).await {
                Ok(row) => Ok(Effect::Job(Now::Is(row))),
                Err(CallError::NotFound(_)) => {
                    now(cluster, namespace, &cron_job.name).await.map(Effect::CronJob)
                }
                Err(error) => Err(error),
            }
        }
        Write::DeleteJob { job } | Write::ReleaseJob { job } => {
            now(cluster, namespace, &job.name).await.map(Effect::Job)
        }
    }
}

/// Reads what an object is now.
///
/// # Errors
/// See [`CallError`]; that it is not there is no error.
pub async fn now<V: View>(cluster: &Cluster, namespace: &str, name: &str) -> Result<Now<V>, CallError> {
    match cluster.get(&Path::of::<V>(namespace, name)).await {
        Ok(row) => Ok(Now::Is(row)),
        Err(CallError::NotFound(_)) => Ok(Now::Gone { name: name.to_owned(), uid: None }),
        Err(error) => Err(error),
    }
}

async fn delete<V: View>(
    cluster: &Cluster,
    subject: Subject<'_>,
    seen: &Seen,
    propagation: PropagationPolicy,
) -> Result<Now<V>, CallError> {
    let path = Path::of::<V>(subject.namespace(), &seen.name);
    let gone = || Now::Gone { name: seen.name.clone(), uid: Some(seen.uid.clone()) };
    match cluster.delete::<V>(&path, seen, propagation).await {
        Ok(Deleted::Gone) | Err(CallError::NotFound(_)) => Ok(gone()),
        Ok(Deleted::Going(row)) => Ok(Now::Is(row)),
        Err(error) => Err(error),
    }
}

/// Creates an object; one of that name that the Rollout controls already is as good.
async fn create<V: View>(
    cluster: &Cluster,
    subject: Subject<'_>,
    name: &str,
    object: &serde_json::Value,
    owner_of: fn(&V) -> Option<&str>,
) -> Result<Now<V>, CallError> {
    let path = Path::of::<V>(subject.namespace(), name);
    let error = match cluster.create(&path, object).await {
        Ok(row) => return Ok(Now::Is(row)),
        Err(error) => error,
    };
    if !matches!(error, CallError::AlreadyExists(_)) {
        return Err(error);
    }
    let row: Box<Row<V>> = cluster.get(&path).await?;
    let owner = row.view.as_ref().ok().and_then(owner_of);
    if owner == Some(subject.rollout.at.uid.as_str()) { Ok(Now::Is(row)) } else { Err(error) }
}

#[cfg(test)]
mod tests;
