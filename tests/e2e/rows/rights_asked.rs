//! Row 11, the rights that have to be asked for: those of hooks, of degraded modes and of configuration, and those that only a
//! controller of the whole cluster has. Each is taken away once, as in `rights.rs`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use palier::api::names::{CONFIG_COPY, CONFIG_LABEL};
use palier::engine::revision::hash;
use serde_json::{Value, json};

use super::rights::{NAME, SIDE_BY_SIDE, STEP, push, settle_in, until};
use crate::lab::moods::Mood;
use crate::lab::{Lab, eventually};
use crate::world::controllers::{Controller, Launch, free_lease};
use crate::world::given::image;
use crate::world::install::{self, CLUSTER_WIDE, HOME, RELEASE};
use crate::world::rights::{Refusals, Right, Who, all_are_needed, rights_of, rules_without};
use crate::world::scene::launch_as;
use crate::world::{Gate, Given, Scene};

const FLAGS: &str = "flags";
/// A look at the objects, and what follows from it.
const LOOKED: Duration = Duration::from_secs(75);

async fn nothing_beside() -> Result<()> {
    std::future::pending().await
}

async fn remove_namespace(lab: &Lab, namespace: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(lab.client());
    namespaces.delete(namespace, &DeleteParams::default()).await?;
    Ok(())
}

async fn create_namespace(lab: &Lab, namespace: &str) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    lab.apply(&object.to_string()).await.map(drop)
}

fn has_ended(status: &Value) -> bool {
    status["run"]["number"] == 1 && status["run"]["endedAt"].is_string()
}

pub async fn row11_each_right_of_hooks_and_switches(scene: Arc<Scene>) -> Result<()> {
    // Given the Roles of the chart for one namespace with hooks and with one ConfigMap of switches
    let flags = format!("degradedModes.configMaps[0].name={FLAGS}");
    let settings = ["namespaced=true", "hooks.enabled=true", &flags];
    let chart = install::render(scene.lab(), &scene.namespace, &settings)?;
    let is_ours = |object: &Value| {
        ["palier-controller", "palier-switches"].iter().any(|name| object["metadata"]["name"] == *name)
            || object["kind"] == "ServiceAccount"
    };
    let objects: Vec<Value> = chart.into_iter().filter(is_ours).collect();
    let roles = objects.iter().filter(|object| object["kind"] == "Role");
    let is_asked = |right: &Right| right.group == "batch" || right.resource == "configmaps";
    let rights: Vec<Right> = roles.flat_map(rights_of).filter(is_asked).collect();
    ensure!(rights.len() == 9, "other rights than those of Jobs, CronJobs and one ConfigMap: {rights:?}");

    // When each is taken away, then it is missed; with all of them nothing is
    let refused = Refusals::default();
    let following = refused.follow(scene.lab());
    let all = [None].into_iter().chain(rights.iter().cloned().map(Some)).enumerate();
    let trials = all.map(|(number, right)| {
        let (scene, objects, refused) = (&scene, &objects, &refused);
        async move {
            let tried = trial(scene, number, objects, right.as_ref(), refused).await;
            tried.with_context(|| {
                right.map_or_else(|| "with all rights".to_owned(), |right| format!("without {right}"))
            })
        }
    });
    let outcomes: Vec<Result<()>> = stream::iter(trials).buffer_unordered(SIDE_BY_SIDE).collect().await;
    following.abort();
    all_are_needed(&scene, "rights of hooks and switches", rights.len(), outcomes)
}

