//! The stories: what people want of a cluster. Each is told by what happens on the API server, however long that takes in the
//! weather of the day.

mod backward;
mod configured;
mod forms;
mod hooked;
mod releases;
mod switched;

use std::pin::Pin;
use std::time::Duration;

use palier::apiserver::{Kind, Store};
use palier::rig::{Late, Rig};

use palier::rig::given::{SHOP, image};
use serde_json::Value;

use backward::{partial_in_chain, stepped_back, stepped_back_and_out};
pub use configured::SECRET;
use configured::{config_bad, config_good};
use forms::{by_pods_bad, by_pods_good, paused_at_rest_bad, paused_at_rest_good};
use hooked::{backup_and_restore, backup_fails, restore_fails_at_first};
use releases::{
    aborted, back_in_git, bad, bad_at_half, chain_bad, chain_good, deleted, former_again, good, paused,
    scaled, superseded,
};
use switched::{degraded_and_recovered, degraded_for_good};

/// A story on its way.
pub type Telling<'r> = Pin<Box<dyn Future<Output = Result<(), Late>> + 'r>>;

/// A story.
#[derive(Clone, Copy)]
pub struct Story {
    pub name: &'static str,
    pub tell: for<'r> fn(&'r Rig) -> Telling<'r>,
}

/// Calls a macro with the names of all stories.
macro_rules! with_stories {
    ($callback:ident) => {
        $callback![
            good,
            bad,
            bad_at_half,
            aborted,
            superseded,
            back_in_git,
            scaled,
            deleted,
            paused,
            former_again,
            chain_good,
            chain_bad,
            partial_in_chain,
            stepped_back,
            stepped_back_and_out,
            backup_and_restore,
            backup_fails,
            restore_fails_at_first,
            degraded_and_recovered,
            degraded_for_good,
            config_good,
            config_bad,
            by_pods_good,
            by_pods_bad,
            paused_at_rest_good,
            paused_at_rest_bad,
        ];
    };
}
pub(crate) use with_stories;

macro_rules! list {
    ($($name:ident),* $(,)?) => {
        /// All of them.
        pub const STORIES: &[Story] = &[$(Story { name: stringify!($name), tell: |rig| Box::pin($name(rig)) }),*];
    };
}

with_stories!(list);

/// Three components, each of which needs the one before.
const CHAIN: [&str; 3] = ["api", "web<api", "worker<web"];

/// Long enough for anything but being stuck.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Times a condition must hold for, to be more than a moment.
pub async fn rest(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn field<'s>(store: &'s Store, pointer: &str) -> Option<&'s Value> {
    store.get(Kind::Rollout, SHOP, "shop")?.pointer(pointer)
}

/// The run of this number has ended.
fn has_ended(store: &Store, run: i64) -> bool {
    let number = field(store, "/status/run/number").and_then(Value::as_i64);
    number > Some(run)
        || (number == Some(run) && field(store, "/status/run/endedAt").is_some_and(|it| it.is_string()))
}

fn weight(store: &Store, workload: &str) -> i64 {
    let Some(route) = store.get(Kind::HttpRoute, SHOP, workload) else { return -1 };
    let canary = format!("{workload}-canary");
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().cloned().unwrap_or_default();
    let found = backends.iter().find(|backend| backend["name"] == canary.as_str());
    found.map_or(0, |backend| backend["weight"].as_i64().unwrap_or(1))
}

fn furnish(rig: &Rig, parts: &[&str]) {
    rig.furnish(parts).expect("the cluster takes it");
}

/// The same with other objects before the Rollout, and a change of its spec.
fn furnish_as(rig: &Rig, parts: &[&str], others: &[Value], change: impl FnOnce(&mut Value)) {
    let made = rig.furnish_as(parts, |objects| {
        let mut rollout = objects.pop().expect("the Rollout is the last");
        change(&mut rollout["spec"]);
        objects.extend(others.iter().cloned());
        objects.push(rollout);
    });
    made.expect("the cluster takes it");
}

pub async fn at_rest(rig: &Rig, workloads: &[&str]) -> Result<(), Late> {
    let labelled = |store: &Store| {
        workloads.iter().all(|name| {
            let deployment = store.get(Kind::Deployment, SHOP, name);
            deployment.is_some_and(|it| {
                it["metadata"]["labels"]["palier.dev/rollout"] == "shop"
                    && it["status"]["readyReplicas"] == it["spec"]["replicas"]
            })
        })
    };
    rig.until("the workloads are taken hold of", PATIENCE, labelled).await?;
    // Until the first revision is known as stable.
    let known = |store: &Store| {
        let components =
            field(store, "/status/components").and_then(|it| it.as_array()).cloned().unwrap_or_default();
        components.len() == workloads.len() && components.iter().all(|it| it["stable"].is_object())
    };
    rig.until("stable is known", PATIENCE, known).await
}

async fn ended(rig: &Rig, run: i64) -> Result<(), Late> {
    rig.until(&format!("run {run} has ended"), PATIENCE, |store| has_ended(store, run)).await
}

async fn begun(rig: &Rig, run: i64) -> Result<(), Late> {
    let number = move |store: &Store| field(store, "/status/run/number").and_then(Value::as_i64) >= Some(run);
    rig.until(&format!("run {run} has begun"), PATIENCE, number).await
}

async fn reaches(rig: &Rig, workload: &str, share: i64) -> Result<(), Late> {
    rig.until(&format!("{workload} reaches {share} %"), PATIENCE, |store| weight(store, workload) >= share)
        .await
}

fn push(rig: &Rig, workload: &str, tag: &str) {
    rig.push(SHOP, workload, &image(workload, tag)).expect("a Deployment takes another image");
}

/// The ReplicaSet of the version of this tag, once there is one.
async fn set_of(rig: &Rig, workload: &str, tag: &str) -> Result<String, Late> {
    let (workload, wanted) = (workload.to_owned(), image(workload, tag));
    let set = move |store: &Store| {
        let found = store
            .list(Kind::ReplicaSet, Some(SHOP))
            .find(|(_, set)| set["spec"]["template"]["spec"]["containers"][0]["image"] == wanted.as_str());
        found.map(|(key, _)| key.name.clone())
    };
    rig.until(&format!("{workload} has a canary"), PATIENCE, |store| set(store).is_some()).await?;
    Ok(rig.server.read(&set).unwrap_or_default())
}

/// The version of this tag is bad from now on, wherever it runs.
async fn is_bad(rig: &Rig, workload: &str, tag: &str) -> Result<(), Late> {
    rig.prometheus.set_bad(&set_of(rig, workload, tag).await?, 0.3);
    Ok(())
}

/// It is good again.
async fn is_good(rig: &Rig, workload: &str, tag: &str) -> Result<(), Late> {
    rig.prometheus.set_bad(&set_of(rig, workload, tag).await?, 0.0);
    Ok(())
}
