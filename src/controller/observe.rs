//! Stores and live reads → World.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::adapters::kube::views::RolloutView;
use crate::adapters::kube::views::services::replica_set_of;
use crate::api::{Interception, Revision, RolloutSpec, TemplateKind};
use crate::engine::flaw::{self, Flaw};
use crate::engine::gate_templates::{self, GateTemplates};
use crate::engine::references::{References, references};
use crate::engine::world::{
    ActionSeen, ComponentSeen, HooksSeen, Look, PodsSeen, ReplicaSetSeen, RolloutSeen, RouteKind, RouteSeen,
    ServiceSeen, World,
};

use super::context::Context;
use super::desk::{Desk, Kept, Looks, lock};
use super::names::Named;
use super::queue::Key;

/// What was observed, and from what.
pub struct Observed {
    /// The world.
    pub world: World,
    /// The Rollout as it is stored.
    pub stored: Arc<RolloutView>,
}

/// Observes one Rollout; `None` if there is none.
pub fn observe(context: &Context, key: &Key, epoch: i64) -> Option<Observed> {
    let stored = context.stores.rollouts.get(&key.namespace, &key.name)?;
    let desk = context.desks.of(key);
    let mut desk = lock(&desk);
    start_afresh(&mut desk, &stored.seen.at.uid);
    desk.recognize(&stored.seen.at.resource_version, &stored.seen.status);
    let mut rollout = stored.seen.clone();
    if rollout.spec.interception == Interception::Auto {
        rollout.spec.interception = context.interception;
    }
    match &desk.working {
        Some(working) if working.base == rollout.status => rollout.status = working.status.clone(),
        _ => desk.working = None,
    }
    let names = references(&rollout.spec, &rollout.status);
    let components = names
        .iter()
        .map(|(component, names)| {
            let looks = desk.looks.get(component).map(AsRef::as_ref);
            (component.clone(), component_seen(context, &stored, component, names, looks))
        })
        .collect();
    desk.names = names;
    let hooks = hooks_seen(context, key, &mut desk, &rollout);
    let world = World {
        config_maps: desk.config_maps_seen(),
        refusals: desk.refusals(),
        refused: desk.refusal.clone(),
        actions: actions_of(context, key, &stored, rollout.status.run.as_ref().map_or(0, |run| run.number)),
        answers: desk.inbox.clone(),
        asking: desk.asking.clone(),
        epoch,
        metric_sources: sources_of(context, &key.namespace),
        gate_templates: templates_of(context, key, &rollout.spec),
        policy_active: context.policy.is_in_force(),
        hooks,
        config_policy_active: context.config_policy.is_in_force(),
        components,
        rollout,
    };
    Some(Observed { world, stored })
}

fn hooks_seen(context: &Context, key: &Key, desk: &mut Desk, rollout: &RolloutSeen) -> HooksSeen {
    let hooks = || rollout.status.run.iter().flat_map(|run| &run.hooks);
    desk.refused_jobs.retain(|name, _| hooks().any(|hook| hook.job == *name));
    if !context.hooks {
        return HooksSeen::default();
    }
    let jobs = context.stores.jobs.of_rollout(&key.namespace, &key.name);
    HooksSeen {
        enabled: true,
        cron_jobs: desk.cron_jobs.iter().map(|(name, kept)| (name.clone(), kept.get(name))).collect(),
        jobs: jobs.iter().map(|view| (view.seen.at.name.clone(), view.seen.clone())).collect(),
        refused: desk.refused_jobs.clone(),
    }
}

/// A desk with what was kept for a former Rollout of the name is cleared.
fn start_afresh(desk: &mut Desk, uid: &str) {
    if desk.uid != uid {
        *desk = Desk { uid: uid.to_owned(), ..Desk::default() };
    }
}

fn component_seen(
    context: &Context,
    rollout: &RolloutView,
    component: &str,
    names: &References,
    looks: Option<&Looks>,
) -> ComponentSeen {
    let stores = &context.stores;
    let namespace = rollout.seen.namespace.as_str();
    let deployment = match stores.deployments.get(namespace, &names.workload) {
        Some(view) => Look::Found(view.seen.clone()),
        None => looks.map_or(Look::Unknown, |looks| looks.deployment.get(&names.workload)),
    };
    let (service, canary_service, foreign_pod) = match (&names.service, names.canary_service()) {
        (Some(service), Some(canary)) => (
            service_seen(context, namespace, service, looks.map(|looks| looks.service.get(service))),
            service_seen(context, namespace, &canary, looks.map(|looks| looks.canary_service.get(&canary))),
            looks.map_or(Look::Unknown, |looks| looks.foreign_pod.get(service)),
        ),
        _ => (Look::Unknown, Look::Unknown, Look::Unknown),
    };
    let listed = deployment
        .found()
        .zip(looks)
        .map_or(Look::Unknown, |(deployment, looks)| looks.replica_sets.list_of(deployment));
    let status = rollout.seen.status.components.iter().find(|it| it.name == component);
    ComponentSeen {
        deployment,
        claimed_by: claimed_by(context, rollout, &names.workload),
        replica_sets_complete: listed.found().is_some(),
        replica_sets: replica_sets(context, &rollout.seen, component, &listed),
        service,
        canary_service,
        foreign_pod,
        routes: routes_seen(context, namespace, names),
        config: looks.map_or(Look::Unknown, |looks| looks.config.get(&names.workload)),
        canary_pods: pods_seen(
            status.and_then(|it| it.canary.as_ref()),
            looks.map(|looks| &looks.canary_pods),
        ),
        stable_pods: pods_seen(
            status.and_then(|it| it.stable.as_ref()),
            looks.map(|looks| &looks.stable_pods),
        ),
    }
}

