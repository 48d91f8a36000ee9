//! Row 4: Prometheus gives no answer that can be judged, in the middle of a bake.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use palier::api::{Outcome, RolloutState, RolloutStatus, Verdict};

use crate::lab::Mood;
use crate::world::phases::{IN_A_MOMENT, nobody_noticed};
use crate::world::{Apart, Gate, Given, Scene, Shop};

const RATE: u32 = 25;
/// How long there is no answer: longer than what was left of the bake.
const SILENCE: Duration = Duration::from_secs(9);
const BAKE: Duration = Duration::from_secs(8);

pub async fn row04_prometheus_gone(scene: Arc<Scene>) -> Result<()> {
    holds_and_goes_on(&scene, Mood::Closed, Verdict::Error).await
}

pub async fn row04_not_a_number(scene: Arc<Scene>) -> Result<()> {
    holds_and_goes_on(&scene, Mood::Sample("NaN".into()), Verdict::NoData).await
}

pub async fn row04_empty(scene: Arc<Scene>) -> Result<()> {
    holds_and_goes_on(&scene, Mood::Empty, Verdict::NoData).await
}

pub async fn row04_login_page(scene: Arc<Scene>) -> Result<()> {
    holds_and_goes_on(&scene, Mood::Html, Verdict::Error).await
}

pub async fn row04_too_many_requests(scene: Arc<Scene>) -> Result<()> {
    holds_and_goes_on(&scene, Mood::Status(429), Verdict::Error).await
}

pub async fn row04_two_series(scene: Arc<Scene>) -> Result<()> {
    holds_and_goes_on(&scene, Mood::TwoSeries, Verdict::NoData).await
}

/// A shop with one phase before the last, whose gate asks a metric server with a mood of its own.
async fn shop_with_a_moody_gate(scene: &Arc<Scene>) -> Result<Shop> {
    scene.moody_source().await?;
    let bake = format!("{}s", BAKE.as_secs());
    let phases = [("half", 50, &*bake), ("everyone", 100, "3s")];
    scene.given(Given::shop("v1").phases(&phases).judged_by(Gate::errors().of_source(&scene.namespace))).await
}

/// Waits until half of the first bake is proven. What is earned meanwhile is not stored, so the clock tells.
async fn half_way(shop: &Shop) -> Result<()> {
    shop.until("the gate passes", IN_A_MOMENT, |status| {
        status.state == RolloutState::Baking
            && status.components[0].gates.iter().all(|gate| gate.verdict == Verdict::Pass)
    })
    .await?;
    tokio::time::sleep(BAKE / 2).await;
    Ok(())
}

fn earned(status: &RolloutStatus) -> Duration {
    let bake = status.components.first().and_then(|component| component.bake.as_ref());
    bake.map_or(Duration::ZERO, |bake| bake.earned.as_std())
}

async fn until_held(shop: &Shop, verdict: Verdict) -> Result<RolloutStatus> {
    shop.until(&format!("it is held by {verdict:?}"), IN_A_MOMENT, |status| {
        let gates = status.components.iter().flat_map(|component| &component.gates);
        status.state == RolloutState::Held && gates.map(|gate| gate.verdict).any(|seen| seen == verdict)
    })
    .await
}

async fn holds_and_goes_on(scene: &Arc<Scene>, mood: Mood, verdict: Verdict) -> Result<()> {
    // Given a bake at 50 % that is half proven
    let shop = shop_with_a_moody_gate(scene).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 50).await?;
    half_way(&shop).await?;

    // When the metric server has a mood for a while
    scene.lab().moods().set(&scene.namespace, mood);
    let held = until_held(&shop, verdict).await?;
    ensure!(held.message.contains("errors"), "it does not say which gate: {:?}", held.message);
    ensure!(!earned(&held).is_zero(), "nothing of the bake was kept");
    let gate = held.components[0].gates.first().context("no gate")?;
    ensure!(!gate.message.is_empty(), "the gate does not say why");
    tokio::time::sleep(SILENCE).await;

    // Then it has held, all the time
    let after = shop.status()?;
    ensure!(
        after.state == RolloutState::Held && after.components[0].weight == 50,
        "not held: {}",
        after.message
    );
    let grown = earned(&after).saturating_sub(earned(&held));
    ensure!(grown <= Duration::from_secs(1), "the bake went on without evidence: {grown:?}");
    // and goes on when the answers are back, without starting over
    scene.lab().moods().set(&scene.namespace, Mood::Truthful);
    let begun = std::time::Instant::now();
    shop.until("it goes on to 100 %", IN_A_MOMENT, |status| status.components[0].target_weight == 100)
        .await?;
    let rest = BAKE.saturating_sub(earned(&after));
    let took = begun.elapsed();
    scene.measured(
        "from answers to the raise",
        &format!("{:.1} s, {:.1} s were left", took.as_secs_f64(), rest.as_secs_f64()),
        "no new start",
    );
    // Another five seconds: the window of the query holds a gap at first, and the machine is busy.
    ensure!(took <= rest + Duration::from_secs(5), "it started over: {took:?} with {rest:?} left");
    shop.until_ended(1, Outcome::Completed).await?;
    nobody_noticed(scene, &visitors.stop().await)
}

pub async fn row04_abort_without_answers(scene: Arc<Scene>) -> Result<()> {
    // Given a run that is held, as the metric server hangs
    let shop = shop_with_a_moody_gate(&scene).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 50).await?;
    scene.lab().moods().set(&scene.namespace, Mood::Hang);
    until_held(&shop, Verdict::Error).await?;

    // When somebody aborts it, then it goes back
    let said = shop.palier("abort", &["--reason", "nothing to see"]).await?;
    ensure!(said.contains("Taken"), "palier abort says: {said}");
    let ended = shop.until_ended(1, Outcome::RolledBack).await?;
    let why = ended.run.map(|run| run.reason).unwrap_or_default();
    ensure!(why.contains("nothing to see"), "the reason is not told: {why}");
    nobody_noticed(&scene, &visitors.stop().await)?;
    shop.until_as(
        &shop.found[0].clone().with_image(&crate::world::given::image("v2")),
        Apart::FromTheLabelAndThePause,
    )
    .await
}
