//! What the API server holds after a revision, and what it means for callers.

use std::collections::BTreeMap;
use std::sync::Arc;

use palier::apiserver::{Key, Kind, Revision, Verb};
use serde_json::Value;

/// The objects after a revision.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    objects: BTreeMap<Key, Arc<Value>>,
}

/// One component with traffic, by names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub namespace: String,
    pub rollout: String,
    pub component: String,
    pub workload: String,
    pub service: String,
    pub routes: Vec<(Kind, String)>,
}

impl Part {
    pub fn canary_service(&self) -> String {
        format!("{}-canary", self.service)
    }
}

impl Scene {
    /// Takes the next revision.
    pub fn take(&mut self, change: &Revision) {
        if change.verb == Verb::Delete {
            self.objects.remove(&change.key);
        } else {
            self.objects.insert(change.key.clone(), change.after.clone());
        }
    }

    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&Key::new(kind, namespace, name)).map(Arc::as_ref)
    }

    pub fn list(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Value> {
        let from = Key::new(kind, namespace, "");
        let within = move |key: &&Key| key.kind == kind && key.namespace == from.namespace;
        let from = Key::new(kind, namespace, "");
        let items: Vec<&Value> = self
            .objects
            .range(from..)
            .take_while(|(key, _)| within(key))
            .map(|(_, object)| object.as_ref())
            .collect();
        items.into_iter()
    }

    /// The components with traffic of every Rollout.
    pub fn parts(&self) -> Vec<Part> {
        let rollouts = self.objects.iter().filter(|(key, _)| key.kind == Kind::Rollout);
        let parts = rollouts.flat_map(|(key, rollout)| {
            let components = rollout["spec"]["components"].as_array().cloned().unwrap_or_default();
            components.into_iter().filter_map(|component| {
                let routes = |field: &str, kind: Kind| {
                    let names =
                        component["traffic"]["gatewayAPI"][field].as_array().cloned().unwrap_or_default();
                    names.into_iter().filter_map(move |it| Some((kind, it["name"].as_str()?.to_owned())))
                };
                Some(Part {
                    namespace: key.namespace.clone(),
                    rollout: key.name.clone(),
                    component: component["name"].as_str()?.to_owned(),
                    workload: component["workloadRef"]["name"].as_str()?.to_owned(),
                    service: component["traffic"]["service"].as_str()?.to_owned(),
                    routes: routes("httpRoutes", Kind::HttpRoute)
                        .chain(routes("grpcRoutes", Kind::GrpcRoute))
                        .collect(),
                })
            })
        });
        parts.collect()
    }

    /// The canary's share of a component's route in per cent, as the route says.
    pub fn weight(&self, part: &Part) -> Option<i64> {
        let (kind, name) = part.routes.first()?;
        weight_of(self.get(*kind, &part.namespace, name)?, part)
    }

    /// Whether the gateway has accepted what the route says.
    pub fn is_accepted(&self, part: &Part) -> bool {
        part.routes.iter().all(|(kind, name)| {
            self.get(*kind, &part.namespace, name).is_some_and(|route| {
                let generation = &route["metadata"]["generation"];
                let parents = route["status"]["parents"].as_array().cloned().unwrap_or_default();
                !parents.is_empty()
                    && parents.iter().all(|parent| {
                        let conditions = parent["conditions"].as_array().cloned().unwrap_or_default();
                        conditions.iter().any(|it| {
                            it["type"] == "Accepted"
                                && it["status"] == "True"
                                && it["observedGeneration"] == *generation
                        })
                    })
            })
        })
    }

    /// The number of the last run of a Rollout, as its record says.
    pub fn run_of(&self, namespace: &str, rollout: &str) -> i64 {
        let runs = self.list(Kind::RolloutRun, namespace).filter(|run| run["spec"]["rollout"] == *rollout);
        runs.filter_map(|run| run["spec"]["number"].as_i64()).max().unwrap_or(0)
    }

    /// Ready endpoints behind a Service.
    pub fn ready(&self, namespace: &str, service: &str) -> usize {
        let slices = self
            .list(Kind::EndpointSlice, namespace)
            .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == *service);
        let endpoints = slices.flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
        endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).count()
    }

    /// The ReplicaSet of a component that Palier made and still owns, or has just handed over.
    pub fn canary_set(&self, part: &Part) -> Option<&Value> {
        let service = self.get(Kind::Service, &part.namespace, &part.canary_service())?;
        let hash = service["spec"]["selector"]["pod-template-hash"].as_str()?.to_owned();
        self.list(Kind::ReplicaSet, &part.namespace).find(|set| {
            set["metadata"]["labels"]["pod-template-hash"] == hash
                && set["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(&part.workload))
        })
    }
}

/// The canary's share that a route gives a component.
pub fn weight_of(route: &Value, part: &Part) -> Option<i64> {
    let rules = route["spec"]["rules"].as_array()?;
    let canary = part.canary_service();
    for rule in rules {
        let backends = rule["backendRefs"].as_array().cloned().unwrap_or_default();
        let weight = |name: &str| {
            let found = backends.iter().find(|backend| backend["name"] == *name);
            found.map(|backend| backend["weight"].as_i64().unwrap_or(1))
        };
        match (weight(&part.service), weight(&canary)) {
            (Some(stable), Some(canary)) if stable + canary > 0 => {
                return Some(canary * 100 / (stable + canary));
            }
            (Some(_), None) => return Some(0),
            (None, Some(_)) => return Some(100),
            _ => {}
        }
    }
    None
}

/// Whether a pod is ready and stays.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
}