async fn trial(
    scene: &Arc<Scene>,
    number: usize,
    objects: &[Value],
    missing: Option<&Right>,
    refused: &Refusals,
) -> Result<()> {
    let (lab, namespace) = (scene.lab(), format!("{}-{number}", scene.namespace));
    settle_in(lab, &namespace, objects, missing).await?;
    furnish_with_hooks(lab, &namespace).await?;
    let mut launch = launch_as(lab, &namespace, RELEASE).await?;
    // Nobody else is there to take the Lease: its usual terms do.
    launch.extra = vec!["--hooks".into(), "--prometheus-url".into(), lab.moods().url(&namespace)];
    let controller = Controller::start(lab, &namespace, launch).await?;
    let user = format!("system:serviceaccount:{namespace}:{RELEASE}");
    let who = Who { user: &user, namespace: &namespace };
    let outcome = refused.judge(who, missing, live_with_hooks(lab, &namespace), nothing_beside()).await;
    let outcome = outcome.with_context(|| controller.log_about(lab, ""));
    controller.kill(lab)?;
    remove_namespace(lab, &namespace).await?;
    outcome
}

/// A Job like that of a hook: its name is taken by somebody else.
fn foreign_job(namespace: &str, rollout_uid: &str) -> Value {
    let parts = [rollout_uid, "1", "BeforeRun", "taken", "", "", "1"];
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": format!("{NAME}-1-taken-1-{}", hash(&parts)), "namespace": namespace},
        "spec": {"suspend": true, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "work", "image": image("v1")}],
        }}},
    })
}

/// A shop with a backup, a hook whose Job cannot be created, one that is ended after its time, and a gate that sets a switch.
async fn furnish_with_hooks(lab: &Lab, namespace: &str) -> Result<()> {
    let hook = |name: &str, point: &str| json!({"name": name, "at": point, "cronJobRef": {"name": name}, "onFailure": "Continue", "timeout": "10s"});
    let mut endless = hook("endless", "AfterRun");
    endless["timeout"] = json!("2s");
    let modes = json!([{
        "name": "no-search", "recoverAfter": "1s", "deadline": "2s", "then": "FullRollback",
        "switches": [{"configMap": FLAGS, "key": "SEARCH", "value": "off"}],
    }]);
    let gate = Gate(json!({
        "name": "crowd", "interval": "1s", "window": "5s", "failureThreshold": 1, "threshold": {"max": 0.5},
        "prometheus": {"query": "sum(crowd)"}, "onFailure": "DegradedMode", "degradedMode": "no-search",
    }));
    lab.moods().set(namespace, Mood::Sample("1".to_owned()));
    let given = Given::shop("v1")
        .replicas(1)
        .phases(&[("half", 50, "20s"), ("everyone", 100, "1s")])
        .judged_by(gate)
        .field("drainTime", json!("1s"))
        .field("hooks", json!([hook("backup", "BeforeRun"), hook("taken", "BeforeRun"), endless]))
        .field("degradedModes", modes);
    let cron_job = |name: &str, tag: &str| {
        let pod = json!({"restartPolicy": "Never", "containers": [{"name": "work", "image": image(tag)}]});
        json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "schedule": "0 0 1 1 *", "suspend": true,
                "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}},
            },
        })
    };
    let flags = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": FLAGS, "namespace": namespace},
        "data": {"SEARCH": "on"},
    });
    let around = [cron_job("backup", "v1"), cron_job("taken", "v1"), cron_job("endless", "hang"), flags];
    let workload = given.workloads[0].manifests(namespace);
    for manifest in around.iter().chain(&workload).chain([&given.rollout(namespace)]) {
        lab.apply(&manifest.to_string()).await?;
    }
    Ok(())
}

