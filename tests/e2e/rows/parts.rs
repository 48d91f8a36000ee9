//! Releases of several parts: the order of dependencies, and what a failing part takes with it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use palier::api::{Outcome, RolloutStatus, Stage};
use serde_json::json;

use crate::lab::Load;
use crate::world::phases::{
    IN_A_MOMENT, between, nobody_noticed, nobody_was_lost, pods_are_the_first_ones,
    pods_of_are_the_first_ones,
};
use crate::world::shop::is_ready;
use crate::world::trail::Deed;
use crate::world::{Gate, Given, Scene, Shop, Trail};

/// Requests per second to each component.
const RATE: u32 = 50;
/// Pods of each component.
const PODS: u32 = 3;
/// How long a chain may take on a busy machine.
pub const CHAIN: Duration = Duration::from_secs(240);
const BAKE: Duration = Duration::from_secs(4);
const BAKES: &str = "4s";
/// From the deciding answer to the route's write.
const REACTION: Duration = Duration::from_secs(1);
const HISTORY: &str = "deployment.kubernetes.io/revision";

/// Each domain of the chain, with the one that it depends on.
pub const LINKS: [(&str, &str); 3] =
    [("stock", "suppliers"), ("production", "stock"), ("clients", "production")];

/// Four domains, each of which depends on the one before.
pub fn domains() -> Given {
    let four =
        Given::shop("v1").called("suppliers").and("stock", "v1").and("production", "v1").and("clients", "v1");
    LINKS
        .iter()
        .fold(four, |given, (name, on)| given.component(name, "dependsOn", json!([on])))
        .replicas(PODS)
}

/// The four, and one beside them that depends on nobody.
fn domains_and_news() -> Given {
    domains().and("news", "v1").replicas(PODS).baking(BAKES)
}

/// Visitors of every component.
pub fn visitors_of_all(shop: &Shop) -> Result<Vec<Load>> {
    shop.given.workloads.iter().map(|workload| shop.visitors_of(workload, RATE)).collect()
}

/// The Deployment's count of revisions.
async fn revisions(shop: &Shop) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for workload in &shop.given.workloads {
        let annotations = shop.deployment_of(workload).await?.metadata.annotations.unwrap_or_default();
        all.push(annotations.get(HISTORY).context("the Deployment has no revision")?.parse()?);
    }
    Ok(all)
}

pub async fn parts1_a_chain_reaches_everyone(scene: Arc<Scene>) -> Result<()> {
    // Given four domains in a chain and one beside them, each with visitors
    let shop = scene.given(domains_and_news().judged_by(Gate::errors())).await?;
    let loads = visitors_of_all(&shop)?;
    let before = revisions(&shop).await?;

    // When a good version comes to all
    shop.push_to_all("v2").await?;
    shop.until_ended_within(1, Outcome::Completed, CHAIN).await?;
    shop.until("it is at rest", IN_A_MOMENT, is_ready).await?;

    // Then each began when the one that it depends on had baked with everyone, the independent one at once,
    let trail = Trail::of(&scene)?;
    order_was_kept(&scene, &trail)?;
    // each had its shares, and no request failed,
    for (workload, load) in shop.given.workloads.iter().zip(loads) {
        let report = load.stop().await;
        nobody_noticed(&scene, &report)?;
        let weights = trail.weights(&workload.name);
        ensure!(weights == [10, 50, 100, 0], "{} was given {weights:?}", workload.name);
        let mut measured = Vec::new();
        for traffic in [10, 50, 100] {
            let (from, to) = trail.stretch(&workload.name, traffic)?;
            let asked = report.between(from, to);
            let share = asked.share_of("v2");
            measured.push(format!("{share:.1} % of {}", asked.total()));
            ensure!((share - traffic as f64).abs() <= 3.0, "{}: not {traffic} %: {asked}", workload.name);
            ensure!(asked.total() >= 100, "{}: only {asked} at {traffic} %", workload.name);
        }
        scene.measured(
            &format!("shares of {}", workload.name),
            &measured.join(", "),
            "10, 50, 100 %, ±3 points",
        );
    }
    // all became the Deployments' own at the end, with the pods that they had, in one new revision each.
    adopted_after_the_last_bake(&scene, &trail, &["suppliers", "stock", "production", "clients", "news"])?;
    pods_are_the_first_ones(&scene, "v2", 5 * usize::try_from(PODS)?)?;
    let after = revisions(&shop).await?;
    ensure!(before.iter().zip(&after).all(|(b, a)| *a == b + 1), "revisions {before:?} became {after:?}");
    Ok(())
}

