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
    let asked = scene.lab().players().requests_of_image(&scene.namespace, &image("v2-neverready"));
    ensure!(asked == 0, "{asked} requests reached pods that were never ready");
    let report = visitors.stop().await;
    ensure!(report.share_of("v2-neverready") == 0.0 && report.failures().is_empty(), "{report}");
    scene.measured("requests to pods that are not ready", &format!("{asked} of {}", report.total()), "0");
    let stable = ended.components[0].stable.clone().unwrap_or_default();
    capacity_was_kept(&scene, &stable.replica_set, 4, (begun, Timestamp::now()))
}
