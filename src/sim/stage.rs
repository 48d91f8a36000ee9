//! A cluster that has all that a Rollout speaks of: for rehearsals.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{RolloutSpec, Span, Switch};
use crate::engine::world::Acceptance;

use super::cluster::{Cluster, Route, Service};
use super::deployments::Deployment;
use super::jobs::{CronJob, Fate};

/// The image that serves.
pub(super) const STABLE: &str = "app:stable";
/// The image that is released.
pub(super) const CANARY: &str = "app:canary";
/// How long a hook takes.
const HOOK: Span = Span::seconds(10);

impl Cluster {
    /// A cluster at `now` with every workload, Service, route, CronJob and ConfigMap that `spec` names. `replicas` gives the sizes
    /// of components by their names; others have `usual` pods. Configuration is left out: it changes no time.
    #[must_use]
    pub fn of_spec(
        mut spec: RolloutSpec,
        replicas: &BTreeMap<String, i32>,
        usual: i32,
        now: Timestamp,
    ) -> Self {
        for component in &mut spec.components {
            component.config = None;
        }
        let mut cluster = Cluster::new(spec.clone(), now);
        let mut rules: BTreeMap<String, Vec<Vec<Value>>> = BTreeMap::new();
        for component in &spec.components {
            let workload = &component.workload_ref.name;
            let at = cluster.fresh(workload);
            let size = replicas.get(&component.name).copied().unwrap_or(usual);
            cluster.deployments.insert(workload.clone(), Deployment::new(at, STABLE, size));
            let Some(traffic) = &component.traffic else { continue };
            let at = cluster.fresh(&traffic.service);
            let selector = BTreeMap::from([("app".to_owned(), workload.clone())]);
            let service = Service { at, selector, rollout_label: None, owner_uid: None };
            cluster.services.insert(traffic.service.clone(), service);
            for route in traffic.gateway_api.http_routes.iter().chain(&traffic.gateway_api.grpc_routes) {
                let rule = vec![json!({"name": traffic.service, "port": 80})];
                rules.entry(route.name.clone()).or_default().push(rule);
            }
        }
        for (name, backends) in rules {
            let (at, in_effect) = (cluster.fresh(&name), backends.clone());
            let (acceptance, changed_at) = (Acceptance::Accepted, Some(now));
            cluster.routes.insert(name, Route { at, backends, acceptance, changed_at, in_effect });
        }
        cluster.jobs.enabled = true;
        for hook in &spec.hooks {
            let name = &hook.cron_job_ref.name;
            let at = cluster.fresh(name);
            let job = CronJob { at, suspended: true, fates: vec![Fate::Succeeds(HOOK)] };
            cluster.jobs.cron_jobs.insert(name.clone(), job);
        }
        let mut texts: BTreeMap<(String, String), Value> = BTreeMap::new();
        for switch in spec.degraded_modes.iter().flat_map(|mode| &mode.switches) {
            let place = (switch.config_map.clone(), switch.key.clone());
            prepare(texts.entry(place).or_insert(Value::Null), switch);
        }
        for (name, _) in texts.keys() {
            let of_map = texts.iter().filter(|((map, _), _)| map == name);
            let data: Vec<(&str, String)> =
                of_map.map(|((_, key), value)| (key.as_str(), text_of(value))).collect();
            let data: Vec<(&str, &str)> = data.iter().map(|(key, text)| (*key, text.as_str())).collect();
            cluster.add_config_map(name, &data);
        }
        let all = spec.gates.iter().chain(spec.components.iter().flat_map(|it| &it.gates));
        cluster.metric_sources = all.map(|gate| gate.prometheus.source.clone()).collect();
        cluster.settle();
        cluster
    }

    /// Somebody pushes the new version of every component at once.
    pub fn push_all(&mut self) {
        let workloads: Vec<String> =
            self.spec.components.iter().map(|it| it.workload_ref.name.clone()).collect();
        for workload in workloads {
            self.push_image(&workload, CANARY);
        }
    }

    /// The available pods of a workload: of its canary and of its stable version.
    #[must_use]
    pub fn pods_of(&self, workload: &str) -> (i32, i32) {
        let of = |image: &str| {
            let sets = self.sets.values().filter(|set| set.app == workload && set.image == image);
            sets.map(|set| set.available).sum()
        };
        (of(CANARY), of(STABLE))
    }
}

/// Makes room for a switch: a document with all parents of its pointer, or a text.
fn prepare(document: &mut Value, switch: &Switch) {
    let Some(pointer) = &switch.pointer else {
        *document = json!("on");
        return;
    };
    let mut place = document;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[part.as_str()];
    }
    if place.is_null() {
        *place = json!(true);
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
