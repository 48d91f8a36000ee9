//! The two clusters: the same requests, and for ours a clock and the controllers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result, ensure};
use http::Request;
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use palier::apiserver::natives::{Nature, Settings, assign_address, given};
use palier::apiserver::{ApiServer, Store};
use serde_json::{Value, json};

use super::state::{self, State};
use super::step::{DEPLOYMENTS, JOBS, MAPS, PODS, SERVICES, SETS, SLICES, Step};

const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON: &str = "application/json";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const HASH: &str = "pod-template-hash";

/// A namespace of a cluster.
pub struct Side {
    client: kube::Client,
    namespace: String,
}

impl Side {
    /// Makes the namespace, with somebody in it who owns canaries.
    pub async fn begin(client: kube::Client, namespace: &str) -> Result<Self> {
        let side = Self { client, namespace: namespace.to_owned() };
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        side.ask("POST", "/api/v1/namespaces", JSON, Some(&manifest)).await?;
        side.create(MAPS, json!({"metadata": {"name": "borrower"}})).await?;
        Ok(side)
    }

    /// Does one step.
    pub async fn play(&self, step: &Step) -> Result<()> {
        match step {
            Step::Deploy(image, replicas) => {
                self.create(DEPLOYMENTS, given::deployment("api", image, *replicas)).await?;
                self.create(SERVICES, given::service("api")).await
            }
            Step::Create(collection, object) => self.create(collection, object.clone()).await,
            Step::Merge(collection, name, patch) => self.patch(collection, name, MERGE, patch).await,
            Step::MergeSet(image, patch) => {
                let set = self.set_of(image).await?;
                self.patch(SETS, name(&set)?, MERGE, patch).await
            }
            Step::Push(image) => {
                let containers = json!([{"name": "app", "image": image}]);
                self.deployment(json!({"template": {"spec": {"containers": containers}}})).await
            }
            Step::Scale(replicas) => self.deployment(json!({"replicas": replicas})).await,
            Step::Pause(paused) => self.deployment(json!({"paused": paused})).await,
            Step::Canary(hash, replicas) => self.canary(hash, *replicas).await,
            Step::Release(hash) => self.release(hash).await,
            Step::Resize(hash, replicas) => {
                let patch = json!({"spec": {"replicas": replicas}});
                self.patch(SETS, &format!("api-{hash}"), MERGE, &patch).await
            }
            Step::Pin(image) => {
                let hash = match image {
                    Some(image) => self.set_of(image).await?["metadata"]["labels"][HASH].clone(),
                    None => Value::Null,
                };
                self.patch(SERVICES, "api", MERGE, &json!({"spec": {"selector": {HASH: hash}}})).await
            }
            Step::Delete(collection, name, propagation) => self.delete(collection, name, propagation).await,
            Step::DeleteSet(image) => {
                let set = self.set_of(image).await?;
                self.delete(SETS, name(&set)?, "Background").await
            }
            Step::DeletePod(image) => {
                let pod = self.pod_of(image).await?;
                self.delete(PODS, name(&pod)?, "Background").await
            }
            Step::Relabel(image, labels) => {
                let pod = self.pod_of(image).await?;
                self.patch(PODS, name(&pod)?, MERGE, &json!({"metadata": {"labels": labels}})).await
            }
        }
    }

    /// What there is.
    pub async fn state(&self) -> Result<State> {
        let mut all = Vec::new();
        for collection in [DEPLOYMENTS, SETS, PODS, SERVICES, SLICES, JOBS] {
            all.push(self.list(collection).await?);
        }
        Ok(state::of(&all))
    }

    async fn deployment(&self, spec: Value) -> Result<()> {
        self.patch(DEPLOYMENTS, "api", STRATEGIC, &json!({"spec": spec})).await
    }

