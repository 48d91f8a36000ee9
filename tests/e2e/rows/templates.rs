//! Row 6: another template comes while a run is on.

use std::sync::Arc;

use anyhow::{Result, ensure};
use palier::api::Outcome;

use crate::world::given::image;
use crate::world::phases::{IN_A_MOMENT, nobody_noticed, pods_are_the_first_ones};
use crate::world::shop::is_ready;
use crate::world::{Apart, Given, Scene};

const RATE: u32 = 50;

pub async fn row06_third_image_at_half(scene: Arc<Scene>) -> Result<()> {
    // Given a run that bakes at 50 %
    let shop = scene.given(Given::shop("v1").baking("4s")).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 50).await?;

    // When a third image is pushed
    shop.push("v3").await?;

    // Then the run ends for it, and the third image reaches everyone
    shop.until("the run is superseded", IN_A_MOMENT, |status| {
        status.run.as_ref().is_some_and(|run| run.number > 1 || run.outcome == Some(Outcome::Superseded))
    })
    .await?;
    shop.until_ended(2, Outcome::Completed).await?;
    let report = visitors.stop().await;
    nobody_noticed(&scene, &report)?;
    pods_are_the_first_ones(&scene, "v3", 4)?;
    let last_v2 = report.last_of("v2");
    let first_v3 = report.requests.iter().find(|one| one.version.as_deref() == Some("v3")).map(|one| one.at);
    ensure!(last_v2 < first_v3, "v2 still served at {last_v2:?}, after v3 had come at {first_v3:?}");
    shop.until_as(&shop.found[0].clone().with_image(&image("v3")), Apart::FromTheLabel).await
}

pub async fn row06_old_image_at_half(scene: Arc<Scene>) -> Result<()> {
    // Given a run that bakes at 50 %
    let shop = scene.given(Given::shop("v1").baking("6s")).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 50).await?;

    // When the old image is put back
    shop.push("v1").await?;

    // Then the run is withdrawn, and all is as found, by the very pods that served before
    shop.until_ended(1, Outcome::Withdrawn).await?;
    shop.until("it is at rest", IN_A_MOMENT, is_ready).await?;
    shop.until_as(&shop.found[0], Apart::FromTheLabel).await?;
    nobody_noticed(&scene, &visitors.stop().await)?;
    pods_are_the_first_ones(&scene, "v1", 4)
}
