//! What the API server cannot check at apply: the spec against the cluster. Every message names the field and the cure.

use std::collections::BTreeMap;

use crate::api::names::POD_TEMPLATE_HASH;
use crate::api::{Component, Preset, Traffic};

use super::evidence::gates_of;
use super::hooks::Flaw;
use super::plan::Inquiry;
use super::route::Backends;
use super::turn::{Part, Turn};
use super::world::{DeploymentSeen, Look, ServiceSeen};
use super::{config, copies, degraded, gate_templates, hooks, order, query};

/// What a check came to.
pub(super) enum Checked {
    /// A run can start.
    Sound,
    /// Something has to be looked at first.
    Looking,
    /// It cannot, for this reason.
    Unsound(String),
}

/// An early end of a check.
enum Stop {
    Look(Inquiry),
    Wait,
    Problem(String),
}

/// Checks one component of the spec.
///
/// With `is_new` all of it, otherwise what a new template may have changed.
pub(super) fn check(turn: &mut Turn<'_>, part: &Part<'_>, is_new: bool) -> Checked {
    let Some(component) = part.spec else { return Checked::Sound };
    match check_all(turn, part, component, is_new) {
        Ok(()) => degraded::checks::check(turn),
        Err(Stop::Look(inquiry)) => {
            turn.look(inquiry);
            Checked::Looking
        }
        Err(Stop::Wait) => Checked::Looking,
        Err(Stop::Problem(problem)) => Checked::Unsound(problem),
    }
}

fn check_all(turn: &Turn<'_>, part: &Part<'_>, component: &Component, is_new: bool) -> Result<(), Stop> {
    if let Some(circle) = order::circle(&turn.world.rollout.spec) {
        let says = format!(
            "the components depend on each other in a circle, {}: take one of these out",
            circle.join(" → ")
        );
        return problem(&format!("components[{}].dependsOn", circle[0]), &says);
    }
    hooks::check(turn).map_err(|flaw| match flaw {
        Flaw::Look(inquiry) => Stop::Look(inquiry),
        Flaw::Problem(field, says) => Stop::Problem(format!("spec.{field}: {says}")),
    })?;
    check_gates(turn, part)?;
    let field = format!("components[{}]", part.name);
    let deployment = check_deployment(turn, part, &field)?;
    check_config(turn, part, component, &field)?;
    let Some(traffic) = &component.traffic else { return Ok(()) };
    let field = format!("{field}.traffic");
    check_service(turn, part, (traffic, deployment), &field, is_new)?;
    check_routes(turn, part, traffic, &field)
}

fn problem<T>(field: &str, says: &str) -> Result<T, Stop> {
    Err(Stop::Problem(format!("spec.{field}: {says}")))
}

fn check_gates(turn: &Turn<'_>, part: &Part<'_>) -> Result<(), Stop> {
    if let Some(problem) = gate_templates::problem(turn.world) {
        return Err(Stop::Problem(problem));
    }
    let mut names = BTreeMap::new();
    for gate in gates_of(turn, part) {
        let field = gate_templates::field_of(turn.world, &part.name, &gate.name);
        if names.insert(gate.name.clone(), ()).is_some() {
            return problem(
                &field,
                &format!("the component {} is judged by two gates of this name: rename one", part.name),
            );
        }
        let asked = &gate.prometheus;
        if let Some(Err(error)) = asked.query.as_deref().map(query::check) {
            return problem(&format!("{field}.prometheus.query"), &error.to_string());
        }
        for (name, text) in [("bad", &asked.bad), ("total", &asked.total), ("buckets", &asked.buckets)] {
            if let Some(Err(error)) = text.as_deref().map(query::check_series) {
                return problem(&format!("{field}.prometheus.{name}"), &error.to_string());
            }
        }
        if asked.preset == Some(Preset::Auto) && gate.has_bounds() {
            let says = "Auto may choose metrics in seconds or in milliseconds, and this gate has a limit in one of them: name the preset";
            return problem(&format!("{field}.prometheus.preset"), says);
        }
        if gate.rule().is_none() {
            return problem(&field, "a query of one number needs threshold: min, max or both");
        }
        if !turn.world.metric_sources.contains(&gate.prometheus.source) {
            let says = format!(
                "there is no MetricSource {} that the namespace {} may use: create it, add the namespace to its \
                 'namespaces', or name another one",
                gate.prometheus.source, turn.world.rollout.namespace
            );
            return problem(&format!("{field}.prometheus.source"), &says);
        }
    }
    Ok(())
}

fn check_deployment<'w>(turn: &Turn<'_>, part: &Part<'w>, field: &str) -> Result<&'w DeploymentSeen, Stop> {
    let field = format!("{field}.workloadRef.name");
    let (name, namespace) = (&part.refs.workload, &turn.world.rollout.namespace);
    if let Some(other) = &part.seen.claimed_by {
        let says = format!(
            "the Rollout {other} names the Deployment {name} already: a Deployment belongs to one Rollout"
        );
        return problem(&field, &says);
    }
    let deployment = match &part.seen.deployment {
        Look::Unknown => return Err(Stop::Look(Inquiry::Deployment(part.name.clone()))),
        Look::Missing => {
            let says = format!(
                "there is no Deployment {name} in the namespace {namespace}: create it or correct the name"
            );
            return problem(&field, &says);
        }
        Look::Found(deployment) => deployment,
    };
    if deployment.recreates {
        let says = format!(
            "the Deployment {name} has the strategy Recreate, which stops all pods first: set spec.strategy.type of the \
             Deployment to RollingUpdate"
        );
        return problem(&field, &says);
    }
    Ok(deployment)
}

