//! Carries out the live reads that the engine asks for.

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::adapters::kube::call::CallError;
use crate::adapters::kube::row::View;
use crate::adapters::kube::views::{DeploymentView, ServiceView};
use crate::adapters::kube::writes::{Effect, now};
use crate::adapters::kube::{config, pods, reads};
use crate::api::names::POD_TEMPLATE_HASH;
use crate::engine::Inquiry;
use crate::engine::config::sources;
use crate::engine::references::{References, references};
use crate::engine::world::{DeploymentSeen, Look, ServiceSeen, World};

use super::act::keep;
use super::context::Context;
use super::desk::{Looks, lock, look_of};
use super::queue::Key;

/// Looks at what is asked for, all at once, and keeps what was found.
///
/// # Errors
/// The first read that failed; what the others found is kept.
pub async fn carry_out(
    context: &Context,
    key: &Key,
    world: &World,
    inquiries: &[Inquiry],
) -> Result<(), CallError> {
    if inquiries.is_empty() {
        return Ok(());
    }
    let names = references(&world.rollout.spec, &world.rollout.status);
    let reads = inquiries.iter().map(|inquiry| read(context, key, world, &names, inquiry));
    join_all(reads).await.into_iter().collect()
}

async fn read(
    context: &Context,
    key: &Key,
    world: &World,
    names: &BTreeMap<String, References>,
    inquiry: &Inquiry,
) -> Result<(), CallError> {
    let (component, found) = match inquiry {
        Inquiry::CronJob(name) => return look_at_cron_job(context, key, name).await,
        Inquiry::ConfigMap(name) => return read_config_map(context, key, name).await,
        Inquiry::Config(component) => return look_at_config(context, key, world, component).await,
        Inquiry::CanaryPods(component) | Inquiry::StablePods(component) => {
            list_pods(context, key, world, inquiry, component).await;
            return Ok(());
        }
        Inquiry::Deployment(component)
        | Inquiry::ReplicaSets(component)
        | Inquiry::Service(component)
        | Inquiry::CanaryService(component)
        | Inquiry::ForeignPod(component) => (component, names.get(component)),
    };
    let Some(found) = found else { return Ok(()) };
    let of = |note: &mut dyn FnMut(&mut Looks)| {
        let desk = context.desks.of(key);
        note(lock(&desk).looks.entry(component.clone()).or_default());
    };
    match inquiry {
        Inquiry::Deployment(_) => {
            let name = &found.workload;
            let deployment = now(&context.cluster, &key.namespace, name).await?;
            let look = look_of(&deployment, |view: &DeploymentView| view.seen.clone());
            keep(context, key, &Effect::Deployment(deployment));
            of(&mut |looks| looks.deployment.set(name, look.clone()));
        }
        Inquiry::Service(_) | Inquiry::CanaryService(_) => {
            let is_canary = matches!(inquiry, Inquiry::CanaryService(_));
            let name = if is_canary { found.canary_service() } else { found.service.clone() };
            let Some(name) = name else { return Ok(()) };
            let service = now(&context.cluster, &key.namespace, &name).await?;
            let look = look_of(&service, |view: &ServiceView| view.seen.clone());
            keep(context, key, &Effect::Service(service));
            of(&mut |looks| {
                let kept = if is_canary { &mut looks.canary_service } else { &mut looks.service };
                kept.set(&name, look.clone());
            });
        }
        Inquiry::ReplicaSets(_) => {
            let Some(deployment) = world.components.get(component).and_then(|it| it.deployment.found())
            else {
                return Ok(());
            };
            let rows = reads::replica_sets(&context.cluster, &key.namespace, &deployment.selector).await?;
            let mut unwatched = Vec::new();
            for row in rows {
                match &row.view {
                    Ok(view) if !view.is_watched() => unwatched.push(view.seen.clone()),
                    _ => drop(context.stores.replica_sets.put(row)),
                }
            }
            of(&mut |looks| looks.replica_sets.set_list(deployment, unwatched.clone()));
        }
        Inquiry::ForeignPod(_) => {
            let seen = world.components.get(component);
            let found = seen.and_then(|it| it.deployment.found().zip(it.service.found()));
            let Some((deployment, service)) = found else { return Ok(()) };
            let look = look_for_foreign_pod(context, key, deployment, service).await?;
            of(&mut |looks| looks.foreign_pod.set(&service.at.name, look.clone()));
        }
        Inquiry::CronJob(_)
        | Inquiry::ConfigMap(_)
        | Inquiry::Config(_)
        | Inquiry::CanaryPods(_)
        | Inquiry::StablePods(_) => {}
    }
    Ok(())
}

