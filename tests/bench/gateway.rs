//! A stand-in for a gateway, for the benchmark and the soak: it accepts every version of every HTTPRoute at once, as `status.parents` says it. A real one takes
//! its own time for a thousand routes, which is not what is measured. Its requests are the administrator's, not Palier's.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::lab::{Lab, eventually};

const WITHIN: Duration = Duration::from_secs(30);
/// Acceptances that are written at the same time.
const SIDE_BY_SIDE: usize = 64;
const KIND: &str = "httproutes.gateway.networking.k8s.io";
/// Name of the Gateway that routes name.
pub const NAME: &str = "bench";

/// The stand-in.
pub struct Gateway {
    is_asleep: watch::Sender<bool>,
}

impl Gateway {
    /// Whether it leaves routes as they are. Awake again it accepts what came meanwhile.
    pub fn set_asleep(&self, is_asleep: bool) {
        self.is_asleep.send_replace(is_asleep);
    }
}

/// Installs the Gateway API's kinds, makes these namespaces and starts the stand-in in them.
pub async fn install(lab: &Lab, namespaces: &[&str]) -> Result<Gateway> {
    let folder = lab.tools().path("gateway-crds")?;
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name != "kustomization.yaml") {
            lab.apply(&fs::read_to_string(&path)?).await.with_context(|| path.display().to_string())?;
        }
    }
    let kinds: Api<CustomResourceDefinition> = Api::all(lab.client());
    eventually("HTTPRoutes are served", WITHIN, async || {
        let conditions =
            kinds.get(KIND).await?.status.and_then(|status| status.conditions).unwrap_or_default();
        let is_served = conditions.iter().any(|one| one.type_ == "Established" && one.status == "True");
        if is_served { Ok(()) } else { Err("not established".into()) }
    })
    .await?;
    let is_asleep = watch::Sender::new(false);
    for namespace in namespaces {
        lab.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).await?;
        let routes = lab.api("gateway.networking.k8s.io/v1", "HTTPRoute", namespace).await?;
        tokio::spawn(accept(routes, is_asleep.subscribe()));
    }
    Ok(Gateway { is_asleep })
}

async fn accept(routes: Api<DynamicObject>, mut is_asleep: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut events = std::pin::pin!(watcher(routes.clone(), watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        let Ok(Event::Apply(route) | Event::InitApply(route)) = event else { continue };
        // Events wait meanwhile: the watch keeps them.
        let _ = is_asleep.wait_for(|is_asleep| !is_asleep).await;
        let generation = route.metadata.generation.unwrap_or_default();
        let said =
            route.data.pointer("/status/parents/0/conditions/0/observedGeneration").and_then(Value::as_i64);
        if said == Some(generation) {
            continue;
        }
        let (places, routes) = (places.clone(), routes.clone());
        tokio::spawn(async move {
            let _place = places.acquire().await;
            let status = Patch::Merge(status_of(generation));
            // A route that is gone, or has changed since, comes again by the watch.
            let _ = routes.patch_status(&route.name_any(), &PatchParams::default(), &status).await;
        });
    }
}

fn status_of(generation: i64) -> Value {
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": kind, "message": "",
            "observedGeneration": generation, "lastTransitionTime": Timestamp::now(),
        })
    };
    json!({"status": {"parents": [{
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": NAME},
        "controllerName": "palier.dev/stand-in",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")],
    }]}})
}
