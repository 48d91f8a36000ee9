//! Rollouts and clusters to start from.

use jiff::Timestamp;
use palier::api::{ActionKind, RolloutActionSpec, RolloutSpec};
use palier::engine::{Answer, Measurement};
use palier::sim::{Cluster, Drive};

/// The time at which every example starts.
pub fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

/// `start` plus seconds.
pub fn at(seconds: i64) -> Timestamp {
    start().checked_add(jiff::SignedDuration::from_secs(seconds)).expect("a time in range")
}

/// One component `api`, three phases of a minute, one gate every ten seconds.
pub fn spec() -> RolloutSpec {
    serde_json::from_value(serde_json::json!({
        "components": [{
            "name": "api",
            "workloadRef": {"name": "shop-api"},
            "traffic": {"service": "shop-api", "gatewayAPI": {"httpRoutes": [{"name": "shop-api"}]}},
        }],
        "phases": [
            {"name": "pilot", "traffic": 10, "bakeTime": "1m"},
            {"name": "half", "traffic": 50, "bakeTime": "1m"},
            {"name": "everyone", "traffic": 100, "bakeTime": "1m"},
        ],
        "gates": [{
            "name": "errors",
            "interval": "10s",
            "prometheus": {"query": "sum(rate(errors{pod=~\"$canary_pods\"}[$window]))"},
            "threshold": {"max": 0.01},
        }],
    }))
    .expect("a valid spec")
}

/// A cluster at rest on `app:v1` with four pods.
pub fn cluster(spec: RolloutSpec) -> Cluster {
    let mut cluster = Cluster::new(spec, start());
    cluster.add_workload("shop-api", "app:v1", 4);
    cluster
}

/// A controller whose Prometheus always answers `value`.
pub fn drive(cluster: Cluster, value: f64) -> Drive<impl FnMut(&Measurement, Timestamp) -> Answer> {
    Drive::new(cluster, move |_, now| Answer::Sample { value, sampled_at: now })
}

/// An action on run `run`.
pub fn action(kind: ActionKind, run: i64) -> RolloutActionSpec {
    RolloutActionSpec {
        rollout: "shop".into(),
        run,
        action: kind,
        full: false,
        reason: "test".into(),
        requested_by: None,
    }
}
