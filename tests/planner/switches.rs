//! A Rollout with degraded modes, and the ConfigMap with their switches.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::Timestamp;
use palier::api::RolloutSpec;
use palier::engine::{Answer, Measurement};
use palier::sim::{Cluster, Drive};

use crate::fixtures::{at, start};

/// A file of feature flags as people write them.
pub const FILE: &str = "{\n  \"flags\": {\n    \"search\":   {\"state\": \"ENABLED\"},\n    \"chat\": {\"state\": \"ENABLED\"}\n  }\n}\n";
/// The same with the search off.
pub const DEGRADED: &str = "{\n  \"flags\": {\n    \"search\":   {\"state\": \"DISABLED\"},\n    \"chat\": {\"state\": \"ENABLED\"}\n  }\n}\n";

/// Values of gates by name, for the tests to change.
pub type Values = Rc<RefCell<BTreeMap<String, f64>>>;
/// A controller and what its gates measure.
pub type Play = (Drive<Box<dyn FnMut(&Measurement, Timestamp) -> Answer>>, Values);

/// Two components; a gate of `api` asks for the mode `no-search`, which sets a key and a place in a file.
pub fn spec(then: &str) -> RolloutSpec {
    let component = |name: &str, gates: serde_json::Value| {
        let service = format!("shop-{name}");
        serde_json::json!({
            "name": name, "workloadRef": {"name": service}, "gates": gates,
            "traffic": {"service": service, "gatewayAPI": {"httpRoutes": [{"name": service}]}},
        })
    };
    let gate = |name: &str, mode: &str| {
        serde_json::json!({
            "name": name, "interval": "10s", "failureThreshold": 1, "threshold": {"max": 0.01},
            "prometheus": {"query": name}, "onFailure": "DegradedMode", "degradedMode": mode,
        })
    };
    serde_json::from_value(serde_json::json!({
        "components": [
            component("api", serde_json::json!([gate("slow", "no-search"), gate("busy", "no-chat")])),
            component("web", serde_json::json!([])),
        ],
        "phases": [
            {"name": "pilot", "traffic": 10, "bakeTime": "1m"},
            {"name": "half", "traffic": 50, "bakeTime": "1m"},
            {"name": "everyone", "traffic": 100, "bakeTime": "1m"},
        ],
        "gates": [{
            "name": "errors", "interval": "10s", "failureThreshold": 1, "threshold": {"max": 0.01},
            "prometheus": {"query": "errors"},
        }],
        "degradedModes": [
            {
                "name": "no-search", "recoverAfter": "1m", "deadline": "20m", "then": then,
                "switches": [
                    {"configMap": "flags", "key": "flags.json", "pointer": "/flags/search/state", "json": "\"DISABLED\""},
                    {"configMap": "flags", "key": "SEARCH", "value": "off"},
                ],
            },
            {
                "name": "no-chat", "recoverAfter": "1m", "deadline": "20m",
                "switches": [{"configMap": "flags", "key": "CHAT", "value": "off"}],
            },
        ],
    }))
    .expect("a spec")
}

/// Two workloads and the ConfigMap, at rest.
pub fn cluster(then: &str) -> Cluster {
    let mut cluster = Cluster::new(spec(then), start());
    cluster.add_workload("shop-api", "app:v1", 4);
    cluster.add_workload("shop-web", "web:v1", 4);
    cluster.add_config_map("flags", &[("flags.json", FILE), ("SEARCH", "on"), ("other", "kept")]);
    cluster
}

/// A controller at rest, at 10 s.
pub fn play(cluster: Cluster) -> Play {
    let values = Values::default();
    let said = Rc::clone(&values);
    let answer = move |measurement: &Measurement, now| {
        let value = said.borrow().get(&measurement.gate).copied().unwrap_or(0.0);
        Answer::Sample { value, sampled_at: now }
    };
    let mut drive =
        Drive::new(cluster, Box::new(answer) as Box<dyn FnMut(&Measurement, Timestamp) -> Answer>);
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    (drive, values)
}
