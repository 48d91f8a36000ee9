//! A controller for tests: a scripted API server, a claim to lead, and an engine that the test gives.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::context::{Context, Policy};
use super::queue::Key;
use crate::adapters::kube::events::{self, EventSender};
use crate::adapters::kube::lease::{Claim, Standing};
use crate::adapters::kube::row::{Row, View};
use crate::adapters::kube::scripted::{Script, cluster};
use crate::adapters::kube::store::Store;
use crate::adapters::prometheus::Sources;
use crate::api::Interception;
use crate::engine::{Plan, World};
use crate::server::{Health, Metrics};

/// The term that the tests lead.
pub const EPOCH: i64 = 5;

/// A controller on a stage.
pub struct Stage {
    /// The controller.
    pub context: Arc<Context>,
    /// What the API server says and was asked.
    pub script: Script,
    /// Where the process stands.
    pub standing: watch::Sender<Standing>,
    _events: EventSender,
}

impl Stage {
    /// A stage with one Rollout `shop/shop` of one component `api` without traffic.
    pub fn with(decide: fn(&World, Timestamp) -> Plan) -> Self {
        let (cluster, script) = cluster(Duration::from_millis(200));
        let claim = Claim::lasting(EPOCH, Duration::from_secs(60), Timestamp::now());
        let (standing, seen) = watch::channel(Standing::Leading(claim));
        let (events, sender) = events::queue(cluster.clone(), "test");
        let context = Context {
            cluster,
            stores: Default::default(),
            names: Default::default(),
            desks: Default::default(),
            queue: Default::default(),
            sources: Sources::new(),
            source_changed: Notify::new(),
            allowed: Default::default(),
            policy: Policy::known(false),
            config_policy: Policy::known(false),
            events,
            metrics: Metrics::new(),
            health: Health::new(),
            standing: seen,
            interception: Interception::Auto,
            is_namespaced: false,
            hooks: true,
            decide,
        };
        put(&context.stores.rollouts, rollout("10", Value::Null));
        Self { context: Arc::new(context), script, standing, _events: sender }
    }
}

/// The Rollout of the stage.
pub fn key() -> Key {
    Key::new("shop", "shop")
}

/// The Rollout of the stage as the API server has it.
pub fn rollout(version: &str, status: Value) -> Value {
    json!({
        "metadata": {
            "name": "shop", "namespace": "shop", "uid": "rollout-uid", "resourceVersion": version, "generation": 1,
            "creationTimestamp": "2026-11-22T15:00:00Z",
        },
        "spec": {"components": [{"name": "api", "workloadRef": {"name": "shop-api"}}]},
        "status": status,
    })
}

/// Puts an object into a store.
pub fn put<V: View>(store: &Store<V>, object: Value) {
    let row: Row<V> = serde_json::from_value(object).unwrap();
    assert!(store.put(row).is_some());
}

/// A plan that does nothing.
pub fn rest(world: &World) -> Plan {
    Plan {
        status: world.rollout.status.clone(),
        persist: false,
        writes: Vec::new(),
        measure: Vec::new(),
        look: Vec::new(),
        wake_at: None,
        happened: Vec::new(),
    }
}
