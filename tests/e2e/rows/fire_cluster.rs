//! Under fire: the cluster itself. A right is taken away and given back, a token is revoked, etcd stands still, the API server is
//! killed, and another one shows the past. The run holds, says so where it can, and goes on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::Role;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use palier::api::{Outcome, Stage};
use serde_json::json;

use super::fire::{RATE, WITHIN};
use super::fire_watches::weights_of_both;
use super::leaders::{SECOND, second_account};
use crate::lab::access::Access;
use crate::lab::audit::Entry;
use crate::lab::proxy::{Fault, Where};
use crate::lab::{Lab, Link, eventually};
use crate::world::controllers::{Controller, Launch, until_led};
use crate::world::given::image;
use crate::world::install::RELEASE;
use crate::world::phases::{IN_A_MOMENT, nobody_noticed, pods_are_the_first_ones};
use crate::world::rights::{Right, rules_without};
use crate::world::scene::launch_as;
use crate::world::shop::{SOON, is_ready};
use crate::world::{Apart, Gate, Given, Scene, Shop, Trail};

/// How long something is away: longer than a bake.
const AWAY: Duration = Duration::from_secs(6);
/// Shorter than a leader may go without renewing its Lease.
const HICCUP: Duration = Duration::from_millis(1500);
/// Terms that outlast what happens here, on a busy machine too.
const LONG: [&str; 6] = ["--lease-duration", "60s", "--renew-deadline", "50s", "--retry-period", "1s"];

/// Fails unless a run reached everyone by its earned shares, noticed by nobody, and left everything as it was.
async fn reached_everyone(scene: &Scene, shop: &Shop, users: &[String; 2]) -> Result<()> {
    shop.until_ended_within(1, Outcome::Completed, WITHIN).await?;
    shop.until("it is at rest", IN_A_MOMENT, is_ready).await?;
    shop.serves(shop.workload(), "v2").await?;
    pods_are_the_first_ones(scene, "v2", 4)?;
    let wanted = shop.found[0].clone().with_image(&image("v2"));
    shop.until_as(&wanted, Apart::FromTheLabelAndThePause).await?;
    let weights = weights_of_both(scene, users, &shop.name)?;
    ensure!(weights == [10, 50, 100, 0], "{weights:?}");
    Ok(())
}

/// The accounts that controllers of a scene have.
fn users(scene: &Scene) -> [String; 2] {
    [RELEASE, SECOND].map(|name| format!("system:serviceaccount:{}:{name}", scene.namespace))
}

/// A controller whose terms outlast everything, with the rights of an account.
async fn long_launch(lab: &Lab, namespace: &str, account: &str) -> Result<Launch> {
    let mut launch = launch_as(lab, namespace, account).await?;
    drop(launch.extra.splice(..LONG.len(), LONG.map(str::to_owned)));
    Ok(launch)
}

pub async fn fire4_right_taken_and_given_back(scene: Arc<Scene>) -> Result<()> {
    // Given a run at its first phase, by an account whose refusals count for nobody else
    let (lab, namespace) = (scene.lab(), &scene.namespace);
    second_account(&scene).await?;
    let launch = long_launch(lab, namespace, SECOND).await?;
    let controller = Controller::start(lab, &format!("{namespace}-a"), launch).await?;
    until_led(lab, namespace, std::slice::from_ref(&controller)).await?;
    let shop = scene.given(Given::shop("v1").baking("3s").judged_by(Gate::errors())).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 10).await?;

    // When the right to change routes is taken away
    let roles: Api<Role> = Api::namespaced(lab.client(), namespace);
    let whole = serde_json::to_value(roles.get("palier-controller").await?)?;
    let text = |it: &str| it.to_owned();
    let right =
        Right { group: text("gateway.networking.k8s.io"), resource: text("httproutes"), verb: text("patch") };
    let set = async |rules: serde_json::Value| -> Result<()> {
        let patch = Patch::Merge(json!({"rules": rules}));
        roles.patch("palier-controller", &PatchParams::default(), &patch).await?;
        Ok(())
    };
    set(json!(rules_without(&whole, Some(&right)))).await?;

    // Then the run holds at the weight it has and says what it misses
    eventually("an Event says what is missing", SOON, async || {
        let said = lab.kubectl(&[
            "-n",
            namespace,
            "get",
            "events.v1.events.k8s.io",
            "-o",
            "jsonpath={.items[*].note}",
        ])?;
        if said.contains("the verb 'patch' on httproutes") { Ok(()) } else { Err(said.into()) }
    })
    .await
    .with_context(|| controller.log_about(lab, ""))?;
    tokio::time::sleep(AWAY).await;
    let weights = weights_of_both(&scene, &users(&scene), &shop.name)?;
    ensure!(weights == [10], "without the right: {weights:?}");
    let tried = scene.requests()?.forbidden().by(&users(&scene)[1]).0.len();
    scene.measured("tries without the right", &tried.to_string(), "1 to 20");
    ensure!((1..=20).contains(&tried), "{tried} tries: it spins");

    // and goes on when it is given back.
    set(whole["rules"].clone()).await?;
    reached_everyone(&scene, &shop, &users(&scene)).await.with_context(|| controller.log_about(lab, ""))?;
    nobody_noticed(&scene, &visitors.stop().await)
}

