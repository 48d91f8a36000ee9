//! Row 12: manifests with a mistake are refused, or stall with a message that helps; no workload is touched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, Patch, PatchParams, TypeMeta, ValidationDirective};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use palier::api::Rollout;
use serde_json::{Value, json};

use crate::lab::access::ADMIN;
use crate::lab::eventually;
use crate::lab::objects::Objects;
use crate::world::Scene;
use crate::world::phases::IN_A_MOMENT;

/// Manifests that are tried at the same time.
const AT_ONCE: usize = 4;
/// Until the next second for sure.
const A_SECOND: Duration = Duration::from_millis(1100);
/// What Palier could do harm to.
const WORKLOADS: [&str; 6] = ["deployments", "replicasets", "services", "httproutes", "grpcroutes", "pods"];

/// A manifest with one mistake, and what its header promises.
struct Bad {
    path: PathBuf,
    name: String,
    header: BTreeMap<String, String>,
}

impl Bad {
    fn read(path: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&path)?;
        let lines = text.lines().map_while(|line| line.strip_prefix("# ")?.split_once(": "));
        let header = lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { path, name, header })
    }

    fn header(&self, key: &str) -> Result<&str> {
        self.header
            .get(key)
            .map(String::as_str)
            .with_context(|| format!("{} has no line `# {key}: …`", self.name))
    }
}

pub async fn row12_bad_manifests_are_refused(scene: Arc<Scene>) -> Result<()> {
    // Given manifests with one mistake each
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-manifests");
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder)? {
        all.push(Bad::read(entry?.path())?);
    }
    ensure!(all.len() >= 40, "only {} manifests", all.len());
    somebody_with_few_rights(&scene).await?;

    // When each is applied, then it is refused or stalls, with a message that names the field and the cure
    let count = all.len();
    let tried = futures::stream::iter(all.into_iter().map(|bad| try_one(scene.clone(), bad)));
    let wrong: Vec<String> =
        tried.buffer_unordered(AT_ONCE).try_filter_map(async |wrong| Ok(wrong)).try_collect().await?;
    scene.measured("bad manifests refused or stalled", &format!("{} of {count}", count - wrong.len()), "all");
    ensure!(
        wrong.is_empty(),
        "{} of {count} manifests are not refused as they should be:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// Tries one manifest in a namespace of its own. Gives what is wrong with the refusal.
async fn try_one(scene: Arc<Scene>, bad: Bad) -> Result<Option<String>> {
    let says = bad.header("says")?.to_owned();
    let outcome = match bad.header("refused-by")? {
        "stalled" => stalls(&scene, &bad, &says).await,
        _ => is_refused(&scene, &bad, &says).await,
    };
    Ok(outcome.err().map(|error| format!("{}: {error:#}", bad.name)))
}

async fn is_refused(scene: &Scene, bad: &Bad, says: &str) -> Result<()> {
    let who = bad.header.get("as").map_or(ADMIN, String::as_str);
    let config = Kubeconfig::read_from(scene.lab().kubeconfig(who, 0))?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let objects = Objects::new(Client::try_from(config)?);
    match apply(&objects, &scene.namespace, &bad.path).await {
        Ok(()) => bail!("it was taken"),
        Err(refusal) => {
            let said = format!("{refusal:#}");
            ensure!(said.contains(says), "the message is another: {said}");
            Ok(())
        }
    }
}

/// What `kubectl apply --server-side` does: every document, in this namespace, and no field that the schema does not know.
async fn apply(objects: &Objects, namespace: &str, path: &Path) -> Result<()> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path)?)?;
    let mut rollouts = 0;
    for mut document in documents {
        // Which of two came first is told by the second.
        rollouts += usize::from(document["kind"] == "Rollout");
        if document["kind"] == "Rollout" && rollouts > 1 {
            tokio::time::sleep(A_SECOND).await;
        }
        let kind: TypeMeta = serde_json::from_value(document.clone())?;
        if document["kind"] != "MetricSource" && document["metadata"]["namespace"].is_null() {
            document["metadata"]["namespace"] = json!(namespace);
        }
        let name = document["metadata"]["name"].as_str().context("no name")?.to_owned();
        let there = document["metadata"]["namespace"].as_str().map(str::to_owned);
        let api = objects.api(&GroupVersionKind::try_from(&kind)?, there.as_deref()).await?;
        let params = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::apply("kubectl")
        };
        api.patch(&name, &params.force(), &Patch::Apply(&document)).await?;
    }
    Ok(())
}

async fn stalls(scene: &Scene, bad: &Bad, says: &str) -> Result<()> {
    let lab = scene.lab();
    let namespace = bad.name.as_str();
    lab.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).await?;
    let mark = lab.audit().mark();
    apply(&Objects::new(lab.client()), namespace, &bad.path).await?;
    let rollouts: Api<Rollout> = Api::namespaced(lab.client(), namespace);
    let message = eventually("it stalls", IN_A_MOMENT, async || {
        let status = rollouts.get("shop").await?.status.unwrap_or_default();
        match status.conditions.iter().find(|one| one.type_ == "Stalled" && one.status == "True") {
            Some(stalled) => Ok(stalled.message.clone()),
            None => Err(format!("{:?}: {}", status.state, status.message).into()),
        }
    })
    .await?;
    let field = bad.header("field")?;
    ensure!(message.contains(says) && message.contains(field), "the message is another: {message}");
    let touched = lab.audit().since(&mark)?.by(&scene.user).mutations();
    let touched =
        touched.only(|entry| entry.namespace == namespace && WORKLOADS.contains(&entry.resource.as_str()));
    let first = bad.name.contains("two-rollouts");
    // Of two Rollouts for one Deployment the first is good, and labels it.
    if !first && !touched.0.is_empty() {
        bail!("workloads were touched: {:?}", touched.counts());
    }
    let namespaces: Api<Namespace> = Api::all(lab.client());
    namespaces.delete(namespace, &DeleteParams::default()).await?;
    Ok(())
}

/// The person whose manifests are refused for want of rights: may write Rollouts, and patch only what is called `own`.
async fn somebody_with_few_rights(scene: &Scene) -> Result<()> {
    let namespace = &scene.namespace;
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: mallory, namespace: {namespace}}}
rules:
- apiGroups: [palier.dev]
  resources: [rollouts, rolloutactions, rolloutruns, rolloutruns/status]
  verbs: [get, list, create, patch, update]
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [own]
  verbs: [patch]
- apiGroups: ['']
  resources: [services]
  resourceNames: [own]
  verbs: [patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: mallory, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: mallory}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}}]
"
    );
    scene.lab().apply(&role).await.map(drop)
}
