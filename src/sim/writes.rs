//! The writes of a plan, carried out as an API server does: each refused unless the object is the one that was looked at.

use crate::api::Outcome;
use crate::api::names::POD_TEMPLATE_HASH;
use crate::engine::Write;
use crate::engine::world::Seen;

use super::cluster::{Cluster, Conflict, ROLLOUT, ROLLOUT_UID, Service};
use super::deployments::ReplicaSet;

fn conflict<T>(what: &str) -> Result<T, Conflict> {
    Err(Conflict(what.to_owned()))
}

fn check(at: &Seen, expected: &Seen) -> Result<(), Conflict> {
    if at.uid != expected.uid || at.resource_version != expected.resource_version {
        return conflict(&format!("{} is another version", at.name));
    }
    Ok(())
}

fn apply_to_deployment(
    cluster: &mut Cluster,
    write: &Write,
    deployment: &Seen,
    version: String,
) -> Result<(), Conflict> {
    let Some(found) = cluster.deployments.get_mut(&deployment.name) else {
        return conflict("no such Deployment");
    };
    // A resume asks for the spec alone; the version here changes with nothing else.
    check(&found.at, deployment)?;
    match write {
        Write::LabelDeployment { rollout, .. } => found.rollout_label.clone_from(rollout),
        Write::PauseDeployment { .. } => (found.paused, found.is_intercepted) = (true, true),
        _ => (found.paused, found.is_intercepted) = (false, false),
    }
    found.at.resource_version = version;
    Ok(())
}

/// Carries out one write, if its preconditions hold.
pub(super) fn apply(cluster: &mut Cluster, write: &Write) -> Result<(), Conflict> {
    let version = cluster.bump();
    match write {
        Write::AddFinalizer => cluster.has_finalizer = true,
        Write::RemoveFinalizer => cluster.has_finalizer = false,
        Write::LabelDeployment { deployment, .. }
        | Write::PauseDeployment { deployment }
        | Write::ResumeDeployment { deployment, .. } => {
            apply_to_deployment(cluster, write, deployment, version)?;
        }
        Write::CreateReplicaSet { deployment, revision, name, pod_hash, replicas, .. } => {
            create_set(cluster, (deployment, revision), (name, pod_hash, *replicas))?;
        }
        Write::ScaleReplicaSet { replica_set, replicas, desired } => {
            let found = set_of(cluster, replica_set)?;
            (found.replicas, found.desired) = (*replicas, Some(*desired));
            found.at.resource_version = version;
        }
        Write::ReleaseReplicaSet { replica_set, desired } => {
            let found = set_of(cluster, replica_set)?;
            (found.owner_uid, found.desired) = (None, Some(*desired));
            found.at.resource_version = version;
        }
        Write::RetireReplicaSet { replica_set, retired } => {
            let found = set_of(cluster, replica_set)?;
            found.mark(*retired);
            found.at.resource_version = version;
        }
        Write::UnlabelReplicaSet { replica_set } => {
            let found = set_of(cluster, replica_set)?;
            found.is_labelled = false;
            found.at.resource_version = version;
        }
        Write::DeleteReplicaSet { replica_set } => {
            let gone_at = cluster.in_a_while(cluster.pod_lag);
            let found = set_of(cluster, replica_set)?;
            (found.gone_at, found.replicas, found.available) = (Some(gone_at), 0, 0);
            found.at.resource_version = version;
        }
        Write::CreateCanaryService { .. } | Write::PinService { .. } | Write::DeleteService { .. } => {
            apply_to_service(cluster, write, version)?;
        }
        Write::SetBackends { route, rules, .. } => {
            let Some(found) = cluster.routes.get_mut(&route.name) else { return conflict("no such route") };
            check(&found.at, route)?;
            for (index, backends) in rules {
                found.backends[*index].clone_from(backends);
            }
            found.change();
            found.at.resource_version = version;
        }
        Write::CreateJob { .. } | Write::DeleteJob { .. } | Write::ReleaseJob { .. } => {
            super::jobs::apply(cluster, write)?
        }
        Write::SetConfigMap { config_map, changes, .. } => {
            cluster.set_config_map(config_map, changes, version)?;
        }
        Write::CreateCopy { .. }
        | Write::PutConfigMap { .. }
        | Write::DeleteConfig { .. }
        | Write::HandConfig { .. } => super::config::apply(cluster, write)?,
        Write::CreateRun { name, .. } => {
            cluster.runs.entry(name.clone()).or_insert(None);
        }
        Write::RecordRun { name, status, .. } => {
            cluster.runs.insert(name.clone(), status.outcome.or(Some(Outcome::RolledBack)));
        }
        Write::DeleteRun { name } => drop(cluster.runs.remove(name)),
    }
    Ok(())
}

