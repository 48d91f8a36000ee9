//! Row 9: the controller is killed in each state, and another process of it comes to the same end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use palier::api::{Outcome, RolloutStatus, Stage};

use crate::world::controllers::Controller;
use crate::world::given::image;
use crate::world::phases::{IN_A_MOMENT, nobody_noticed, nobody_was_lost, pods_are_the_first_ones};
use crate::world::shop::{is_baking, is_ready};
use crate::world::{Apart, Gate, Given, Scene, Shop, conserve};

const RATE: u32 = 50;
/// How long nobody is there.
const AWAY: Duration = Duration::from_secs(1);
/// Starting pods and a dead leader's Lease take their time at each kill.
const NEXT: Duration = Duration::from_secs(60);

/// A state in which the controller is killed: its name, and how it shows.
type Moment = (&'static str, fn(&RolloutStatus) -> bool);

/// The one component of the shop.
fn is_at(status: &RolloutStatus, stage: Stage) -> bool {
    status.components.iter().any(|component| component.stage == stage)
}

fn bakes_at(status: &RolloutStatus, traffic: i32) -> bool {
    status.components.iter().any(|component| is_baking(component, traffic))
}

const RELEASE: [Moment; 7] = [
    ("Preparing", |status| is_at(status, Stage::Preparing)),
    ("Raising to 10 %", |status| is_at(status, Stage::Raising)),
    ("Baking at 10 %", |status| bakes_at(status, 10)),
    ("Baking at 50 %", |status| bakes_at(status, 50)),
    ("Raising to 100 %", |status| {
        is_at(status, Stage::Raising) && status.components.iter().any(|one| one.target_weight == 100)
    }),
    ("Baking at 100 %", |status| bakes_at(status, 100)),
    ("Adopting", |status| is_at(status, Stage::Adopting)),
];

const ROLLBACK: [Moment; 3] = [
    ("Baking at 10 %", |status| bakes_at(status, 10)),
    ("RollingBack", |status| is_at(status, Stage::RollingBack)),
    ("RolledBack", |status| is_at(status, Stage::RolledBack)),
];

/// Waits for each of these states, in their order, and kills the controller as soon as it shows; starts it again each time.
async fn kill_at_each(scene: &Scene, shop: &Shop, moments: &[Moment]) -> Result<()> {
    let controller: &Controller = scene.controllers.first().context("there is no controller")?;
    for (name, is_now) in moments {
        shop.until(name, NEXT, is_now).await?;
        controller.kill(scene.lab())?;
        let seen = shop.status()?;
        let stage = seen.components.first().map(|one| (one.stage, one.target_weight, one.weight));
        println!("{}: killed at {name}; its last word was {stage:?}", scene.name);
        tokio::time::sleep(AWAY).await;
        controller.start_again(scene.lab()).await?;
    }
    scene.measured("kills of the controller", &moments.len().to_string(), "one in each state");
    Ok(())
}

pub async fn row09_killed_at_each_stage_of_a_release(scene: Arc<Scene>) -> Result<()> {
    // Given a good version whose pods take a while to start
    let given = Given::shop("v1").baking("4s").judged_by(Gate::errors());
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;

    // When the controller is killed in each state of its release
    shop.push("v2-late2").await?;
    kill_at_each(&scene, &shop, &RELEASE).await?;

    // Then it reaches everyone as ever: nobody noticed, by the pods that the canary began with,
    shop.until_ended(1, Outcome::Completed).await?;
    shop.until("it is at rest", IN_A_MOMENT, is_ready).await?;
    shop.serves(shop.workload(), "v2-late2").await?;
    nobody_noticed(&scene, &visitors.stop().await)?;
    pods_are_the_first_ones(&scene, "v2-late2", 4)?;
    // and Deployment, Service and route are as they were found
    let wanted = shop.found[0].clone().with_image(&image("v2-late2"));
    shop.until_as(&wanted, Apart::FromTheLabelAndThePause).await?;
    conserve::only_our_fields(scene.lab(), &scene.namespace, &shop.name).await?;
    one_record(&scene, &shop, 1).await
}

pub async fn row09_killed_at_each_stage_of_a_rollback(scene: Arc<Scene>) -> Result<()> {
    // Given a bad version that gates find out
    let shop = scene.given(Given::shop("v1").baking("30s").judged_by(Gate::errors())).await?;
    let visitors = shop.visitors(RATE)?;

    // When the controller is killed before, while and after it goes back
    shop.push("v2-err20").await?;
    kill_at_each(&scene, &shop, &ROLLBACK).await?;

    // Then it has gone back, and stays there
    shop.until_ended(1, Outcome::RolledBack).await?;
    shop.answers_from("v1").await?;
    nobody_was_lost(&scene, &visitors.stop().await)?;
    pods_are_the_first_ones(&scene, "v1", 4)?;
    let status = shop.status()?;
    ensure!(status.components[0].earned.is_empty(), "it earned {:?}", status.components[0].earned);
    let wanted = shop.found[0].clone().with_image(&image("v2-err20"));
    shop.until_as(&wanted, Apart::FromTheLabelAndThePause).await?;
    one_record(&scene, &shop, 1).await
}

/// However often it was begun again, a run has one record.
async fn one_record(scene: &Scene, shop: &Shop, runs: usize) -> Result<()> {
    let records = scene.lab().api("palier.dev/v1alpha1", "RolloutRun", &scene.namespace).await?;
    let names: Vec<Option<String>> = records
        .list(&kube::api::ListParams::default())
        .await?
        .items
        .into_iter()
        .map(|one| one.metadata.name)
        .collect();
    ensure!(names.len() == runs, "{} has the records {names:?} of {runs} run", shop.name);
    Ok(())
}
