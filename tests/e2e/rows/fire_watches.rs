//! Under fire: watches that break, fall silent or crawl, and the write of a former leader that arrives after the next one's claim.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use palier::api::Outcome;

use super::fire::{Behind, RATE, WITHIN, behind_a_proxy, both_end_as_ever, two_shops};
use super::leaders::{SECOND, second_account};
use crate::lab::eventually;
use crate::lab::proxy::{Watches, Where};
use crate::world::controllers::{Controller, until_led};
use crate::world::install::RELEASE;
use crate::world::phases::{IN_A_MOMENT, nobody_noticed, nobody_was_lost};
use crate::world::scene::launch_as;
use crate::world::shop::SOON;
use crate::world::trail::Deed;
use crate::world::{Gate, Given, Scene, Trail};

/// How often watches are cut.
const OFTEN: Duration = Duration::from_millis(700);
/// How long they are silent.
const SILENCE: Duration = Duration::from_secs(8);

pub async fn fire2_watches_are_cut_in_their_frames(scene: Arc<Scene>) -> Result<()> {
    // Given a controller behind a proxy
    let Behind { proxy, controller } = behind_a_proxy(&scene).await?;
    let shops = two_shops(&scene).await?;
    // When its watches are cut in the middle of a frame, again and again
    let cutting = async {
        loop {
            tokio::time::sleep(OFTEN).await;
            proxy.cut_watches();
        }
    };
    let ended = tokio::select! {
        ended = both_end_as_ever(&scene, &shops) => ended,
        never = cutting => never,
    };
    // Then both releases end as ever
    scene.measured("watches cut", &proxy.tally(), "no harm");
    ended.with_context(|| controller.log_about(scene.lab(), ""))?;
    let cut = proxy.counts().get("watch cut in a frame").copied().unwrap_or(0);
    ensure!(cut >= 10, "only {cut} watches were cut in a frame");
    Ok(())
}

pub async fn fire2_watches_crawl(scene: Arc<Scene>) -> Result<()> {
    let Behind { proxy, controller } = behind_a_proxy(&scene).await?;
    let shops = two_shops(&scene).await?;
    // When what they tell comes in pieces that no frame ends with
    proxy.set_watches(Watches::Slow);
    let ended = both_end_as_ever(&scene, &shops).await;
    scene.measured("frames in pieces", &proxy.faults().to_string(), "≥ 50, no harm");
    ended.with_context(|| controller.log_about(scene.lab(), ""))?;
    ensure!(proxy.faults() >= 50, "only {} frames", proxy.faults());
    Ok(())
}

/// A watch that is open and silent is given up by its client after 290 s; that is longer than a scenario. Here it is silent for a
/// while, and then tells all at once.
pub async fn fire2_watches_fall_silent(scene: Arc<Scene>) -> Result<()> {
    // Given a version that is good and then, with half of the visitors, bad
    let Behind { proxy, controller } = behind_a_proxy(&scene).await?;
    let given =
        Given::shop("v1").phases(&[("pilot", 10, "4s"), ("half", 50, "60s"), ("everyone", 100, "4s")]);
    let shop = scene.given(given.judged_by(Gate::errors_per_second())).await?;
    let visitors = shop.visitors(2 * RATE)?;
    shop.push("v2-err33").await?;
    shop.until_baking(1, 10).await?;

    // When every watch falls silent before the next raise
    proxy.set_watches(Watches::Silent);
    tokio::time::sleep(SILENCE).await;
    let meanwhile = Trail::of(&scene)?.weights(&shop.name);
    proxy.set_watches(Watches::Flowing);

    // Then no phase was skipped meanwhile: a raise that nobody confirms is the last one
    ensure!([vec![10], vec![10, 50]].contains(&meanwhile), "in silence: {meanwhile:?}");
    shop.until_baking(1, 50).await.with_context(|| controller.log_about(scene.lab(), ""))?;
    // and going back needs no watch at all
    proxy.set_watches(Watches::Silent);
    let trail = async || -> Result<()> {
        eventually("traffic is back while the watches are silent", SOON, async || {
            let last = Trail::of(&scene)?.weights(&shop.name).last().copied();
            if last == Some(0) { Ok(()) } else { Err(format!("{last:?}").into()) }
        })
        .await
    };
    let back = trail().await;
    proxy.set_watches(Watches::Flowing);
    back.with_context(|| controller.log_about(scene.lab(), ""))?;
    shop.until_ended_within(1, Outcome::RolledBack, WITHIN).await?;
    nobody_was_lost(&scene, &visitors.stop().await)?;
    let weights = Trail::of(&scene)?.weights(&shop.name);
    scene.measured("weights with silent watches", &format!("{weights:?}"), "10, 50, 0");
    ensure!(weights == [10, 50, 0], "{weights:?}");
    Ok(())
}

