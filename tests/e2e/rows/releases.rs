//! Row 1: a good version reaches everyone, and nobody notices but by the version.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use palier::api::{Outcome, RolloutStatus};

use crate::world::given::image;
use crate::world::phases::{nobody_noticed, pods_are_the_first_ones, share_is, stretch};
use crate::world::shop::is_ready;
use crate::world::{Apart, Gate, Given, Scene, Shop, conserve, phases};

/// Requests per second: enough for 2 000 in each phase.
const RATE: u32 = 150;
const PODS: u32 = 5;
const AT_LEAST: usize = 2_000;
const HISTORY: &str = "deployment.kubernetes.io/revision";

pub async fn row01_good_image_reaches_everyone(scene: Arc<Scene>) -> Result<()> {
    // Given a shop that two gates judge, with visitors
    let given =
        Given::shop("v1").replicas(PODS).baking("15s").judged_by(Gate::errors()).judged_by(Gate::p95());
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;
    let before = revision(&shop).await?;

    // When a good image is pushed
    let pushed = shop.push("v2").await?;
    shop.until_ended(1, Outcome::Completed).await?;
    shop.until("it is at rest", phases::IN_A_MOMENT, is_ready).await?;

    // Then each phase gave it its share, and no request failed from start to end
    let report = visitors.stop().await;
    share_is(&scene, &shop, &report, "v2", (10, AT_LEAST))?;
    share_is(&scene, &shop, &report, "v2", (50, AT_LEAST))?;
    share_is(&scene, &shop, &report, "v2", (100, AT_LEAST))?;
    nobody_noticed(&scene, &report)?;
    // and its pods are those that were the canary's, in one new revision of the Deployment
    pods_are_the_first_ones(&scene, "v2", usize::try_from(PODS)?)?;
    ensure!(revision(&shop).await? == before + 1, "not one new revision");
    // and the former version had all its pods until it had served its last request
    let (everyone, _) = stretch(&scene, &shop, 1, 100)?;
    let late = report.between(everyone, Timestamp::MAX);
    let behind = late.requests.iter().filter(|one| one.version.as_deref() == Some("v1")).count();
    scene.measured("requests to v1 from 100 % on", &format!("{behind} of {}", late.total()), "0");
    ensure!(
        behind == 0,
        "{behind} requests came to v1 after 100 % was in force, the last at {:?}",
        report.last_of("v1")
    );
    let released = first_status(&scene, &shop)?;
    let stable = released.components[0].stable.clone().context("no stable revision")?.replica_set;
    phases::capacity_was_kept(&scene, &stable, i32::try_from(PODS)?, (pushed, everyone))?;
    // and nothing else is different from what was found
    shop.until_as(&shop.found[0].clone().with_image(&image("v2")), Apart::FromTheLabel).await?;
    // and while all were well nobody asked for a pod
    let lists = super::rollbacks::lists_of_pods(&scene)?;
    ensure!(lists == 0, "{lists} lists of pods in a healthy release");
    conserve::only_our_fields(scene.lab(), &scene.namespace, &shop.name).await
}

/// The first status of the run.
fn first_status(scene: &Scene, shop: &Shop) -> Result<RolloutStatus> {
    let seen = scene.record.rollouts.of(&shop.name);
    let mut statuses = seen.iter().filter_map(|sight| sight.object.status.as_ref());
    statuses.find(|status| status.run.is_some()).cloned().context("there was no run")
}

/// The Deployment's count of revisions.
async fn revision(shop: &Shop) -> Result<u32> {
    let annotations = shop.deployment().await?.metadata.annotations.unwrap_or_default();
    Ok(annotations.get(HISTORY).context("the Deployment has no revision")?.parse()?)
}
