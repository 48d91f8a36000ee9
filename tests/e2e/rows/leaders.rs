//! Row 9: two controllers, of which one leads. A leader that was frozen must not write after another one has taken over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use palier::api::Outcome;
use serde_json::json;

use crate::lab::audit::Entry;
use crate::lab::eventually;
use crate::world::controllers::{Controller, leader, until_led};
use crate::world::given::image;
use crate::world::install;
use crate::world::phases::{IN_A_MOMENT, nobody_noticed, pods_are_the_first_ones};
use crate::world::scene::launch_as;
use crate::world::shop::is_ready;
use crate::world::{Apart, Gate, Given, Scene, Shop};

const RATE: u32 = 50;
/// A second ServiceAccount with the rights of the chart's own: the audit log tells the pair apart by it.
pub const SECOND: &str = "palier-second";
/// The standby tries every half second; a busy machine needs a little for the rest.
const HANDOVER: Duration = Duration::from_secs(3);

/// A second ServiceAccount with the chart's Role.
pub async fn second_account(scene: &Scene) -> Result<()> {
    let (lab, namespace) = (scene.lab(), &scene.namespace);
    let role = "palier-controller";
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": SECOND, "namespace": namespace}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": SECOND, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": SECOND, "namespace": namespace}],
        }),
    ] {
        lab.apply(&object.to_string()).await?;
    }
    Ok(())
}

/// The chart for one namespace, and a pair under two ServiceAccounts of the same Role. The first leads.
async fn pair(scene: &Scene) -> Result<[Controller; 2]> {
    let (lab, namespace) = (scene.lab(), &scene.namespace);
    second_account(scene).await?;
    let start = async |letter: &str, account: &str| {
        let launch = launch_as(lab, namespace, account).await?;
        Controller::start(lab, &format!("{namespace}-{letter}"), launch).await
    };
    let first = start("a", install::RELEASE).await?;
    until_led(lab, namespace, std::slice::from_ref(&first)).await?;
    Ok([first, start("b", SECOND).await?])
}

pub async fn row09_frozen_leader_continues(scene: Arc<Scene>) -> Result<()> {
    // Given a pair, and a run whose canary has half of the visitors
    let lab = scene.lab();
    let [first, second] = pair(&scene).await?;
    let shop = scene.given(Given::shop("v1").baking("5s").judged_by(Gate::errors())).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 50).await?;

    // When the leader is frozen for longer than its Lease,
    first.pause(lab)?;
    let frozen = Instant::now();
    until_led(lab, &scene.namespace, std::slice::from_ref(&second)).await?;
    scene.measured(
        "frozen leader → standby leads",
        &format!("{} ms", frozen.elapsed().as_millis()),
        "≤ 8000 ms",
    );
    ensure!(frozen.elapsed() <= Duration::from_secs(8), "the standby led after {:?}", frozen.elapsed());
    // and goes on while the other one works at the same run
    shop.until_baking(1, 100).await?;
    let continued = Timestamp::now();
    first.resume(lab)?;

    // Then it ends, by itself and with an error,
    eventually("the former leader has ended", IN_A_MOMENT, async || {
        if first.is_running(lab) { Err("it runs".into()) } else { Ok(()) }
    })
    .await?;
    ensure!(first.has_said(lab, "was lost"), "{}", first.log_about(lab, ""));
    // the run reaches its end,
    reached_everyone(&scene, &shop).await?;
    nobody_noticed(&scene, &visitors.stop().await)?;
    // and nothing that the former leader wrote was accepted after the other one's claim
    let users =
        [install::RELEASE, SECOND].map(|name| format!("system:serviceaccount:{}:{name}", scene.namespace));
    let writes = scene.requests()?.mutations();
    let claim = writes.0.iter().find(|entry| entry.user == users[1] && entry.is_lease() && entry.code < 300);
    let claim = claim.context("the standby never claimed the Lease")?.done;
    let tried = writes.only(|entry| entry.user == users[0] && entry.done >= claim);
    // An Event may come late: it tells what was done before, and changes nothing.
    let accepted = tried.only(|entry| entry.code < 300 && entry.resource != "events");
    let said = format!("{} of {} tried", accepted.0.len(), tried.0.len());
    scene.measured("writes of a former leader", &said, "0 accepted");
    ensure!(accepted.0.is_empty(), "accepted after {claim} (continued at {continued}): {:?}", accepted.0);
    let ours = writes.only(|entry: &Entry| entry.user == users[1] && !entry.is_lease());
    ensure!(!ours.0.is_empty(), "the standby wrote nothing");
    ensure!(ours.forbidden().0.is_empty(), "refused: {:?}", ours.forbidden().counts());
    Ok(())
}

async fn reached_everyone(scene: &Scene, shop: &Shop) -> Result<()> {
    shop.until_ended(1, Outcome::Completed).await?;
    shop.until("it is at rest", IN_A_MOMENT, is_ready).await?;
    shop.serves(shop.workload(), "v2").await?;
    pods_are_the_first_ones(scene, "v2", 4)?;
    let wanted = shop.found[0].clone().with_image(&image("v2"));
    shop.until_as(&wanted, Apart::FromTheLabelAndThePause).await
}

pub async fn row09_ended_leader_makes_room(scene: Arc<Scene>) -> Result<()> {
    // Given a pair in the middle of a run
    let lab = scene.lab();
    let shop = scene.given(Given::shop("v1").baking("4s").judged_by(Gate::errors())).await?;
    let visitors = shop.visitors(RATE)?;
    let leads = until_led(lab, &scene.namespace, &scene.controllers).await?;
    let other = scene.controllers.iter().find(|one| one.name != leads.name).context("there is no standby")?;
    shop.push("v2").await?;
    shop.until_baking(1, 10).await?;

    // When the leader is asked to end
    let (_, _, before) = leader(lab, &scene.namespace).await?;
    let asked = Instant::now();
    leads.stop(lab)?;

    // Then the standby leads at once, in the next term, without waiting for the Lease to expire
    until_led(lab, &scene.namespace, std::slice::from_ref(other)).await?;
    let took = asked.elapsed();
    scene.measured("SIGTERM → standby leads", &format!("{} ms", took.as_millis()), "≤ 3000 ms");
    ensure!(took <= HANDOVER, "the standby led after {took:?}");
    let (_, _, after) = leader(lab, &scene.namespace).await?;
    ensure!(after == before + 1, "the term was {before} and is {after}");
    reached_everyone(&scene, &shop).await?;
    nobody_noticed(&scene, &visitors.stop().await)
}
