//! A Rollout with its workloads, as the people around it see it: they push images, scale, visit, look and wait.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use palier::api::names::ROLLOUT_LABEL;
use palier::api::{ComponentStatus, Outcome, Rollout, RolloutRun, RolloutStatus, Stage};
use serde_json::{Value, json};

use super::conserve::{Apart, Found};
use super::controllers::PALIER;
use super::given::{Given, Workload, image};
use super::scene::Scene;
use crate::lab::{GATEWAY_URL, Load, Target, eventually};

/// How long starting, settling and single steps may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);
/// How long a whole run with short phases may take.
pub const RUN: Duration = Duration::from_secs(120);
/// The field manager of somebody who works with kubectl.
const SOMEBODY: &str = "kubectl-edit";

/// See the module.
pub struct Shop {
    scene: Arc<Scene>,
    /// What it was made from.
    pub given: Given,
    /// Name of the Rollout.
    pub name: String,
    /// Each workload as it was before there was a Rollout.
    pub found: Vec<Found>,
}

impl Shop {
    /// Makes the workloads, waits until they serve, puts the Rollout beside them and waits until it is at rest.
    pub async fn open(scene: &Arc<Scene>, given: Given) -> Result<Self> {
        let mut shop = Self { scene: scene.clone(), name: given.name(), given, found: Vec::new() };
        for workload in shop.given.workloads.clone() {
            for manifest in workload.manifests(&scene.namespace) {
                scene.lab().apply(&manifest.to_string()).await?;
            }
        }
        for workload in shop.given.workloads.clone() {
            shop.serves(&workload, &workload.tag).await?;
            shop.found.push(Found::look(scene.lab(), &scene.namespace, &workload).await?);
        }
        scene.lab().apply(&shop.given.rollout(&scene.namespace).to_string()).await?;
        shop.until("it is ready for a release", SOON, is_ready).await?;
        for workload in &shop.given.workloads {
            let is_watched = |found: Option<&Deployment>| found?.labels().get(ROLLOUT_LABEL).map(drop);
            scene.record.deployments.until("it has our label", &workload.name, SOON, is_watched).await?;
        }
        Ok(shop)
    }

    /// The first workload.
    pub fn workload(&self) -> &Workload {
        &self.given.workloads[0]
    }

    /// Waits until all pods of a workload are available and the gateway answers from this version only.
    pub async fn serves(&self, workload: &Workload, tag: &str) -> Result<()> {
        let size = i32::try_from(workload.replicas)?;
        let available = |deployment: Option<&Deployment>| {
            let status = deployment?.status.as_ref()?;
            (status.available_replicas == Some(size) && status.updated_replicas == Some(size)).then_some(())
        };
        let what = format!("{size} pods are available");
        self.scene.record.deployments.until(&what, &workload.name, SOON, available).await?;
        self.workload_answers_from(workload, tag).await
    }

    /// Waits until the gateway answers from this version of the first workload only, ten times in a row.
    pub async fn answers_from(&self, tag: &str) -> Result<()> {
        self.workload_answers_from(self.workload(), tag).await
    }

    /// The same of any workload.
    pub async fn workload_answers_from(&self, workload: &Workload, tag: &str) -> Result<()> {
        let what = format!("{} answers from {tag}", workload.host(&self.scene.namespace));
        eventually(what, SOON, async || {
            for _ in 0..10 {
                let version = self.answered_by(workload).await?;
                if version != tag {
                    return Err(version.into());
                }
            }
            Ok(())
        })
        .await
    }

    /// The version that answers one request to a workload.
    pub async fn answered_by(&self, workload: &Workload) -> Result<String> {
        let request =
            reqwest::Client::new().get(GATEWAY_URL).header("host", workload.host(&self.scene.namespace));
        let answer = request.timeout(SOON).send().await?;
        let version = answer.headers().get("x-version").and_then(|value| value.to_str().ok());
        version.map(str::to_owned).with_context(|| format!("{}, not from a pod", answer.status()))
    }

