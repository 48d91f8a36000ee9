//! What a story begins with: workloads as somebody has them already, and a Rollout beside them.

use serde_json::{Value, json};

use crate::api::names::{CONFIG_POLICY, INTERCEPT_POLICY};
use crate::apiserver::Refusal;

use super::Rig;
use super::prometheus::{LIMIT, query};

/// Where everything is.
pub const SHOP: &str = "shop";

/// A Deployment, its Service and its route, serving `image`.
fn workload(name: &str, image: &str, replicas: u32) -> [Value; 3] {
    let metadata = json!({"name": name, "namespace": SHOP, "labels": {"team": "checkout"}});
    let labels = json!({"app": name});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels}, "revisionHistoryLimit": 10,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}},
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata,
        "spec": {
            "parentRefs": [{"name": "edge"}], "hostnames": [format!("{name}.example.com")],
            "rules": [
                {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [{"name": name, "port": 80}]},
            ],
        },
    });
    [deployment, service, route]
}

/// A component with traffic.
fn component(name: &str, needs: &[&str]) -> Value {
    let mut component = json!({
        "name": name, "workloadRef": {"name": name},
        "traffic": {"service": name, "gatewayAPI": {"httpRoutes": [{"name": name}]}},
    });
    if !needs.is_empty() {
        component["dependsOn"] = json!(needs);
    }
    component
}

/// A gate of this name that is asked every 5 s and trips at the first failure.
#[must_use]
pub fn gate(name: &str) -> Value {
    json!({
        "name": name, "interval": "5s", "failureThreshold": 1, "minEvaluations": 2,
        "prometheus": {"query": query(name)}, "threshold": {"max": LIMIT},
        "onNoData": {"treatAs": "Hold", "deadline": "1h", "then": "FullRollback"},
    })
}

/// A Rollout of these components: 10, 50 and 100 % for 20 s each, one gate.
fn rollout(components: &[Value]) -> Value {
    json!({
        "apiVersion": "palier.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop", "namespace": SHOP},
        "spec": {
            "components": components,
            "phases": [
                {"name": "pilot", "traffic": 10, "bakeTime": "20s"},
                {"name": "half", "traffic": 50, "bakeTime": "20s"},
                {"name": "everyone", "traffic": 100, "bakeTime": "20s"},
            ],
            "gates": [gate("errors")],
            "progressDeadline": "10m", "drainTime": "5s",
        },
    })
}

/// The image of a workload's version.
#[must_use]
pub fn image(workload: &str, tag: &str) -> String {
    format!("registry.example.com/{workload}:{tag}")
}

impl Rig {
    /// Furnishes the cluster with the chart's policies, with workloads of four pods each that serve `v1`, and with a Rollout `shop` of
    /// them. Names after a `<` are what a component needs: `web<api`.
    ///
    /// # Errors
    /// The API server's.
    pub fn furnish(&self, parts: &[&str]) -> Result<(), Refusal> {
        self.furnish_as(parts, |_| ())
    }

    /// The same after a change of what is created, in its order: the Rollout is the last.
    ///
    /// # Errors
    /// The API server's.
    pub fn furnish_as(&self, parts: &[&str], change: impl FnOnce(&mut Vec<Value>)) -> Result<(), Refusal> {
        let namespaces = [SHOP, "palier-system"]
            .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        let api_version = "admissionregistration.k8s.io/v1";
        let policies = [INTERCEPT_POLICY, CONFIG_POLICY].into_iter().flat_map(|name| {
            ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"].map(
                |kind| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": {}}),
            )
        });
        let mut objects: Vec<Value> = namespaces.into_iter().chain(policies).collect();
        let mut components = Vec::new();
        for part in parts {
            let (name, needs) = part.split_once('<').unwrap_or((part, ""));
            let needs: Vec<&str> = needs.split(',').filter(|name| !name.is_empty()).collect();
            objects.extend(workload(name, &image(name, "v1"), 4));
            components.push(component(name, &needs));
        }
        objects.push(rollout(&components));
        change(&mut objects);
        objects.into_iter().try_for_each(|object| self.create("platform", object))
    }
}