/// A release that enters a degraded mode and gives up, with hooks before and after.
async fn live_with_hooks(lab: &Lab, namespace: &str) -> Result<()> {
    let rollout = lab.api("palier.dev/v1alpha1", "Rollout", namespace).await?.get(NAME).await?;
    lab.apply(&foreign_job(namespace, &rollout.uid().unwrap_or_default()).to_string()).await?;
    until_ready(lab, namespace).await?;
    let deployments = lab.api("apps/v1", "Deployment", namespace).await?;
    eventually("the Deployment is paused", STEP, async || {
        let deployment = deployments.get(NAME).await?;
        if deployment.data["spec"]["paused"] == true { Ok(()) } else { Err("it is not".into()) }
    })
    .await?;
    push(lab, namespace, "v2").await?;
    until(lab, namespace, "run 1 has ended", has_ended).await?;
    // Each way was gone: else a right could be needed, and not be met.
    let rollout = lab.api("palier.dev/v1alpha1", "Rollout", namespace).await?.get(NAME).await?;
    let run = &rollout.data["status"]["run"];
    let states: Vec<&str> =
        run["hooks"].as_array().into_iter().flatten().filter_map(|it| it["state"].as_str()).collect();
    ensure!(states == ["Succeeded", "Failed", "Failed"], "{}", run["hooks"]);
    ensure!(run["reason"].as_str().is_some_and(|why| why.contains("degraded mode")), "{}", run["reason"]);
    Ok(())
}

async fn until_ready(lab: &Lab, namespace: &str) -> Result<()> {
    let is_ready = |status: &Value| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
            && status["components"][0]["stable"].is_object()
    };
    until(lab, namespace, "it is ready", is_ready).await
}

pub async fn row11_each_right_on_config_maps(scene: Arc<Scene>) -> Result<()> {
    of_the_cluster(&scene, |right| right.resource == "configmaps", 6, true).await
}

pub async fn row11_each_right_on_secrets_and_of_the_cluster(scene: Arc<Scene>) -> Result<()> {
    // What other trials of this row look at is what a controller of one namespace has too.
    let is_its = |right: &Right| {
        right.resource == "secrets"
            || right.resource == "metricsources"
            || right.resource == "clustergatetemplates"
            || right.group == "admissionregistration.k8s.io"
    };
    of_the_cluster(&scene, is_its, 11, false).await
}

/// Tries some rights of the ClusterRole. One controller at a time works on the whole cluster, so that nothing may be played beside.
async fn of_the_cluster(
    scene: &Arc<Scene>,
    is_its: impl Fn(&Right) -> bool,
    count: usize,
    with_all: bool,
) -> Result<()> {
    // Given the chart for the whole cluster with configuration
    let lab = scene.lab();
    scene.install_cluster_wide().await?;
    let objects = install::render(lab, HOME, &CLUSTER_WIDE)?;
    let role = objects.iter().find(|object| object["kind"] == "ClusterRole" && is_controllers(object));
    let role = role.context("the chart has no ClusterRole for the controller")?.clone();
    let rights: Vec<Right> = rights_of(&role).into_iter().filter(is_its).collect();
    ensure!(rights.len() == count, "not {count} rights: {rights:?}");

    // When each right is taken away, then it is missed; with all of them nothing is
    let all = rights.iter().map(Some).chain(with_all.then_some(None)).enumerate();
    let mut outcomes = Vec::new();
    for (number, right) in all {
        let tried = cluster_trial(scene, number, &role, right).await;
        outcomes.push(tried.with_context(|| {
            right.map_or_else(|| "with all rights".to_owned(), |right| format!("without {right}"))
        }));
    }
    lab.apply(&role.to_string()).await?;
    let what = format!("{} of a controller of the whole cluster", scene.name);
    all_are_needed(scene, &what, rights.len(), outcomes)
}

fn is_controllers(object: &Value) -> bool {
    object["metadata"]["name"] == "palier-controller"
}

