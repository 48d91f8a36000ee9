//! Row 10: somebody applies the Deployment and the route from Git every second, weights and all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use kube::api::DynamicObject;
use palier::api::Outcome;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::lab::audit::Entries;
use crate::world::given::{Workload, image};
use crate::world::phases::{IN_A_MOMENT, nobody_was_lost, pods_are_the_first_ones};
use crate::world::shop::{SOON, is_ready};
use crate::world::{Apart, Gate, Given, Scene, Shop};

const RATE: u32 = 50;
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const EVERY: Duration = Duration::from_secs(1);
/// How long two write the same route.
const QUARREL: Duration = Duration::from_secs(32);
/// Palier puts a route right at most this often.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// A status and a route come by two watches, of which one may be later.
const SKEW: Duration = Duration::from_secs(1);

/// How the objects in Git come to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Server-side apply that wins conflicts, under a field manager of its own.
    Server,
    /// `kubectl apply`, which compares with what it applied last.
    Client,
}

/// Applies a workload's Deployment and route.
async fn apply(scene: &Arc<Scene>, way: Way, git: &Workload) -> Result<()> {
    let [deployment, _, route] = git.manifests(&scene.namespace);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [deployment, route]});
    match way {
        Way::Server => {
            let text = format!("{deployment}\n---\n{route}\n");
            scene.lab().apply_as("git", &text).await.map(drop)
        }
        Way::Client => {
            let path = scene.lab().dir().join(format!("git-{}.json", scene.namespace));
            std::fs::write(&path, list.to_string())?;
            let scene = scene.clone();
            let kubectl = move || scene.lab().kubectl(&["apply", "-f", &path.to_string_lossy()]);
            tokio::task::spawn_blocking(kubectl).await?.map(drop)
        }
    }
}