/// The pods of a revision, if they were listed.
fn pods_seen(revision: Option<&Revision>, kept: Option<&Kept<PodsSeen>>) -> Look<PodsSeen> {
    revision.zip(kept).map_or(Look::Unknown, |(revision, kept)| kept.get(&revision.replica_set))
}

/// Another Rollout that names the same Deployment and came first.
fn claimed_by(context: &Context, rollout: &RolloutView, workload: &str) -> Option<String> {
    let namespace = rollout.seen.namespace.as_str();
    let mut first = (rollout.created_at, rollout.seen.at.uid.clone());
    let mut name = None;
    for other in context.names.naming(namespace, Named::Deployment(workload.to_owned())) {
        let age = context
            .stores
            .rollouts
            .with(namespace, &other.name, |view| (view.created_at, view.seen.at.uid.clone()));
        if let Some(age) = age.filter(|age| *age < first) {
            first = age;
            name = Some(other.name.to_string());
        }
    }
    name
}

/// The labelled ReplicaSets of the component and those that were listed, by name; the watched state of one that is both.
fn replica_sets(
    context: &Context,
    rollout: &RolloutSeen,
    component: &str,
    listed: &Look<Vec<ReplicaSetSeen>>,
) -> Vec<ReplicaSetSeen> {
    let labelled = context.stores.replica_sets.of_rollout(&rollout.namespace, &rollout.at.name);
    let labelled = labelled.iter().filter(|view| view.component == component).map(|view| view.seen.clone());
    let mut all: BTreeMap<String, ReplicaSetSeen> =
        listed.found().into_iter().flatten().map(|set| (set.at.name.clone(), set.clone())).collect();
    all.extend(labelled.map(|set| (set.at.name.clone(), set)));
    all.into_values().collect()
}

fn service_seen(
    context: &Context,
    namespace: &str,
    name: &str,
    looked: Option<Look<ServiceSeen>>,
) -> Look<ServiceSeen> {
    let Some(view) = context.stores.services.get(namespace, name) else {
        return looked.unwrap_or_default();
    };
    let mut service = view.seen.clone();
    service.ready = ready_behind(context, namespace, &service);
    Look::Found(service)
}

/// Ready endpoints of a labelled Service. Every Service with a selector has a slice, so that none means that the label has
/// not reached them yet.
fn ready_behind(context: &Context, namespace: &str, service: &ServiceSeen) -> Look<BTreeMap<String, i32>> {
    let Some(rollout) = &service.rollout_label else { return Look::Unknown };
    let slices = context.stores.slices.of_rollout(namespace, rollout);
    let mut slices = slices.iter().filter(|slice| slice.service == service.at.name).peekable();
    if slices.peek().is_none() {
        return Look::Unknown;
    }
    // A pod may be in several slices: one for each family of addresses, and in two while it moves.
    let pods: BTreeSet<&String> = slices.flat_map(|slice| &slice.ready_pods).collect();
    let mut ready = BTreeMap::new();
    for pod in pods {
        *ready.entry(replica_set_of(pod).to_owned()).or_insert(0) += 1;
    }
    Look::Found(ready)
}

fn routes_seen(
    context: &Context,
    namespace: &str,
    names: &References,
) -> Vec<(RouteKind, String, Look<RouteSeen>)> {
    let look = |kind: RouteKind, name: &str| {
        let found = match kind {
            RouteKind::Http => context.stores.http_routes.get(namespace, name).map(|view| view.0.clone()),
            RouteKind::Grpc => context.stores.grpc_routes.get(namespace, name).map(|view| view.0.clone()),
        };
        found.map_or(Look::Missing, Look::Found)
    };
    names.routes.iter().map(|(kind, name)| (*kind, name.clone(), look(*kind, name))).collect()
}

/// The actions that speak of the present run, oldest first; all others are void. What was asked of an earlier Rollout of that
/// name is not asked of this one, whose runs are counted from one again.
fn actions_of(context: &Context, key: &Key, rollout: &RolloutView, run: i64) -> Vec<ActionSeen> {
    let views = context.stores.actions.of_rollout(&key.namespace, &key.name);
    let is_of_this =
        |seen: &ActionSeen| seen.created_at >= rollout.created_at || flaw::is(Flaw::FormerRolloutsActions);
    let is_its = |seen: &ActionSeen| seen.action.run == run && is_of_this(seen);
    let present = views.iter().filter(|view| is_its(&view.seen));
    let mut actions: Vec<ActionSeen> = present.map(|view| view.seen.clone()).collect();
    actions.sort_by(|a, b| (a.created_at, &a.uid).cmp(&(b.created_at, &b.uid)));
    actions
}

fn templates_of(context: &Context, key: &Key, spec: &RolloutSpec) -> GateTemplates {
    let stores = &context.stores;
    let seen = gate_templates::named(spec).into_iter().map(|(kind, name)| {
        let found = match kind {
            TemplateKind::GateTemplate => {
                stores.gate_templates.with(&key.namespace, &name, |view| view.spec.clone())
            }
            TemplateKind::ClusterGateTemplate => {
                stores.cluster_gate_templates.with("", &name, |view| view.0.spec.clone())
            }
        };
        let look = match (found, kind) {
            (Some(template), _) => Look::Found(template),
            (None, TemplateKind::ClusterGateTemplate) if context.is_namespaced => Look::Unknown,
            (None, _) => Look::Missing,
        };
        ((kind, name), look)
    });
    GateTemplates { seen: seen.collect(), ..GateTemplates::default() }
}

fn sources_of(context: &Context, namespace: &str) -> BTreeSet<String> {
    lock(&context.allowed)
        .iter()
        .filter(|(_, namespaces)| namespaces.iter().any(|it| it == "*" || it == namespace))
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests;
