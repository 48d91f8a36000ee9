//! Carries out the writes of a plan, in their order; the first that fails stops.

use std::sync::Arc;

use crate::adapters::kube::call::CallError;
use crate::adapters::kube::events::Note;
use crate::adapters::kube::views::{DeploymentView, ServiceView};
use crate::adapters::kube::writes::{Effect, Subject, look_at_target, perform};
use crate::engine::Write;
use crate::engine::world::{ConfigKind, RolloutSeen, RouteKind};
use crate::server::metrics::{WriteKind, WriteResult, WriteVerb};

use super::context::Context;
use super::desk::lock;
use super::observe::Observed;
use super::queue::{Key, Urgency};
use super::reconcile::Stop;

/// Carries out `writes`. After an answer that leaves open what the object is now, it is read from the API server, so that
/// the next decision rests on what is.
///
/// # Errors
/// The first failure, or that this process may not write any more.
pub async fn carry_out(context: &Context, key: &Key, seen: &Observed, writes: &[Write]) -> Result<(), Stop> {
    let mut has_refused_switch = false;
    for write in writes {
        context.claim()?;
        let stored = context.stores.rollouts.get(&key.namespace, &key.name);
        // The status was stored a moment ago: the Rollout's version is a newer one than the plan was made from.
        let stored = stored.filter(|it| it.seen.at.uid == seen.stored.seen.at.uid);
        let rollout = stored.as_deref().unwrap_or(&seen.stored);
        let run = lock(&context.desks.of(key)).run.clone();
        let service = service_of(context, key, write);
        let deployment = deployment_of(context, key, write);
        let subject = Subject {
            rollout: &rollout.seen,
            finalizers: &rollout.finalizers,
            service: service.as_deref(),
            deployment: deployment.as_deref(),
            run: run.as_ref(),
        };
        let outcome = perform(&context.cluster, subject, write).await;
        let (kind, verb) = labels_of(write);
        context.metrics.wrote(kind, verb, written(&outcome));
        match outcome {
            Ok(effect) => {
                tracing::debug!(rollout = %key, write = ?write, "written");
                keep(context, key, &effect);
            }
            Err(error) if is_refused_switch(write, &error) => {
                // A switch must not keep the rest from being done: the next decision knows of it.
                has_refused_switch = true;
                refuse_config_map(context, key, write, &error);
                tell_refusal(context, key, &rollout.seen, &error);
            }
            Err(error) => {
                if error.is_outdated_view() || matches!(error, CallError::Lost { .. }) {
                    let effect = look_at_target(&context.cluster, subject, write).await?;
                    keep(context, key, &effect);
                }
                tell_refusal(context, key, &rollout.seen, &error);
                return Err(error.into());
            }
        }
    }
    if !has_refused_switch {
        lock(&context.desks.of(key)).refusal.clear();
    }
    Ok(())
}

fn is_refused_switch(write: &Write, error: &CallError) -> bool {
    matches!(write, Write::SetConfigMap { .. })
        && matches!(error, CallError::Forbidden { .. } | CallError::Refused { .. })
}

fn refuse_config_map(context: &Context, key: &Key, write: &Write, error: &CallError) {
    if let Write::SetConfigMap { config_map, .. } = write {
        lock(&context.desks.of(key)).refuse_config_map(&config_map.name, error);
    }
}

/// The Service that a write copies.
fn service_of(context: &Context, key: &Key, write: &Write) -> Option<Arc<ServiceView>> {
    match write {
        Write::CreateCanaryService { service, .. } => {
            context.stores.services.get(&key.namespace, &service.name)
        }
        _ => None,
    }
}

/// The Deployment that a write copies.
fn deployment_of(context: &Context, key: &Key, write: &Write) -> Option<Arc<DeploymentView>> {
    match write {
        Write::CreateReplicaSet { deployment, .. } => {
            context.stores.deployments.get(&key.namespace, &deployment.name)
        }
        _ => None,
    }
}