    /// Visitors of the first workload, so many a second, until they are told to stop.
    pub fn visitors(&self, rate: u32) -> Result<Load> {
        self.visitors_of(self.workload(), rate)
    }

    /// Visitors of one workload.
    pub fn visitors_of(&self, workload: &Workload, rate: u32) -> Result<Load> {
        self.scene.lab().load(Target::host(&workload.host(&self.scene.namespace), rate))
    }

    /// Somebody sets another image in the first workload. Gives the time.
    pub async fn push(&self, tag: &str) -> Result<Timestamp> {
        self.push_to(self.workload(), tag).await
    }

    /// Somebody sets another image in a workload. Gives the time.
    pub async fn push_to(&self, workload: &Workload, tag: &str) -> Result<Timestamp> {
        let at = Timestamp::now();
        let containers = json!([{"name": "app", "image": image(tag)}]);
        self.change(workload, json!({"spec": {"template": {"spec": {"containers": containers}}}})).await?;
        Ok(at)
    }

    /// Somebody sets another image in every workload, one after the other.
    pub async fn push_to_all(&self, tag: &str) -> Result<()> {
        for workload in &self.given.workloads {
            self.push_to(workload, tag).await?;
        }
        Ok(())
    }

    /// Somebody scales the first workload, as `kubectl scale` and an HPA do. Gives the time.
    pub async fn scale(&self, replicas: u32) -> Result<Timestamp> {
        self.scale_of(self.workload(), replicas).await
    }

    /// Somebody scales a workload. Gives the time.
    pub async fn scale_of(&self, workload: &Workload, replicas: u32) -> Result<Timestamp> {
        let at = Timestamp::now();
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let params = PatchParams { field_manager: Some(SOMEBODY.into()), ..PatchParams::default() };
        self.deployments().patch_scale(&workload.name, &params, &patch).await?;
        Ok(at)
    }

    async fn change(&self, workload: &Workload, change: Value) -> Result<Deployment> {
        let params = PatchParams { field_manager: Some(SOMEBODY.into()), ..PatchParams::default() };
        let changed = self.deployments().patch(&workload.name, &params, &Patch::Strategic(&change)).await;
        changed.with_context(|| format!("cannot change the Deployment {}", workload.name))
    }

