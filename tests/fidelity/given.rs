//! The manifests that the sequences begin with. Those of built-in kinds are completed by the real server, so that its defaults need
//! not be known here.

use anyhow::{Context, Result, ensure};
use http::Request;
use kube::client::Body;
use serde_json::{Value, json};

/// A kind with an object of it.
pub struct Sample {
    /// `/apis/apps/v1`
    pub root: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
    /// What its status may be; null if it has none.
    pub status: Value,
    /// A merge patch of its content that is valid.
    pub change: Value,
    /// One that is not; null if there is none.
    pub mistake: Value,
    pub manifest: Value,
}

pub struct Given {
    pub samples: Vec<Sample>,
}

impl Given {
    /// Asks the real server.
    pub async fn ask(client: &kube::Client) -> Result<Self> {
        let mut samples = samples();
        for sample in samples.iter_mut().filter(|sample| !sample.root.contains("palier.dev")) {
            let scope = if sample.namespaced { "/namespaces/default" } else { "" };
            let line = format!("{}{scope}/{}?dryRun=All", sample.root, sample.plural);
            let mut manifest = sample.manifest.clone();
            manifest["metadata"]["name"] = "sample".into();
            let request = Request::post(&line).header("content-type", "application/json");
            let answer = client.send(request.body(Body::from(manifest.to_string().into_bytes()))?).await?;
            let code = answer.status().as_u16();
            let mut full: Value = serde_json::from_slice(&answer.into_body().collect_bytes().await?)?;
            ensure!(code == 201, "{line}: {full}");
            full["metadata"] = manifest["metadata"].clone();
            full["metadata"].as_object_mut().context("metadata")?.remove("name");
            full.as_object_mut().context("an object")?.remove("status");
            sample.manifest = full;
        }
        Ok(Self { samples })
    }
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "app", "image": "app:v1", "env": [{"name": "A", "value": "1"}]}]},
    })
}

fn sample(
    (root, plural, namespaced): (&'static str, &'static str, bool),
    manifest: Value,
    change: Value,
    mistake: Value,
    status: Value,
) -> Sample {
    let mut manifest = manifest;
    manifest["apiVersion"] = root.strip_prefix("/apis/").unwrap_or("v1").into();
    let mut metadata = json!({"labels": {"app": "shop", "tier": "web"}});
    if manifest["metadata"].is_object() {
        json_patch::merge(&mut metadata, &manifest["metadata"]);
    }
    manifest["metadata"] = metadata;
    Sample { root, plural, namespaced, status, change, mistake, manifest }
}

const NONE: Value = Value::Null;

fn samples() -> Vec<Sample> {
    let mut all = workloads();
    all.extend(ours());
    all.extend([
        sample(
            ("/api/v1", "configmaps", true),
            json!({"kind": "ConfigMap", "data": {"a": "1"}}),
            json!({"data": {"a": "2"}}),
            json!({"data": {"a/b": "2"}}),
            NONE,
        ),
        sample(
            ("/api/v1", "secrets", true),
            json!({"kind": "Secret", "data": {"a": "MQ=="}, "immutable": true}),
            json!({"metadata": {"annotations": {"seen": "1"}}}),
            json!({"data": {"a": "Mg=="}}),
            NONE,
        ),
        sample(
            ("/api/v1", "services", true),
            json!({"kind": "Service", "spec": {"clusterIP": "None", "selector": {"app": "shop"}, "ports": [{"port": 80}]}}),
            json!({"spec": {"selector": {"hash": "1"}}}),
            NONE,
            json!({"loadBalancer": {}, "conditions": [{
                "type": "Ready", "status": "True", "reason": "Well", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]}),
        ),
        sample(
            ("/apis/coordination.k8s.io/v1", "leases", true),
            json!({"kind": "Lease", "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 1}}),
            json!({"spec": {"leaseTransitions": 2}}),
            NONE,
            NONE,
        ),
        sample(
            ("/apis/discovery.k8s.io/v1", "endpointslices", true),
            json!({"kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}], "ports": []}),
            json!({"endpoints": [{"addresses": ["10.0.0.2"], "conditions": {"ready": false}}]}),
            NONE,
            NONE,
        ),
        sample(
            ("/apis/gateway.networking.k8s.io/v1", "httproutes", true),
            json!({"kind": "HTTPRoute", "spec": {"rules": [{"backendRefs": [{"name": "a", "port": 80, "weight": 90}]}]}}),
            json!({"spec": {"hostnames": ["shop.example"]}}),
            NONE,
            json!({"parents": []}),
        ),
    ]);
    all
}

fn workloads() -> Vec<Sample> {
    let selector = json!({"matchLabels": {"app": "shop"}});
    vec![
        sample(
            ("/apis/apps/v1", "deployments", true),
            json!({"kind": "Deployment", "spec": {"paused": true, "selector": selector, "template": template()}}),
            json!({"spec": {"replicas": 3, "template": {"metadata": {"annotations": {"a": "b"}}}}}),
            json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
            json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}),
        ),
        sample(
            ("/apis/apps/v1", "replicasets", true),
            json!({"kind": "ReplicaSet", "spec": {"replicas": 2, "selector": selector, "template": template()}}),
            json!({"spec": {"replicas": 5}}),
            json!({"spec": {"template": {"metadata": {"labels": {"app": "other"}}}}}),
            json!({"observedGeneration": 1, "replicas": 2}),
        ),
        sample(
            ("/api/v1", "pods", true),
            json!({"kind": "Pod", "spec": template()["spec"]}),
            json!({"metadata": {"annotations": {"seen": "1"}}}),
            NONE,
            json!({"phase": "Running", "qosClass": "BestEffort", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}),
        ),
        sample(
            ("/apis/batch/v1", "jobs", true),
            json!({"kind": "Job", "spec": {
                "suspend": true, "manualSelector": true, "selector": selector,
                "template": {"metadata": {"labels": {"app": "shop"}}, "spec": {
                    "restartPolicy": "Never", "containers": [{"name": "app", "image": "app:v1"}],
                }},
            }}),
            json!({"spec": {"backoffLimit": 3}}),
            NONE,
            json!({"active": 1}),
        ),
    ]
}

fn ours() -> Vec<Sample> {
    const ROOT: &str = "/apis/palier.dev/v1alpha1";
    vec![
        sample(
            (ROOT, "rollouts", true),
            json!({"kind": "Rollout", "spec": {"nonsense": 1, "components": [{"name": "api", "workloadRef": {"name": "api", "more": 1}}]}}),
            json!({"spec": {"drainTime": "20s", "unknown": {"a": 1}}}),
            json!({"spec": {"maxStepBacks": 99, "onDelete": "Jump", "drainTime": 3}}),
            json!({"phase": "Idle", "observedGeneration": 1, "message": "well", "nonsense": 2}),
        ),
        sample(
            (ROOT, "rolloutruns", true),
            json!({"kind": "RolloutRun", "spec": {"rollout": "shop", "number": 1, "components": [], "phases": [], "startedAt": "2026-01-01T00:00:00Z"}}),
            json!({"metadata": {"annotations": {"seen": "1"}}}),
            json!({"spec": {"number": 2}}),
            json!({"reason": "because", "endedAt": "2026-01-01T00:00:00Z"}),
        ),
        sample(
            (ROOT, "rolloutactions", true),
            json!({"kind": "RolloutAction", "spec": {"rollout": "shop", "run": 1, "action": "Abort"}}),
            json!({"metadata": {"labels": {"tier": null}}}),
            json!({"spec": {"action": "Promote"}}),
            NONE,
        ),
    ]
}
