//! Ways back of a release of several parts: everything at once, whatever becomes of the controller, and step by step.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use palier::api::{Outcome, RolloutStatus, RunIntent};
use serde_json::json;

use super::parts::{CHAIN, LINKS, answer_that_took_back, domains, visitors_of_all};
use crate::world::given::image;
use crate::world::killing::kill_at_each_write;
use crate::world::phases::{
    IN_A_MOMENT, between, deciding_answer, nobody_was_lost, pods_of_are_the_first_ones,
};
use crate::world::shop::is_baking;
use crate::world::trail::Deed;
use crate::world::{Apart, Gate, Given, Scene, Shop, Trail};

/// From the deciding answer to the last route's write, of a chain of four.
const ALL_BACK: Duration = Duration::from_secs(2);
/// Ways back of a chain that are measured.
const RUNS: i64 = 2;

/// A chain whose components reach everyone fast, and a gate for all.
pub fn a_fast_chain() -> Given {
    let fast = [("pilot", 10, "2s"), ("everyone", 100, "2s")];
    // The last one is bad: it is found out long before it has baked.
    let slow = json!([{"name": "pilot", "bakeTime": "30s"}]);
    domains().phases(&fast).component("clients", "phases", slow).judged_by(Gate::errors())
}

/// A version of which the last domain is bad comes to all.
pub async fn push_a_bad_end(shop: &Shop) -> Result<()> {
    for one in &shop.given.workloads {
        shop.push_to(one, if one.name == "clients" { "v2-err33" } else { "v2" }).await?;
    }
    Ok(())
}

/// Waits until the first three have all of the traffic and the last has its tenth.
pub async fn until_the_last_begins(shop: &Shop, run: i64) -> Result<RolloutStatus> {
    let is_there = |status: &RolloutStatus| {
        let weights: Vec<i32> = status.components.iter().map(|one| one.weight).collect();
        let is_run = status.run.as_ref().is_some_and(|present| present.number == run);
        is_run
            && weights == [100, 100, 100, 10]
            && status.components.last().is_some_and(|one| is_baking(one, 10))
    };
    shop.until("three have 100 % and one 10 %", CHAIN, is_there).await
}

/// Waits until the run has turned back.
pub async fn until_it_goes_back(shop: &Shop, run: i64) -> Result<RolloutStatus> {
    let goes_back = |status: &RolloutStatus| {
        status.run.as_ref().is_some_and(|one| one.number == run && one.intent == RunIntent::RollBack)
    };
    shop.until("it goes back", IN_A_MOMENT, goes_back).await
}

pub async fn parts3_all_go_back_the_last_first(scene: Arc<Scene>) -> Result<()> {
    // Given four domains that one gate judges for all
    let shop = scene.given(a_fast_chain()).await?;
    let loads = visitors_of_all(&shop)?;

    // When a version comes to all of which the last is bad, and is tried again
    push_a_bad_end(&shop).await?;
    for run in 1..=RUNS {
        until_the_last_begins(&shop, run).await?;
        shop.until_ended_within(run, Outcome::RolledBack, CHAIN).await?;
        // Then all are back in time, those that depend on others before them.
        all_went_back(&scene, &shop, run)?;
        if run < RUNS {
            shop.palier("retry", &["--reason", "once more"]).await?;
        }
    }
    for load in loads {
        nobody_was_lost(&scene, &load.stop().await)?;
    }
    stable_is_untouched(&scene, &shop).await
}

/// By the audit log: every route's weight is taken back within the limit, the dependents' before that of what they depend on.
pub fn all_went_back(scene: &Scene, shop: &Shop, run: i64) -> Result<()> {
    let (answered, _) = deciding_answer(scene, shop, run)?;
    let trail = Trail::of(scene)?.since(answered);
    let mut took = Vec::new();
    for workload in &shop.given.workloads {
        let back = trail.first(&workload.name, Deed::Weight(0))?;
        took.push(format!("{} {} ms", workload.name, between(answered, back.done).as_millis()));
        let late = between(answered, back.done);
        ensure!(late <= ALL_BACK, "{} was taken back {late:?} after the deciding answer", workload.name);
    }
    scene.measured(&format!("run {run}: failing answer → weight 0"), &took.join(", "), "≤ 2000 ms");
    for (name, on) in LINKS {
        let (first, then) = (trail.first(name, Deed::Weight(0))?, trail.first(on, Deed::Weight(0))?);
        ensure!(first.done <= then.at, "{on} went back at {}, {name} only at {}", then.at, first.done);
    }
    Ok(())
}

