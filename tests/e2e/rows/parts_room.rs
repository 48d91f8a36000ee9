//! Room for extra pods: it is never exceeded, and nobody is stuck for want of it, while the Deployments grow and shrink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt as _;
use palier::api::Outcome;
use serde_json::json;

use super::parts::{CHAIN, visitors_of_all};
use crate::world::phases::nobody_noticed;
use crate::world::{Gate, Given, Scene, Shop};

/// Extra pods that are allowed, sizes of a Deployment, and the seed of what is done when.
const ROOM: i32 = 8;
const SIZES: std::ops::RangeInclusive<u64> = 2..=6;
const SEED: u64 = 20;
/// Scalings at most.
const MOVES: u32 = 1_000;
/// Between two scalings, in milliseconds.
const PAUSES: std::ops::RangeInclusive<u64> = 300..=2_000;

pub async fn parts7_extra_pods_stay_in_their_room(scene: Arc<Scene>) -> Result<()> {
    // Given three components of which one depends on another, and room for eight extra pods: less than they could use together
    let given =
        Given::shop("v1").and("cart", "v1").and("pay", "v1").component("pay", "dependsOn", json!(["cart"]));
    let given = given.field("maxExtraPods", json!(ROOM)).field("retain", json!("UntilBaked"));
    let shop = scene.given(given.replicas(4).judged_by(Gate::errors())).await?;
    let loads = visitors_of_all(&shop)?;

    // When a good version comes to all, and an HPA moves the Deployments underneath
    shop.push_to_all("v2").await?;
    tokio::select! {
        moved = scale_at_random(&shop) => moved?,
        ended = shop.until_ended_within(1, Outcome::Completed, CHAIN) => ended.map(drop)?,
    }
    let moves = scene.requests()?.only(|entry| entry.resource == "deployments/scale").0.len();
    scene.measured("scalings during the run", &moves.to_string(), "≥ 10");
    ensure!(moves >= 10, "only {moves} scalings");

    // Then it reaches everyone, and there were never more extra pods than allowed.
    let most = most_extra_pods(&scene, &shop)?;
    scene.measured("most extra pods", &format!("{most} of {ROOM}"), &format!("≤ {ROOM}"));
    ensure!(most <= ROOM, "there were {most} extra pods, and {ROOM} are allowed");
    for load in loads {
        nobody_noticed(&scene, &load.stop().await)?;
    }
    for workload in &shop.given.workloads {
        shop.workload_answers_from(workload, "v2").await?;
    }
    Ok(())
}

/// Numbers that look random and are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    fn of(&mut self, range: std::ops::RangeInclusive<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start() + (z ^ (z >> 31)) % (range.end() - range.start() + 1)
    }
}

/// Scales one Deployment after the other, as an HPA does, until dropped.
async fn scale_at_random(shop: &Shop) -> Result<()> {
    let mut dice = Dice(SEED);
    for _ in 0..MOVES {
        tokio::time::sleep(Duration::from_millis(dice.of(PAUSES))).await;
        let which = usize::try_from(dice.of(0..=2))?;
        shop.scale_of(&shop.given.workloads[which], u32::try_from(dice.of(SIZES))?).await?;
    }
    bail!("the run outlasted {MOVES} scalings")
}

/// The most pods that ReplicaSets of the Rollout had or asked for at once. One watch sees their versions in the order in which the
/// API server had them.
fn most_extra_pods(scene: &Scene, shop: &Shop) -> Result<i32> {
    let mut held: BTreeMap<String, i32> = BTreeMap::new();
    let (mut most, mut seen) = (0, 0);
    for sight in scene.record.sets.all() {
        let is_ours = !sight.is_gone && is_of_rollout(&sight.object, &shop.name);
        held.insert(sight.object.name_any(), if is_ours { pods(&sight.object) } else { 0 });
        seen += usize::from(is_ours);
        most = most.max(held.values().sum());
    }
    ensure!(seen > 0, "no canary was ever seen");
    Ok(most)
}

fn is_of_rollout(set: &ReplicaSet, name: &str) -> bool {
    set.owner_references().iter().any(|owner| owner.kind == "Rollout" && owner.name == name)
}

fn pods(set: &ReplicaSet) -> i32 {
    let asked = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    asked.max(set.status.as_ref().map_or(0, |status| status.replicas))
}
