//! The objects that Rollouts name, to be looked for in a cluster.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::TemplateKind;
use crate::api::names::POD_TEMPLATE_HASH;

use super::catalog::NOT_IN_THE_CLUSTER;
use super::scene::{Scene, Subject, gates};
use super::templates;
use super::{Finding, Given};

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Group, version and kind.
    pub kind: (&'static str, &'static str, &'static str),
    /// The resource, in the plural.
    pub resource: &'static str,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    resource: &'static str,
) -> Kind {
    Kind { kind: (group, version, kind), resource }
}

const DEPLOYMENT: Kind = kind("apps", "v1", "Deployment", "deployments");
const SERVICE: Kind = kind("", "v1", "Service", "services");
const HTTP: Kind = kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
const GRPC: Kind = kind("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes");
const CRON_JOB: Kind = kind("batch", "v1", "CronJob", "cronjobs");
const CONFIG_MAP: Kind = kind("", "v1", "ConfigMap", "configmaps");
const SOURCE: Kind = kind("palier.dev", "v1alpha1", "MetricSource", "metricsources");
const TEMPLATE: Kind = kind("palier.dev", "v1alpha1", "GateTemplate", "gatetemplates");
const CLUSTER_TEMPLATE: Kind = kind("palier.dev", "v1alpha1", "ClusterGateTemplate", "clustergatetemplates");
const ROLLOUT: Kind = kind("palier.dev", "v1alpha1", "Rollout", "rollouts");
const POD: Kind = kind("", "v1", "Pod", "pods");

/// Objects that could stand in the way of a Rollout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Around {
    /// Their kind.
    pub kind: Kind,
    /// Their namespace.
    pub namespace: String,
    /// Labels that they carry, as the API server reads a selector; empty for all.
    pub labels: String,
}

/// What may stand in the way: other Rollouts and Deployments of the namespaces, the Services of canaries, and the pods that the
/// Services select. `live` are the objects of the cluster that are known already.
#[must_use]
pub fn around(objects: &[Value], live: &[Value], given: &Given) -> BTreeSet<Around> {
    let all = [objects, live].concat();
    let given = Given { live: live.len(), ..given.clone() };
    let scene = Scene::new(&all, &given);
    let mut wanted = BTreeSet::new();
    for subject in scene.rollouts.iter().filter(|it| !scene.is_live(it.object)) {
        let namespace = subject.namespace_or_default();
        let mut add = |kind: Kind, labels: String| {
            wanted.insert(Around { kind, namespace: namespace.to_owned(), labels });
        };
        add(ROLLOUT, String::new());
        add(DEPLOYMENT, String::new());
        for traffic in subject.rollout.spec.components.iter().filter_map(|it| it.traffic.as_ref()) {
            let Some(service) = scene.find(("", "Service"), subject, &traffic.service) else { continue };
            add(SERVICE, String::new());
            let selector = service.object.pointer("/spec/selector").and_then(Value::as_object);
            let pairs: Vec<String> = selector
                .into_iter()
                .flatten()
                .filter(|(key, _)| *key != POD_TEMPLATE_HASH)
                .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
                .collect();
            if !pairs.is_empty() {
                add(POD, pairs.join(","));
            }
        }
    }
    wanted
}

/// An object that a Rollout names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Index of the Rollout.
    pub object: usize,
    /// Where it is named.
    pub field: String,
    /// Its kind.
    pub kind: Kind,
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
    for subject in scene.rollouts.iter().filter(|it| !scene.is_live(it.object)) {
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
    let spec = &subject.rollout.spec;
    let wanted = |kind: Kind, field: String, name: &str| Wanted {
        object: subject.object,
        field,
        kind,
        namespace: if [SOURCE, CLUSTER_TEMPLATE].contains(&kind) {
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
    for (at, mode) in spec.degraded_modes.iter().enumerate() {
        for (index, switch) in mode.switches.iter().enumerate() {
            let field = format!("spec.degradedModes[{at}].switches[{index}].configMap");
            all.push(wanted(CONFIG_MAP, field, &switch.config_map));
        }
    }
    for (kind, field, name) in templates::wanted(subject) {
        let kind = match kind {
            TemplateKind::GateTemplate => TEMPLATE,
            TemplateKind::ClusterGateTemplate => CLUSTER_TEMPLATE,
        };
        all.push(wanted(kind, field, &name));
    }
    for at in gates(spec) {
        all.push(wanted(SOURCE, format!("{}.prometheus.source", at.field), &at.gate.prometheus.source));
    }
    all
}

/// The finding about an object that the cluster does not have.
#[must_use]
pub fn not_in_the_cluster(wanted: &Wanted) -> Finding {
    let kind = wanted.kind.kind.2;
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
