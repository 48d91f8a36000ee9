//! Row 7: the Deployment is scaled while a run is on.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use palier::api::Outcome;

use crate::world::given::image;
use crate::world::phases::{IN_A_MOMENT, available, capacity_was_kept, nobody_noticed};
use crate::world::{Apart, Given, Scene, Shop};

const RATE: u32 = 50;

pub async fn row07_scaled_at_each_phase(scene: Arc<Scene>) -> Result<()> {
    // Given a run of a shop of four pods, with long phases that somebody ends by hand
    let shop = scene.given(Given::shop("v1").replicas(4).baking("10m")).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;

    let mut size = 4;
    for traffic in [10, 50, 100] {
        shop.until_baking(1, traffic).await?;
        // When it is scaled to nine, then to three
        for wanted in [9, 3] {
            follows(&scene, &shop, (size, wanted), traffic).await?;
            size = wanted;
        }
        shop.palier("promote", &["--reason", "seen enough"]).await?;
    }

    // Then the run reaches its end at the last size, and nobody has noticed
    shop.until_ended(1, Outcome::Completed).await?;
    nobody_noticed(&scene, &visitors.stop().await)?;
    shop.until_as(
        &shop.found[0].clone().with_image(&image("v2")).with_replicas(u32::try_from(size)?),
        Apart::FromTheLabel,
    )
    .await
}

/// Scales, waits until both versions have followed, and looks back: neither had too few pods for what it served.
async fn follows(scene: &Scene, shop: &Shop, (from, to): (i32, i32), traffic: i32) -> Result<()> {
    let begun = shop.scale(u32::try_from(to)?).await?;
    let component = shop.status()?.components[0].clone();
    let stable = component.stable.as_ref().context("no stable revision")?.replica_set.clone();
    let canary = component.canary.as_ref().context("no canary")?.replica_set.clone();
    for (set, size) in [(&canary, share(to, traffic)), (&stable, to)] {
        let has = |found: Option<&ReplicaSet>| found.filter(|set| available(set) == size).map(drop);
        let what = format!("{size} pods, scaled to {to} at {traffic} %");
        scene.record.sets.until(&what, set, IN_A_MOMENT, has).await?;
    }
    // Until new pods are there the need is what it was; from the moment of fewer it is the new one.
    let least = from.min(to);
    capacity_was_kept(scene, &stable, least, (begun, Timestamp::now()))?;
    capacity_was_kept(scene, &canary, share(least, traffic), (begun, Timestamp::now()))?;
    let sizes = scene.record.sets.of(&canary);
    let most = sizes.iter().map(|sight| available(&sight.object)).max().unwrap_or_default();
    ensure!(most <= 9, "the canary had {most} pods");
    Ok(())
}

/// The pods that a share of the traffic needs.
fn share(size: i32, traffic: i32) -> i32 {
    ((size * traffic + 99) / 100).max(1)
}
