//! Row 14: hooks. Jobs at each point, each policy, Jobs that fail, never end or never start, and kills on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use palier::api::{HookState, HookStatus, Outcome, RolloutState, RolloutStatus};
use serde_json::{Value, json};

use crate::world::controllers::{Controller, until_led};
use crate::world::given::image;
use crate::world::install::{self, RELEASE};
use crate::world::phases::{nobody_noticed, nobody_was_lost};
use crate::world::scene::launch_as;
use crate::world::shop::SOON;
use crate::world::{Gate, Given, Scene, Shop};

const RATE: u32 = 40;
/// How long nobody is there after a kill.
const AWAY: Duration = Duration::from_millis(500);
/// A dead leader's Lease takes its time at each kill.
const NEXT: Duration = Duration::from_secs(60);

/// A hook of the CronJob of its name.
pub fn hook(name: &str, point: &str, more: Value) -> Value {
    let mut hook = json!({"name": name, "at": point, "cronJobRef": {"name": name}});
    for (field, value) in more.as_object().into_iter().flatten() {
        hook[field] = value.clone();
    }
    hook
}

/// A suspended CronJob whose one container has this tag.
pub async fn cron_job(scene: &Scene, name: &str, tag: &str, pod: Value) -> Result<()> {
    let mut spec = json!({
        "restartPolicy": "Never",
        "containers": [{
            "name": "work", "image": image(tag),
            "env": [{"name": "PALIER_RUN", "value": "mine"}, {"name": "KEEP", "value": "run $(PALIER_RUN)"}],
        }],
    });
    for (field, value) in pod.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let job = json!({"backoffLimit": 0, "ttlSecondsAfterFinished": 0, "template": {"spec": spec}});
    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": name, "namespace": scene.namespace},
        "spec": {
            "schedule": "0 0 1 1 *", "suspend": true,
            "jobTemplate": {"metadata": {"labels": {"made-for": "hooks"}}, "spec": job},
        },
    });
    scene.lab().apply(&cron_job.to_string()).await.map(drop)
}

pub async fn jobs(scene: &Scene) -> Result<Vec<Job>> {
    let jobs: Api<Job> = Api::namespaced(scene.lab().client(), &scene.namespace);
    Ok(jobs.list(&ListParams::default()).await?.items)
}

/// The environment of a Job's first container.
pub fn told(job: &Job) -> BTreeMap<String, String> {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let environment = pod.and_then(|pod| pod.containers.first()).and_then(|one| one.env.clone());
    let pairs = environment.into_iter().flatten();
    pairs.map(|one| (one.name, one.value.unwrap_or_default())).collect()
}

/// The names of the Jobs that the controllers created, in order: one that was created twice stands here twice. A request whose
/// controller was killed before its answer made the Job, unless it was made by another one.
pub fn created(scene: &Scene) -> Result<Vec<String>> {
    let asked = scene.requests_of_palier()?.only(|it| it.resource == "jobs" && it.verb == "create");
    let made = asked.only(|it| it.code < 300);
    let is_made = |name: &str| made.0.iter().any(|it| it.name == name);
    let mut unanswered: Vec<&str> = Vec::new();
    let mut names = Vec::new();
    for entry in asked.0.iter().filter(|it| it.may_be_done()) {
        let is_first = entry.code >= 500 && !is_made(&entry.name) && !unanswered.contains(&&*entry.name);
        if is_first {
            unanswered.push(&entry.name);
        }
        if entry.code < 300 || is_first {
            names.push(entry.name.clone());
        }
    }
    Ok(names)
}

pub fn hooks(status: &RolloutStatus) -> &[HookStatus] {
    status.run.as_ref().map_or(&[], |run| &run.hooks)
}

/// The Jobs that a status speaks of: `name attempt state`, in the order in which they were started.
fn in_words(status: &RolloutStatus) -> Vec<String> {
    hooks(status)
        .iter()
        .map(|it| format!("{} {} {} {:?}", it.name, it.phase, it.attempt, it.state).replace("  ", " "))
        .collect()
}

