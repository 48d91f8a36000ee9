//! Services and routes, as far as they are in the files.

use serde_json::{Map, Value};

use crate::api::Traffic;
use crate::api::names::{CANARY_SUFFIX, POD_TEMPLATE_HASH, ROLLOUT_LABEL};
use crate::engine::route::{Backends, RouteProblem};

use super::Desk;
use super::catalog::{CANARY_NAME_TAKEN, FOREIGN_PODS, ROUTE_WITHOUT_SERVICE, SERVICE_SELECTOR, SHARED_RULE};
use super::objects::named;
use super::scene::{Found, Scene, Subject};

pub fn check(scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    for (index, component) in subject.rollout.spec.components.iter().enumerate() {
        let Some(traffic) = &component.traffic else { continue };
        let field = format!("spec.components[{index}].traffic");
        let of_service = format!("{field}.service");
        if let Some(service) = named(scene, subject, ("", "Service"), (&traffic.service, &of_service), desk) {
            selector(scene, subject, service, &component.workload_ref.name, desk);
        }
        let canary = format!("{}{CANARY_SUFFIX}", traffic.service);
        let taken = scene.find(("", "Service"), subject, &canary);
        if let Some(taken) = taken.filter(|it| !is_made_for(subject, it.object)) {
            let message =
                format!("the Service of the canary is called {canary}, and here is another one of that name");
            desk.at(taken.index).say(
                &CANARY_NAME_TAKEN,
                "metadata.name",
                message,
                "Take it out, or rename it: Palier makes its own.",
            );
        }
        routes(scene, subject, traffic, &field, desk);
    }
}

/// Whether Palier made the object for the run of this Rollout that is under way.
fn is_made_for(subject: &Subject, object: &Value) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let name = subject.rollout.metadata.name.as_deref();
    owners.into_iter().flatten().any(|it| it["kind"] == "Rollout" && it["name"].as_str() == name)
}

/// Whether Palier has pinned the Service for the run of this Rollout that is under way.
fn is_pinned_for(subject: &Subject, service: &Value) -> bool {
    let label = service.pointer("/metadata/labels").and_then(|it| it.get(ROLLOUT_LABEL));
    label.and_then(Value::as_str).is_some_and(|it| Some(it) == subject.rollout.metadata.name.as_deref())
}

/// Whether a pod is one of the Deployment's: it is owned by one of its ReplicaSets, whose names end with a hash.
fn is_pod_of(pod: &Value, workload: &str) -> bool {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let set = owners.into_iter().flatten().find(|it| it["kind"] == "ReplicaSet");
    let set = set.and_then(|it| it["name"].as_str()).and_then(|it| it.rsplit_once('-'));
    set.is_some_and(|(deployment, _)| deployment == workload)
}

fn labels<'v>(object: &'v Value, pointer: &str) -> Option<&'v Map<String, Value>> {
    object.pointer(pointer).and_then(Value::as_object)
}

