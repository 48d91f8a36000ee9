//! Jobs at the points of a run.

use palier::apiserver::{Key, Kind, Store};
use palier::rig::given::SHOP;
use palier::rig::{Late, Rig};
use serde_json::{Value, json};

use super::{PATIENCE, at_rest, ended, furnish_as, is_bad, push, reaches};

/// A suspended CronJob whose one container has this tag.
fn cron_job(name: &str, tag: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": SHOP},
        "spec": {
            "schedule": "0 0 1 1 *", "suspend": true,
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "work", "image": format!("registry.example.com/{name}:{tag}")}],
            }}}},
        },
    })
}

fn hook(name: &str, point: &str, retries: u32) -> Value {
    json!({"name": name, "at": point, "cronJobRef": {"name": name}, "retries": retries, "timeout": "60s"})
}

/// A backup before the run, a word at each raise, a restore after all is back, a word at the end.
pub async fn backup_and_restore(rig: &Rig) -> Result<(), Late> {
    let jobs = ["backup", "word", "restore", "end"].map(|name| cron_job(name, "v1-takes3"));
    furnish_as(rig, &["api"], &jobs, |spec| {
        spec["hooks"] = json!([
            hook("backup", "BeforeRun", 5),
            hook("word", "BeforePhase", 5),
            hook("restore", "OnFullRollback", 5),
            hook("end", "AfterRun", 5),
        ]);
        spec["hooks"][0]["backup"] = json!(true);
    });
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    is_bad(rig, "api", "v2").await?;
    ended(rig, 1).await
}

/// Without a backup there is no run.
pub async fn backup_fails(rig: &Rig) -> Result<(), Late> {
    furnish_as(rig, &["api"], &[cron_job("backup", "v1-fail2")], |spec| {
        spec["hooks"] = json!([hook("backup", "BeforeRun", 1)]);
        spec["hooks"][0]["backup"] = json!(true);
    });
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    ended(rig, 1).await
}

/// The first restore does not end in time; the next one does.
pub async fn restore_fails_at_first(rig: &Rig) -> Result<(), Late> {
    furnish_as(rig, &["api"], &[cron_job("restore", "v1-hang")], |spec| {
        spec["hooks"] = json!([hook("restore", "OnFullRollback", 5)]);
    });
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 10).await?;
    is_bad(rig, "api", "v2").await?;
    let is_started = |store: &Store| store.list(Kind::Job, Some(SHOP)).next().is_some();
    rig.until("the restore is started", PATIENCE, is_started).await?;
    let mended = rig.change("developer", &Key::new(Kind::CronJob, SHOP, "restore"), |cron_job| {
        let pod = &mut cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        pod["containers"][0]["image"] = json!("registry.example.com/restore:v2-takes3");
    });
    mended.expect("a CronJob takes another image");
    ended(rig, 1).await
}
