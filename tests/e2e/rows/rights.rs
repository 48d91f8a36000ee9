//! Row 11: every right that the chart gives is needed. Each is taken away once, and a short life of a Rollout comes to the place
//! where it is missed. That they are enough is seen in all other scenarios: each fails when one request was refused.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::lab::{Lab, eventually};
use crate::world::controllers::Controller;
use crate::world::given::{Workload, image};
use crate::world::scene::launch_as;
use crate::world::{Given, Scene, install};

/// Namespaces side by side.
const SIDE_BY_SIDE: usize = 3;
/// How long a step of the short life may take.
const STEP: Duration = Duration::from_secs(60);
/// A life that is stuck was refused something: the audit log tells it soon.
const WORD: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(400);
/// Somebody is faster than a controller now and then; more would only be load.
const NUDGE: Duration = Duration::from_millis(20);
const NAME: &str = "shop";

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

/// Which requests were refused: user, group, resource, verb.
type Refused = Arc<Mutex<HashSet<(String, Right)>>>;

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
    let refused = Refused::default();
    let following = follow(&scene, refused.clone());
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
            tried.with_context(|| match right {
                Some(Right { group, resource, verb }) => format!("without {verb} {resource}.{group}"),
                None => "with all rights".to_owned(),
            })
        }
    });
    let outcomes: Vec<Result<()>> = stream::iter(trials).buffer_unordered(SIDE_BY_SIDE).collect().await;
    following.abort();
    let wrong: Vec<String> =
        outcomes.iter().filter_map(|one| one.as_ref().err()).map(|error| format!("{error:#}")).collect();
    let missed = format!("{} of {}", rights.len() - wrong.len().min(rights.len()), rights.len());
    scene.measured("rights of the Role that are needed", &missed, "all");
    ensure!(wrong.is_empty(), "{} rights:\n  {}", wrong.len(), wrong.join("\n  "));
    Ok(())
}

/// Whether a right is needed only when somebody else was faster, which a single trial may not meet.
fn is_for_races(right: &Right) -> bool {
    right.verb == "get" && raced_kind(right).is_some()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn rights_of(role: &Value) -> Vec<Right> {
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.push(Right { group: group.clone(), resource: resource.clone(), verb });
                }
            }
        }
    }
    rights
}

/// The Role's rules without one right: one rule for each resource.
fn rules_without(role: &Value, missing: Option<&Right>) -> Vec<Value> {
    let mut rules = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let is_left = |verb: &String| {
                    missing
                        != Some(&Right {
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                        })
                };
                let verbs: Vec<String> = texts(&rule["verbs"]).into_iter().filter(is_left).collect();
                if verbs.is_empty() {
                    continue;
                }
                let mut kept = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
                if let Some(names) = rule.get("resourceNames") {
                    kept["resourceNames"] = names.clone();
                }
                rules.push(kept);
            }
        }
    }
    rules
}

/// Reads the audit log for refusals, until it is ended.
fn follow(scene: &Arc<Scene>, refused: Refused) -> JoinHandle<()> {
    let audit = scene.lab().audit();
    tokio::spawn(async move {
        // A line may be half written at a mark: each piece is read twice.
        let (mut older, mut newer) = (audit.mark(), audit.mark());
        loop {
            tokio::time::sleep(POLL).await;
            let (log, from) = (audit.clone(), older);
            older = newer;
            newer = audit.mark();
            let read = tokio::task::spawn_blocking(move || log.since(&from)).await;
            let Ok(Ok(entries)) = read else { continue };
            let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.extend(entries.forbidden().0.into_iter().map(|entry| {
                (entry.user, Right { group: entry.group, resource: entry.resource, verb: entry.verb })
            }));
        }
    })
}

/// A short life of a Rollout under the Role without one right. Well when exactly that right was missed.
async fn trial(
    scene: &Arc<Scene>,
    number: usize,
    objects: &[Value],
    missing: Option<&Right>,
    refused: &Refused,
) -> Result<()> {
    let (lab, namespace) = (scene.lab(), format!("{}-{number}", scene.namespace));
    let user = format!("system:serviceaccount:{namespace}:{}", install::RELEASE);
    let of_user = || {
        let refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().filter(|(who, _)| *who == user).map(|(_, right)| right.clone()).collect::<Vec<_>>()
    };
    let is_missed = async || {
        while !missing.is_some_and(|right| of_user().contains(right)) {
            tokio::time::sleep(POLL).await;
        }
    };
    furnish(lab, &namespace, objects, missing).await?;
    let mut launch = launch_as(lab, &namespace, install::RELEASE).await?;
    // Nobody else is there to take the Lease: its usual terms do.
    launch.extra.clear();
    let controller = Controller::start(lab, &namespace, launch).await?;
    let outcome = tokio::select! {
        () = is_missed() => Ok(()),
        lived = live(lab, &namespace) => match (lived, missing) {
            (Ok(()), None) => Ok(()),
            (Err(error), None) => Err(error),
            (lived, Some(_)) => {
                let late = tokio::time::timeout(WORD, is_missed()).await;
                let end = lived.map_or_else(|error| format!("{error:#}"), |()| "it came to its end".to_owned());
                late.with_context(|| format!("it was never missed: {end}"))
            }
        },
        never = nudge(lab, &namespace, missing) => never,
    };
    let others: Vec<Right> = of_user().into_iter().filter(|right| Some(right) != missing).collect();
    let outcome = outcome.and_then(|()| {
        ensure!(others.is_empty(), "the chart does not give {others:?}");
        Ok(())
    });
    let outcome = outcome.with_context(|| controller.log_about(lab, ""));
    controller.kill(lab)?;
    let namespaces: Api<Namespace> = Api::all(lab.client());
    namespaces.delete(&namespace, &DeleteParams::default()).await?;
    outcome
}

/// The chart's objects and a shop with routes of both kinds, all in a namespace of its own.
async fn furnish(lab: &Lab, namespace: &str, objects: &[Value], missing: Option<&Right>) -> Result<()> {
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

async fn until(lab: &Lab, namespace: &str, what: &str, probe: impl Fn(&Value) -> bool) -> Result<()> {
    let rollouts = lab.api("palier.dev/v1alpha1", "Rollout", namespace).await?;
    eventually(what, STEP, async || {
        let rollout = rollouts.get(NAME).await?;
        let status = &rollout.data["status"];
        if probe(status) { Ok(()) } else { Err(format!("{} {}", status["state"], status["message"]).into()) }
    })
    .await
}

async fn push(lab: &Lab, namespace: &str, tag: &str) -> Result<()> {
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
