//! Objects of any kind, written and read as YAML and JSON values.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::Mutex;

use super::Lab;
use super::enter::Place;

/// The field manager of what the lab applies.
const MANAGER: &str = "lab";

/// Writes objects; remembers what the API server said about their kinds.
pub struct Objects {
    client: Client,
    kinds: Mutex<HashMap<GroupVersionKind, (ApiResource, ApiCapabilities)>>,
}

impl Objects {
    /// Writes with this client's rights.
    pub fn new(client: Client) -> Self {
        Self { client, kinds: Mutex::default() }
    }

    /// Server-side apply of every document, in order; conflicts are won.
    pub async fn apply_as(&self, manager: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("this is not YAML")?;
        let mut applied = Vec::with_capacity(documents.len());
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            applied.push(self.apply_one(manager, document).await?);
        }
        Ok(applied)
    }

    async fn apply_one(&self, manager: &str, document: Value) -> Result<DynamicObject> {
        let object: DynamicObject =
            serde_json::from_value(document).context("this is no Kubernetes object")?;
        let name = object.metadata.name.clone().context("an object to apply needs a name")?;
        let kind = object.types.as_ref().context("an object to apply needs apiVersion and kind")?.clone();
        let what = format!("{} {name}", kind.kind);
        let gvk = GroupVersionKind::try_from(&kind)?;
        let namespace = object.metadata.namespace.clone();
        let api = self.api(&gvk, namespace.as_deref()).await.with_context(|| what.clone())?;
        let params = PatchParams::apply(manager).force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("cannot apply {what}"))
    }

    /// Access to a kind, in a namespace when it has them (`default` when none is said).
    pub async fn api(&self, gvk: &GroupVersionKind, namespace: Option<&str>) -> Result<Api<DynamicObject>> {
        let mut kinds = self.kinds.lock().await;
        let (resource, capabilities) = match kinds.get(gvk) {
            Some(known) => known.clone(),
            None => {
                let found = pinned_kind(&self.client, gvk).await;
                let found = found.with_context(|| format!("the API server knows no {}", gvk.kind))?;
                kinds.insert(gvk.clone(), found.clone());
                found
            }
        };
        Ok(match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => {
                Api::namespaced_with(self.client.clone(), namespace.unwrap_or("default"), &resource)
            }
        })
    }
}

impl Lab {
    /// Server-side apply of YAML documents, as the administrator and the field manager `lab`.
    pub async fn apply(&self, yaml: &str) -> Result<Vec<DynamicObject>> {
        self.objects.apply_as(MANAGER, yaml).await
    }

    /// The same under another field manager's name.
    pub async fn apply_as(&self, manager: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
        self.objects.apply_as(manager, yaml).await
    }

    /// Access to a kind, such as `("gateway.networking.k8s.io/v1", "HTTPRoute")`.
    pub async fn api(&self, version: &str, kind: &str, namespace: &str) -> Result<Api<DynamicObject>> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        self.objects.api(&GroupVersionKind::gvk(group, version, kind), Some(namespace)).await
    }

    /// Runs kubectl as the administrator and gives what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(&self.kubeconfig_admin(), arguments)
    }

    /// Runs kubectl with another kubeconfig.
    pub fn kubectl_with(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        run(&self.place, "kubectl", kubeconfig, arguments)
    }

    /// Runs Helm as the administrator and gives what it printed.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        run(&self.place, "helm", &self.kubeconfig_admin(), arguments)
    }
}

fn run(place: &Place, program: &str, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = place.tools.command(program)?;
    // Their caches belong to this control plane, not to the person's home.
    command.args(arguments).env("KUBECONFIG", kubeconfig).env("HOME", &place.dir);
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