pub async fn fire4_token_expires(scene: Arc<Scene>) -> Result<()> {
    // Given a run at its first phase, by a controller behind a proxy
    let (lab, namespace) = (scene.lab(), &scene.namespace);
    second_account(&scene).await?;
    let proxy = lab.proxy(0).await?;
    let mut launch = launch_as(lab, namespace, SECOND).await?;
    let plain = launch.kubeconfig.clone();
    launch.kubeconfig = proxy.kubeconfig(&plain)?;
    let controller = Controller::start(lab, &format!("{namespace}-a"), launch).await?;
    until_led(lab, namespace, std::slice::from_ref(&controller)).await?;
    let shop = scene.given(Given::shop("v1").baking("4s").judged_by(Gate::errors())).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 10).await?;

    // When nobody knows its token for a moment, it lives on;
    proxy.set(Where::Everything, Fault::Refused(401));
    tokio::time::sleep(HICCUP).await;
    proxy.heal();
    shop.until_baking(1, 50).await.with_context(|| controller.log_about(lab, ""))?;
    ensure!(controller.is_running(lab), "it ended over a token that was unknown for {HICCUP:?}");

    // when the token is revoked for good, it ends by itself and touches nothing more,
    let accounts: Api<ServiceAccount> = Api::namespaced(lab.client(), namespace);
    accounts.delete(SECOND, &DeleteParams::default()).await?;
    second_account(&scene).await?;
    eventually("the controller without a token has ended", SOON, async || {
        if controller.is_running(lab) { Err("it runs".into()) } else { Ok(()) }
    })
    .await?;

    // and with the next token, which a kubelet would give it at its next start, the run goes on.
    ensure!(lab.token_for(namespace, SECOND).await? == plain, "the token is somewhere else");
    proxy.kubeconfig(&plain)?;
    controller.start_again(lab).await?;
    reached_everyone(&scene, &shop, &users(&scene)).await.with_context(|| controller.log_about(lab, ""))?;
    scene.measured("requests with an unknown token", &proxy.tally(), "no harm");
    nobody_noticed(&scene, &visitors.stop().await)
}

pub async fn fire5_etcd_stands_still_and_the_api_server_dies(scene: Arc<Scene>) -> Result<()> {
    // Given a run, by an account whose refusals count for nobody else: an API server that has just started refuses everybody
    let (lab, namespace) = (scene.lab(), &scene.namespace);
    second_account(&scene).await?;
    let launch = long_launch(lab, namespace, SECOND).await?;
    let controller = Controller::start(lab, &format!("{namespace}-a"), launch).await?;
    until_led(lab, namespace, std::slice::from_ref(&controller)).await?;
    let shop = scene.given(Given::shop("v1").baking("4s").judged_by(Gate::errors())).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;

    // When etcd stands still in the middle of a raise,
    let is_raising = |traffic: i32| {
        move |status: &palier::api::RolloutStatus| {
            let mut part = status.components.iter();
            part.any(|one| one.stage == Stage::Raising && one.target_weight == traffic)
        }
    };
    shop.until("it raises to 50 %", SOON, is_raising(50)).await?;
    lab.children().pause("etcd")?;
    tokio::time::sleep(AWAY).await;
    lab.children().resume("etcd")?;
    shop.until_baking(1, 100).await.with_context(|| controller.log_about(lab, ""))?;
    // and the API server is killed while everyone is served by the canary, so that no pod is born that the lab does not hear of,
    lab.children().kill("kube-apiserver-0")?;
    tokio::time::sleep(HICCUP).await;
    lab.restart_api_server(0).await?;

    // then the same process comes to the same end.
    reached_everyone(&scene, &shop, &users(&scene)).await.with_context(|| controller.log_about(lab, ""))?;
    ensure!(controller.is_running(lab), "the controller has ended");
    scene.measured("etcd still, API server killed", "the run reached everyone", "no harm");
    nobody_noticed(&scene, &visitors.stop().await)
}

pub async fn fire6_an_api_server_of_the_past(scene: Arc<Scene>) -> Result<()> {
    // Given two API servers on one etcd, and a run at its first phase
    let (lab, namespace) = (scene.lab(), &scene.namespace);
    let link: Link = lab.api_server_on_a_link(1).await?;
    let proxy = lab.proxy(0).await?;
    let mut launch = long_launch(lab, namespace, RELEASE).await?;
    launch.kubeconfig = proxy.kubeconfig(&launch.kubeconfig)?;
    let controller = Controller::start(lab, &format!("{namespace}-a"), launch).await?;
    until_led(lab, namespace, std::slice::from_ref(&controller)).await?;
    let shop = scene.given(Given::shop("v1").baking("8s").judged_by(Gate::errors())).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 10).await?;

    // When one of them hears nothing from etcd any more, and the controller is sent there once it is further
    link.freeze(true);
    shop.until_baking(1, 50).await?;
    let before = weights_of_both(&scene, &users(&scene), &shop.name)?;
    proxy.switch_to(&Access::server(1));
    tokio::time::sleep(AWAY).await;
    // another process of it too, which knows nothing but what it is told there,
    controller.kill(lab)?;
    controller.start_again(lab).await?;
    tokio::time::sleep(AWAY).await;

    // then nothing is done on the word of the past,
    let meanwhile = weights_of_both(&scene, &users(&scene), &shop.name)?;
    ensure!(before == meanwhile, "in the past: {before:?}, then {meanwhile:?}");
    // and back in the present the run goes on where it was.
    proxy.switch_to(&Access::server(0));
    link.freeze(false);
    let ended = reached_everyone(&scene, &shop, &users(&scene)).await;
    let asked = scene.requests()?.by(&users(&scene)[0]).only(|entry: &Entry| !entry.is_lease());
    scene.measured(
        "weights with a server of the past",
        &format!("{:?}", Trail::of(&scene)?.weights(&shop.name)),
        "10, 50, 100, 0",
    );
    let stopped = lab.children().kill("kube-apiserver-1");
    ended.with_context(|| format!("{:?}\n{}", asked.counts(), controller.log_about(lab, "")))?;
    stopped?;
    nobody_noticed(&scene, &visitors.stop().await)
}