/// What a former leader had sent before it was frozen arrives when another one has claimed the run. `part` tells which write.
async fn late_write(scene: Arc<Scene>, part: &'static str) -> Result<()> {
    // Given a pair, of which the leader is behind a proxy, and a run at its first phase
    let lab = scene.lab();
    second_account(&scene).await?;
    let Behind { proxy, controller: first } = behind_a_proxy(&scene).await?;
    let launch = launch_as(lab, &scene.namespace, SECOND).await?;
    let second = Controller::start(lab, &format!("{}-b", scene.namespace), launch).await?;
    let shop = scene.given(Given::shop("v1").baking("3s").judged_by(Gate::errors())).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 10).await?;

    // When its next write is on its way and it is frozen for longer than its Lease,
    // (its term is read before: the next leader may claim the run sooner than anybody sees whose the Lease is)
    let term = shop.status()?.epoch;
    let hold = proxy.hold(Where::FirstWrite(part));
    hold.arrived(SOON).await?;
    first.pause(lab)?;
    until_led(lab, &scene.namespace, std::slice::from_ref(&second)).await?;
    // the other one claims the run, and then the write arrives
    shop.until("the next leader has claimed the run", SOON, |status| status.epoch > term).await?;
    if part != "/rollouts/" {
        // A route knows of no terms: what protects it is its version, once the next leader has written it.
        shop.until_baking(1, 50).await?;
    }
    let code = hold.release(SOON).await?;
    scene.measured(&format!("{part} of a former leader"), &code.to_string(), "409");

    // Then it is refused, and nothing that the former leader sent is accepted any more;
    ensure!(code == 409, "the late write was answered with {code}");
    first.resume(lab)?;
    eventually("the former leader has ended", IN_A_MOMENT, async || {
        if first.is_running(lab) { Err("it runs".into()) } else { Ok(()) }
    })
    .await?;
    shop.until_ended_within(1, Outcome::Completed, WITHIN).await?;
    let users = [RELEASE, SECOND].map(|name| format!("system:serviceaccount:{}:{name}", scene.namespace));
    let writes = scene.requests()?.mutations().only(|entry| entry.resource != "events");
    let is_claim = |user: &String, resource: &str, code: u16| {
        *user == users[1] && resource == "rollouts/status" && code < 300
    };
    let claim = writes.0.iter().find(|entry| is_claim(&entry.user, &entry.resource, entry.code));
    let claim = claim.context("the next leader never claimed the run")?.done;
    let late = writes.only(|entry| entry.user == users[0] && entry.done >= claim);
    ensure!(
        late.0.iter().any(|entry| entry.code == 409),
        "the late write never arrived: {:?}",
        late.counts()
    );
    let accepted = late.only(|entry| entry.code < 300);
    ensure!(accepted.0.is_empty(), "accepted after {claim}: {:?}", accepted.0);
    // and visitors never hear of it.
    nobody_noticed(&scene, &visitors.stop().await)?;
    let weights: Vec<i64> = weights_of_both(&scene, &users, &shop.name)?;
    ensure!(weights == [10, 50, 100, 0], "{weights:?}");
    Ok(())
}

/// The weights that either of two leaders gave.
pub fn weights_of_both(scene: &Scene, users: &[String; 2], route: &str) -> Result<Vec<i64>> {
    let accepted = scene.requests()?.only(|entry| users.contains(&entry.user) && entry.code < 300);
    let steps = Trail::from_entries(&accepted).0;
    let mut weights: Vec<i64> = steps
        .iter()
        .filter(|step| step.component == route)
        .filter_map(|step| if let Deed::Weight(share) = step.deed { Some(share) } else { None })
        .collect();
    weights.dedup();
    Ok(weights)
}

pub async fn fire3_late_intent_of_a_former_leader(scene: Arc<Scene>) -> Result<()> {
    late_write(scene, "/rollouts/").await
}

pub async fn fire3_late_weight_of_a_former_leader(scene: Arc<Scene>) -> Result<()> {
    late_write(scene, "/httproutes/").await
}