/// Takes what a write did or a read found to everybody who rests on it.
pub fn keep(context: &Context, key: &Key, effect: &Effect) {
    let change = context.stores.keep(&key.namespace, effect);
    lock(&context.desks.of(key)).learn(effect);
    if change.is_none() {
        return;
    }
    if let Some(named) = super::watches::named_by(effect) {
        for other in context.names.naming(&key.namespace, named) {
            if other != *key {
                context.queue.push(&other, Urgency::Ordinary);
            }
        }
    }
}

/// Says once that a write was refused, and what is missing.
pub fn tell_refusal(context: &Context, key: &Key, rollout: &RolloutSeen, error: &CallError) {
    let reason = match error {
        CallError::Forbidden { .. } => "Forbidden",
        CallError::Refused { .. } | CallError::AlreadyExists(_) => "WriteRefused",
        _ => return,
    };
    let text = error.to_string();
    let desk = context.desks.of(key);
    let mut desk = lock(&desk);
    if desk.refusal != text {
        context.events.tell(rollout, Note { reason, text: &text, is_warning: true });
        desk.refusal = text;
    }
}

/// How a write ended, for metrics.
pub const fn written<T>(outcome: &Result<T, CallError>) -> WriteResult {
    match outcome {
        Ok(_) => WriteResult::Done,
        Err(error) if error.is_outdated_view() => WriteResult::Conflict,
        Err(CallError::Forbidden { .. } | CallError::Refused { .. }) => WriteResult::Refused,
        Err(_) => WriteResult::Failed,
    }
}

const fn config_kind(kind: ConfigKind) -> WriteKind {
    match kind {
        ConfigKind::ConfigMap => WriteKind::ConfigMap,
        ConfigKind::Secret => WriteKind::Secret,
    }
}

const fn labels_of(write: &Write) -> (WriteKind, WriteVerb) {
    match write {
        Write::AddFinalizer | Write::RemoveFinalizer => (WriteKind::Rollout, WriteVerb::Patch),
        Write::LabelDeployment { .. } | Write::PauseDeployment { .. } | Write::ResumeDeployment { .. } => {
            (WriteKind::Deployment, WriteVerb::Patch)
        }
        Write::CreateReplicaSet { .. } => (WriteKind::ReplicaSet, WriteVerb::Create),
        Write::ScaleReplicaSet { .. }
        | Write::ReleaseReplicaSet { .. }
        | Write::RetireReplicaSet { .. }
        | Write::UnlabelReplicaSet { .. } => (WriteKind::ReplicaSet, WriteVerb::Patch),
        Write::DeleteReplicaSet { .. } => (WriteKind::ReplicaSet, WriteVerb::Delete),
        Write::CreateCanaryService { .. } => (WriteKind::Service, WriteVerb::Create),
        Write::PinService { .. } => (WriteKind::Service, WriteVerb::Patch),
        Write::DeleteService { .. } => (WriteKind::Service, WriteVerb::Delete),
        Write::SetBackends { kind: RouteKind::Http, .. } => (WriteKind::HttpRoute, WriteVerb::Patch),
        Write::SetBackends { kind: RouteKind::Grpc, .. } => (WriteKind::GrpcRoute, WriteVerb::Patch),
        Write::SetConfigMap { .. } => (WriteKind::ConfigMap, WriteVerb::Patch),
        Write::CreateCopy { kind, .. } => (config_kind(*kind), WriteVerb::Create),
        Write::PutConfigMap { seen: None, .. } => (WriteKind::ConfigMap, WriteVerb::Create),
        Write::PutConfigMap { .. } => (WriteKind::ConfigMap, WriteVerb::Update),
        Write::DeleteConfig { kind, .. } => (config_kind(*kind), WriteVerb::Delete),
        Write::HandConfig { kind, .. } => (config_kind(*kind), WriteVerb::Patch),
        Write::CreateRun { .. } => (WriteKind::RolloutRun, WriteVerb::Create),
        Write::RecordRun { .. } => (WriteKind::RolloutRun, WriteVerb::Patch),
        Write::DeleteRun { .. } => (WriteKind::RolloutRun, WriteVerb::Delete),
        Write::CreateJob { .. } => (WriteKind::Job, WriteVerb::Create),
        Write::ReleaseJob { .. } => (WriteKind::Job, WriteVerb::Patch),
        Write::DeleteJob { .. } => (WriteKind::Job, WriteVerb::Delete),
    }
}
