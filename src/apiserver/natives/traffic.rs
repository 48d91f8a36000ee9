//! Who gets the requests.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Nature;
use super::fields::{list, text};
use crate::apiserver::{Kind, Store};

const SERVICE_NAME: &str = "/metadata/labels/kubernetes.io~1service-name";

/// The pods that take requests for a Service, as its EndpointSlices have it.
#[must_use]
pub fn ready_behind(store: &Store, namespace: &str, service: &str) -> Vec<String> {
    let slices = store.list(Kind::EndpointSlice, Some(namespace)).map(|(_, slice)| slice);
    let slices = slices.filter(|slice| text(slice, SERVICE_NAME) == service);
    let endpoints = slices.flat_map(|slice| list(slice, "/endpoints"));
    let ready = endpoints.filter(|it| it["conditions"]["ready"] != false);
    ready.map(|it| text(it, "/targetRef/name").to_owned()).collect()
}

impl Nature {
    /// The share of a rule's requests that each pod gets through the gateway now, between 0 and 1. `None` stands for nobody:
    /// the share of backends without a ready pod, and of all requests as long as the gateway knows nothing of the rule.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "weights and counts of pods are small")]
    pub fn shares(
        &self,
        store: &Store,
        (kind, namespace, route): (Kind, &str, &str),
        rule: usize,
    ) -> BTreeMap<Option<String>, f64> {
        let backends = self.in_effect(kind, namespace, route).and_then(|rules| rules.get(rule));
        let weight = |backend: &Value| backend["weight"].as_u64().map_or(1.0, |weight| weight as f64);
        let total: f64 = backends.into_iter().flatten().map(weight).sum();
        if total == 0.0 {
            return BTreeMap::from([(None, 1.0)]);
        }
        let mut shares = BTreeMap::new();
        for backend in backends.into_iter().flatten().filter(|backend| weight(backend) > 0.0) {
            let namespace = backend["namespace"].as_str().unwrap_or(namespace);
            let pods = ready_behind(store, namespace, text(backend, "/name"));
            let share = weight(backend) / total;
            if pods.is_empty() {
                *shares.entry(None).or_default() += share;
            }
            for pod in &pods {
                *shares.entry(Some(pod.clone())).or_default() += share / pods.len() as f64;
            }
        }
        shares
    }
}