pub async fn row14_hooks_of_a_good_run(scene: Arc<Scene>) -> Result<()> {
    // Given a hook at each point of a good run
    let points = [
        ("backup", "BeforeRun", json!({"backup": true})),
        ("warm", "BeforePhase", json!({"phases": ["half"]})),
        ("verify", "AfterPhase", json!({"phases": ["half"]})),
        ("tell", "AfterRun", json!({})),
        ("restore", "OnFullRollback", json!({})),
    ];
    for (name, ..) in &points {
        cron_job(&scene, name, if *name == "backup" { "takes2" } else { "v1" }, json!({})).await?;
    }
    let all: Vec<Value> = points.into_iter().map(|(name, point, more)| hook(name, point, more)).collect();
    let given = Given::shop("v1").judged_by(Gate::errors()).field("hooks", json!(all));
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;

    // When the image is released
    shop.push("v2").await?;
    let status = shop.until_ended(1, Outcome::Completed).await?;

    // Then each has run once, in order, and nobody noticed
    nobody_noticed(&scene, &visitors.stop().await)?;
    let expected =
        ["backup 1 Succeeded", "warm half 1 Succeeded", "verify half 1 Succeeded", "tell 1 Succeeded"];
    ensure!(in_words(&status) == expected, "{:?}", in_words(&status));
    let made = created(&scene)?;
    let wanted: Vec<String> = hooks(&status).iter().map(|it| it.job.clone()).collect();
    ensure!(made == wanted, "created were {made:?}, and the status speaks of {wanted:?}");
    // no canary pod was started before the backup was made
    let backup = hooks(&status)[0].since.context("no time")?;
    let sets = scene.requests_of_palier()?.only(|it| it.resource == "replicasets" && it.verb == "create");
    ensure!(sets.0.iter().all(|it| it.at >= backup), "a canary was made before the backup: {:?}", sets.0);
    // and the Jobs are what `kubectl create job --from` makes, owned by the record, with the facts of the run.
    for job in jobs(&scene).await? {
        let (owner, told) = (job.owner_references(), told(&job));
        let is_owned = owner.len() == 1 && owner[0].kind == "RolloutRun" && owner[0].name == "shop-1";
        ensure!(is_owned && job.labels()["made-for"] == "hooks", "{:?}", job.metadata);
        ensure!(job.annotations()["cronjob.kubernetes.io/instantiate"] == "manual", "{:?}", job.metadata);
        ensure!(told["PALIER_RUN"] == "1" && told["KEEP"] == "run $(PALIER_RUN)", "{told:?}");
        if told["PALIER_HOOK"] == "verify" {
            ensure!(told["PALIER_BACKUP"] == wanted[0] && told["PALIER_PHASE"] == "half", "{told:?}");
            let revision = status.components[0].stable.as_ref().map(|it| it.revision.clone());
            ensure!(Some(&told["PALIER_CANARY_REVISION"]) == revision.as_ref(), "{told:?}");
        }
    }
    Ok(())
}

pub async fn row14_failed_hooks_and_their_policies(scene: Arc<Scene>) -> Result<()> {
    // Given hooks that fail, never end and never start, and one that a person has to set aside
    cron_job(&scene, "broken", "fail", json!({})).await?;
    cron_job(&scene, "endless", "hang", json!({})).await?;
    cron_job(&scene, "nowhere", "v1", json!({"nodeSelector": {"is-not": "there"}})).await?;
    let all = [
        hook("broken", "BeforePhase", json!({"phases": ["pilot"], "onFailure": "Continue"})),
        hook("endless", "BeforePhase", json!({"phases": ["half"], "onFailure": "Continue", "timeout": "3s"})),
        hook("nowhere", "AfterPhase", json!({"phases": ["half"], "onFailure": "Continue", "timeout": "3s"})),
        json!({"name": "held", "at": "BeforePhase", "cronJobRef": {"name": "broken"}, "phases": ["everyone"],
            "onFailure": "Hold"}),
    ];
    let given = Given::shop("v1").baking("1s").judged_by(Gate::errors()).field("hooks", json!(all));
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;

    // When the image is released, then the run goes on without those that may fail, and waits for the one that may not
    shop.push("v2").await?;
    let held = shop.until("the run is held", NEXT, |status| status.state == RolloutState::Held).await?;
    ensure!(held.message.contains("the hook held") && held.message.contains("Promote"), "{}", held.message);
    ensure!(held.components[0].weight == 50, "it is at {} %", held.components[0].weight);
    for (name, words) in
        [("broken", "backoff limit"), ("endless", "not done within 3s"), ("nowhere", "not done")]
    {
        let failed = hooks(&held).iter().find(|it| it.name == name).context("it was not started")?;
        ensure!(failed.state == HookState::Failed && failed.message.contains(words), "{failed:?}");
    }
    // Jobs that took too long do not go on
    let left: Vec<String> = jobs(&scene).await?.iter().map(|job| told(job)["PALIER_HOOK"].clone()).collect();
    ensure!(!left.iter().any(|name| name == "endless" || name == "nowhere"), "{left:?} are left");
    // and a person's word sets the last one aside.
    shop.palier("promote", &["--reason", "the hook is wrong"]).await?;
    shop.until_ended(1, Outcome::Completed).await?;
    ensure!(created(&scene)?.len() == 4, "{:?}", created(&scene)?);
    nobody_noticed(&scene, &visitors.stop().await)
}