fn fits(selector: &Map<String, Value>, labels: &Map<String, Value>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn selector(scene: &Scene<'_>, subject: &Subject, service: Found<'_>, workload: &str, desk: &mut Desk<'_>) {
    let name = service.name;
    let Some(wanted) = labels(service.object, "/spec/selector").filter(|it| !it.is_empty()) else {
        let message =
            format!("the Service {name} has no selector: only a Service that selects pods can be split");
        desk.at(service.index).say(
            &SERVICE_SELECTOR,
            "spec.selector",
            message,
            "Select the labels of the Deployment's pods.",
        );
        return;
    };
    let is_pinned = is_pinned_for(subject, service.object);
    if wanted.contains_key(POD_TEMPLATE_HASH) && !is_pinned {
        let message = format!(
            "the Service {name} selects by {POD_TEMPLATE_HASH} already: it stays with one version for ever"
        );
        let field = format!("spec.selector.{POD_TEMPLATE_HASH}");
        desk.at(service.index).say(&SERVICE_SELECTOR, field, message, "Take that key out of the selector.");
        return;
    }
    let template = "/spec/template/metadata/labels";
    let wanted: &Map<String, Value> =
        &wanted.clone().into_iter().filter(|(key, _)| key != POD_TEMPLATE_HASH).collect();
    let Some(deployment) = scene.find(("apps", "Deployment"), subject, workload) else { return };
    let of_pods = labels(deployment.object, template).cloned().unwrap_or_default();
    if let Some((key, value)) = wanted.iter().find(|(key, value)| of_pods.get(*key) != Some(value)) {
        let value = value.as_str().unwrap_or_default();
        let message = format!(
            "the Service {name} selects {key}={value}, which the pods of the Deployment {workload} do not carry"
        );
        let field = format!("spec.selector.{key}");
        desk.at(service.index).say(
            &SERVICE_SELECTOR,
            field,
            message,
            "Correct the selector or the labels of the pod template.",
        );
        return;
    }
    let foreign = scene.of_kind("apps", "Deployment").find(|it| {
        it.name != workload
            && scene.is_near(it.object, subject)
            && labels(it.object, template).is_some_and(|it| fits(wanted, it))
    });
    let pod = scene.of_kind("", "Pod").find(|it| {
        scene.is_near(it.object, subject)
            && labels(it.object, "/metadata/labels").is_some_and(|it| fits(wanted, it))
            && !is_pod_of(it.object, workload)
    });
    if let Some(pod) = pod.filter(|_| foreign.is_none()) {
        desk.at(service.index).say(
            &FOREIGN_PODS,
            "spec.selector",
            format!("the Service {name} selects the pod {} of another workload too, which would be cut off during a run", pod.name),
            format!("Make the selector as narrow as that of {workload}."),
        );
    }
    if let Some(foreign) = foreign {
        desk.at(service.index).say(
            &FOREIGN_PODS,
            "spec.selector",
            format!("the Service {name} selects pods of the Deployment {} too, which would be cut off during a run", foreign.name),
            format!("Make the selector as narrow as that of {workload}."),
        );
    }
}

fn routes(scene: &Scene<'_>, subject: &Subject, traffic: &Traffic, field: &str, desk: &mut Desk<'_>) {
    let canary = format!("{}{CANARY_SUFFIX}", traffic.service);
    let backends =
        Backends { namespace: subject.namespace_or_default(), stable: &traffic.service, canary: &canary };
    let api = &traffic.gateway_api;
    let http = api.http_routes.iter().enumerate().map(|(at, it)| ("HTTPRoute", "httpRoutes", at, &it.name));
    let grpc = api.grpc_routes.iter().enumerate().map(|(at, it)| ("GRPCRoute", "grpcRoutes", at, &it.name));
    for (kind, list, at, name) in http.chain(grpc) {
        let field = format!("{field}.gatewayAPI.{list}[{at}].name");
        let Some(route) = named(scene, subject, ("gateway.networking.k8s.io", kind), (name, &field), desk)
        else {
            continue;
        };
        let of_rule = |rule: &Value| rule["backendRefs"].as_array().cloned().unwrap_or_default();
        let rules: Vec<Vec<Value>> = route
            .object
            .pointer("/spec/rules")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(of_rule)
            .collect();
        let desk = &mut desk.at(route.index);
        match backends.check(&rules) {
            Ok(()) => {}
            Err(RouteProblem::NotNamed { service }) => desk.say(
                &ROUTE_WITHOUT_SERVICE,
                "spec.rules",
                format!("no rule of the {kind} {name} names the Service {service}: its weights would go nowhere"),
                format!("Name {service} as the backend of a rule, or another route in the Rollout."),
            ),
            Err(RouteProblem::Shared { service, rule }) => desk.say(
                &SHARED_RULE,
                format!("spec.rules[{rule}].backendRefs"),
                format!("the rule splits its traffic between {service} and other backends: weights of two owners do not add up"),
                "Leave one backend in the rule; the canary's is added during a run.",
            ),
        }
    }
}