/// No pod of the stable versions was touched; Deployments wait, paused, on what was rejected; all else is as found.
pub async fn stable_is_untouched(scene: &Scene, shop: &Shop) -> Result<()> {
    for workload in &shop.given.workloads {
        let (name, size) = (&workload.name, usize::try_from(workload.replicas)?);
        pods_of_are_the_first_ones(scene, name, "v1", size)?;
        let paused = shop.deployment_of(workload).await?.spec.and_then(|spec| spec.paused);
        ensure!(paused == Some(true), "{name} is not paused on its rejected template");
        shop.workload_answers_from(workload, "v1").await?;
    }
    for (found, now) in shop.found.iter().zip(shop.look().await?) {
        let is_last = found.deployment["metadata"]["name"] == "clients";
        let wanted = found.clone().with_image(&image(if is_last { "v2-err33" } else { "v2" }));
        wanted.is_kept(&now, Apart::FromTheLabelAndThePause)?;
    }
    Ok(())
}

pub async fn parts3_killed_at_each_write_of_the_way_back(scene: Arc<Scene>) -> Result<()> {
    // Given the same chain, and three that have 100 % beside a bad one that has 10 %
    let shop = scene.given(a_fast_chain()).await?;
    let loads = visitors_of_all(&shop)?;
    push_a_bad_end(&shop).await?;
    until_the_last_begins(&shop, 1).await?;
    until_it_goes_back(&shop, 1).await?;

    // When the controller is killed on the heels of each write of the way back
    let controller = scene.controllers.first().context("there is no controller")?;
    let killed_at = kill_at_each_write(&scene, &shop, controller, &scene.user).await?;
    scene.measured("kills on the way back", &killed_at.len().to_string(), "one at each write");
    ensure!(killed_at.len() >= 10, "only {} kills", killed_at.len());

    // Then everything is back all the same: no canary got traffic again, nobody was lost, one record holds the run.
    shop.until_ended_within(1, Outcome::RolledBack, CHAIN).await?;
    let trail = Trail::of(&scene)?;
    for workload in &shop.given.workloads {
        let last = if workload.name == "clients" { [10, 0].to_vec() } else { [10, 100, 0].to_vec() };
        let weights = trail.weights(&workload.name);
        ensure!(weights == last, "{}: {weights:?}", workload.name);
    }
    for load in loads {
        nobody_was_lost(&scene, &load.stop().await)?;
    }
    let record = shop.record_of(1).await?.status.context("the record is empty")?;
    ensure!(record.outcome == Some(Outcome::RolledBack), "the record says {:?}", record.outcome);
    stable_is_untouched(&scene, &shop).await
}

pub async fn parts5_two_steps_back_then_out(scene: Arc<Scene>) -> Result<()> {
    // Given two components, of which one steps back when it breaks its gate
    let gate = Gate::errors_per_second().with("onFailure", json!("StepBack"));
    let phases = [("pilot", 10, "3s"), ("half", 50, "9s"), ("everyone", 100, "3s")];
    let given = Given::shop("v1").and("cart", "v1").replicas(3).phases(&phases);
    let shop = scene.given(given.component("cart", "gates", json!([gate.0]))).await?;
    let loads = visitors_of_all(&shop)?;
    let [first, second] = &*shop.given.workloads else { unreachable!("two were asked for") };

    // When it breaks it with half of the traffic each time
    shop.push_to(first, "v2").await?;
    shop.push_to(second, "v2-err33").await?;
    shop.until_ended_within(1, Outcome::PartiallyCompleted, CHAIN).await?;

    // Then it has gone back a step twice, and out the third time; the other one has reached everyone.
    let trail = Trail::of(&scene)?;
    let weights = trail.weights("cart");
    scene.measured("shares of the one that steps back", &format!("{weights:?}"), "10, 50 three times, 0");
    ensure!(weights == [10, 50, 10, 50, 10, 50, 0], "cart: {weights:?}");
    ensure!(trail.weights("shop") == [10, 50, 100, 0], "shop: {:?}", trail.weights("shop"));
    let answered = answer_that_took_back(&scene, &shop, "cart")?;
    ensure!(trail.first("shop", Deed::Adopted)?.at > answered, "shop was adopted before all was decided");
    let record = shop.record_of(1).await?.status.context("the record is empty")?;
    ensure!(record.taken_back == ["cart"], "the record says {:?}", record.taken_back);
    let steps =
        record.timeline.iter().filter(|entry| entry.reason == "SteppedBack" && entry.component == "cart");
    ensure!(steps.count() == 2, "the record tells of other steps: {:#?}", record.timeline);
    for load in loads {
        nobody_was_lost(&scene, &load.stop().await)?;
    }
    pods_of_are_the_first_ones(&scene, "cart", "v1", 3)?;
    shop.serves(first, "v2").await?;
    shop.workload_answers_from(second, "v1").await
}