    /// The Deployments of the namespace.
    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.scene.lab().client(), &self.scene.namespace)
    }

    /// Waits until the first workload's Deployment is paused.
    pub async fn until_paused(&self) -> Result<()> {
        let is_paused = |found: Option<&Deployment>| {
            found?.spec.as_ref().filter(|spec| spec.paused == Some(true)).map(drop)
        };
        self.scene.record.deployments.until("it is paused", &self.workload().name, SOON, is_paused).await
    }

    /// The first workload's Deployment, read now.
    pub async fn deployment(&self) -> Result<Deployment> {
        self.deployment_of(self.workload()).await
    }

    /// A workload's Deployment, read now.
    pub async fn deployment_of(&self, workload: &Workload) -> Result<Deployment> {
        Ok(self.deployments().get(&workload.name).await?)
    }

    /// The record of a run.
    pub async fn record_of(&self, run: i64) -> Result<RolloutRun> {
        let records: Api<RolloutRun> = Api::namespaced(self.scene.lab().client(), &self.scene.namespace);
        let all = records.list(&ListParams::default()).await?.items;
        let mut its = all.into_iter().filter(|one| one.spec.rollout == self.name && one.spec.number == run);
        its.next().with_context(|| format!("run {run} has no record"))
    }

    /// Somebody deletes the Rollout; comes back when it is gone.
    pub async fn delete_rollout(&self, within: Duration) -> Result<()> {
        let rollouts: Api<Rollout> = Api::namespaced(self.scene.lab().client(), &self.scene.namespace);
        rollouts.delete(&self.name, &DeleteParams::default()).await?;
        let is_gone = |rollout: Option<&Rollout>| rollout.is_none().then_some(());
        self.scene.record.rollouts.until("the Rollout is gone", &self.name, within, is_gone).await
    }

    /// Somebody runs `palier COMMAND ROLLOUT …`. Gives what it printed; fails when it does.
    pub async fn palier(&self, command: &str, more: &[&str]) -> Result<String> {
        let mut palier = tokio::process::Command::new(PALIER);
        palier.arg(command).arg(&self.name).args(["--namespace", &self.scene.namespace]);
        palier.arg("--kubeconfig").arg(self.scene.lab().kubeconfig_admin()).args(more);
        let output = palier.kill_on_drop(true).output();
        let output = tokio::time::timeout(SOON, output).await.context("palier did not end")??;
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        if !output.status.success() {
            bail!("palier {command} {}: {}\n{said}", self.name, output.status);
        }
        Ok(said)
    }

    /// The status as it was seen last.
    pub fn status(&self) -> Result<RolloutStatus> {
        let rollout = self.scene.record.rollouts.latest(&self.name).context("there is no Rollout")?;
        rollout.status.clone().ok_or_else(|| anyhow!("the Rollout has no status"))
    }

    /// Waits for a status; when it does not come, fails with `what` and the status that was there instead.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        probe: impl Fn(&RolloutStatus) -> bool,
    ) -> Result<RolloutStatus> {
        let found = |rollout: Option<&Rollout>| {
            let status = rollout?.status.as_ref()?;
            probe(status).then(|| status.clone())
        };
        self.scene.record.rollouts.until(what, &self.name, within, found).await
    }

    /// Waits until a run bakes at a share, every component of it.
    pub async fn until_baking(&self, run: i64, traffic: i32) -> Result<RolloutStatus> {
        self.until(&format!("run {run} bakes at {traffic} %"), SOON, |status| {
            let is_run = status.run.as_ref().is_some_and(|present| present.number == run);
            let mut part = status.components.iter().filter(|one| one.canary.is_some()).peekable();
            is_run && part.peek().is_some() && part.all(|one| is_baking(one, traffic))
        })
        .await
    }

    /// Waits until a run has ended, as it should.
    pub async fn until_ended(&self, run: i64, outcome: Outcome) -> Result<RolloutStatus> {
        self.until_ended_within(run, outcome, RUN).await
    }

    /// The same for a run of several parts, which come one after the other.
    pub async fn until_ended_within(
        &self,
        run: i64,
        outcome: Outcome,
        within: Duration,
    ) -> Result<RolloutStatus> {
        let has_ended = |status: &RolloutStatus| {
            status.run.as_ref().is_some_and(|present| present.number == run && present.ended_at.is_some())
        };
        let status = self.until(&format!("run {run} has ended"), within, has_ended).await?;
        let ended = status.run.as_ref().and_then(|run| run.outcome);
        if ended != Some(outcome) {
            bail!("run {run} ended {ended:?} instead of {outcome:?}");
        }
        Ok(status)
    }

    /// Waits until the first workload is as it is to be: the last writes come after the run has ended.
    pub async fn until_as(&self, wanted: &Found, apart: Apart) -> Result<()> {
        eventually("all is as it is to be", SOON, async || {
            let now = Found::look(self.scene.lab(), &self.scene.namespace, self.workload()).await?;
            Ok(wanted.is_kept(&now, apart)?)
        })
        .await
    }

    /// Each workload as it is now.
    pub async fn look(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for workload in &self.given.workloads {
            found.push(Found::look(self.scene.lab(), &self.scene.namespace, workload).await?);
        }
        Ok(found)
    }
}

/// Whether a component bakes at a share that is in force.
pub fn is_baking(component: &ComponentStatus, traffic: i32) -> bool {
    component.stage == Stage::Baking && component.weight == traffic && component.target_weight == traffic
}

/// Whether the Rollout is at rest, knows what serves, and nothing stands in the way of a release.
pub fn is_ready(status: &RolloutStatus) -> bool {
    let ready = status.conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True");
    ready && !status.components.is_empty() && status.components.iter().all(|one| one.stable.is_some())
}