fn set_of<'c>(cluster: &'c mut Cluster, at: &Seen) -> Result<&'c mut ReplicaSet, Conflict> {
    let Some(found) = cluster.sets.get_mut(&at.name) else { return conflict("no such ReplicaSet") };
    check(&found.at, at)?;
    Ok(found)
}

fn create_set(
    cluster: &mut Cluster,
    (deployment, revision): (&Seen, &str),
    (name, pod_hash, replicas): (&str, &str, i32),
) -> Result<(), Conflict> {
    let Some(found) = cluster.deployments.get(&deployment.name).cloned() else {
        return conflict("no such Deployment");
    };
    let (asked, template_hash) = found.identity();
    let is_same = asked == revision;
    if found.at.uid != deployment.uid || !is_same || cluster.sets.contains_key(name) {
        return conflict("another template, or the name is taken");
    }
    let set = ReplicaSet {
        at: cluster.fresh(name),
        app: deployment.name.clone(),
        owner_uid: Some(ROLLOUT_UID.to_owned()),
        is_labelled: true,
        pod_hash: pod_hash.to_owned(),
        image: found.image.clone(),
        template_hash,
        revision: revision.to_owned(),
        retired: None,
        replicas,
        desired: Some(found.replicas),
        available: 0,
        ready_at: None,
        gone_at: None,
    };
    cluster.sets.insert(name.to_owned(), set);
    Ok(())
}

fn apply_to_service(cluster: &mut Cluster, write: &Write, version: String) -> Result<(), Conflict> {
    match write {
        Write::CreateCanaryService { service, name, pod_hash, .. } => {
            let Some(found) = cluster.services.get(&service.name).cloned() else {
                return conflict("no such Service");
            };
            if cluster.services.contains_key(name) {
                return conflict("the name is taken");
            }
            let mut selector = found.selector;
            selector.insert(POD_TEMPLATE_HASH.to_owned(), pod_hash.clone());
            let (rollout_label, owner_uid) = (Some(ROLLOUT.to_owned()), Some(ROLLOUT_UID.to_owned()));
            let at = cluster.fresh(name);
            cluster.services.insert(name.clone(), Service { at, selector, rollout_label, owner_uid });
        }
        Write::PinService { service, pod_hash } => {
            let Some(found) = cluster.services.get_mut(&service.name) else {
                return conflict("no such Service");
            };
            check(&found.at, service)?;
            found.selector.remove(POD_TEMPLATE_HASH);
            found.selector.extend(pod_hash.iter().map(|hash| (POD_TEMPLATE_HASH.to_owned(), hash.clone())));
            found.rollout_label = pod_hash.as_ref().map(|_| ROLLOUT.to_owned());
            found.at.resource_version = version;
        }
        Write::DeleteService { service } => {
            let Some(found) = cluster.services.get(&service.name) else { return conflict("no such Service") };
            check(&found.at, service)?;
            cluster.services.remove(&service.name);
        }
        _ => {}
    }
    Ok(())
}
