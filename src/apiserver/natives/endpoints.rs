//! The EndpointSlice controller, and the addresses of Services.
//! <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::fields::{has_labels, is_deleting, is_over, is_ready, list, name, text, uid};
use super::hand::{Hand, Outcome, reference};
use crate::apiserver::{Caller, Key, Kind, Part, Refusal, Store};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Does for one Service what is to do.
pub(super) fn sync(hand: &mut Hand<'_>, key: &Key, dice: &mut Dice) -> Outcome {
    let Some(service) = hand.get(key).filter(|service| !is_deleting(service)) else { return Ok(None) };
    let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object) else {
        return Ok(None);
    };
    let pods = hand.list(Kind::Pod, &key.namespace);
    let is_behind = |pod: &&Arc<Value>| {
        has_labels(pod, selector) && !is_over(pod) && !text(pod, "/status/podIP").is_empty()
    };
    let behind: Vec<&Arc<Value>> = pods.iter().filter(is_behind).collect();
    let endpoints: Vec<Value> = behind.iter().map(|pod| endpoint(&service, pod)).collect();
    // A slice without endpoints has no ports either.
    let ports = behind.first().map_or_else(|| json!([]), |pod| ports_of(&service, pod));
    let labels = labels_of(&service);
    let of_service = |slice: &&Arc<Value>| {
        text(slice, &format!("/metadata/labels/{}", SERVICE_NAME.replace('/', "~1"))) == key.name
            && slice["metadata"]["labels"][MANAGED_BY] == CONTROLLER
            && !is_deleting(slice)
    };
    let slices = hand.list(Kind::EndpointSlice, &key.namespace);
    let slice = slices.iter().find(of_service);
    match slice {
        Some(slice) => {
            let at = Key::new(Kind::EndpointSlice, &key.namespace, name(slice));
            hand.edit(&at, Part::Main, |slice| {
                slice["metadata"]["labels"] = labels;
                slice["endpoints"] = json!(endpoints);
                slice["ports"] = ports;
            })?;
        }
        None => {
            let prefix = format!("{}-", key.name);
            let slice = json!({
                "metadata": {
                    "name": format!("{prefix}{}", dice.suffix()), "generateName": prefix, "labels": labels,
                    "ownerReferences": [reference(&service)],
                },
                "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
            });
            hand.create(Kind::EndpointSlice, &key.namespace, slice)?;
        }
    }
    Ok(None)
}

/// A slice carries the labels of its Service.
fn labels_of(service: &Value) -> Value {
    let mut labels: Map<String, Value> =
        service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.remove(HEADLESS);
    if text(service, "/spec/clusterIP") == "None" {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    labels.insert(SERVICE_NAME.to_owned(), json!(name(service)));
    labels.insert(MANAGED_BY.to_owned(), json!(CONTROLLER));
    Value::Object(labels)
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let (serving, terminating) = (is_ready(pod), is_deleting(pod));
    let is_published = service["spec"]["publishNotReadyAddresses"] == true;
    let ready = is_published || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": pod["metadata"]["namespace"], "name": name(pod), "uid": uid(pod)},
    });
    if let Some(node) = pod["spec"].get("nodeName") {
        endpoint["nodeName"] = node.clone();
    }
    endpoint
}

/// The Service's ports as they are called on a pod.
fn ports_of(service: &Value, pod: &Value) -> Value {
    let ports = list(service, "/spec/ports").iter().filter_map(|port| {
        let target = match &port["targetPort"] {
            Value::Null => port["port"].clone(),
            Value::String(named) => port_of(pod, named)?,
            number => number.clone(),
        };
        let mut of_slice = json!({"name": text(port, "/name"), "port": target, "protocol": "TCP"});
        for field in ["protocol", "appProtocol"] {
            if let Some(value) = port.get(field) {
                of_slice[field] = value.clone();
            }
        }
        Some(of_slice)
    });
    ports.collect()
}

fn port_of(pod: &Value, named: &str) -> Option<Value> {
    let ports = list(pod, "/spec/containers").iter().flat_map(|container| list(container, "/ports"));
    ports.into_iter().find(|port| port["name"] == named).map(|port| port["containerPort"].clone())
}

/// Admission: gives a Service the address that it keeps for its life.
/// <https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/>
///
/// # Errors
/// Never; it has the shape of all admission.
pub fn assign_address(
    store: &Store,
    _: &Caller,
    key: &Key,
    before: Option<&Value>,
    after: &mut Value,
) -> Result<(), Refusal> {
    let kind = text(after, "/spec/type").to_owned();
    if key.kind != Kind::Service || kind == "ExternalName" || !text(after, "/spec/clusterIP").is_empty() {
        return Ok(());
    }
    let kept = before.map(|before| text(before, "/spec/clusterIP")).filter(|address| !address.is_empty());
    let number = store.revision();
    let new = || format!("198.19.{}.{}", number / 254 % 256, number % 254 + 1);
    let address = kept.map_or_else(new, str::to_owned);
    after["spec"]["clusterIP"] = json!(address);
    after["spec"]["clusterIPs"] = json!([address]);
    if kind.is_empty() {
        after["spec"]["type"] = json!("ClusterIP");
    }
    Ok(())
}