/// Applies again and again, until it is ended. Gives how often it did.
fn apply_every_second(
    scene: &Arc<Scene>,
    way: Way,
    git: Workload,
) -> (JoinHandle<Result<usize>>, Arc<tokio::sync::Notify>) {
    let (scene, end) = (scene.clone(), Arc::new(tokio::sync::Notify::new()));
    let ended = end.clone();
    let task = tokio::spawn(async move {
        for count in 0.. {
            // Two who write the same object may get a conflict: the next time it is applied.
            if let Err(error) = apply(&scene, way, &git).await {
                println!("{}: not applied: {error:#}", scene.name);
            }
            tokio::select! {
                () = ended.notified() => return Ok(count + 1),
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        Ok(0)
    });
    (task, end)
}

pub async fn row10_applied_by_the_server(scene: Arc<Scene>) -> Result<()> {
    applied_every_second(scene, Way::Server).await
}

pub async fn row10_applied_by_the_client(scene: Arc<Scene>) -> Result<()> {
    applied_every_second(scene, Way::Client).await
}

async fn applied_every_second(scene: Arc<Scene>, way: Way) -> Result<()> {
    // Given a shop that is kept as it is in Git
    let given =
        Given::shop("v1").baking("6s").judged_by(Gate::errors()).field("progressDeadline", json!("10m"));
    let shop = scene.given(given).await?;
    let mut git = shop.workload().clone();
    apply(&scene, way, &git).await?;
    let found = shop.look().await?.remove(0);
    let visitors = shop.visitors(RATE)?;

    // When a new image comes to Git, and what is there is applied every second
    let from = Timestamp::now();
    "v2".clone_into(&mut git.tag);
    let (applying, end) = apply_every_second(&scene, way, git);
    shop.until("the run has begun", SOON, |status| status.run.is_some()).await?;
    tokio::time::sleep(QUARREL).await;
    let to = Timestamp::now();
    end.notify_one();
    let times = applying.await??;

    // Then the run went on, and said who stands in its way
    let status = shop.status()?;
    let run = status.run.context("there is no run")?;
    ensure!(run.ended_at.is_none(), "run 1 has ended already: {:?} {}", run.outcome, run.reason);
    let said = run.timeline.iter().any(|entry| entry.reason == "ForeignChange");
    ensure!(said, "nobody was told that somebody else writes the route: {:?}", run.timeline);
    no_quarrel(&scene, &shop, (from, to), times)?;

    // and reaches everyone when nobody stands there any more
    shop.until_ended(1, Outcome::Completed).await?;
    shop.until("it is at rest", IN_A_MOMENT, is_ready).await?;
    shop.serves(shop.workload(), "v2").await?;
    nobody_was_lost(&scene, &visitors.stop().await)?;
    pods_are_the_first_ones(&scene, "v2", 4)?;
    weights_were_earned(&scene, &shop)?;
    let mut wanted = found.with_image(&image("v2"));
    if way == Way::Client {
        // What kubectl keeps of what it applied is its own.
        let now = shop.look().await?.remove(0);
        wanted.deployment["metadata"]["annotations"][LAST_APPLIED] =
            now.deployment["metadata"]["annotations"][LAST_APPLIED].clone();
    }
    shop.until_as(&wanted, Apart::FromTheLabelAndThePause).await
}

/// Palier wrote the Deployment hardly at all and the route seldom, and the Deployment stayed paused.
fn no_quarrel(scene: &Scene, shop: &Shop, (from, to): (Timestamp, Timestamp), times: usize) -> Result<()> {
    let writes = scene.requests_of_palier()?.mutations().between(from, to);
    let of = |resource: &str| writes.only(|entry| entry.resource == resource && entry.code < 300);
    let deployment = of("deployments").0.len();
    scene.measured(
        "Palier's writes on the Deployment",
        &format!("{deployment} while it was applied {times} times"),
        "≤ 2",
    );
    ensure!(
        deployment <= 2,
        "Palier wrote the Deployment {deployment} times while it was applied {times} times"
    );
    seldom(scene, &of("httproutes"))?;
    for sight in scene.record.deployments.of(&shop.name) {
        let is_paused = sight.object.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
        ensure!(
            is_paused || sight.at < from || sight.at > to,
            "the Deployment was not paused at {}",
            sight.at
        );
    }
    Ok(())
}

fn seldom(scene: &Scene, writes: &Entries) -> Result<()> {
    let times: Vec<Timestamp> = writes.0.iter().map(|entry| entry.done).collect();
    let gaps = times.windows(2).map(|pair| crate::world::phases::between(pair[0], pair[1]));
    let least = gaps.min().unwrap_or(Duration::MAX);
    let seconds = QUARREL.as_secs();
    scene.measured("Palier's writes on the route", &format!("{} in {seconds} s", times.len()), "one in 10 s");
    ensure!(times.len() >= 2, "the route was put right {} times only", times.len());
    ensure!(least >= AT_MOST_EVERY - SKEW, "two writes on the route within {least:?}: {times:?}");
    Ok(())
}

/// At no time did the route give the canary more than the status had asked for before.
fn weights_were_earned(scene: &Scene, shop: &Shop) -> Result<()> {
    let statuses = scene.record.rollouts.of(&shop.name);
    for sight in scene.record.routes.of(&shop.name) {
        let share = canary_share(&sight.object);
        let known = statuses.iter().filter(|status| status.at <= sight.at + SKEW);
        let targets = known.filter_map(|known| {
            known.object.status.as_ref()?.components.first().map(|one| one.target_weight)
        });
        let asked = targets.max().unwrap_or_default();
        ensure!(
            share <= i64::from(asked),
            "the canary had {share} % at {} and had earned {asked} %",
            sight.at
        );
    }
    Ok(())
}

/// The canary's share of the first rule, in per cent.
fn canary_share(route: &DynamicObject) -> i64 {
    let backends = route.data.pointer("/spec/rules/0/backendRefs").and_then(Value::as_array);
    let (mut canary, mut all) = (0, 0);
    for backend in backends.into_iter().flatten() {
        let weight = backend["weight"].as_i64().unwrap_or(1);
        all += weight;
        if backend["name"].as_str().is_some_and(|name| name.ends_with("-canary")) {
            canary += weight;
        }
    }
    if all == 0 { 0 } else { 100 * canary / all }
}
