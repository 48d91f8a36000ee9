//! What a scenario starts with: workloads as somebody has them already, and a Rollout beside them.

use palier::api::{Interception, OnDelete};
use serde_json::{Value, json};

/// Port of every Service.
pub const PORT: u16 = 80;

/// A Deployment, the Service of its callers and, when it has traffic of its own, the route in front of it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Name of all three.
    pub name: String,
    /// Tag of the image: how its pods behave.
    pub tag: String,
    /// Size.
    pub replicas: u32,
    /// Rules of its HTTPRoute; one rule for everything when empty.
    pub rules: Vec<Value>,
    /// What the Rollout says of its component besides.
    pub fields: Vec<(String, Value)>,
    /// Whether its pods read the ConfigMap `app` and the Secret `key`.
    pub is_configured: bool,
}

/// A gate, as a Rollout's manifest holds it.
#[derive(Clone, Debug)]
pub struct Gate(pub Value);

impl Gate {
    /// At most 5 % of the canary's answers are errors; asked every second.
    pub fn errors() -> Self {
        Self(json!({
            "name": "errors", "interval": "1s", "window": "5s", "failureThreshold": 2,
            "prometheus": {"query":
                "(sum(rate(http_requests_total{namespace=\"$namespace\",pod=~\"$canary_pods\",code=~\"5..\"}[$window])) or vector(0)) \
                 / sum(rate(http_requests_total{namespace=\"$namespace\",pod=~\"$canary_pods\"}[$window]))"},
            "threshold": {"max": 0.05},
        }))
    }

    /// 95 % of the canary's answers take 250 ms at most; asked every second.
    pub fn p95() -> Self {
        Self(json!({
            "name": "p95-seconds", "interval": "1s", "window": "5s", "failureThreshold": 2,
            "prometheus": {"query":
                "histogram_quantile(0.95, sum by (le) \
                 (rate(http_request_duration_seconds_bucket{namespace=\"$namespace\",pod=~\"$canary_pods\"}[$window])))"},
            "threshold": {"max": 0.25},
        }))
    }

    /// At most four errors of the canary a second: what a version that fails one of three requests keeps with a tenth of 50
    /// visitors a second, and breaks with half of them.
    pub fn errors_per_second() -> Self {
        Self(json!({
            "name": "errors-per-second", "interval": "1s", "window": "5s", "failureThreshold": 2,
            "prometheus": {"query":
                "sum(rate(http_requests_total{namespace=\"$namespace\",pod=~\"$canary_pods\",code=~\"5..\"}[$window])) or vector(0)"},
            "threshold": {"max": 4},
        }))
    }

    /// The same gate, asked of another MetricSource than `default`.
    pub fn of_source(mut self, source: &str) -> Self {
        self.0["prometheus"]["source"] = json!(source);
        self
    }

    /// The same gate with a field of its own.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.0[field] = value;
        self
    }
}

/// What is there before anything is released.
#[derive(Clone, Debug)]
pub struct Given {
    /// The workloads; the first has the Rollout's name.
    pub workloads: Vec<Workload>,
    phases: Vec<Value>,
    gates: Vec<Gate>,
    fields: Vec<(String, Value)>,
    shares_by_pods: bool,
}

impl Given {
    /// One workload `shop` of four pods of this version, and three phases that bake for three seconds each.
    pub fn shop(tag: &str) -> Self {
        let given = Self {
            workloads: Vec::new(),
            phases: Vec::new(),
            gates: Vec::new(),
            fields: vec![
                ("progressDeadline".into(), json!("60s")),
                // The gateway of the lab takes new weights within 0.2 s, and nothing takes longer than a request's timeout.
                ("drainTime".into(), json!("2s")),
            ],
            shares_by_pods: false,
        };
        given.and("shop", tag).baking("3s")
    }

    /// Another workload beside, a component of the same Rollout.
    pub fn and(mut self, name: &str, tag: &str) -> Self {
        let (name, tag) = (name.into(), tag.into());
        self.workloads.push(Workload {
            name,
            tag,
            replicas: 4,
            rules: Vec::new(),
            fields: Vec::new(),
            is_configured: false,
        });
        self
    }

    /// A field of the component of one workload, such as `dependsOn` or `gates`.
    pub fn component(mut self, name: &str, field: &str, value: Value) -> Self {
        let its = self.workloads.iter_mut().filter(|workload| workload.name == name);
        its.for_each(|workload| workload.fields.push((field.to_owned(), value.clone())));
        self
    }

    /// Another name for the first workload and the Rollout.
    pub fn called(mut self, name: &str) -> Self {
        if let Some(first) = self.workloads.first_mut() {
            name.clone_into(&mut first.name);
        }
        self
    }

