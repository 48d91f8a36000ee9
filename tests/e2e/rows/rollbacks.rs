//! Rows 2, 3 and 5: a bad version goes back by itself, and fast.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use jiff::Timestamp;
use palier::api::{Outcome, RolloutState, Stage};
use serde_json::json;

use crate::world::given::image;
use crate::world::phases::{
    IN_A_MOMENT, between, capacity_was_kept, deciding_answer, first_write_to_route, nobody_was_lost,
    p99_within,
};
use crate::world::shop::is_ready;
use crate::world::{Apart, Gate, Given, Scene, Shop};

/// From the deciding answer to the route's write.
const REACTION: Duration = Duration::from_secs(1);
const RATE: u32 = 40;
/// Shops side by side, and runs of each: twenty runs.
const SHOPS: usize = 4;
const RUNS: i64 = 5;

pub async fn row02_errors_go_back_twenty_times(scene: Arc<Scene>) -> Result<()> {
    // Given four shops with visitors
    let names = ["shop-a", "shop-b", "shop-c", "shop-d"];
    let opening = names.iter().take(SHOPS).map(|name| scene.given(judged_by_errors().called(name)));
    let shops = try_join_all(opening).await?;
    let visitors = shops.iter().map(|shop| shop.visitors(RATE)).collect::<Result<Vec<_>>>()?;

    // When an image with 20 % errors comes to each, and is tried again four times after it went back
    let reactions = try_join_all(shops.iter().map(|shop| go_back_again_and_again(&scene, shop))).await?;

    // Then the weight was taken back in time, every time
    p99_within(&scene, "failing answer → weight 0", &reactions.concat(), REACTION)?;
    for load in visitors {
        nobody_was_lost(&scene, &load.stop().await)?;
    }
    Ok(())
}

async fn go_back_again_and_again(scene: &Scene, shop: &Shop) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    let begun = Timestamp::now();
    shop.push("v2-err20").await?;
    for run in 1..=RUNS {
        let ended = shop.until_ended(run, Outcome::RolledBack).await?;
        let (answered, status) = deciding_answer(scene, shop, run)?;
        let component = &status.components[0];
        ensure!(component.earned.is_empty(), "run {run} went back after {:?} was earned", component.earned);
        let write = first_write_to_route(scene, &shop.name, answered)?;
        took.push(between(answered, write.done));
        ensure!(ended.state == RolloutState::RolledBack, "{:?} after run {run}", ended.state);
        if run < RUNS {
            shop.palier("retry", &["--reason", "once more"]).await?;
        }
    }
    let stable = shop.status()?.components[0].stable.clone().unwrap_or_default();
    capacity_was_kept(scene, &stable.replica_set, 4, (begun, Timestamp::now()))?;
    Ok(took)
}

fn judged_by_errors() -> Given {
    Given::shop("v1").baking("20s").judged_by(Gate::errors())
}

pub async fn row02_rejected_template_waits(scene: Arc<Scene>) -> Result<()> {
    // Given an image with 20 % errors that went back
    let shop = scene.given(judged_by_errors()).await?;
    let visitors = shop.visitors(RATE)?;
    goes_back_at_ten(&scene, &shop, "v2-err20").await?;

    // When somebody says `palier retry`, then it is tried again, and goes back again
    shop.palier("retry", &["--reason", "perhaps it was the weather"]).await?;
    shop.until_baking(2, 10).await?;
    shop.until_ended(2, Outcome::RolledBack).await?;
    ensure!(
        shop.deployment().await?.spec.and_then(|spec| spec.paused) == Some(true),
        "not paused after the retry"
    );

    // When the old image is put back, then that is over: all is as found
    shop.push("v1").await?;
    shop.until("it is at rest on the old version", IN_A_MOMENT, |status| {
        is_ready(status) && status.components[0].rejected.is_none()
    })
    .await?;
    shop.serves(shop.workload(), "v1").await?;
    shop.until_as(&shop.found[0], Apart::FromTheLabel).await?;
    nobody_was_lost(&scene, &visitors.stop().await)
}

/// A bad image is pushed and goes back while it has 10 %; the Deployment waits, paused, and all else is as found.
async fn goes_back_at_ten(scene: &Scene, shop: &Shop, tag: &str) -> Result<()> {
    let begun = shop.push(tag).await?;
    let ended = shop.until_ended(1, Outcome::RolledBack).await?;
    let (answered, status) = deciding_answer(scene, shop, 1)?;
    ensure!(status.components[0].earned.is_empty(), "it earned {:?}", status.components[0].earned);
    let write = first_write_to_route(scene, &shop.name, answered)?;
    let took = between(answered, write.done);
    scene.measured("failing answer → weight 0", &format!("{} ms", took.as_millis()), "≤ 1000 ms");
    ensure!(took <= REACTION, "the weight was taken back {took:?} after the deciding answer");
    let component = &ended.components[0];
    ensure!(component.stage == Stage::RolledBack && component.rejected.is_some(), "{component:?}");
    let stable = component.stable.clone().unwrap_or_default();
    capacity_was_kept(scene, &stable.replica_set, 4, (begun, Timestamp::now()))?;
    let deployment = shop.deployment().await?.spec.unwrap_or_default();
    ensure!(deployment.paused == Some(true), "the Deployment is not paused on the rejected template");
    shop.until_as(&shop.found[0].clone().with_image(&image(tag)), Apart::FromTheLabelAndThePause).await
}