    async fn canary(&self, hash: &str, replicas: u32) -> Result<()> {
        let deployment = self.ask("GET", &self.path(DEPLOYMENTS, "api"), JSON, None).await?;
        let borrower = self.ask("GET", &self.path(MAPS, "borrower"), JSON, None).await?;
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"][HASH] = json!(hash);
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"][HASH] = json!(hash);
        let object = json!({
            "metadata": {
                "name": format!("api-{hash}"), "labels": template["metadata"]["labels"],
                "annotations": {DESIRED: deployment["spec"]["replicas"].to_string()},
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "ConfigMap", "name": "borrower",
                    "uid": borrower["metadata"]["uid"], "controller": true, "blockOwnerDeletion": false,
                }],
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        });
        self.create(SETS, object).await
    }

    async fn release(&self, hash: &str) -> Result<()> {
        let deployment = self.ask("GET", &self.path(DEPLOYMENTS, "api"), JSON, None).await?;
        let borrower = self.ask("GET", &self.path(MAPS, "borrower"), JSON, None).await?;
        let patch = json!({"metadata": {
            "annotations": {DESIRED: deployment["spec"]["replicas"].to_string()},
            "ownerReferences": [{"$patch": "delete", "uid": borrower["metadata"]["uid"]}],
        }});
        self.patch(SETS, &format!("api-{hash}"), STRATEGIC, &patch).await
    }

    async fn set_of(&self, image: &str) -> Result<Value> {
        let mut sets = self.list(SETS).await?;
        sets.retain(|set| state::image(&set["spec"]["template"]) == image);
        // Names that a controller chose are others on the other side.
        sets.sort_by_key(|set| (set["spec"]["replicas"].as_i64(), state::is_chosen_hash(set)));
        sets.into_iter().next().with_context(|| format!("no ReplicaSet of {image}"))
    }

    async fn pod_of(&self, image: &str) -> Result<Value> {
        let mut pods = self.list(PODS).await?;
        // Those that nobody owns come first: they are told apart from the others, which are alike.
        pods.sort_by_key(|pod| pod["metadata"]["ownerReferences"].is_array());
        let found = pods.into_iter().find(|pod| state::image(pod) == image);
        found.with_context(|| format!("no pod of {image}"))
    }

    async fn list(&self, collection: &str) -> Result<Vec<Value>> {
        let list = self.ask("GET", &self.path(collection, ""), JSON, None).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    async fn create(&self, collection: &str, object: Value) -> Result<()> {
        self.ask("POST", &self.path(collection, ""), JSON, Some(&object)).await.map(drop)
    }

    async fn patch(&self, collection: &str, name: &str, media: &str, patch: &Value) -> Result<()> {
        self.ask("PATCH", &self.path(collection, name), media, Some(patch)).await.map(drop)
    }

    async fn delete(&self, collection: &str, name: &str, propagation: &str) -> Result<()> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation});
        self.ask("DELETE", &self.path(collection, name), JSON, Some(&options)).await.map(drop)
    }

    fn path(&self, collection: &str, name: &str) -> String {
        let (version, plural) = collection.rsplit_once('/').unwrap_or_default();
        let path = format!("/{version}/namespaces/{}/{plural}/{name}", self.namespace);
        path.trim_end_matches('/').to_owned()
    }

    async fn ask(&self, method: &str, path: &str, media: &str, body: Option<&Value>) -> Result<Value> {
        let bytes = body.map_or_else(Vec::new, |body| typed(path, method, body).to_string().into_bytes());
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let answer = self.client.send(request.body(Body::from(bytes))?).await?;
        let code = answer.status();
        let bytes = answer.into_body().collect_bytes().await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        ensure!(code.is_success(), "{method} {path}: {code} {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// A manifest with the kind of its collection.
fn typed(path: &str, method: &str, body: &Value) -> Value {
    let kinds = [
        ("deployments", "apps/v1", "Deployment"),
        ("replicasets", "apps/v1", "ReplicaSet"),
        ("pods", "v1", "Pod"),
        ("services", "v1", "Service"),
        ("jobs", "batch/v1", "Job"),
        ("configmaps", "v1", "ConfigMap"),
    ];
    let mut body = body.clone();
    let found = kinds.iter().find(|(plural, ..)| path.ends_with(plural)).filter(|_| method == "POST");
    if let Some((_, version, kind)) = found {
        (body["apiVersion"], body["kind"]) = (json!(version), json!(kind));
    }
    body
}

fn name(object: &Value) -> Result<&str> {
    object["metadata"]["name"].as_str().context("a name")
}

/// The cluster in this process.
pub struct Ours {
    side: Side,
    server: ApiServer,
    nature: Nature,
    clock: Arc<AtomicI64>,
    // A connection ends with it.
    _connection: palier::apiserver::connection::Connection,
}

impl Ours {
    pub async fn begin(namespace: &str) -> Result<Self> {
        let clock = Arc::new(AtomicI64::new(1_800_000_000_000));
        let told = clock.clone();
        let now = move || Timestamp::from_millisecond(told.load(Ordering::Relaxed)).unwrap_or_default();
        let server = ApiServer::new(Store::new(vec![assign_address]), Arc::new(now));
        let connection = server.client("fidelity");
        let side = Side::begin(connection.client.clone(), namespace).await?;
        // As the lab: one node with room for all.
        let settings =
            Settings { nodes: vec!["node-0".to_owned()], pods_per_node: 10_000, ..Settings::default() };
        Ok(Self { side, server, nature: Nature::new(settings), clock, _connection: connection })
    }

    /// Does one step; all is settled then. Some seconds pass.
    pub async fn play(&mut self, step: &Step) -> Result<()> {
        let played = self.side.play(step).await;
        self.pass(SignedDuration::from_secs(5));
        played
    }

    fn pass(&mut self, span: SignedDuration) {
        let until = self.server.now() + span;
        loop {
            let at = self.server.now();
            let nature = &mut self.nature;
            let next = self.server.write(|store| nature.step(store, at)).filter(|next| *next <= until);
            if at >= until {
                return;
            }
            let next = next.unwrap_or(until).max(at);
            self.clock.store(next.as_millisecond(), Ordering::Relaxed);
        }
    }

    pub async fn state(&self) -> Result<State> {
        self.side.state().await
    }
}
