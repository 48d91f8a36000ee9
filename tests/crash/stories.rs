//! The stories: what people want of a cluster. Each is told by what happens on the API server, however long that takes in the
//! weather of the day.

use std::pin::Pin;
use std::time::Duration;

use palier::apiserver::{Key, Kind, Store};
use palier::rig::{Late, Rig};

use palier::rig::given::{SHOP, image};

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

/// Long enough for anything but being stuck.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Times a condition must hold for, to be more than a moment.
pub async fn rest(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn field<'s>(store: &'s Store, pointer: &str) -> Option<&'s serde_json::Value> {
    store.get(Kind::Rollout, SHOP, "shop")?.pointer(pointer)
}

/// The run of this number has ended.
fn has_ended(store: &Store, run: i64) -> bool {
    let number = field(store, "/status/run/number").and_then(serde_json::Value::as_i64);
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
    let number = move |store: &Store| {
        field(store, "/status/run/number").and_then(serde_json::Value::as_i64) >= Some(run)
    };
    rig.until(&format!("run {run} has begun"), PATIENCE, number).await
}

async fn reaches(rig: &Rig, workload: &str, share: i64) -> Result<(), Late> {
    rig.until(&format!("{workload} reaches {share} %"), PATIENCE, |store| weight(store, workload) >= share)
        .await
}

fn push(rig: &Rig, workload: &str, tag: &str) {
    rig.push(SHOP, workload, &image(workload, tag)).expect("a Deployment takes another image");
}

/// The version of this tag is bad from now on, wherever it runs.
async fn is_bad(rig: &Rig, workload: &str, tag: &str) -> Result<(), Late> {
    let (workload, wanted) = (workload.to_owned(), image(workload, tag));
    let set = move |store: &Store| {
        let found = store
            .list(Kind::ReplicaSet, Some(SHOP))
            .find(|(_, set)| set["spec"]["template"]["spec"]["containers"][0]["image"] == wanted.as_str());
        found.map(|(key, _)| key.name.clone())
    };
    rig.until(&format!("{workload} has a canary"), PATIENCE, |store| set(store).is_some()).await?;
    if let Some(name) = rig.server.read(&set) {
        rig.prometheus.set_bad(&name, 0.3);
    }
    Ok(())
}

async fn good(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    ended(rig, 1).await
}

async fn bad(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    is_bad(rig, "api", "v2").await?;
    ended(rig, 1).await
}

async fn bad_at_half(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    is_bad(rig, "api", "v2").await?;
    ended(rig, 1).await
}

async fn aborted(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    rig.act(SHOP, "shop", "Abort").expect("an action is taken");
    ended(rig, 1).await
}

async fn superseded(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    push(rig, "api", "v3");
    begun(rig, 2).await?;
    ended(rig, 2).await
}

async fn back_in_git(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    push(rig, "api", "v1");
    ended(rig, 1).await
}

async fn scaled(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 10).await?;
    rig.scale(SHOP, "api", 9).expect("a Deployment takes another size");
    reaches(rig, "api", 50).await?;
    rig.scale(SHOP, "api", 3).expect("a Deployment takes another size");
    ended(rig, 1).await
}

async fn deleted(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    rig.delete("operator", &Key::new(Kind::Rollout, SHOP, "shop")).expect("a Rollout can be deleted");
    rig.until("the Rollout is gone", PATIENCE, |store| store.get(Kind::Rollout, SHOP, "shop").is_none()).await
}

async fn paused(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 10).await?;
    rig.act(SHOP, "shop", "Pause").expect("an action is taken");
    rest(300).await;
    rig.act(SHOP, "shop", "Resume").expect("an action is taken");
    ended(rig, 1).await
}

/// The version before the last one again: an empty ReplicaSet of its template is still there.
async fn former_again(rig: &Rig) -> Result<(), Late> {
    good(rig).await?;
    push(rig, "api", "v1");
    ended(rig, 2).await
}

const CHAIN: [&str; 3] = ["api", "web<api", "worker<web"];

async fn chain_good(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &CHAIN);
    at_rest(rig, &["api", "web", "worker"]).await?;
    for workload in ["api", "web", "worker"] {
        push(rig, workload, "v2");
    }
    ended(rig, 1).await
}

async fn chain_bad(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &CHAIN);
    at_rest(rig, &["api", "web", "worker"]).await?;
    for workload in ["api", "web", "worker"] {
        push(rig, workload, "v2");
    }
    is_bad(rig, "worker", "v2").await?;
    ended(rig, 1).await
}