pub async fn row03_slow_goes_back(scene: Arc<Scene>) -> Result<()> {
    let shop = scene.given(Given::shop("v1").baking("20s").judged_by(Gate::p95())).await?;
    let visitors = shop.visitors(RATE)?;
    goes_back_at_ten(&scene, &shop, "v2-slow400").await?;
    nobody_was_lost(&scene, &visitors.stop().await)
}

pub async fn row05_never_ready_goes_back(scene: Arc<Scene>) -> Result<()> {
    // Given a shop whose new versions have eight seconds to start
    let given = Given::shop("v1").baking("5s").field("progressDeadline", json!("8s"));
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;

    // When the pods of an image never become ready
    let begun = shop.push("v2-neverready").await?;
    let ended = shop.until_ended(1, Outcome::RolledBack).await?;

    // Then it goes back for that reason, and no request has ever reached them
    let run = ended.run.unwrap_or_else(|| unreachable!("it has just ended"));
    let why = run.timeline.iter().any(|entry| entry.reason == "ProgressDeadlineExceeded");
    ensure!(why, "it went back for another reason: {}", run.reason);
    let says = "1 of 1 canary pods: container app runs and is not ready";
    ensure!(run.reason.ends_with(says), "what its pods do is not told: {}", run.reason);
    let asked = scene.lab().players().requests_of_image(&scene.namespace, &image("v2-neverready"));
    ensure!(asked == 0, "{asked} requests reached pods that were never ready");
    let report = visitors.stop().await;
    ensure!(report.share_of("v2-neverready") == 0.0 && report.failures().is_empty(), "{report}");
    scene.measured("requests to pods that are not ready", &format!("{asked} of {}", report.total()), "0");
    let stable = ended.components[0].stable.clone().unwrap_or_default();
    capacity_was_kept(&scene, &stable.replica_set, 4, (begun, Timestamp::now()))
}

pub async fn row05_killed_for_its_memory_goes_back(scene: Arc<Scene>) -> Result<()> {
    // Given a shop without a single gate of its own
    let shop = scene.given(Given::shop("v1").baking("60s")).await?;
    let visitors = shop.visitors(RATE)?;

    // When the container of a version is killed for its memory two seconds after each start
    let begun = shop.push("v2-oom2").await?;
    let ended = shop.until_ended(1, Outcome::RolledBack).await?;

    // Then it goes back for that reason, in words, long before the progress deadline
    let why = ended.run.map(|run| run.reason).unwrap_or_default();
    ensure!(why.starts_with("gate health failed: 1 of 1 canary pods: container app restarted "), "{why}");
    ensure!(why.ends_with(" times, last OOMKilled (exit 137)"), "{why}");
    let record = shop.record_of(1).await?.status.unwrap_or_default();
    let gate = record.components[0].gates.iter().find(|gate| gate.name == "health").cloned();
    ensure!(gate.as_ref().is_some_and(|gate| gate.tripped), "the record does not tell it: {record:?}");
    let explained = shop.palier("explain", &[]).await?;
    ensure!(explained.contains("OOMKilled"), "{explained}");

    // And its pods were listed at most once in ten seconds
    let lists = lists_of_pods(&scene)?;
    let at_most = between(begun, Timestamp::now()).as_secs() / 10 + 2;
    scene.measured("lists of pods while they are not ready", &lists.to_string(), &format!("≤ {at_most}"));
    ensure!(lists > 0 && u64::try_from(lists)? <= at_most, "{lists} lists of pods, at most {at_most}");
    let report = visitors.stop().await;
    ensure!(report.failures().is_empty(), "{report}");
    shop.answers_from("v1").await
}

/// Lists of pods that the controllers have asked for in the scene's namespace.
pub fn lists_of_pods(scene: &Scene) -> Result<usize> {
    let is_list = |entry: &crate::lab::audit::Entry| entry.verb == "list" && entry.resource == "pods";
    Ok(scene.requests_of_palier()?.only(is_list).0.len())
}

pub async fn row05_image_that_cannot_be_had_goes_back(scene: Arc<Scene>) -> Result<()> {
    // Given a shop whose new versions have forty seconds to start
    let given = Given::shop("v1").baking("5s").field("progressDeadline", json!("40s"));
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;

    // When the image of a version cannot be pulled
    let begun = shop.push("v2-nopull").await?;
    let ended = shop.until_ended(1, Outcome::RolledBack).await?;

    // Then it goes back for that reason, before the deadline
    let run = ended.run.unwrap_or_else(|| unreachable!("it has just ended"));
    let why = "gate health failed: 1 of 1 canary pods: container app cannot be started: ImagePullBackOff (no such image)";
    ensure!(run.reason == why, "{}", run.reason);
    let told = run.timeline.iter().find(|entry| entry.reason == "RollbackStarted");
    let took = told.map(|entry| between(begun, entry.at)).unwrap_or_default();
    scene.measured("image that cannot be pulled → rollback", &format!("{} s", took.as_secs()), "< 40 s");
    ensure!(took < Duration::from_secs(40), "it took {took:?}");
    let report = visitors.stop().await;
    ensure!(report.share_of("v2-nopull") == 0.0 && report.failures().is_empty(), "{report}");
    Ok(())
}
