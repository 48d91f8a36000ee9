//! Services and the endpoints behind them.

use serde_json::Value;

use crate::adapters::kube::row::{View, Whole};
use crate::api::names::ROLLOUT_LABEL;
use crate::engine::world::{Look, Seen, ServiceSeen};

use super::{text, texts};

/// The label that names the Service of an EndpointSlice.
/// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ownership>
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Fields of the spec that the canary's Service has in common with the component's; addresses are its own.
const COMMON_FIELDS: [&str; 7] = [
    "ports",
    "sessionAffinity",
    "sessionAffinityConfig",
    "internalTrafficPolicy",
    "trafficDistribution",
    "ipFamilies",
    "ipFamilyPolicy",
];

/// What is kept of a Service; its endpoints come from its slices.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceView {
    /// What decisions need.
    pub seen: ServiceSeen,
    /// What the canary's Service has in common with it: fields of `spec`.
    pub common: Value,
}

impl View for ServiceView {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Service";
    const PLURAL: &'static str = "services";

    fn of(whole: Whole) -> Result<Self, String> {
        let Whole { metadata, spec, .. } = whole;
        let mut spec = spec.json("spec")?;
        let selector = texts(&spec, "/selector");
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|field, _| COMMON_FIELDS.contains(&field.as_str()));
        }
        Ok(Self {
            seen: ServiceSeen {
                at: metadata.seen(),
                deleting: metadata.is_deleting(),
                owner_uid: metadata.controller_uid(),
                rollout_label: metadata.labels.get(ROLLOUT_LABEL).cloned(),
                selector,
                ready: Look::Unknown,
            },
            common: spec,
        })
    }

    fn at(&self) -> &Seen {
        &self.seen.at
    }

    fn rollout(&self) -> Option<&str> {
        self.seen.rollout_label.as_deref()
    }
}

/// What is kept of an EndpointSlice. It carries the labels of its Service.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceView {
    at: Seen,
    rollout: Option<String>,
    /// Name of its Service.
    pub service: String,
    /// Names of the pods that are ready, sorted. A pod may be in more than one slice of its Service.
    pub ready_pods: Vec<String>,
}

impl View for SliceView {
    const GROUP: &'static str = "discovery.k8s.io";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "EndpointSlice";
    const PLURAL: &'static str = "endpointslices";

    fn of(whole: Whole) -> Result<Self, String> {
        let Whole { metadata, endpoints, .. } = whole;
        let mut ready_pods: Vec<String> = match &endpoints.json("endpoints")? {
            Value::Array(list) => list.iter().filter_map(ready_pod).map(str::to_owned).collect(),
            Value::Null => Vec::new(),
            _ => return Err("endpoints is not a list".to_owned()),
        };
        ready_pods.sort_unstable();
        ready_pods.dedup();
        Ok(Self {
            at: metadata.seen(),
            rollout: metadata.labels.get(ROLLOUT_LABEL).cloned(),
            service: metadata.labels.get(SERVICE_NAME).cloned().unwrap_or_default(),
            ready_pods,
        })
    }

    fn at(&self) -> &Seen {
        &self.at
    }

    fn rollout(&self) -> Option<&str> {
        self.rollout.as_deref()
    }
}

/// The pod of an endpoint that takes traffic. An absent condition means ready.
fn ready_pod(endpoint: &Value) -> Option<&str> {
    let is_ready = endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
    let is_pod = text(endpoint, "/targetRef/kind") == Some("Pod");
    text(endpoint, "/targetRef/name").filter(|_| is_ready && is_pod)
}

/// The ReplicaSet of a pod by their names: a pod is called like its ReplicaSet, with `-` and five letters.
#[must_use]
pub fn replica_set_of(pod: &str) -> &str {
    pod.rsplit_once('-').map_or(pod, |(replica_set, _)| replica_set)
}