fn check_config(turn: &Turn<'_>, part: &Part<'_>, component: &Component, field: &str) -> Result<(), Stop> {
    if component.config.is_none() {
        return Ok(());
    }
    let field = format!("{field}.config");
    if !turn.world.config_policy_active {
        let says = "pods get copies of their configuration from the admission policy palier-config, which is not in force: it \
                    needs Kubernetes 1.36 and the chart's value config.enabled=true; or take 'config' out";
        return problem(&field, says);
    }
    if let Some(taken) = copies::foreign_map(turn, part) {
        let says = format!("the name {taken} is needed and taken by another ConfigMap: rename that one");
        return problem(&field, &says);
    }
    match &part.seen.config {
        Look::Missing => {
            let says = "Palier may not read ConfigMaps and Secrets here: set the chart's value config.enabled to true";
            return problem(&field, says);
        }
        Look::Found(_) if config::wanted(part).is_some() => return Ok(()),
        Look::Unknown | Look::Found(_) => {}
    }
    match config::problem(part) {
        Some(problem) => Err(Stop::Problem(problem)),
        None => Err(Stop::Look(Inquiry::Config(part.name.clone()))),
    }
}

fn check_service(
    turn: &Turn<'_>,
    part: &Part<'_>,
    (traffic, deployment): (&Traffic, &DeploymentSeen),
    field: &str,
    is_new: bool,
) -> Result<(), Stop> {
    let field = format!("{field}.service");
    let (name, namespace) = (&traffic.service, &turn.world.rollout.namespace);
    let is_same = |c: &&Component| c.traffic.as_ref().is_some_and(|t| t.service == *name);
    if turn.world.rollout.spec.components.iter().filter(is_same).count() > 1 {
        return problem(
            &field,
            &format!("two components name the Service {name}: a Service belongs to one component"),
        );
    }
    let service = match &part.seen.service {
        Look::Unknown => return Err(Stop::Look(Inquiry::Service(part.name.clone()))),
        Look::Missing => {
            let says = format!(
                "there is no Service {name} in the namespace {namespace}: create it or correct the name"
            );
            return problem(&field, &says);
        }
        Look::Found(service) => service,
    };
    check_selector(turn, service, deployment, &field)?;
    match &part.seen.canary_service {
        Look::Unknown if is_new => return Err(Stop::Look(Inquiry::CanaryService(part.name.clone()))),
        Look::Found(other) if other.owner_uid.as_deref() != Some(turn.world.rollout.at.uid.as_str()) => {
            let says = format!(
                "the name {} is needed for the canary and taken by another Service: rename that one",
                other.at.name
            );
            return problem(&field, &says);
        }
        Look::Found(_) | Look::Missing | Look::Unknown => {}
    }
    match &part.seen.foreign_pod {
        Look::Unknown => Err(Stop::Look(Inquiry::ForeignPod(part.name.clone()))),
        Look::Missing => Ok(()),
        Look::Found(pod) => {
            let says = format!(
                "the Service {name} also selects the pod {pod} of another workload, which would be cut off during a run: \
                 make its selector as narrow as the Deployment's"
            );
            problem(&field, &says)
        }
    }
}

fn check_selector(
    turn: &Turn<'_>,
    service: &ServiceSeen,
    deployment: &DeploymentSeen,
    field: &str,
) -> Result<(), Stop> {
    let name = &service.at.name;
    if service.selector.is_empty() {
        let says =
            format!("the Service {name} has no selector: Palier can only split a Service that selects pods");
        return problem(field, &says);
    }
    for (key, value) in &service.selector {
        let is_ours = service.rollout_label.as_deref() == Some(turn.world.rollout.at.name.as_str());
        if key == POD_TEMPLATE_HASH {
            if !is_ours {
                let says = format!(
                    "the Service {name} selects by {POD_TEMPLATE_HASH} already: remove that key from its selector"
                );
                return problem(field, &says);
            }
        } else if deployment.template_labels.get(key) != Some(value) {
            let says = format!(
                "the Service {name} selects {key}={value}, which the pods of the Deployment {} do not carry: correct the \
                 selector or the pod template's labels",
                deployment.at.name
            );
            return problem(field, &says);
        }
    }
    Ok(())
}

fn check_routes(turn: &Turn<'_>, part: &Part<'_>, traffic: &Traffic, field: &str) -> Result<(), Stop> {
    let canary = part.refs.canary_service().unwrap_or_default();
    let backends =
        Backends { namespace: &turn.world.rollout.namespace, stable: &traffic.service, canary: &canary };
    for (kind, name, look) in &part.seen.routes {
        let kind = kind.as_str();
        let field =
            format!("{field}.gatewayAPI.{}s[{name}]", kind.replace("HTTP", "http").replace("GRPC", "grpc"));
        match look {
            Look::Unknown => return Err(Stop::Wait),
            Look::Missing => {
                let says =
                    format!("there is no {kind} {name} in this namespace: create it or correct the name");
                return problem(&field, &says);
            }
            Look::Found(route) => {
                if let Err(error) = backends.check(&route.backends) {
                    return problem(&field, &error.to_string());
                }
            }
        }
    }
    Ok(())
}
