//! People who ask a workload for something, all the time, through the gateway.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::AbortHandle;

use crate::apiserver::{Kind, Store};

use super::Rig;

/// What visitors of one route got.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Visits {
    /// Requests by the image tag that answered.
    pub served: BTreeMap<String, u64>,
    /// Requests that found nobody.
    pub lost: u64,
    /// Of the requests to each backend, the part that was not a whole one yet.
    owed: BTreeMap<String, f64>,
    turn: usize,
}

impl Visits {
    /// All that were made.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lost + self.served.values().sum::<u64>()
    }

    /// The requests that were made since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let served = self
            .served
            .iter()
            .map(|(tag, count)| (tag.clone(), count - before.served.get(tag).copied().unwrap_or(0)));
        Self {
            served: served.filter(|(_, count)| *count > 0).collect(),
            lost: self.lost - before.lost,
            ..Self::default()
        }
    }

    /// Makes `count` requests to the first rule of an HTTPRoute as the gateway acts by it now.
    pub fn ask(&mut self, rig: &Rig, (namespace, route): (&str, &str), count: u32) {
        let in_effect = rig.locked().in_effect(Kind::HttpRoute, namespace, route).cloned();
        let Some(backends) = in_effect.and_then(|rules| rules.into_iter().next()) else { return };
        let weight = |backend: &Value| backend["weight"].as_f64().unwrap_or(1.0);
        let whole: f64 = backends.iter().map(weight).sum();
        if whole <= 0.0 {
            self.lost += u64::from(count);
            return;
        }
        for backend in &backends {
            let service = backend["name"].as_str().unwrap_or_default();
            let owed = self.owed.entry(service.to_owned()).or_default();
            *owed += f64::from(count) * weight(backend) / whole;
            let now = owed.floor();
            *owed -= now;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number from 0 to count"
            )]
            let now = now as u64;
            if now == 0 {
                continue;
            }
            let tags = rig.server.read(|store| tags_behind(store, namespace, service));
            if tags.is_empty() {
                self.lost += now;
            }
            for _ in 0..if tags.is_empty() { 0 } else { now } {
                self.turn += 1;
                *self.served.entry(tags[self.turn % tags.len()].clone()).or_default() += 1;
            }
        }
    }
}

/// Visitors who ask every HTTPRoute of a namespace once a second, from now until this is dropped.
#[derive(Debug)]
pub struct Crowd {
    visits: Arc<Mutex<Visits>>,
    asking: AbortHandle,
}

impl Crowd {
    /// Lets them come.
    #[must_use]
    pub fn come(rig: &Rig, namespace: &str) -> Self {
        let visits: Arc<Mutex<Visits>> = Arc::default();
        let (rig, namespace, seen) = (rig.clone(), namespace.to_owned(), visits.clone());
        let asking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let routes: Vec<String> = rig.server.read(|store| {
                    store.list(Kind::HttpRoute, Some(&namespace)).map(|(key, _)| key.name.clone()).collect()
                });
                let mut visits = seen.lock().unwrap_or_else(PoisonError::into_inner);
                for route in &routes {
                    visits.ask(&rig, (&namespace, route), 20);
                }
            }
        });
        Self { visits, asking: asking.abort_handle() }
    }

    /// What they got so far.
    #[must_use]
    pub fn visits(&self) -> Visits {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

/// The image tags of the ready endpoints behind a Service.
fn tags_behind(store: &Store, namespace: &str, service: &str) -> Vec<String> {
    let slices = store.list(Kind::EndpointSlice, Some(namespace));
    let slices =
        slices.filter(|(_, slice)| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
    let endpoints = slices.flat_map(|(_, slice)| slice["endpoints"].as_array().into_iter().flatten());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let pods =
        ready.filter_map(|endpoint| store.get(Kind::Pod, namespace, endpoint["targetRef"]["name"].as_str()?));
    let tags = pods.filter_map(|pod| {
        let image = pod["spec"]["containers"][0]["image"].as_str()?;
        Some(image.rsplit_once(':').map_or(image, |(_, tag)| tag).to_owned())
    });
    tags.collect()
}
