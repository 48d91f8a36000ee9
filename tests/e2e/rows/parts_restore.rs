//! A release of several parts with its data: everything back at once, then the backup restored, once, whatever becomes of the
//! controller.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use palier::api::{HookPoint, HookState, HookStatus, Outcome};
use serde_json::json;

use super::hooks::{controller, created, cron_job, hook, jobs, told};
use super::parts::{CHAIN, visitors_of_all};
use super::parts_back::{
    a_fast_chain, all_went_back, push_a_bad_end, stable_is_untouched, until_it_goes_back,
    until_the_last_begins,
};
use crate::world::killing::kill_at_each_write;
use crate::world::phases::{between, deciding_answer, nobody_was_lost};
use crate::world::trail::Deed;
use crate::world::{Scene, Shop, Trail};
use kube::ResourceExt as _;

/// The run whose controller lives, and the one in which it dies.
const QUIET: i64 = 1;
const KILLED: i64 = 2;

pub async fn parts3_all_back_and_restored_once(scene: Arc<Scene>) -> Result<()> {
    // Given four domains in a chain that one gate judges for all, a backup before each run and a restore after a full rollback
    let controller = controller(&scene).await?;
    cron_job(&scene, "backup", "v1", json!({})).await?;
    cron_job(&scene, "restore", "takes2", json!({})).await?;
    let all =
        [hook("backup", "BeforeRun", json!({"backup": true})), hook("restore", "OnFullRollback", json!({}))];
    let shop = scene.given(a_fast_chain().field("hooks", json!(all))).await?;
    let loads = visitors_of_all(&shop)?;

    // When the gate fails while three have 100 % and one 10 %
    push_a_bad_end(&shop).await?;
    until_the_last_begins(&shop, QUIET).await?;
    shop.until_ended_within(QUIET, Outcome::RolledBack, CHAIN).await?;
    // Then all are back in time, and then the data
    all_went_back(&scene, &shop, QUIET)?;

    // When it is tried again, and the controller is killed on the heels of each write of the way back
    shop.palier("retry", &["--reason", "once more"]).await?;
    until_the_last_begins(&shop, KILLED).await?;
    until_it_goes_back(&shop, KILLED).await?;
    let killed_at = kill_at_each_write(&scene, &shop, &controller, &scene.user).await?;
    scene.measured("kills on the way back", &killed_at.len().to_string(), "one at each write");
    let dies_at = |what: &str| killed_at.iter().any(|write| write.starts_with(what));
    ensure!(killed_at.len() >= 10, "only {} kills", killed_at.len());
    ensure!(dies_at("create jobs") || dies_at("patch rollouts/status"), "no kill near the restore");
    // Then all are back all the same, and nobody got a canary again
    shop.until_ended_within(KILLED, Outcome::RolledBack, CHAIN).await?;
    let trail = Trail::of(&scene)?;
    for workload in &shop.given.workloads {
        let one = if workload.name == "clients" { [10, 0].to_vec() } else { [10, 100, 0].to_vec() };
        let weights = trail.weights(&workload.name);
        ensure!(weights == [one.clone(), one].concat(), "{}: {weights:?}", workload.name);
    }
    tell_how_long(&scene, &shop)?;

    // and each run has restored once, from its own backup, when no canary had traffic any more.
    let mut wanted = Vec::new();
    for run in [QUIET, KILLED] {
        let (backup, restore) = restored_once(&scene, &shop, run).await?;
        wanted.extend([backup, restore]);
    }
    let made = created(&scene)?;
    ensure!(made == wanted, "the Jobs {made:?} were created, the records speak of {wanted:?}");
    scene.measured("Jobs of two runs", &made.len().to_string(), "4: a backup and a restore in each");
    for load in loads {
        nobody_was_lost(&scene, &load.stop().await)?;
    }
    stable_is_untouched(&scene, &shop).await
}

/// How long the traffic took to go back while the controller was killed again and again. Each time another one has to start.
fn tell_how_long(scene: &Scene, shop: &Shop) -> Result<()> {
    let (answered, _) = deciding_answer(scene, shop, KILLED)?;
    let trail = Trail::of(scene)?.since(answered);
    let mut last = answered;
    for workload in &shop.given.workloads {
        last = last.max(trail.first(&workload.name, Deed::Weight(0))?.done);
    }
    let took = format!("{} ms", between(answered, last).as_millis());
    scene.measured("failing answer → last weight 0, killed at each write", &took, "told");
    Ok(())
}

/// By the record, the Jobs, their pods and the audit log: one backup, one restore with its name, after all traffic was back.
/// Gives the names of both Jobs.
async fn restored_once(scene: &Scene, shop: &Shop, run: i64) -> Result<(String, String)> {
    let record = shop.record_of(run).await?.status.context("the record is empty")?;
    ensure!(record.outcome == Some(Outcome::RolledBack), "run {run}: {:?}", record.outcome);
    let [backup, restore] = &record.hooks[..] else { anyhow::bail!("run {run}: {:?}", record.hooks) };
    let is_once =
        |it: &HookStatus, point| it.point == point && it.attempt == 1 && it.state == HookState::Succeeded;
    ensure!(is_once(backup, HookPoint::BeforeRun), "run {run}: {backup:?}");
    ensure!(is_once(restore, HookPoint::OnFullRollback), "run {run}: {restore:?}");

    let all = jobs(scene).await?;
    let job = all.iter().find(|job| job.name_any() == restore.job).context("the Job is gone")?;
    ensure!(told(job)["PALIER_BACKUP"] == backup.job, "run {run}: {:?}", told(job));
    let pods = scene.record.pods.all();
    let of_job = |name: &str| {
        let its = pods
            .iter()
            .filter(|sight| sight.object.labels().get("job-name").map(String::as_str) == Some(name))
            .map(|sight| sight.object.name_any());
        its.collect::<std::collections::BTreeSet<_>>().len()
    };
    ensure!(of_job(&restore.job) == 1, "{} pods of {}", of_job(&restore.job), restore.job);

    let asked = scene.requests_of_palier()?.only(|it| it.resource == "jobs" && it.name == restore.job);
    let asked = asked.0.first().context("the Job was never asked for")?.at;
    let (answered, _) = deciding_answer(scene, shop, run)?;
    let trail = Trail::of(scene)?.since(answered);
    for workload in &shop.given.workloads {
        let back = trail.first(&workload.name, Deed::Weight(0))?;
        ensure!(back.done <= asked, "run {run}: {} went back after the restore began", workload.name);
    }
    Ok((backup.job.clone(), restore.job.clone()))
}
