//! The watches, and which Rollouts their changes wake.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::adapters::kube::row::View;
use crate::adapters::kube::store::{Change, Store};
use crate::adapters::kube::watch::{Scope, keep};
use crate::adapters::kube::writes::{Effect, Now};
use crate::api::TemplateKind;
use crate::api::names::ROLLOUT_LABEL;
use crate::engine::world::RouteKind;

use super::context::Context;
use super::names::Named;
use super::queue::{Key, Urgency};

/// Starts all watches: of one namespace, or of all of them with the metric sources.
pub fn start(context: &Arc<Context>, namespace: Option<&str>, tasks: &mut JoinSet<()>) {
    let scope = |labels| Scope { namespace: namespace.map(str::to_owned), labels };
    let stores = &context.stores;
    watch(context, scope(""), &stores.rollouts, tasks, rollout_changed);
    watch(context, scope(""), &stores.actions, tasks, |context, change| {
        wake(context, &change, Urgency::Urgent)
    });
    watch(context, scope(ROLLOUT_LABEL), &stores.deployments, tasks, |context, change| {
        // A Rollout may name a Deployment that carries another one's label.
        wake_naming(context, &change.namespace, Named::Deployment(change.name.clone()));
        wake(context, &change, Urgency::Ordinary);
    });
    watch(context, scope(ROLLOUT_LABEL), &stores.replica_sets, tasks, wake_owner);
    watch(context, scope(ROLLOUT_LABEL), &stores.services, tasks, wake_owner);
    watch(context, scope(ROLLOUT_LABEL), &stores.slices, tasks, wake_owner);
    watch(context, scope(""), &stores.http_routes, tasks, |context, change| {
        wake_naming(context, &change.namespace, Named::Route(RouteKind::Http, change.name));
    });
    watch(context, scope(""), &stores.grpc_routes, tasks, |context, change| {
        wake_naming(context, &change.namespace, Named::Route(RouteKind::Grpc, change.name));
    });
    watch(context, scope(""), &stores.gate_templates, tasks, |context, change| {
        let named = Named::GateTemplate(TemplateKind::GateTemplate, change.name);
        wake_naming(context, &change.namespace, named);
    });
    if namespace.is_none() {
        watch(context, scope(""), &stores.cluster_gate_templates, tasks, |context, change| {
            let named = Named::GateTemplate(TemplateKind::ClusterGateTemplate, change.name);
            for key in context.names.naming_anywhere(&named) {
                context.queue.push(&key, Urgency::Ordinary);
            }
        });
    } else {
        stores.cluster_gate_templates.set_absent();
    }
    if context.hooks {
        watch(context, scope(ROLLOUT_LABEL), &stores.jobs, tasks, wake_owner);
    } else {
        stores.jobs.set_absent();
    }
    if namespace.is_none() {
        watch(context, scope(""), &stores.sources, tasks, |context, _| context.source_changed.notify_one());
    }
}

fn watch<V: View>(
    context: &Arc<Context>,
    scope: Scope,
    store: &Arc<Store<V>>,
    tasks: &mut JoinSet<()>,
    on_change: fn(&Context, Change),
) {
    let (changed, store) = (context.clone(), store.clone());
    let guard = context.health.core_task(V::PLURAL);
    let cluster = context.cluster.clone();
    tasks.spawn(async move {
        let _guard = guard;
        let tell = |words: String| tracing::warn!("{words}");
        keep(cluster, scope, store, |change| on_change(&changed, change), tell).await;
    });
}

fn rollout_changed(context: &Context, change: Change) {
    let key = Key::new(&change.namespace, &change.name);
    let rollout = context.stores.rollouts.get(&change.namespace, &change.name);
    for other in context.names.learn(&key, rollout.as_deref()) {
        context.queue.push(&other, Urgency::Ordinary);
    }
    context.queue.push(&key, Urgency::Ordinary);
}

fn wake_owner(context: &Context, change: Change) {
    wake(context, &change, Urgency::Ordinary);
}

fn wake(context: &Context, change: &Change, urgency: Urgency) {
    for rollout in &change.rollouts {
        context.queue.push(&Key::new(&change.namespace, rollout), urgency);
    }
}

fn wake_naming(context: &Context, namespace: &str, named: Named) {
    for key in context.names.naming(namespace, named) {
        context.queue.push(&key, Urgency::Ordinary);
    }
}

/// The object of an effect, if several Rollouts may name it.
#[must_use]
pub fn named_by(effect: &Effect) -> Option<Named> {
    fn name<V>(now: &Now<V>) -> String {
        match now {
            Now::Is(row) => row.name().to_owned(),
            Now::Gone { name, .. } => name.clone(),
        }
    }
    match effect {
        Effect::Deployment(now) => Some(Named::Deployment(name(now))),
        Effect::HttpRoute(now) => Some(Named::Route(RouteKind::Http, name(now))),
        Effect::GrpcRoute(now) => Some(Named::Route(RouteKind::Grpc, name(now))),
        _ => None,
    }
}
