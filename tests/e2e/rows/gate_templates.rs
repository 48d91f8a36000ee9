//! Row 16: gates of a template of the cluster, with parameters.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use palier::api::{Outcome, RolloutState, RolloutStatus, Span, Verdict};
use serde_json::{Value, json};

use crate::world::phases::{
    IN_A_MOMENT, between, deciding_answer, first_write_to_route, nobody_noticed, nobody_was_lost,
};
use crate::world::shop::is_ready;
use crate::world::{Gate, Given, Scene};

const RATE: u32 = 40;
/// Time to bake before the template goes.
const BAKED: Duration = Duration::from_secs(3);

/// The gate of errors as a template of the cluster, named after the scene.
fn template(name: &str, description: &str) -> Value {
    let mut gate = Gate::errors().0;
    gate["threshold"] = json!({"max": "$limit"});
    gate["interval"] = json!("$every");
    json!({
        "apiVersion": "palier.dev/v1alpha1", "kind": "ClusterGateTemplate", "metadata": {"name": name},
        "spec": {
            "description": description,
            "parameters": [
                {"name": "limit", "type": "Number", "minimum": 0, "maximum": 1},
                {"name": "every", "type": "Duration", "default": "1s"},
            ],
            "gates": [gate],
        },
    })
}

fn judged_by(name: &str, limit: &str) -> Given {
    let from = json!([{"kind": "ClusterGateTemplate", "name": name, "parameters": {"limit": limit}}]);
    Given::shop("v1").baking("5s").field("gatesFrom", from)
}

pub async fn row16_gates_of_a_template_judge_a_release(scene: Arc<Scene>) -> Result<()> {
    // Given a shop whose gate comes from a template of the cluster
    let name = scene.namespace.clone();
    scene.lab().apply(&template(&name, "errors").to_string()).await?;
    let shop = scene.given(judged_by(&name, "0.05")).await?;
    let visitors = shop.visitors(RATE)?;

    // When a good image comes, then it reaches everyone, judged by that gate
    shop.push("v2").await?;
    let ended = shop.until_ended(1, Outcome::Completed).await?;
    ensure!(ended.state == RolloutState::Completed, "{:?}", ended.state);
    let record = shop.record_of(1).await?.status.unwrap_or_default();
    let gate = record.components[0].gates.iter().find(|gate| gate.name == "errors").cloned();
    ensure!(gate.is_some_and(|gate| gate.verdict == Verdict::Pass), "{record:?}");
    nobody_noticed(&scene, &visitors.stop().await)?;

    // When one with 20 % errors comes, then it goes back
    let visitors = shop.visitors(RATE)?;
    shop.push("v3-err20").await?;
    shop.until_ended(2, Outcome::RolledBack).await?;
    let (answered, status) = deciding_answer(&scene, &shop, 2)?;
    ensure!(status.components[0].earned.is_empty(), "it earned {:?}", status.components[0].earned);
    let write = first_write_to_route(&scene, &shop.name, answered)?;
    let took = between(answered, write.done);
    scene.measured("failing answer → weight 0", &format!("{} ms", took.as_millis()), "≤ 1000 ms");
    let explained = shop.palier("explain", &[]).await?;
    ensure!(explained.contains("0.05"), "the template's limit is not told: {explained}");
    nobody_was_lost(&scene, &visitors.stop().await)?;
    remove(&scene, &name).await
}

pub async fn row16_template_is_edited_and_deleted_in_a_run(scene: Arc<Scene>) -> Result<()> {
    // Given a run of an image with 20 % errors, of which a template allows half
    let name = scene.namespace.clone();
    scene.lab().apply(&template(&name, "errors").to_string()).await?;
    let given = judged_by(&name, "0.5").phases(&[("pilot", 10, "60s"), ("everyone", 100, "5s")]);
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2-err20").await?;
    shop.until_baking(1, 10).await?;
    let passes = |status: &RolloutStatus| {
        let mut gates = status.components[0].gates.iter();
        gates.any(|gate| gate.name == "errors" && gate.verdict == Verdict::Pass)
    };
    shop.until("the gate passes", IN_A_MOMENT, passes).await?;
    tokio::time::sleep(BAKED).await;

    // When the template is deleted, then the run holds and says why; what was baked is void
    remove(&scene, &name).await?;
    let held = shop
        .until("it holds without its template", IN_A_MOMENT, |status| {
            status.components[0]
                .gates
                .iter()
                .any(|gate| gate.message.contains("there is no ClusterGateTemplate"))
        })
        .await?;
    let earned = held.components[0].bake.as_ref().map_or(Span::ZERO, |bake| bake.earned);
    ensure!(earned.is_zero(), "it kept {earned}");

    // When it comes back, the bake begins anew; when it then allows less, the run goes back
    scene.lab().apply(&template(&name, "errors").to_string()).await?;
    shop.until("the gate passes again", IN_A_MOMENT, passes).await?;
    let mut strict = template(&name, "fewer errors");
    strict["spec"]["gates"][0]["threshold"] = json!({"max": 0.05});
    strict["spec"]["gates"][0]["prometheus"]["query"] = {
        let query = strict["spec"]["gates"][0]["prometheus"]["query"].as_str().unwrap_or_default();
        json!(format!("{query} + 0 * $limit"))
    };
    scene.lab().apply(&strict.to_string()).await?;
    shop.until_ended(1, Outcome::RolledBack).await?;
    nobody_was_lost(&scene, &visitors.stop().await)?;
    shop.push("v1").await?;
    shop.until("it is at rest on the old version", IN_A_MOMENT, is_ready).await?;
    remove(&scene, &name).await
}

async fn remove(scene: &Scene, name: &str) -> Result<()> {
    let templates = scene.lab().api("palier.dev/v1alpha1", "ClusterGateTemplate", "").await?;
    templates.delete(name, &Default::default()).await?;
    Ok(())
}