pub async fn row14_failed_backup_aborts(scene: Arc<Scene>) -> Result<()> {
    // Given a backup that fails twice, and a restore
    cron_job(&scene, "backup", "fail", json!({})).await?;
    cron_job(&scene, "restore", "v1", json!({})).await?;
    let all = [
        hook("backup", "BeforeRun", json!({"backup": true, "retries": 1})),
        hook("restore", "OnFullRollback", json!({})),
    ];
    let shop = scene.given(Given::shop("v1").field("hooks", json!(all))).await?;
    let visitors = shop.visitors(RATE)?;

    // When an image is pushed, then the run goes back with the words of the Job, and nothing of it was ever started
    shop.push("v2").await?;
    let status = shop.until_ended(1, Outcome::RolledBack).await?;
    let reason = status.run.as_ref().map(|run| run.reason.clone()).unwrap_or_default();
    ensure!(reason.contains("the hook backup") && reason.contains("backoff limit"), "{reason}");
    ensure!(in_words(&status) == ["backup 2 Failed"], "{:?}", in_words(&status));
    let sets = scene.requests_of_palier()?.only(|it| it.resource == "replicasets" && it.verb == "create");
    ensure!(sets.0.is_empty(), "a canary was made: {:?}", sets.0);
    ensure!(created(&scene)?.len() == 2, "{:?}", created(&scene)?);
    shop.answers_from("v1").await?;
    nobody_noticed(&scene, &visitors.stop().await)
}

/// The chart with hooks for this namespace alone, and one controller.
pub async fn controller(scene: &Scene) -> Result<Controller> {
    let (lab, namespace) = (scene.lab(), scene.namespace.as_str());
    install::one_namespace(lab, namespace, &["hooks.enabled=true"]).await?;
    let mut launch = launch_as(lab, namespace, RELEASE).await?;
    launch.extra.push("--hooks".to_owned());
    let controller = Controller::start(lab, &format!("{namespace}-a"), launch).await?;
    until_led(lab, namespace, std::slice::from_ref(&controller)).await?;
    Ok(controller)
}

/// How far a hook is: its attempt is stored, its Job was seen, it succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Stored,
    Seen,
    Done,
}

fn step_of(hook: &HookStatus) -> Step {
    match (hook.state, hook.started_at) {
        (HookState::Succeeded, _) => Step::Done,
        (_, Some(_)) => Step::Seen,
        (_, None) => Step::Stored,
    }
}

/// Kills the controller as soon as each of these shows, and starts it again.
async fn kill_when(
    scene: &Scene,
    shop: &Shop,
    controller: &Controller,
    moments: &[(&str, &str, Step)],
) -> Result<()> {
    for (name, phase, step) in moments {
        // A step may be over before it is seen here: then it is the next one that is interrupted.
        let is_there = |it: &HookStatus| it.name == *name && it.phase == *phase && step_of(it) >= *step;
        let what = format!("{name} {phase}: {step:?}");
        let status = shop.until(&what, NEXT, |status| hooks(status).iter().any(is_there)).await?;
        controller.kill(scene.lab())?;
        println!("{}: killed at {what}, {:?}", scene.name, in_words(&status).last());
        tokio::time::sleep(AWAY).await;
        controller.start_again(scene.lab()).await?;
    }
    scene.measured("kills of the controller", &moments.len().to_string(), "one at each step of a hook");
    Ok(())
}