async fn look_for_foreign_pod(
    context: &Context,
    key: &Key,
    deployment: &DeploymentSeen,
    service: &ServiceSeen,
) -> Result<Look<String>, CallError> {
    let mut selector = service.selector.clone();
    if service.rollout_label.is_some() {
        // The pin is ours.
        selector.remove(POD_TEMPLATE_HASH);
    }
    let pod = reads::foreign_pod(&context.cluster, &key.namespace, &selector, &deployment.selector).await?;
    Ok(pod.map_or(Look::Missing, Look::Found))
}

async fn look_at_cron_job(context: &Context, key: &Key, name: &str) -> Result<(), CallError> {
    let found = now(&context.cluster, &key.namespace, name).await?;
    lock(&context.desks.of(key)).keep_cron_job(name, &found);
    Ok(())
}

/// Reads a ConfigMap. That it may not be read is an answer too: it must not keep the rest from being done.
async fn read_config_map(context: &Context, key: &Key, name: &str) -> Result<(), CallError> {
    match now(&context.cluster, &key.namespace, name).await {
        Ok(found) => keep(context, key, &Effect::ConfigMap(found)),
        Err(error @ (CallError::Forbidden { .. } | CallError::Refused { .. })) => {
            lock(&context.desks.of(key)).refuse_config_map(name, &error);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Lists the pods of a revision. That they cannot be listed is an answer too: it must not keep the rest from being done.
async fn list_pods(context: &Context, key: &Key, world: &World, inquiry: &Inquiry, component: &str) {
    let status = world.rollout.status.components.iter().find(|it| it.name == component);
    let is_canary = matches!(inquiry, Inquiry::CanaryPods(_));
    let revision = status.and_then(|it| if is_canary { it.canary.as_ref() } else { it.stable.as_ref() });
    let deployment = world.components.get(component).and_then(|it| it.deployment.found());
    let (Some(revision), Some(deployment)) = (revision, deployment) else { return };
    let mut selector = deployment.selector.clone();
    selector.insert(POD_TEMPLATE_HASH.to_owned(), revision.pod_hash.clone());
    let seen = pods::list(&context.cluster, &key.namespace, &selector).await;
    let desk = context.desks.of(key);
    let mut desk = lock(&desk);
    let looks = desk.looks.entry(component.to_owned()).or_default();
    let kept = if is_canary { &mut looks.canary_pods } else { &mut looks.stable_pods };
    kept.set(&revision.replica_set, Look::Found(seen));
}

async fn look_at_config(
    context: &Context,
    key: &Key,
    world: &World,
    component: &str,
) -> Result<(), CallError> {
    let deployment = world.components.get(component).and_then(|it| it.deployment.found());
    let Some(deployment) = deployment else { return Ok(()) };
    let spec = world.rollout.spec.components.iter().find(|it| it.name == component);
    let subject = config::Subject {
        rollout: &world.rollout,
        component,
        status: world.rollout.status.components.iter().find(|it| it.name == component),
        deployment,
        sources: &spec.map(|spec| sources(spec, deployment)).unwrap_or_default(),
    };
    let look = config::look(&context.cluster, subject).await?;
    let desk = context.desks.of(key);
    lock(&desk).looks.entry(component.to_owned()).or_default().config.set(&deployment.at.name, look);
    Ok(())
}
