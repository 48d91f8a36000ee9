//! Releases of several parts: Rollouts, clusters and voices to start from.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::Timestamp;
use palier::api::{ComponentStatus, RolloutSpec, RolloutStatus, Stage};
use palier::engine::{Answer, Measurement};
use palier::sim::{Cluster, Drive};

use crate::fixtures::{at, start};

/// Components by name with what each depends on; three phases of a minute; a gate `errors` of each component and a gate
/// `all` of the Rollout, asked every ten seconds.
pub fn spec(edges: &[(&str, &[&str])]) -> RolloutSpec {
    let gate = |name: &str| {
        serde_json::json!({
            "name": name, "interval": "10s", "threshold": {"max": 0.01},
            "prometheus": {"query": "sum(rate(errors{pod=~\"$canary_pods\"}[$window]))"},
        })
    };
    let component = |(name, on): &(&str, &[&str])| {
        serde_json::json!({
            "name": name, "workloadRef": {"name": name}, "dependsOn": on, "gates": [gate("errors")],
            "traffic": {"service": name, "gatewayAPI": {"httpRoutes": [{"name": name}]}},
        })
    };
    serde_json::from_value(serde_json::json!({
        "components": edges.iter().map(component).collect::<Vec<_>>(),
        "phases": [
            {"name": "pilot", "traffic": 10, "bakeTime": "1m"},
            {"name": "half", "traffic": 50, "bakeTime": "1m"},
            {"name": "everyone", "traffic": 100, "bakeTime": "1m"},
        ],
        "gates": [gate("all")],
    }))
    .expect("a valid spec")
}

/// Four domains in a chain and one beside them.
pub const CHAIN: [(&str, &[&str]); 5] = [
    ("suppliers", &[]),
    ("stock", &["suppliers"]),
    ("production", &["stock"]),
    ("clients", &["production"]),
    ("news", &[]),
];

/// What the metric server says, by (component, gate); 0 where nothing is said.
pub type Values = Rc<RefCell<BTreeMap<(String, String), f64>>>;

/// A drive at rest on v1, four pods each, and what its metric server says.
pub fn voiced(spec: RolloutSpec) -> (Drive<impl FnMut(&Measurement, Timestamp) -> Answer>, Values) {
    let names: Vec<String> = spec.components.iter().map(|c| c.workload_ref.name.clone()).collect();
    let mut cluster = Cluster::new(spec, start());
    for name in &names {
        cluster.add_workload(name, "app:v1", 4);
    }
    let values = Values::default();
    let said = Rc::clone(&values);
    let mut drive = Drive::new(cluster, move |m: &Measurement, now| {
        let value = said.borrow().get(&(m.component.clone(), m.gate.clone())).copied().unwrap_or(0.0);
        Answer::Sample { value, sampled_at: now }
    });
    drive.run(at(30), |_, _| {});
    (drive, values)
}

/// From now on the gate of the component says this.
pub fn say(values: &Values, component: &str, gate: &str, value: f64) {
    values.borrow_mut().insert((component.to_owned(), gate.to_owned()), value);
}

/// Everybody gets a new version.
pub fn push_all(cluster: &mut Cluster, image: &str) {
    let names: Vec<String> = cluster.deployments.keys().cloned().collect();
    for name in names {
        cluster.push_image(&name, image);
    }
}

/// The status of one component.
pub fn part<'s>(status: &'s RolloutStatus, name: &str) -> &'s ComponentStatus {
    status.components.iter().find(|c| c.name == name).expect("a component of that name")
}

/// The stages, in the order of the spec.
pub fn stages(status: &RolloutStatus) -> Vec<Stage> {
    status.components.iter().map(|c| c.stage).collect()
}
