//! Under fire: a proxy stands between the controller and the API server. Each way in which a request can go wrong happens at each
//! write of a good and of a bad release, and both end as they do on a quiet day. What is judged is what the API server wrote
//! down and what visitors got, never Palier's own word.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::ListParams;
use palier::api::{Outcome, RolloutRun};

use crate::lab::Proxy;
use crate::lab::proxy::{Fault, Where};
use crate::world::controllers::{Controller, until_led};
use crate::world::given::image;
use crate::world::install::RELEASE;
use crate::world::phases::{IN_A_MOMENT, nobody_noticed, nobody_was_lost, pods_of_are_the_first_ones};
use crate::world::scene::launch_as;
use crate::world::shop::is_ready;
use crate::world::{Apart, Gate, Given, Scene, Shop, Trail};

pub const RATE: u32 = 25;
/// Each write fails once, and the pause after a failure comes before each of them.
pub const WITHIN: Duration = Duration::from_secs(180);
/// A good and a bad release have at least as many writes of which the first try is hit.
const LEAST: usize = 16;

/// The controller of a scene behind a proxy of its own.
pub struct Behind {
    pub proxy: Proxy,
    pub controller: Controller,
}

/// Starts it, and waits until it leads.
pub async fn behind_a_proxy(scene: &Scene) -> Result<Behind> {
    let (lab, namespace) = (scene.lab(), &scene.namespace);
    let proxy = lab.proxy(0).await?;
    let mut launch = launch_as(lab, namespace, RELEASE).await?;
    launch.kubeconfig = proxy.kubeconfig(&launch.kubeconfig)?;
    let controller = Controller::start(lab, &format!("{namespace}-a"), launch).await?;
    until_led(lab, namespace, std::slice::from_ref(&controller)).await?;
    Ok(Behind { proxy, controller })
}

/// Two Rollouts of one Deployment each, in one namespace.
pub async fn two_shops(scene: &Arc<Scene>) -> Result<[Shop; 2]> {
    let given =
        |name: &str| Given::shop("v1").called(name).replicas(3).baking("2s").judged_by(Gate::errors());
    let (good, bad) = tokio::try_join!(scene.given(given("good")), scene.given(given("bad")))?;
    Ok([good, bad])
}

/// A good and a bad release side by side, while something happens to the controller's requests, and what has to come of both.
pub async fn both_end_as_ever(scene: &Arc<Scene>, shops: &[Shop; 2]) -> Result<()> {
    let [good, bad] = shops;
    let loads = [good.visitors(RATE)?, bad.visitors(RATE)?];
    good.push("v2").await?;
    bad.push("v2-err50").await?;
    good.until_ended_within(1, Outcome::Completed, WITHIN).await?;
    bad.until_ended_within(1, Outcome::RolledBack, WITHIN).await?;
    good.until("it is at rest", IN_A_MOMENT, is_ready).await?;
    let [of_the_good, of_the_bad] = loads;
    nobody_noticed(scene, &of_the_good.stop().await)?;
    nobody_was_lost(scene, &of_the_bad.stop().await)?;
    as_on_a_quiet_day(scene, good, "v2", &[10, 50, 100, 0]).await?;
    as_on_a_quiet_day(scene, bad, "v1", &[10, 0]).await?;
    Ok(())
}

/// The weights that were earned and no others, the first pods of the version that serves, everything else as found, one record.
async fn as_on_a_quiet_day(scene: &Scene, shop: &Shop, serves: &str, weights: &[i64]) -> Result<()> {
    let name = &shop.name;
    let found = Trail::of(scene)?.weights(name);
    ensure!(found == weights, "{name}: {found:?} instead of {weights:?}");
    pods_of_are_the_first_ones(scene, name, serves, 3)?;
    shop.workload_answers_from(shop.workload(), serves).await?;
    let pushed = if serves == "v1" { "v2-err50" } else { serves };
    let wanted = shop.found[0].clone().with_image(&image(pushed));
    shop.until_as(&wanted, Apart::FromTheLabelAndThePause).await?;
    let records: Api<RolloutRun> = Api::namespaced(scene.lab().client(), &scene.namespace);
    let all = records.list(&ListParams::default()).await?.items;
    let its = all.iter().filter(|record| record.spec.rollout == *name).count();
    ensure!(its == 1, "{name} has {its} records of one run");
    Ok(())
}

/// A fault at each write, one after the other.
async fn at_each_write(scene: Arc<Scene>, fault: Fault, least: usize) -> Result<()> {
    // Given a controller behind a proxy, and two Rollouts at rest
    let Behind { proxy, controller } = behind_a_proxy(&scene).await?;
    let shops = two_shops(&scene).await?;

    // When the first try of each of its writes goes wrong
    let what = fault.name();
    proxy.set(Where::EachWrite, fault);
    let ended = both_end_as_ever(&scene, &shops).await;
    let times = proxy.counts().get(what).copied().unwrap_or(0);
    scene.measured(&format!("writes {what}"), &times.to_string(), &format!("≥ {least}, no harm"));

    // Then both end as ever; the process lives
    ended.with_context(|| format!("{}\n{}", proxy.tally(), controller.log_about(scene.lab(), "")))?;
    ensure!(times >= least, "only {times} writes were {what}");
    ensure!(controller.is_running(scene.lab()), "the controller has ended");
    ensure!(
        !controller.has_said(scene.lab(), "panicked"),
        "{}",
        controller.log_about(scene.lab(), "panicked")
    );
    Ok(())
}

pub async fn fire1_requests_are_dropped(scene: Arc<Scene>) -> Result<()> {
    at_each_write(scene, Fault::Dropped, LEAST).await
}

pub async fn fire1_replies_are_lost(scene: Arc<Scene>) -> Result<()> {
    at_each_write(scene, Fault::Lost, LEAST).await
}

pub async fn fire1_delivered_twice(scene: Arc<Scene>) -> Result<()> {
    at_each_write(scene, Fault::Twice, LEAST).await
}

pub async fn fire1_conflicts(scene: Arc<Scene>) -> Result<()> {
    at_each_write(scene, Fault::Refused(409), LEAST).await
}

pub async fn fire1_too_many_requests(scene: Arc<Scene>) -> Result<()> {
    at_each_write(scene, Fault::Refused(429), LEAST).await
}

pub async fn fire1_server_errors(scene: Arc<Scene>) -> Result<()> {
    at_each_write(scene, Fault::Refused(500), LEAST).await
}

pub async fn fire1_unavailable(scene: Arc<Scene>) -> Result<()> {
    at_each_write(scene, Fault::Refused(503), LEAST).await
}

/// Later than the controller waits: it has given the write up when it is carried out.
pub async fn fire1_too_late(scene: Arc<Scene>) -> Result<()> {
    at_each_write(scene, Fault::Late(Duration::from_millis(1300)), LEAST).await
}
