//! Row 8: the Rollout is deleted, whatever it is doing. One version serves everybody, and nothing is left behind.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};
use palier::api::names::ROLLOUT_LABEL;
use palier::api::{OnDelete, Outcome};
use serde_json::json;

use super::hooks::{cron_job, hook};
use crate::lab::eventually;
use crate::world::given::image;
use crate::world::phases::{nobody_noticed, nobody_was_lost, pods_are_the_first_ones};
use crate::world::shop::RUN;
use crate::world::{Apart, Gate, Given, Scene, Shop};

const RATE: u32 = 40;

pub async fn row08_deleted_at_pilot_rollback(scene: Arc<Scene>) -> Result<()> {
    deleted_while_baking(&scene, 10, OnDelete::Rollback).await
}

pub async fn row08_deleted_at_half_rollback(scene: Arc<Scene>) -> Result<()> {
    deleted_while_baking(&scene, 50, OnDelete::Rollback).await
}

pub async fn row08_deleted_at_everyone_rollback(scene: Arc<Scene>) -> Result<()> {
    deleted_while_baking(&scene, 100, OnDelete::Rollback).await
}

pub async fn row08_deleted_at_pilot_promote(scene: Arc<Scene>) -> Result<()> {
    deleted_while_baking(&scene, 10, OnDelete::Promote).await
}

pub async fn row08_deleted_at_half_promote(scene: Arc<Scene>) -> Result<()> {
    deleted_while_baking(&scene, 50, OnDelete::Promote).await
}

pub async fn row08_deleted_at_everyone_promote(scene: Arc<Scene>) -> Result<()> {
    deleted_while_baking(&scene, 100, OnDelete::Promote).await
}

async fn deleted_while_baking(scene: &Arc<Scene>, traffic: i32, way: OnDelete) -> Result<()> {
    // Given a run that bakes, long where it is to be deleted
    let bake = |phase: i32| if phase == traffic { "10m" } else { "1s" };
    let phases = [("pilot", 10, bake(10)), ("half", 50, bake(50)), ("everyone", 100, bake(100))];
    let shop = scene.given(Given::shop("v1").phases(&phases).on_delete(way)).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, traffic).await?;

    // When the Rollout is deleted
    shop.delete_rollout(RUN).await?;

    // Then one version serves, by its own pods, and nobody has noticed
    match way {
        OnDelete::Rollback => {
            // The Deployment still holds the new template: nobody has said that it may roll natively.
            shop.answers_from("v1").await?;
            pods_are_the_first_ones(scene, "v1", 4)?;
        }
        OnDelete::Promote => {
            shop.serves(shop.workload(), "v2").await?;
            pods_are_the_first_ones(scene, "v2", 4)?;
        }
    }
    nobody_noticed(scene, &visitors.stop().await)?;
    // and what was borrowed is given back
    let apart = if way == OnDelete::Rollback { Apart::FromTheLabelAndThePause } else { Apart::FromNothing };
    shop.found[0].clone().with_image(&image("v2")).is_kept(&shop.look().await?[0], apart)?;
    nothing_is_left(scene, &shop).await
}

pub async fn row08_namespace_deleted_at_half(scene: Arc<Scene>) -> Result<()> {
    // Given a run that bakes, with a hook under way and one after it
    for name in ["verify", "tell"] {
        cron_job(&scene, name, "hang", json!({})).await?;
    }
    let hooks =
        [hook("verify", "BeforePhase", json!({"phases": ["everyone"]})), hook("tell", "AfterRun", json!({}))];
    let phases = [("pilot", 10, "1s"), ("half", 50, "1s"), ("everyone", 100, "1s")];
    let shop = scene.given(Given::shop("v1").phases(&phases).field("hooks", json!(hooks))).await?;
    shop.push("v2").await?;
    shop.until("a hook is under way at 50 %", RUN, |status| {
        let hooks = status.run.as_ref().map_or(&[][..], |run| &run.hooks);
        status.components[0].weight == 50 && hooks.iter().any(|hook| hook.started_at.is_some())
    })
    .await?;

    // When its namespace is deleted, with all that is in it, then nothing of Palier's keeps it
    let namespaces: Api<Namespace> = Api::all(scene.lab().client());
    namespaces.delete(&scene.namespace, &DeleteParams::default()).await?;
    let gone = eventually("the namespace is gone", RUN, async || {
        match namespaces.get_opt(&scene.namespace).await? {
            None => Ok(()),
            Some(left) => {
                let said = left.status.and_then(|status| status.conditions).unwrap_or_default();
                let words: Vec<String> = said.into_iter().filter_map(|one| one.message).collect();
                Err(words.join("; ").into())
            }
        }
    });
    gone.await?;
    // for `Scene::close`, which deletes it.
    let again = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace}});
    scene.lab().apply(&again.to_string()).await.map(drop)
}

/// No canary Service, no ReplicaSet of ours, no label.
async fn nothing_is_left(scene: &Scene, shop: &Shop) -> Result<()> {
    for service in scene.record.services.present() {
        ensure!(!service.name_any().ends_with("-canary"), "the Service {} is left", service.name_any());
    }
    for set in scene.record.sets.present() {
        let owners = set.owner_references();
        ensure!(
            owners.iter().all(|owner| owner.kind == "Deployment"),
            "the ReplicaSet {} belongs to {owners:?}",
            set.name_any()
        );
        ensure!(!set.labels().contains_key(ROLLOUT_LABEL), "the ReplicaSet {} has our label", set.name_any());
    }
    let deployment = shop.deployment().await?;
    ensure!(!deployment.labels().contains_key(ROLLOUT_LABEL), "the Deployment has our label");
    Ok(())
}

pub async fn row08_deleted_at_rest(scene: Arc<Scene>) -> Result<()> {
    let shop = scene.given(Given::shop("v1")).await?;
    let visitors = shop.visitors(RATE)?;
    shop.delete_rollout(RUN).await?;
    nothing_is_left(&scene, &shop).await?;
    shop.found[0].is_kept(&shop.look().await?[0], Apart::FromNothing)?;
    nobody_noticed(&scene, &visitors.stop().await)?;
    // A Deployment that nobody watches any more rolls natively, as ever; what that costs is not ours to judge.
    shop.push("v2").await?;
    shop.serves(shop.workload(), "v2").await
}

pub async fn row08_deleted_after_a_rollback(scene: Arc<Scene>) -> Result<()> {
    let shop = scene.given(Given::shop("v1").baking("20s").judged_by(Gate::errors())).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2-err20").await?;
    shop.until_ended(1, Outcome::RolledBack).await?;
    shop.delete_rollout(RUN).await?;
    // The rejected template is still in the Deployment: it must not come to users by the deletion.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    shop.answers_from("v1").await?;
    pods_are_the_first_ones(&scene, "v1", 4)?;
    nobody_was_lost(&scene, &visitors.stop().await)?;
    nothing_is_left(&scene, &shop).await
}
