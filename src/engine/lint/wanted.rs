//! The objects that Rollouts name, to be looked for in a cluster.

use serde_json::Value;

use crate::api::TemplateKind;

use super::catalog::NOT_IN_THE_CLUSTER;
use super::scene::{Scene, Subject, gates};
use super::templates;
use super::{Finding, Given};

/// An object that a Rollout names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Index of the Rollout.
    pub object: usize,
    /// Where it is named.
    pub field: String,
    /// Group, version and kind.
    pub kind: (&'static str, &'static str, &'static str),
    /// The resource, in the plural.
    pub resource: &'static str,
    /// Empty for an object of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// All of them, each once for a Rollout. What is in the files too is not left out: it may not be applied yet.
#[must_use]
pub fn named_objects(objects: &[Value], given: &Given) -> Vec<Wanted> {
    let scene = Scene::new(objects, given);
    let mut all: Vec<Wanted> = Vec::new();
    for subject in &scene.rollouts {
        for wanted in of(subject) {
            if !all.iter().any(|it| {
                (it.kind, &it.namespace, &it.name) == (wanted.kind, &wanted.namespace, &wanted.name)
            }) {
                all.push(wanted);
            }
        }
    }
    all
}

fn of(subject: &Subject) -> Vec<Wanted> {
    const DEPLOYMENT: ((&str, &str, &str), &str) = (("apps", "v1", "Deployment"), "deployments");
    const SERVICE: ((&str, &str, &str), &str) = (("", "v1", "Service"), "services");
    const HTTP: ((&str, &str, &str), &str) = (("gateway.networking.k8s.io", "v1", "HTTPRoute"), "httproutes");
    const GRPC: ((&str, &str, &str), &str) = (("gateway.networking.k8s.io", "v1", "GRPCRoute"), "grpcroutes");
    const CRON_JOB: ((&str, &str, &str), &str) = (("batch", "v1", "CronJob"), "cronjobs");
    const SOURCE: ((&str, &str, &str), &str) = (("palier.dev", "v1alpha1", "MetricSource"), "metricsources");
    const TEMPLATE: ((&str, &str, &str), &str) =
        (("palier.dev", "v1alpha1", "GateTemplate"), "gatetemplates");
    const CLUSTER_TEMPLATE: ((&str, &str, &str), &str) =
        (("palier.dev", "v1alpha1", "ClusterGateTemplate"), "clustergatetemplates");
    let spec = &subject.rollout.spec;
    let wanted = |(kind, resource), field: String, name: &str| Wanted {
        object: subject.object,
        field,
        kind,
        resource,
        namespace: if [SOURCE.0, CLUSTER_TEMPLATE.0].contains(&kind) {
            String::new()
        } else {
            subject.namespace_or_default().to_owned()
        },
        name: name.to_owned(),
    };
    let mut all = Vec::new();
    for (at, component) in spec.components.iter().enumerate() {
        let field = format!("spec.components[{at}]");
        all.push(wanted(DEPLOYMENT, format!("{field}.workloadRef.name"), &component.workload_ref.name));
        let Some(traffic) = &component.traffic else { continue };
        all.push(wanted(SERVICE, format!("{field}.traffic.service"), &traffic.service));
        for (kind, list, routes) in [
            (HTTP, "httpRoutes", &traffic.gateway_api.http_routes),
            (GRPC, "grpcRoutes", &traffic.gateway_api.grpc_routes),
        ] {
            for (index, route) in routes.iter().enumerate() {
                all.push(wanted(
                    kind,
                    format!("{field}.traffic.gatewayAPI.{list}[{index}].name"),
                    &route.name,
                ));
            }
        }
    }
    for (index, hook) in spec.hooks.iter().enumerate() {
        all.push(wanted(CRON_JOB, format!("spec.hooks[{index}].cronJobRef.name"), &hook.cron_job_ref.name));
    }
    for (kind, field, name) in templates::wanted(subject) {
        let (kind, resource) = match kind {
            TemplateKind::GateTemplate => TEMPLATE,
            TemplateKind::ClusterGateTemplate => CLUSTER_TEMPLATE,
        };
        all.push(wanted((kind, resource), field, &name));
    }
    for at in gates(spec) {
        all.push(wanted(SOURCE, format!("{}.prometheus.source", at.field), &at.gate.prometheus.source));
    }
    all
}

/// The finding about an object that the cluster does not have.
#[must_use]
pub fn not_in_the_cluster(wanted: &Wanted) -> Finding {
    let kind = wanted.kind.2;
    let place = if wanted.namespace.is_empty() {
        String::new()
    } else {
        format!(" in namespace {}", wanted.namespace)
    };
    Finding {
        object: wanted.object,
        field: wanted.field.clone(),
        check: &NOT_IN_THE_CLUSTER,
        message: format!("the cluster has no {kind} {}{place}", wanted.name),
        fix: "Create it first, or correct the name.".to_owned(),
    }
}
