//! What stands around the control plane: nodes, the Gateway with Traefik behind it, Prometheus.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::children::Children;
use super::enter::Place;
use super::wait::{Seen, eventually};
use super::{GATEWAY_URL, Lab, PROMETHEUS_URL};

const READY_WITHIN: Duration = Duration::from_secs(60);
const GATEWAY: &str = include_str!("gateway.yaml");
const PROMETHEUS_CONFIG: &str = "\
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
scrape_configs:
- job_name: pods
  honor_labels: true
  static_configs: [{targets: ['127.0.0.1:9102']}]
- job_name: native
  honor_labels: true
  metrics_path: /native
  scrape_native_histograms: true
  static_configs: [{targets: ['127.0.0.1:9102']}]
- job_name: custom-buckets
  honor_labels: true
  metrics_path: /custom-buckets
  convert_classic_histograms_to_nhcb: true
  static_configs: [{targets: ['127.0.0.1:9102']}]
- job_name: traefik
  static_configs: [{targets: ['127.0.0.1:8001']}]
";

/// Adds what the options ask for to a control plane that answers, and waits until it works.
pub async fn furnish(lab: &Lab) -> Result<()> {
    let gateway = async {
        if !lab.options.gateway {
            return Ok(());
        }
        gateway_kinds(lab).await?;
        start_traefik(lab)?;
        lab.apply(GATEWAY).await?;
        gateway_ready(lab).await
    };
    let prometheus = async { if lab.options.prometheus { prometheus_ready(lab).await } else { Ok(()) } };
    tokio::try_join!(nodes(lab), gateway, prometheus).map(drop)
}

/// Starts Prometheus on the data that it has left, if any.
pub fn start_prometheus(place: &Place, children: &Children) -> Result<u32> {
    let config = place.dir.join("prometheus.yaml");
    fs::write(&config, PROMETHEUS_CONFIG).with_context(|| format!("cannot write {}", config.display()))?;
    let mut prometheus = place.tools.command("prometheus")?;
    prometheus.current_dir(&place.dir);
    prometheus.arg(format!("--config.file={}", config.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", place.dir.join("prometheus").display()));
    prometheus.args(["--web.listen-address=127.0.0.1:9090", "--storage.tsdb.no-lockfile"]);
    prometheus.args(["--storage.tsdb.retention.time=2h", "--log.level=warn", "--query.lookback-delta=10s"]);
    children.spawn("prometheus", prometheus)
}

async fn nodes(lab: &Lab) -> Result<()> {
    let room = "{cpu: 10k, memory: 100Ti, pods: 10k}";
    let all = (0..lab.options.nodes).map(|node| {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: node-{node}, labels: {{kubernetes.io/hostname: node-{node}}}}}\n\
             status: {{allocatable: {room}, capacity: {room}}}\n"
        )
    });
    lab.apply(&all.collect::<Vec<_>>().join("---\n")).await?;
    let nodes: Api<Node> = Api::all(lab.client());
    let ready = eventually("the nodes are ready", READY_WITHIN, async || {
        let list = nodes.list(&ListParams::default()).await?;
        let unready =
            list.iter().filter(|node| !is_ready(node)).map(ResourceExt::name_any).collect::<Vec<_>>();
        if unready.is_empty() { Ok(()) } else { Err(format!("unready: {}", unready.join(", ")).into()) }
    });
    lab.children.unless_dead("kwok", ready).await
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// Installs the Gateway API's kinds and waits until they are served.
async fn gateway_kinds(lab: &Lab) -> Result<()> {
    let folder = lab.place.tools.path("gateway-crds")?;
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name != "kustomization.yaml") {
            texts.push(fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    try_join_all(texts.iter().map(|text| lab.apply(text))).await?;
    let kinds: Api<CustomResourceDefinition> = Api::all(lab.client());
    eventually("the Gateway API is served", READY_WITHIN, async || {
        let list = kinds.list(&ListParams::default()).await?;
        let waiting = list.iter().filter(|kind| !is_established(kind)).map(ResourceExt::name_any);
        let waiting = waiting.collect::<Vec<_>>();
        if waiting.is_empty() { Ok(()) } else { Err(format!("not yet: {}", waiting.join(", ")).into()) }
    })
    .await
}

fn is_established(kind: &CustomResourceDefinition) -> bool {
    let conditions = kind.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Established" && one.status == "True"))
}

fn start_traefik(lab: &Lab) -> Result<u32> {
    let mut traefik = lab.place.tools.command("traefik")?;
    traefik.current_dir(&lab.place.dir).env("KUBECONFIG", lab.access.kubeconfig("traefik", 0));
    traefik
        .args(["--entryPoints.web.address=127.0.0.1:8000", "--entryPoints.traefik.address=127.0.0.1:8001"]);
    traefik.args(["--ping=true", "--api.insecure=true", "--log.level=INFO"]);
    traefik.args(["--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"]);
    // By Service, on the second address.
    traefik.args(["--metrics.prometheus=true", "--metrics.prometheus.addServicesLabels=true"]);
    // Weights are to reach the data plane within a fraction of a second.
    traefik.args(["--providers.kubernetesgateway=true", "--providers.providersThrottleDuration=100ms"]);
    lab.children.spawn("traefik", traefik)
}

async fn gateway_ready(lab: &Lab) -> Result<()> {
    let gateways = lab.api("gateway.networking.k8s.io/v1", "Gateway", "lab").await?;
    let http = reqwest::Client::new();
    let ready = eventually("the Gateway is programmed", READY_WITHIN, async || {
        let gateway = gateways.get("lab").await?;
        let conditions = gateway.data.pointer("/status/conditions").and_then(Value::as_array);
        let programmed = conditions
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Programmed" && one["status"] == "True"));
        if !programmed {
            return Err(format!("{}", gateway.data["status"]).into());
        }
        // Without a route the answer is 404, but an answer.
        http.get(GATEWAY_URL).send().await?;
        Ok(())
    });
    lab.children.unless_dead("traefik", ready).await
}

async fn prometheus_ready(lab: &Lab) -> Result<()> {
    let http = reqwest::Client::new();
    let ready = eventually("Prometheus is ready", READY_WITHIN, async || {
        http.get(format!("{PROMETHEUS_URL}/-/ready")).send().await?.error_for_status()?;
        Ok::<_, Seen>(())
    });
    lab.children.unless_dead("prometheus", ready).await
}

impl Lab {
    /// The answer of the real Prometheus to an instant query: the `data.result` list.
    pub async fn prometheus(&self, query: &str) -> Result<Vec<Value>> {
        let request =
            reqwest::Client::new().get(format!("{PROMETHEUS_URL}/api/v1/query")).query(&[("query", query)]);
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        answer.pointer("/data/result").and_then(Value::as_array).cloned().context("no result list")
    }
}
