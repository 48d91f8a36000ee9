//! Services and routes, as far as they are in the files.

use serde_json::{Map, Value};

use crate::api::Traffic;
use crate::api::names::{CANARY_SUFFIX, POD_TEMPLATE_HASH};
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
        if let Some(taken) = scene.find(("", "Service"), subject, &canary) {
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
    if wanted.contains_key(POD_TEMPLATE_HASH) {
        let message = format!(
            "the Service {name} selects by {POD_TEMPLATE_HASH} already: it stays with one version for ever"
        );
        let field = format!("spec.selector.{POD_TEMPLATE_HASH}");
        desk.at(service.index).say(&SERVICE_SELECTOR, field, message, "Take that key out of the selector.");
        return;
    }
    let template = "/spec/template/metadata/labels";
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
