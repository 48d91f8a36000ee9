//! Row 11: every right that the chart gives is needed. Each is taken away once, and a short life of a Rollout comes to the place
//! where it is missed. That they are enough is seen in all other scenarios: each fails when one request was refused.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::lab::{Lab, eventually};
use crate::world::controllers::Controller;
use crate::world::given::{Workload, image};
use crate::world::rights::{Refusals, Right, Who, all_are_needed, rights_of, rules_without};
use crate::world::scene::launch_as;
use crate::world::{Given, Scene, install};

/// Namespaces side by side.
pub const SIDE_BY_SIDE: usize = 3;
/// How long a step of the short life may take.
pub const STEP: Duration = Duration::from_secs(60);
/// Somebody is faster than a controller now and then; more would only be load.
const NUDGE: Duration = Duration::from_millis(20);
pub const NAME: &str = "shop";

/// Trials of a right that only a lost race needs.
const RACES: usize = 8;

pub async fn row11_each_rule_is_needed(scene: Arc<Scene>) -> Result<()> {
    // Given the Role of the chart for one namespace
    let chart = install::render(scene.lab(), &scene.namespace, &["namespaced=true"])?;
    let is_ours = |object: &Value| {
        object["metadata"]["name"] == "palier-controller" || object["kind"] == "ServiceAccount"
    };
    let objects: Vec<Value> = chart.into_iter().filter(is_ours).collect();
    let role = objects.iter().find(|object| object["kind"] == "Role").context("the chart has no Role")?;
    let rights = rights_of(role);
    ensure!(rights.len() > 30, "only {} rights were found in the Role", rights.len());

    // When each right is taken away, then it is missed; with all of them nothing is
    let refused = Refusals::default();
    let following = refused.follow(scene.lab());
    let all = [None].into_iter().chain(rights.iter().cloned().map(Some)).enumerate();
    let trials = all.map(|(number, right)| {
        let (scene, objects, refused) = (&scene, &objects, &refused);
        async move {
            let mut tried = trial(scene, number, objects, right.as_ref(), refused).await;
            for again in 1..RACES {
                if tried.is_ok() || !right.as_ref().is_some_and(is_for_races) {
                    break;
                }
                tried = trial(scene, number + 100 * again, objects, right.as_ref(), refused).await;
            }
            tried.with_context(|| {
                right.map_or_else(|| "with all rights".to_owned(), |right| format!("without {right}"))
            })
        }
    });
    let outcomes: Vec<Result<()>> = stream::iter(trials).buffer_unordered(SIDE_BY_SIDE).collect().await;
    following.abort();
    all_are_needed(&scene, "rights of the Role", rights.len(), outcomes)
}

/// Whether a right is needed only when somebody else was faster, which a single trial may not meet.
fn is_for_races(right: &Right) -> bool {
    right.verb == "get" && raced_kind(right).is_some()
}

/// A short life of a Rollout under the Role without one right. Well when exactly that right was missed.
async fn trial(
    scene: &Arc<Scene>,
    number: usize,
    objects: &[Value],
    missing: Option<&Right>,
    refused: &Refusals,
) -> Result<()> {
    let (lab, namespace) = (scene.lab(), format!("{}-{number}", scene.namespace));
    let user = format!("system:serviceaccount:{namespace}:{}", install::RELEASE);
    furnish(lab, &namespace, objects, missing).await?;
    let mut launch = launch_as(lab, &namespace, install::RELEASE).await?;
    // Nobody else is there to take the Lease: its usual terms do.
    launch.extra.clear();
    let controller = Controller::start(lab, &namespace, launch).await?;
    let who = Who { user: &user, namespace: &namespace };
    let nudge = nudge(lab, &namespace, missing);
    let outcome = refused.judge(who, missing, live(lab, &namespace), nudge).await;
    let outcome = outcome.with_context(|| controller.log_about(lab, ""));
    controller.kill(lab)?;
    let namespaces: Api<Namespace> = Api::all(lab.client());
    namespaces.delete(&namespace, &DeleteParams::default()).await?;
    outcome
}

/// The chart's objects in a namespace of their own, without one right.
pub async fn settle_in(lab: &Lab, namespace: &str, objects: &[Value], missing: Option<&Right>) -> Result<()> {
    lab.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}).to_string())
        .await?;
    for object in objects {
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!(namespace);
        if object["kind"] == "RoleBinding" {
            object["subjects"][0]["namespace"] = json!(namespace);
        }
        if object["kind"] == "Role" {
            object["rules"] = json!(rules_without(&object, missing));
        }
        lab.apply(&object.to_string()).await?;
    }
    Ok(())
}