/// Nothing of a component was touched before what it depends on had all of the traffic for the time of a bake.
fn order_was_kept(scene: &Scene, trail: &Trail) -> Result<()> {
    for (name, on) in LINKS {
        let begun = trail.component(name).next().with_context(|| format!("{name} never began"))?;
        let everyone = trail.first(on, Deed::Weight(100))?;
        let took = between(everyone.done, begun.at);
        let measured = format!("{:.1} s after {on} had 100 %", took.as_secs_f64());
        scene.measured(&format!("{name} began"), &measured, &format!("≥ {BAKES}"));
        ensure!(took >= BAKE, "{name} began {measured}, at {}", begun.at);
    }
    let (first, beside) = (trail.first("suppliers", Deed::Began)?, trail.first("news", Deed::Began)?);
    let apart = between(first.at.min(beside.at), first.at.max(beside.at));
    ensure!(apart <= Duration::from_secs(2), "the independent one began {apart:?} apart from the first");
    Ok(())
}

/// These, and only these, were adopted, after the last of them had baked with everyone.
fn adopted_after_the_last_bake(scene: &Scene, trail: &Trail, names: &[&str]) -> Result<()> {
    let mut last = Timestamp::MIN;
    for name in names {
        last = last.max(trail.first(name, Deed::Weight(100))?.done);
    }
    let adopted: Vec<_> = trail.0.iter().filter(|step| step.deed == Deed::Adopted).collect();
    let mut of: Vec<&str> = adopted.iter().map(|step| &*step.component).collect();
    let first = adopted.iter().map(|step| step.at).min().context("nobody was adopted")?;
    let took = between(last, first);
    let measured = format!("{:.1} s after the last had 100 %", took.as_secs_f64());
    scene.measured("first adoption", &measured, &format!("≥ {BAKES}"));
    ensure!(took >= BAKE, "adopted {measured}");
    let mut wanted = names.to_vec();
    wanted.sort_unstable();
    of.sort_unstable();
    ensure!(of == wanted, "{of:?} were adopted instead of {wanted:?}");
    Ok(())
}

