//! Palier as a user installs it: the chart, rendered by Helm and applied by kubectl. Only its Deployment is left out, as the
//! controller runs as a process beside the lab.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::lab::{Lab, eventually};

/// Where the chart is installed, and the name of its release and its ServiceAccount.
pub const HOME: &str = "palier-system";
/// The release's name, and the ServiceAccount's.
pub const RELEASE: &str = "palier";
const WITHIN: Duration = Duration::from_secs(30);

/// The objects of the chart for a namespace, without the kinds that a lab cannot run.
pub fn render(lab: &Lab, namespace: &str, settings: &[&str]) -> Result<Vec<Value>> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/palier");
    let mut helm = lab.tools().command("helm")?;
    helm.args(["template", RELEASE]).arg(&chart).args(["--namespace", namespace, "--include-crds"]);
    helm.args([
        "--kube-version",
        "1.36",
        "--api-versions",
        "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
    ]);
    for setting in settings {
        helm.args(["--set", setting]);
    }
    let output = helm.env("HOME", lab.dir()).output().context("cannot run helm")?;
    ensure!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).context("helm printed no YAML")?;
    let runs = |object: &Value| object["kind"] == "Deployment";
    Ok(objects.into_iter().filter(|object| !object.is_null() && !runs(object)).collect())
}

/// Applies the objects with kubectl, server side, as the manual tells users to.
pub fn apply(lab: &Lab, name: &str, objects: &[Value]) -> Result<PathBuf> {
    let path = lab.dir().join(format!("{name}.json"));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(&path, list.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let file = path.to_string_lossy();
    lab.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &*file])?;
    Ok(path)
}

/// What the cluster-wide chart is installed with.
pub const CLUSTER_WIDE: [&str; 2] = ["hooks.enabled=true", "config.enabled=true"];

/// Installs the chart for the whole cluster, with what has to be asked for, and waits until its kinds are served and its policies are in force.
pub async fn cluster_wide(lab: &Lab) -> Result<PathBuf> {
    lab.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {HOME}}}}}")).await?;
    let objects = render(lab, HOME, &CLUSTER_WIDE)?;
    let installed = apply(lab, "chart", &objects)?;
    kinds_are_served(lab, &objects).await?;
    changed_deployments_are_paused(lab).await?;
    actions_are_stamped(lab).await?;
    Ok(installed)
}

/// Installs the chart for one namespace, with Roles alone and no policies.
pub async fn one_namespace(lab: &Lab, namespace: &str, settings: &[&str]) -> Result<()> {
    let settings: Vec<&str> = [&["namespaced=true"], settings].concat();
    let objects = render(lab, namespace, &settings)?;
    apply(lab, &format!("chart-{namespace}"), &objects)?;
    kinds_are_served(lab, &objects).await
}

/// Takes away everything of the cluster-wide chart but its kinds.
pub fn remove_but_kinds(lab: &Lab) -> Result<()> {
    let objects = render(lab, HOME, &CLUSTER_WIDE)?;
    let rest: Vec<Value> =
        objects.into_iter().filter(|object| object["kind"] != "CustomResourceDefinition").collect();
    let path = lab.dir().join("chart-without-kinds.json");
    std::fs::write(&path, json!({"apiVersion": "v1", "kind": "List", "items": rest}).to_string())?;
    lab.kubectl(&["delete", "--ignore-not-found", "--wait=false", "-f", &path.to_string_lossy()]).map(drop)
}

/// Every kind of the chart is established, discovery tells of it, and a list of its objects is answered: the one does not
/// follow from the other at once.
async fn kinds_are_served(lab: &Lab, chart: &[Value]) -> Result<()> {
    let kinds: Api<CustomResourceDefinition> = Api::all(lab.client());
    let names: Vec<&str> = chart
        .iter()
        .filter(|object| object["kind"] == "CustomResourceDefinition")
        .filter_map(|object| object["metadata"]["name"].as_str())
        .collect();
    ensure!(names.len() >= 4, "the chart has only the kinds {names:?}");
    eventually("Palier's kinds are served", WITHIN, async || {
        for name in &names {
            let kind = kinds.get(name).await?;
            let conditions = kind.status.and_then(|status| status.conditions).unwrap_or_default();
            if !conditions.iter().any(|one| one.type_ == "Established" && one.status == "True") {
                return Err(format!("{name} is not established").into());
            }
            let version = format!("{}/{}", kind.spec.group, kind.spec.versions[0].name);
            let objects = lab.api(&version, &kind.spec.names.kind, "default").await?;
            objects.list(&ListParams::default().limit(1)).await?;
        }
        Ok(())
    })
    .await
}

/// The API server's policies learn of a new kind some time after everybody else; until then, what a policy would change is
/// refused with 503.
async fn actions_are_stamped(lab: &Lab) -> Result<()> {
    let actions = lab.api("palier.dev/v1alpha1", "RolloutAction", HOME).await?;
    let probe: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "palier.dev/v1alpha1", "kind": "RolloutAction", "metadata": {"name": "policy-probe"},
        "spec": {"rollout": "policy-probe", "run": 1, "action": "Pause"},
    }))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the policy stamps actions", WITHIN, async || {
        let stamped = actions.create(&dry_run, &probe).await?;
        let user = &stamped.data["spec"]["requestedBy"]["user"];
        if user.is_string() { Ok(()) } else { Err("nobody asked for it".into()) }
    })
    .await
}

/// A policy is in force a moment after it was created: a Deployment tries it.
async fn changed_deployments_are_paused(lab: &Lab) -> Result<()> {
    let name = "policy-probe";
    lab.apply(&format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {HOME}, labels: {{palier.dev/rollout: {name}}}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: app, image: 'app:0'}}]}}
"
    ))
    .await?;
    let deployments: Api<Deployment> = Api::namespaced(lab.client(), HOME);
    let mut version = 0;
    eventually("the policy pauses changed Deployments", WITHIN, async || {
        version += 1;
        let containers = json!([{"name": "app", "image": format!("app:{version}")}]);
        let change = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let changed = deployments.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await?;
        match changed.spec.as_ref().and_then(|spec| spec.paused) {
            Some(true) => Ok(()),
            _ => Err(format!("{} was not paused", changed.name_any()).into()),
        }
    })
    .await?;
    deployments.delete(name, &DeleteParams::default()).await?;
    Ok(())
}