/// However often the controller died, every attempt that the status speaks of has had one Job, and nothing else ran.
async fn one_job_for_each(scene: &Scene, status: &RolloutStatus) -> Result<()> {
    let made = created(scene)?;
    let wanted: Vec<String> = hooks(status).iter().map(|it| it.job.clone()).collect();
    ensure!(made == wanted, "created were {made:?}, and the status speaks of {wanted:?}");
    let pods: BTreeMap<String, usize> = scene
        .record
        .pods
        .all()
        .iter()
        .filter_map(|sight| Some((sight.object.name_any(), sight.object.labels().get("job-name")?.clone())))
        .collect::<BTreeMap<String, String>>()
        .into_values()
        .fold(BTreeMap::new(), |mut count, job| {
            *count.entry(job).or_default() += 1;
            count
        });
    ensure!(pods.values().all(|count| *count == 1), "pods of each Job: {pods:?}");
    scene.measured("Jobs", &made.len().to_string(), "one for each attempt");
    Ok(())
}

pub async fn row14_killed_between_attempt_and_job(scene: Arc<Scene>) -> Result<()> {
    // Given hooks all along the way
    let controller = controller(&scene).await?;
    for name in ["backup", "warm", "tell"] {
        cron_job(&scene, name, "takes1", json!({})).await?;
    }
    let all = [
        hook("backup", "BeforeRun", json!({"backup": true})),
        hook("warm", "BeforePhase", json!({})),
        hook("tell", "AfterRun", json!({})),
    ];
    let shop = scene.given(Given::shop("v1").baking("2s").field("hooks", json!(all))).await?;
    let visitors = shop.visitors(RATE)?;

    // When the controller is killed after an attempt was stored, after its Job was seen, and after it succeeded
    shop.push("v2").await?;
    let moments = [
        ("backup", "", Step::Stored),
        ("backup", "", Step::Done),
        ("warm", "pilot", Step::Stored),
        ("warm", "pilot", Step::Seen),
        ("warm", "half", Step::Stored),
        ("warm", "everyone", Step::Done),
        ("tell", "", Step::Stored),
    ];
    kill_when(&scene, &shop, &controller, &moments).await?;

    // Then each attempt has one Job all the same
    let status = shop.until_ended(1, Outcome::Completed).await?;
    let expected = [
        "backup 1 Succeeded",
        "warm pilot 1 Succeeded",
        "warm half 1 Succeeded",
        "warm everyone 1 Succeeded",
        "tell 1 Succeeded",
    ];
    ensure!(in_words(&status) == expected, "{:?}", in_words(&status));
    one_job_for_each(&scene, &status).await?;
    nobody_noticed(&scene, &visitors.stop().await)
}

pub async fn row14_killed_while_it_restores(scene: Arc<Scene>) -> Result<()> {
    // Given a backup, a run that bakes, and a restore
    let controller = controller(&scene).await?;
    cron_job(&scene, "backup", "v1", json!({})).await?;
    cron_job(&scene, "restore", "takes1", json!({})).await?;
    let all =
        [hook("backup", "BeforeRun", json!({"backup": true})), hook("restore", "OnFullRollback", json!({}))];
    let given = Given::shop("v1").baking("30s").field("hooks", json!(all));
    let shop = scene.given(given).await?;
    let visitors = shop.visitors(RATE)?;
    shop.push("v2").await?;
    shop.until_baking(1, 10).await?;

    // When it goes back, and the controller is killed at each step of the restore
    shop.palier("abort", &["--reason", "data are wrong"]).await?;
    shop.until("all traffic is back", SOON, |status| {
        status.state == RolloutState::RollingBack && status.components.iter().all(|one| one.weight == 0)
    })
    .await?;
    let moments = [("restore", "", Step::Stored), ("restore", "", Step::Seen), ("restore", "", Step::Done)];
    kill_when(&scene, &shop, &controller, &moments).await?;

    // Then it has restored once, with the name of the backup
    let status = shop.until_ended(1, Outcome::RolledBack).await?;
    ensure!(in_words(&status) == ["backup 1 Succeeded", "restore 1 Succeeded"], "{:?}", in_words(&status));
    one_job_for_each(&scene, &status).await?;
    let (backup, restore) = (&hooks(&status)[0].job, &hooks(&status)[1].job);
    let all = jobs(&scene).await?;
    let restored = all.iter().find(|job| job.name_any() == *restore).context("the Job is gone")?;
    ensure!(told(restored)["PALIER_BACKUP"] == *backup, "{:?}", told(restored));
    shop.answers_from("v1").await?;
    nobody_was_lost(&scene, &visitors.stop().await)
}