pub async fn parts2_the_third_fails_at_half(scene: Arc<Scene>) -> Result<()> {
    // Given the same, with a gate of the third that bears a tenth of a bad version's errors, and not half of them; it bakes there
    // for longer than the others
    let given = domains_and_news()
        .component("production", "gates", json!([Gate::errors_per_second().0]))
        .component("production", "phases", json!([{"name": "half", "bakeTime": "9s"}]));
    let shop = scene.given(given).await?;
    let loads = visitors_of_all(&shop)?;
    let workload =
        |name: &str| shop.given.workloads.iter().find(|one| one.name == name).context("no such workload");

    // When a version comes to all of which the third is bad
    for one in &shop.given.workloads {
        let tag = if one.name == "production" { "v2-err33" } else { "v2" };
        shop.push_to(one, tag).await?;
    }
    shop.until_ended_within(1, Outcome::PartiallyCompleted, CHAIN).await?;

    // Then the third went back from 50 %, in time, and the fourth was never begun,
    let trail = Trail::of(&scene)?;
    let answered = answer_that_took_back(&scene, &shop, "production")?;
    let back =
        trail.component("production").find(|step| step.deed == Deed::Weight(0) && step.done >= answered);
    let took = between(answered, back.context("production was never taken back")?.done);
    scene.measured("failing answer → weight 0", &format!("{} ms", took.as_millis()), "≤ 1000 ms");
    ensure!(took <= REACTION, "the weight was taken back {took:?} after the deciding answer");
    ensure!(trail.weights("production") == [10, 50, 0], "production: {:?}", trail.weights("production"));
    let fourth: Vec<_> = trail.component("clients").collect();
    ensure!(fourth.is_empty(), "clients was touched: {fourth:?}");
    // the others reached everyone, and only they were adopted,
    for name in ["suppliers", "stock", "news"] {
        ensure!(trail.weights(name) == [10, 50, 100, 0], "{name}: {:?}", trail.weights(name));
        shop.serves(workload(name)?, "v2").await?;
    }
    adopted_after_the_last_bake(&scene, &trail, &["suppliers", "stock", "news"])?;
    // nobody was lost, and the pods of what went back are those that it had, under a Deployment that waits,
    for load in loads {
        nobody_was_lost(&scene, &load.stop().await)?;
    }
    for name in ["production", "clients"] {
        pods_of_are_the_first_ones(&scene, name, "v1", usize::try_from(PODS)?)?;
        let is_paused = |found: Option<&Deployment>| found?.spec.as_ref()?.paused.filter(|paused| *paused);
        scene.record.deployments.until("it stays paused", name, IN_A_MOMENT, is_paused).await?;
        ensure!(shop.answered_by(workload(name)?).await? == "v1", "{name} does not answer from v1");
    }
    // and whoever looks is told which ones.
    the_two_are_named(&scene, &shop).await
}

/// When the answer arrived for which a component was taken back.
pub fn answer_that_took_back(scene: &Scene, shop: &Shop, name: &str) -> Result<Timestamp> {
    let goes_back = |status: &RolloutStatus| {
        let component = status.components.iter().find(|one| one.name == name)?;
        let is_back = matches!(component.stage, Stage::RollingBack | Stage::TakenBack);
        let tripped = component.gates.iter().filter(|gate| gate.tripped);
        is_back.then(|| tripped.filter_map(|gate| gate.evaluated_at).max()).flatten()
    };
    let seen = scene.record.rollouts.of(&shop.name);
    let mut statuses = seen.iter().filter_map(|sight| sight.object.status.as_ref());
    statuses.find_map(goes_back).with_context(|| format!("no gate took {name} back"))
}

/// The record of the run, the Events and the status name the two that went back.
async fn the_two_are_named(scene: &Scene, shop: &Shop) -> Result<()> {
    let record = shop.record_of(1).await?.status.context("the record is empty")?;
    ensure!(record.outcome == Some(Outcome::PartiallyCompleted), "the record says {:?}", record.outcome);
    ensure!(record.taken_back == ["production", "clients"], "the record says {:?}", record.taken_back);
    let status = shop.status()?;
    for (name, why) in
        [("production", "gate errors-per-second failed"), ("clients", "it depends on production")]
    {
        let component = status.components.iter().find(|one| one.name == name).context("no such component")?;
        ensure!(component.stage == Stage::RolledBack && component.failure.starts_with(why), "{component:?}");
    }
    let events: Api<Event> = Api::namespaced(scene.lab().client(), &scene.namespace);
    let events = events.list(&ListParams::default()).await?.items;
    let said = |reason: &str, words: &str| {
        events.iter().any(|event| {
            event.reason.as_deref() == Some(reason)
                && event.note.as_deref().is_some_and(|note| note.contains(words))
        })
    };
    ensure!(
        said("RollbackStarted", "production: gate errors-per-second failed"),
        "no Event names production"
    );
    ensure!(said("RollbackStarted", "with it go clients"), "no Event names clients");
    ensure!(said("PartiallyCompleted", "production, clients were taken back"), "no Event tells the outcome");
    Ok(())
}