    /// The size of every workload.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.workloads.iter_mut().for_each(|workload| workload.replicas = replicas);
        self
    }

    /// The rules of the first workload's route.
    pub fn rules(mut self, rules: Vec<Value>) -> Self {
        if let Some(first) = self.workloads.first_mut() {
            first.rules = rules;
        }
        self
    }

    /// 10, 50 and 100 %, each for this long.
    pub fn baking(self, bake_time: &str) -> Self {
        self.phases(&[("pilot", 10, bake_time), ("half", 50, bake_time), ("everyone", 100, bake_time)])
    }

    /// Phases by name, share and time to bake.
    pub fn phases(mut self, phases: &[(&str, u32, &str)]) -> Self {
        self.phases = phases
            .iter()
            .map(|(name, traffic, bake)| json!({"name": name, "traffic": traffic, "bakeTime": bake}))
            .collect();
        self
    }

    /// Pods of the first workload read the ConfigMap `app` and the Secret `key`, which its component names, or takes from
    /// the template.
    pub fn configured(mut self, from_template: bool) -> Self {
        if let Some(first) = self.workloads.first_mut() {
            first.is_configured = true;
        }
        let named = json!({"configMaps": ["app"], "secrets": ["key"]});
        let (name, config) = (self.name(), if from_template { json!({"fromTemplate": true}) } else { named });
        self.component(&name, "config", config)
    }

    /// Adds a gate.
    pub fn judged_by(mut self, gate: Gate) -> Self {
        self.gates.push(gate);
        self
    }

    /// The share of traffic is the share of pods: there is a route, but the Rollout does not know of it.
    pub fn sharing_by_pods(mut self) -> Self {
        self.shares_by_pods = true;
        self
    }

    /// The way of interception.
    pub fn intercepted_by(self, way: Interception) -> Self {
        self.field("interception", json!(way))
    }

    /// What happens when the Rollout is deleted.
    pub fn on_delete(self, way: OnDelete) -> Self {
        self.field("onDelete", json!(way))
    }

    /// Any field of the Rollout's spec.
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value));
        self
    }

    /// Name of the Rollout.
    pub fn name(&self) -> String {
        self.workloads.first().map(|workload| workload.name.clone()).unwrap_or_default()
    }

    /// The Rollout's manifest.
    pub fn rollout(&self, namespace: &str) -> Value {
        let components = self.workloads.iter().map(|workload| {
            let mut component = json!({"name": workload.name, "workloadRef": {"name": workload.name}});
            if !self.shares_by_pods {
                component["traffic"] = json!({
                    "service": workload.name, "gatewayAPI": {"httpRoutes": [{"name": workload.name}]}});
            }
            for (field, value) in &workload.fields {
                component[field] = value.clone();
            }
            component
        });
        let mut spec = json!({
            "components": components.collect::<Vec<_>>(),
            "phases": self.phases,
            "gates": self.gates.iter().map(|gate| gate.0.clone()).collect::<Vec<_>>(),
        });
        for (name, value) in &self.fields {
            spec[name] = value.clone();
        }
        json!({
            "apiVersion": "palier.dev/v1alpha1", "kind": "Rollout",
            "metadata": {"name": self.name(), "namespace": namespace}, "spec": spec,
        })
    }
}

impl Workload {
    /// The host that its route matches.
    pub fn host(&self, namespace: &str) -> String {
        format!("{}.{namespace}.example", self.name)
    }

    /// The manifests of its Deployment, Service and HTTPRoute.
    pub fn manifests(&self, namespace: &str) -> [Value; 3] {
        let Self { name, tag, replicas, rules, is_configured, .. } = self;
        let meta = json!({"name": name, "namespace": namespace});
        let labels = json!({"app": name});
        let mut pod = json!({"containers": [{"name": "app", "image": image(tag)}]});
        if *is_configured {
            pod["volumes"] = json!([{"name": "config", "configMap": {"name": "app"}}]);
            let token = json!({"secretKeyRef": {"name": "key", "key": "token"}});
            pod["containers"][0]["env"] = json!([{"name": "TOKEN", "valueFrom": token}]);
        }
        let rules = if rules.is_empty() { &vec![json!({"backendRefs": [self.backend()]})] } else { rules };
        [
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": pod,
                    },
                },
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": meta,
                "spec": {"selector": labels, "ports": [{"port": PORT, "targetPort": 8080}]},
            }),
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta,
                "spec": {
                    "parentRefs": [{"name": "lab", "namespace": "lab"}],
                    "hostnames": [self.host(namespace)],
                    "rules": rules,
                },
            }),
        ]
    }

    /// Its Service as a backend of a route.
    pub fn backend(&self) -> Value {
        backend(&self.name)
    }
}

/// A Service as a backend of a route.
pub fn backend(service: &str) -> Value {
    json!({"name": service, "port": PORT})
}

/// The image of a tag.
pub fn image(tag: &str) -> String {
    format!("app:{tag}")
}