async fn cluster_trial(
    scene: &Arc<Scene>,
    number: usize,
    role: &Value,
    missing: Option<&Right>,
) -> Result<()> {
    let (lab, namespace) = (scene.lab(), format!("{}-{number}", scene.namespace));
    let user = format!("system:serviceaccount:{HOME}:{RELEASE}");
    let mut without = role.clone();
    without["rules"] = json!(rules_without(role, missing));
    lab.apply(&without.to_string()).await?;
    let all = rights_of(role);
    eventually("the rights are as they are to be", STEP, async || {
        for right in &all {
            let answer = may(lab, &user, right).await?;
            if answer != (Some(right) != missing) {
                return Err(format!("{right}: {answer}").into());
            }
        }
        Ok(())
    })
    .await?;
    create_namespace(lab, &namespace).await?;
    let refused = Refusals::default();
    let following = refused.follow(lab);
    let launch = Launch {
        kubeconfig: lab.token_for(HOME, RELEASE).await?,
        home: HOME.to_owned(),
        only: None,
        extra: Vec::new(),
    };
    let controller = Controller::start(lab, &namespace, launch).await?;
    let who = Who { user: &user, namespace: &namespace };
    let outcome = refused.judge(who, missing, live_with_config(lab, &namespace), nothing_beside()).await;
    let outcome = outcome.with_context(|| controller.log_about(lab, ""));
    controller.kill(lab)?;
    following.abort();
    free_lease(lab, HOME).await?;
    remove_namespace(lab, &namespace).await?;
    outcome
}

/// Whether a user may do something anywhere, as the API server answers.
async fn may(lab: &Lab, user: &str, right: &Right) -> Result<bool> {
    let reviews = lab.api("authorization.k8s.io/v1", "SubjectAccessReview", "").await?;
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
    let name = if right.group == "admissionregistration.k8s.io" { "palier-config" } else { "" };
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {"user": user, "resourceAttributes": {
            "group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb, "name": name,
        }},
    });
    let answer = reviews.create(&Default::default(), &serde_json::from_value(review)?).await?;
    Ok(answer.data["status"]["allowed"] == true)
}

/// A good release of an image with another configuration, and then the deletion.
async fn live_with_config(lab: &Lab, namespace: &str) -> Result<()> {
    let given = Given::shop("v1")
        .configured(false)
        .replicas(1)
        .phases(&[("half", 50, "1s"), ("everyone", 100, "1s")])
        .field("drainTime", json!("1s"));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": namespace},
        "data": {"mode": "old"}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": namespace},
        "stringData": {"token": "old"}});
    let workload = given.workloads[0].manifests(namespace);
    for manifest in [&map, &secret].into_iter().chain(&workload).chain([&given.rollout(namespace)]) {
        lab.apply(&manifest.to_string()).await?;
    }
    until_ready(lab, namespace).await?;
    let has_copies =
        |status: &Value| status["components"][0]["stable"]["config"].as_array().map(Vec::len) == Some(2);
    until(lab, namespace, "copies are made", has_copies).await?;
    let (maps, secrets) =
        (lab.api("v1", "ConfigMap", namespace).await?, lab.api("v1", "Secret", namespace).await?);
    eventually("the policy has its map", STEP, async || {
        maps.get(&format!("palier-config-{NAME}")).await.map(drop).map_err(Into::into)
    })
    .await?;
    let change = |field: &str, value: Value| Patch::Merge(json!({field: value}));
    maps.patch("app", &PatchParams::default(), &change("data", json!({"mode": "new"}))).await?;
    secrets.patch("key", &PatchParams::default(), &change("stringData", json!({"token": "new"}))).await?;
    push(lab, namespace, "v2").await?;
    until(lab, namespace, "run 1 has ended", has_ended).await?;
    let copies = ListParams::default().labels(&format!("{CONFIG_LABEL}={CONFIG_COPY}"));
    eventually("one copy of each is left", LOOKED, async || {
        let (maps, secrets) =
            (maps.list(&copies).await?.items.len(), secrets.list(&copies).await?.items.len());
        if (maps, secrets) == (1, 1) { Ok(()) } else { Err(format!("{maps} and {secrets}").into()) }
    })
    .await?;
    let rollouts = lab.api("palier.dev/v1alpha1", "Rollout", namespace).await?;
    rollouts.delete(NAME, &DeleteParams::default()).await?;
    eventually("the Rollout is gone", STEP, async || match rollouts.get_opt(NAME).await? {
        None => Ok(()),
        Some(_) => Err("it is there".into()),
    })
    .await
}