/// The chart's objects and a shop with routes of both kinds, all in a namespace of its own.
async fn furnish(lab: &Lab, namespace: &str, objects: &[Value], missing: Option<&Right>) -> Result<()> {
    settle_in(lab, namespace, objects, missing).await?;
    let given = Given::shop("v1").replicas(1).phases(&[("half", 50, "1s"), ("everyone", 100, "1s")]);
    let given = given.field("drainTime", json!("1s")).field("runHistoryLimit", json!(1));
    let workload: &Workload = &given.workloads[0];
    let mut manifests = workload.manifests(namespace);
    // A Service that selects by less than the Deployment does may have pods of others.
    for labels in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        manifests[0].pointer_mut(labels).context("a Deployment has labels")?["tier"] = json!("web");
    }
    let mut grpc = manifests[2].clone();
    grpc["kind"] = json!("GRPCRoute");
    grpc["spec"]["hostnames"] = json!([format!("grpc.{namespace}.example")]);
    let mut rollout = given.rollout(namespace);
    rollout["spec"]["components"][0]["traffic"]["gatewayAPI"]["grpcRoutes"] = json!([{"name": NAME}]);
    for manifest in manifests.iter().chain([&grpc, &rollout]) {
        lab.apply(&manifest.to_string()).await?;
    }
    Ok(())
}

/// From the first look over a good release and one that is aborted to the deletion.
async fn live(lab: &Lab, namespace: &str) -> Result<()> {
    let is_ready = |status: &Value| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
            && status["components"][0]["stable"].is_object()
    };
    let has_ended =
        |status: &Value, run: i64| status["run"]["number"] == run && status["run"]["endedAt"].is_string();
    until(lab, namespace, "it is ready", is_ready).await?;
    let deployments = lab.api("apps/v1", "Deployment", namespace).await?;
    eventually("the Deployment is paused", STEP, async || {
        let deployment = deployments.get(NAME).await?;
        if deployment.data["spec"]["paused"] == true { Ok(()) } else { Err("it is not".into()) }
    })
    .await?;
    push(lab, namespace, "v2").await?;
    until(lab, namespace, "run 1 has ended", |status| has_ended(status, 1) && is_ready(status)).await?;
    push(lab, namespace, "v3").await?;
    let bakes = |status: &Value| status["run"]["number"] == 2 && status["components"][0]["stage"] == "Baking";
    until(lab, namespace, "run 2 bakes", bakes).await?;
    let action = json!({
        "apiVersion": "palier.dev/v1alpha1", "kind": "RolloutAction",
        "metadata": {"name": "abort", "namespace": namespace},
        "spec": {"rollout": NAME, "run": 2, "action": "Abort"},
    });
    lab.apply(&action.to_string()).await?;
    until(lab, namespace, "run 2 has ended", |status| has_ended(status, 2)).await?;
    let runs = lab.api("palier.dev/v1alpha1", "RolloutRun", namespace).await?;
    eventually("only the last run is on record", STEP, async || {
        let kept = runs.list(&ListParams::default()).await?.items.len();
        if kept == 1 { Ok(()) } else { Err(format!("{kept} records").into()) }
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

pub async fn until(lab: &Lab, namespace: &str, what: &str, probe: impl Fn(&Value) -> bool) -> Result<()> {
    let rollouts = lab.api("palier.dev/v1alpha1", "Rollout", namespace).await?;
    eventually(what, STEP, async || {
        let rollout = rollouts.get(NAME).await?;
        let status = &rollout.data["status"];
        if probe(status) { Ok(()) } else { Err(format!("{} {}", status["state"], status["message"]).into()) }
    })
    .await
}

pub async fn push(lab: &Lab, namespace: &str, tag: &str) -> Result<()> {
    let deployments = lab.api("apps/v1", "Deployment", namespace).await?;
    let containers = json!([{"name": "app", "image": image(tag)}]);
    let change = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    deployments.patch(NAME, &PatchParams::default(), &Patch::Merge(&change)).await?;
    Ok(())
}

fn raced_kind(right: &Right) -> Option<(&'static str, &'static str)> {
    match right.resource.as_str() {
        "rollouts" => Some(("palier.dev/v1alpha1", "Rollout")),
        "replicasets" => Some(("apps/v1", "ReplicaSet")),
        "httproutes" => Some(("gateway.networking.k8s.io/v1", "HTTPRoute")),
        "grpcroutes" => Some(("gateway.networking.k8s.io/v1", "GRPCRoute")),
        _ => None,
    }
}

/// Objects are read again when somebody else was faster. For a right that is needed for that alone, somebody is: forever.
async fn nudge(lab: &Lab, namespace: &str, missing: Option<&Right>) -> Result<()> {
    let kind = missing.filter(|right| right.verb == "get").and_then(raced_kind);
    let Some((version, kind)) = kind else { return std::future::pending().await };
    let objects = lab.api(version, kind, namespace).await?;
    for count in 0_u64.. {
        let change = json!({"metadata": {"annotations": {"somebody/count": count.to_string()}}});
        for object in objects.list(&ListParams::default()).await? {
            let name = object.metadata.name.unwrap_or_default();
            // It may be gone by now.
            let _ = objects.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await;
        }
        // ReplicaSets are written seldom: only somebody who never rests meets the controller there.
        if kind != "ReplicaSet" {
            tokio::time::sleep(NUDGE).await;
        }
    }
    Ok(())
}
