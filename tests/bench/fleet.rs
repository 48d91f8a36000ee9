//! Many Rollouts alike, for the benchmark and the soak: each with a Deployment of two replicas, its Service and its HTTPRoute.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use palier::api::{ActionKind, Rollout, RolloutAction, RolloutActionSpec, RolloutStatus};
use serde_json::{Value, json};

use crate::gateway;
use crate::lab::Lab;
use crate::sights::Sights;

/// Requests of ours at the same time.
const SIDE_BY_SIDE: usize = 50;
/// The interval while reactions are measured.
const HASTY: &str = "1s";
/// The field manager of whoever pushes images.
const MANAGER: &str = "somebody";

/// Where a fleet is, and how fast its releases go.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// Its namespace.
    pub namespace: &'static str,
    /// What its Rollouts' names begin with.
    pub prefix: &'static str,
    /// The bake of each phase.
    pub bake: &'static str,
    /// The interval of the gate.
    pub interval: &'static str,
    /// Old ReplicaSets that each Deployment keeps.
    pub revisions: u32,
}

/// See the module.
pub struct Fleet<'b> {
    lab: &'b Lab,
    sights: &'b Sights,
    pattern: Pattern,
    names: Vec<String>,
    version: u32,
}

impl<'b> Fleet<'b> {
    /// Nobody yet. Names in all fleets that have the same `sights` have to differ.
    pub fn new(lab: &'b Lab, sights: &'b Sights, pattern: Pattern) -> Self {
        sights.follow(lab.client(), pattern.namespace);
        Self { lab, sights, pattern, names: Vec::new(), version: 0 }
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds Rollouts up to `size`, and waits until all of them are ready for a release.
    pub async fn grow(&mut self, size: usize) -> Result<()> {
        let added: Vec<String> =
            (self.names.len()..size).map(|number| format!("{}{number:04}", self.pattern.prefix)).collect();
        self.each(&added, async |name| self.add(name).await).await?;
        let within = Duration::from_secs(60 + added.len() as u64 / 5);
        self.sights.until_all("ready for a release", &added, within, |_, status| is_ready(status)).await?;
        self.names.extend(added);
        Ok(())
    }

    async fn add(&self, name: &str) -> Result<()> {
        for object in manifests(&self.pattern, name, &image(self.version)) {
            self.lab.apply(&object.to_string()).await?;
        }
        Ok(())
    }

    /// Does something for each, many at a time.
    pub async fn each<T>(&self, names: &[String], act: impl AsyncFn(&str) -> Result<T>) -> Result<Vec<T>> {
        stream::iter(names).map(|name| act(name)).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }

    /// Somebody sets a new image in every Deployment. Gives when the first was set.
    pub async fn push(&mut self) -> Result<Timestamp> {
        self.version += 1;
        let begun = Timestamp::now();
        self.each(&self.names, async |name| self.push_to(name, self.version).await).await?;
        Ok(begun)
    }

    /// Somebody sets the image of a version in one Deployment.
    pub async fn push_to(&self, name: &str, version: u32) -> Result<()> {
        let containers = json!([{"name": "app", "image": image(version)}]);
        let change = Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": containers}}}}));
        let deployments: Api<Deployment> = Api::namespaced(self.lab.client(), self.pattern.namespace);
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        deployments.patch(name, &params, &change).await.with_context(|| format!("Deployment {name}"))?;
        Ok(())
    }

    /// The gates are asked every second from now on.
    pub async fn hasten(&self) -> Result<()> {
        self.set_interval(HASTY).await
    }

    /// The gates are asked as seldom as before again.
    pub async fn slow_down(&self) -> Result<()> {
        self.set_interval(self.pattern.interval).await
    }

    async fn set_interval(&self, interval: &str) -> Result<()> {
        let rollouts: Api<Rollout> = Api::namespaced(self.lab.client(), self.pattern.namespace);
        let change = Patch::Merge(json!({"spec": {"gates": [gate(interval)]}}));
        self.each(&self.names, async |name| {
            Ok(rollouts.patch(name, &PatchParams::default(), &change).await?)
        })
        .await?;
        Ok(())
    }

    /// Somebody aborts the present run of one. Gives when it was sent.
    pub async fn abort(&self, name: &str) -> Result<Timestamp> {
        let actions: Api<RolloutAction> = Api::namespaced(self.lab.client(), self.pattern.namespace);
        let spec = RolloutActionSpec {
            rollout: name.to_owned(),
            run: run_of(self.sights, name),
            action: ActionKind::Abort,
            full: false,
            reason: "a person's word".into(),
            requested_by: None,
        };
        let mut action = RolloutAction::new("", spec);
        action.metadata.name = None;
        action.metadata.generate_name = Some(format!("{name}-"));
        let at = Timestamp::now();
        actions.create(&PostParams::default(), &action).await?;
        Ok(at)
    }
}

/// Number of the newest run of a Rollout; 0 if there was none.
pub fn run_of(sights: &Sights, name: &str) -> i64 {
    sights.of(name).and_then(|(_, status)| status.run.as_ref().map(|run| run.number)).unwrap_or(0)
}

fn is_ready(status: &RolloutStatus) -> bool {
    let ready = status.conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True");
    ready && !status.components.is_empty() && status.components.iter().all(|one| one.stable.is_some())
}

/// The image of a version, as it stands in a Deployment.
pub fn image(version: u32) -> String {
    format!("app:{version}")
}

fn gate(interval: &str) -> Value {
    json!({
        "name": "errors", "interval": interval, "minEvaluations": 1, "failureThreshold": 1,
        "prometheus": {"query": "errors{rollout=\"$rollout\",pod=~\"$canary_pods\"}"},
        "threshold": {"max": 0.5},
    })
}

fn manifests(pattern: &Pattern, name: &str, image: &str) -> [Value; 4] {
    let Pattern { namespace, bake, interval, revisions, .. } = pattern;
    let meta = json!({"name": name, "namespace": namespace});
    let labels = json!({"app": name});
    let phase = |name: &str, traffic: u32| json!({"name": name, "traffic": traffic, "bakeTime": bake});
    [
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {
                "replicas": 2, "revisionHistoryLimit": revisions,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "app", "image": image}]},
                },
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta,
            "spec": {
                "parentRefs": [{"name": gateway::NAME}],
                "hostnames": [format!("{name}.{namespace}.example")],
                "rules": [{"backendRefs": [{"name": name, "port": 80}]}],
            },
        }),
        json!({
            "apiVersion": "palier.dev/v1alpha1", "kind": "Rollout", "metadata": meta,
            "spec": {
                "components": [{
                    "name": "app", "workloadRef": {"name": name},
                    "traffic": {"service": name, "gatewayAPI": {"httpRoutes": [{"name": name}]}},
                }],
                "phases": [phase("pilot", 10), phase("half", 50), phase("everyone", 100)],
                "gates": [gate(interval)],
                "drainTime": "1s",
            },
        }),
    ]
}
