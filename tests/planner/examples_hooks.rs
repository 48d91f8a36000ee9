//! Hooks: each point, each policy, and what goes wrong with Jobs.

use std::collections::BTreeSet;

use jiff::Timestamp;
use palier::api::{ActionKind, Hook, HookState, HookStatus, Outcome, RolloutSpec, RolloutState, Span};
use palier::engine::{Answer, Measurement, Reason, Write};
use palier::sim::{Cluster, Drive, Fate, Stop};
use serde_json::{Value, json};

use crate::examples_cluster::two_components;
use crate::fixtures::{action, at, cluster, drive, spec};
use crate::monitors::weight_of;

pub const SOON: Fate = Fate::Succeeds(Span::seconds(5));
const NEVER: Fate = Fate::Hangs;
const BROKEN: Fate = Fate::Fails(Span::seconds(5));

pub fn hook(name: &str, point: &str, more: Value) -> Hook {
    let mut hook = json!({"name": name, "at": point, "cronJobRef": {"name": name}, "timeout": "1m"});
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(hook).expect("a valid hook")
}

pub fn backup() -> Hook {
    hook("backup", "BeforeRun", json!({"backup": true}))
}

pub fn restore(more: Value) -> Hook {
    hook("restore", "OnFullRollback", more)
}

fn with(hooks: &[Hook]) -> RolloutSpec {
    RolloutSpec { hooks: hooks.to_vec(), ..spec() }
}

/// A cluster with a CronJob for each hook, whose Jobs go like this.
pub fn ready(hooks: &[(Hook, &[Fate])]) -> Cluster {
    let all: Vec<Hook> = hooks.iter().map(|(hook, _)| hook.clone()).collect();
    equip(cluster(with(&all)), hooks)
}

fn equip(mut cluster: Cluster, hooks: &[(Hook, &[Fate])]) -> Cluster {
    cluster.spec.hooks = hooks.iter().map(|(hook, _)| hook.clone()).collect();
    for (hook, fates) in hooks {
        cluster.add_cron_job(&hook.cron_job_ref.name, fates);
    }
    cluster
}

/// At rest, and then a new image.
pub fn released<F: FnMut(&Measurement, Timestamp) -> Answer>(mut drive: Drive<F>) -> Drive<F> {
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    drive.cluster.push_image("shop-api", "app:v2");
    drive
}

fn statuses<F>(drive: &Drive<F>) -> &[HookStatus] {
    &drive.working.run.as_ref().expect("a run").hooks
}

pub fn status<'d, F>(drive: &'d Drive<F>, name: &str) -> &'d HookStatus {
    statuses(drive).iter().find(|it| it.name == name).expect("a hook that was started")
}

pub fn outcome<F>(drive: &Drive<F>) -> Option<Outcome> {
    drive.working.run.as_ref().and_then(|run| run.outcome)
}

pub fn told<F>(drive: &Drive<F>, reason: Reason) -> Vec<&str> {
    drive.happened.iter().filter(|(_, it)| it.reason == reason).map(|(_, it)| it.message.as_str()).collect()
}

#[test]
fn every_point_of_a_good_run_once_and_in_order() {
    let points = [
        ("backup", "BeforeRun"),
        ("migrate", "BeforeRun"),
        ("warm", "BeforePhase"),
        ("verify", "AfterPhase"),
        ("tell", "AfterRun"),
    ];
    let hooks: Vec<_> = points.map(|(name, point)| (hook(name, point, json!({})), &[SOON][..])).to_vec();
    let mut drive = released(drive(ready(&hooks), 0.0));
    assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
    let made: Vec<_> = drive
        .cluster
        .jobs
        .made
        .iter()
        .map(|made| format!("{} {}", made.cron_job, made.environment["PALIER_PHASE"]))
        .collect();
    let phases =
        ["pilot", "half", "everyone"].map(|phase| [format!("warm {phase}"), format!("verify {phase}")]);
    let mut expected = vec!["backup ".to_owned(), "migrate ".to_owned()];
    expected.extend(phases.concat());
    expected.push("tell ".to_owned());
    assert_eq!(made, expected);
    let last = drive.cluster.jobs.made.last().unwrap();
    assert_eq!(last.environment["PALIER_OUTCOME"], "Completed");
    assert_eq!(told(&drive, Reason::HookSucceeded).len(), made.len());
    assert!(statuses(&drive).iter().all(|it| it.state == HookState::Succeeded));
}

#[test]
fn what_a_job_is_told() {
    let warm = hook("warm", "BeforePhase", json!({"phases": ["half"]}));
    let mut drive = released(drive(ready(&[(backup(), &[SOON]), (warm, &[SOON])]), 0.0));
    drive.run(at(2_000), |_, _| {});
    let [made] = drive.cluster.made_from("warm")[..] else {
        panic!("one Job: {:?}", drive.cluster.jobs.made)
    };
    let run = drive.working.run.as_ref().unwrap();
    let backup = &status(&drive, "backup").job;
    let revision = drive.working.components[0].stable.as_ref().unwrap().revision.clone();
    let told = |name: &str| made.environment[name].as_str();
    assert_eq!((told("PALIER_ROLLOUT"), told("PALIER_RUN")), ("shop", run.number.to_string().as_str()));
    assert_eq!((told("PALIER_HOOK"), told("PALIER_POINT")), ("warm", "BeforePhase"));
    assert_eq!((told("PALIER_COMPONENT"), told("PALIER_PHASE")), ("api", "half"));
    assert_eq!(told("PALIER_CANARY_REVISION"), revision);
    assert_ne!(told("PALIER_STABLE_REVISION"), revision);
    assert_eq!((told("PALIER_BACKUP"), told("PALIER_OUTCOME")), (backup.as_str(), ""));
    assert!(made.name.starts_with("shop-1-warm-api-half-1-") && made.name.len() <= 63, "{}", made.name);
}

#[test]
fn long_names_make_job_names_that_differ_and_fit() {
    let long = |letter: &str| hook(&letter.repeat(40), "BeforePhase", json!({}));
    let hooks = [(long("a"), &[SOON][..]), (long("b"), &[SOON][..])];
    let mut cluster = ready(&hooks);
    cluster.spec.components[0].name = "c".repeat(40);
    let mut drive = released(drive(cluster, 0.0));
    drive.run(at(2_000), |_, _| {});
    let names: BTreeSet<&String> = drive.cluster.jobs.made.iter().map(|made| &made.name).collect();
    assert_eq!(names.len(), 6);
    assert!(names.iter().all(|name| name.len() <= 63 && !name.contains("--")), "{names:?}");
}

#[test]
fn no_canary_pod_starts_before_the_backup_is_made() {
    let hooks = [(backup(), &[Fate::Succeeds(Span::seconds(50))][..])];
    let mut drive = released(drive(ready(&hooks), 0.0));
    drive.run(at(55), |cluster, _| assert_eq!(cluster.sets.len(), 1));
    assert_eq!(drive.working.state, RolloutState::Progressing);
    assert!(drive.working.message.contains("the hook backup"), "{}", drive.working.message);
    drive.run(at(2_000), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Completed);
}

#[test]
fn the_progress_deadline_does_not_run_while_a_hook_does() {
    let warm = hook("warm", "BeforePhase", json!({"timeout": "10m"}));
    let mut cluster = ready(&[(warm, &[Fate::Succeeds(Span::seconds(300))])]);
    cluster.spec.progress_deadline = Span::seconds(20);
    let mut drive = released(drive(cluster, 0.0));
    drive.run(at(100), |_, _| {});
    // Pods that are lost meanwhile have the whole deadline again, once the hook is done.
    drive.cluster.lose_pods("app:v2");
    drive.cluster.pod_lag = Span::seconds(10);
    drive.run(at(300), |_, _| {});
    drive.cluster.settle();
    assert_eq!(drive.run(at(5_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed, "{:#?}", drive.working);
}

#[test]
fn a_failed_attempt_is_tried_again_after_a_growing_pause() {
    let backup = Hook { retries: 3, ..backup() };
    let fates = [BROKEN, BROKEN, Fate::Vanishes(Span::seconds(1)), SOON];
    let mut drive = released(drive(ready(&[(backup, &fates)]), 0.0));
    drive.run(at(2_000), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Completed);
    let made = drive.cluster.made_from("backup");
    let names: BTreeSet<&String> = made.iter().map(|made| &made.name).collect();
    assert_eq!(names.len(), 4, "each attempt has a Job of its own");
    let pauses: Vec<i64> = made.windows(2).map(|two| two[1].at.duration_since(two[0].at).as_secs()).collect();
    assert!(
        (15..=16).contains(&pauses[0]) && (25..=27).contains(&pauses[1]) && (41..=45).contains(&pauses[2]),
        "{pauses:?}"
    );
    assert_eq!(told(&drive, Reason::HookFailed).len(), 3);
    assert_eq!(status(&drive, "backup").attempt, 4);
}

#[test]
fn a_failed_first_hook_aborts_the_run_or_not_as_its_policy_says() {
    for (policy, state) in [("Abort", RolloutState::RolledBack), ("Continue", RolloutState::Completed)] {
        let backup = hook("backup", "BeforeRun", json!({"onFailure": policy}));
        let mut drive = released(drive(ready(&[(backup, &[BROKEN])]), 0.0));
        assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.state, state, "{policy}");
        assert_eq!(status(&drive, "backup").state, HookState::Failed);
        assert_eq!(drive.cluster.jobs.made.len(), 1);
        assert!(told(&drive, Reason::HookFailed)[0].contains(&drive.cluster.jobs.made[0].name));
        if policy == "Abort" {
            assert!(drive.working.message.contains("backup"), "{}", drive.working.message);
        }
    }
}

#[test]
fn a_failed_hook_holds_the_run_until_it_succeeds() {
    let warm = hook("warm", "BeforePhase", json!({"onFailure": "Hold", "phases": ["half"]}));
    let mut drive = released(drive(ready(&[(warm, &[BROKEN, BROKEN, BROKEN, SOON])]), 0.0));
    drive.run(at(400), |cluster, _| assert!(weight_of(cluster, "shop-api").0 <= 10));
    assert_eq!(drive.working.state, RolloutState::Held);
    assert!(drive.working.message.contains("every 5 minutes"), "{}", drive.working.message);
    assert!(drive.happened.iter().any(|(_, it)| it.reason == Reason::HookFailed && it.reason.is_warning()));
    assert_eq!(drive.run(at(5_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
    assert_eq!(drive.cluster.jobs.made.len(), 4);
}

#[test]
fn a_hook_that_fails_for_days_leaves_few_jobs_and_few_words() {
    let warm = hook("warm", "BeforePhase", json!({"onFailure": "Hold"}));
    let mut drive = released(drive(ready(&[(warm, &[BROKEN])]), 0.0));
    assert_eq!(drive.run(at(86_400), |_, _| {}), Stop::Limit);
    assert!(drive.cluster.jobs.made.len() > 200);
    assert!(drive.cluster.jobs.jobs.len() <= 5, "{} Jobs", drive.cluster.jobs.jobs.len());
    assert!(told(&drive, Reason::HookFailed).len() <= 26);
    assert!(drive.working.run.as_ref().unwrap().timeline.iter().any(|it| it.reason == "RunStarted"));
}

#[test]
fn a_person_sets_a_hook_aside_that_holds_the_run() {
    let warm = hook("warm", "BeforePhase", json!({"onFailure": "Hold"}));
    let mut drive = released(drive(ready(&[(warm, &[NEVER, NEVER, SOON])]), 0.0));
    // Its second attempt, after the pause, is under way: it ends with the promotion.
    drive.run(at(400), |_, _| {});
    assert_eq!((drive.working.state, drive.cluster.jobs.made.len()), (RolloutState::Held, 2));
    drive.cluster.act(action(ActionKind::Promote, 1));
    drive.run(at(402), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 10);
    assert!(drive.cluster.jobs.jobs.is_empty(), "{:?}", drive.cluster.jobs.jobs);
    assert_eq!(drive.run(at(5_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
}

#[test]
fn a_job_that_never_ends_is_ended_after_its_time() {
    let backup = Hook { retries: 1, ..backup() };
    let mut drive = released(drive(ready(&[(backup, &[NEVER])]), 0.0));
    assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    assert_eq!((drive.cluster.jobs.made.len(), drive.cluster.jobs.jobs.len()), (2, 0));
    assert!(status(&drive, "backup").message.contains("not done within 1m"));
    let made = &drive.cluster.jobs.made;
    assert!(made[1].at.duration_since(made[0].at).as_secs() >= 70);
}

#[test]
fn the_next_attempt_waits_until_the_one_before_is_gone() {
    let backup = Hook { retries: 1, ..backup() };
    let mut cluster = ready(&[(backup, &[NEVER, SOON])]);
    cluster.pod_lag = Span::seconds(30);
    let mut drive = released(drive(cluster, 0.0));
    drive.run(at(3_000), |cluster, _| assert!(cluster.jobs.jobs.len() <= 1));
    assert_eq!(drive.working.state, RolloutState::Completed);
    let made = &drive.cluster.jobs.made;
    assert!(made[1].at.duration_since(made[0].at).as_secs() >= 90);
}

#[test]
fn what_never_becomes_a_job_is_a_failed_attempt_too() {
    let refused = Fate::IsRefused("exceeded quota".to_owned());
    let mut drive = released(drive(ready(&[(backup(), &[refused])]), 0.0));
    assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    assert!(status(&drive, "backup").message.contains("exceeded quota"));

    let warm = hook("warm", "BeforePhase", json!({"phases": ["half"]}));
    let mut gone = released(drive_of(ready(&[(warm, &[SOON])])));
    gone.run(at(30), |_, _| {});
    gone.cluster.jobs.cron_jobs.clear();
    assert_eq!(gone.run(at(3_000), |_, _| {}), Stop::AtRest);
    assert_eq!(gone.working.state, RolloutState::RolledBack);
    assert!(status(&gone, "warm").message.contains("no CronJob warm"));
}

fn drive_of(cluster: Cluster) -> Drive<impl FnMut(&Measurement, Timestamp) -> Answer> {
    drive(cluster, 0.0)
}

#[test]
fn hooks_are_checked_before_a_run() {
    type Case = (Hook, fn(&mut Cluster), &'static str);
    let cases: [Case; 5] = [
        (
            backup(),
            |cluster| cluster.jobs.enabled = false,
            "spec.hooks: this controller does not run hooks: set hooks.enabled",
        ),
        (
            backup(),
            |cluster| cluster.jobs.cron_jobs.clear(),
            "spec.hooks[backup].cronJobRef.name: there is no CronJob backup",
        ),
        (
            backup(),
            |cluster| cluster.jobs.cron_jobs.get_mut("backup").unwrap().suspended = false,
            "spec.hooks[backup].cronJobRef.name: the CronJob backup is not suspended",
        ),
        (
            hook("warm", "BeforePhase", json!({"phases": ["all"]})),
            |_| {},
            "spec.hooks[warm].phases: there is no phase all",
        ),
        (
            hook("warm", "BeforePhase", json!({"components": ["web"]})),
            |_| {},
            "spec.hooks[warm].components: there is no component web",
        ),
    ];
    for (hook, spoil, words) in cases {
        let mut cluster = ready(&[(hook, &[SOON])]);
        spoil(&mut cluster);
        let mut drive = drive(cluster, 0.0);
        drive.run(at(10), |_, _| {});
        assert_eq!(drive.working.state, RolloutState::Stalled, "{words}");
        assert!(drive.working.message.starts_with(words), "{}", drive.working.message);
        drive.cluster.edit_spec(|spec| spec.hooks.clear());
        drive.run(at(60), |_, _| {});
        assert_eq!(drive.working.state, RolloutState::Idle);
    }
}

#[test]
fn no_hook_starts_under_a_pause_and_one_under_way_is_followed() {
    let migrate = hook("migrate", "BeforeRun", json!({}));
    let mut drive = released(drive(ready(&[(backup(), &[SOON]), (migrate, &[SOON])]), 0.0));
    drive.run(at(12), |_, _| {});
    drive.cluster.act(action(ActionKind::Pause, 1));
    drive.run(at(500), |_, _| {});
    assert_eq!(status(&drive, "backup").state, HookState::Succeeded);
    assert_eq!(drive.cluster.jobs.made.len(), 1);
    drive.cluster.act(action(ActionKind::Resume, 1));
    assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
}

#[test]
fn a_full_rollback_restores_the_backup_once_and_traffic_does_not_wait() {
    for bad in [0.0, 0.5] {
        let hooks = [(backup(), &[SOON][..]), (restore(json!({})), &[Fate::Succeeds(Span::seconds(40))])];
        let mut drive = released(drive(ready(&hooks), bad));
        drive.run(at(18), |_, _| {});
        assert_eq!(weight_of(&drive.cluster, "shop-api").0, 10);
        drive.cluster.act(action(ActionKind::Abort, 1));
        drive.turn(&mut |_, _| true);
        assert_eq!(weight_of(&drive.cluster, "shop-api").0, 0, "in the same decision");
        drive.run(at(50), |cluster, _| {
            let is_restoring = !cluster.made_from("restore").is_empty();
            assert!(!is_restoring || weight_of(cluster, "shop-api").0 == 0);
        });
        assert_eq!(drive.working.state, RolloutState::RollingBack);
        assert!(drive.working.message.contains("the hook restore"), "{}", drive.working.message);
        assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.state, RolloutState::RolledBack);
        let [made] = drive.cluster.made_from("restore")[..] else { panic!("one restore") };
        assert_eq!(made.environment["PALIER_BACKUP"], drive.cluster.made_from("backup")[0].name);
        // Drain time is 10 s: no request is under way any more.
        assert!(made.at >= at(28), "{}", made.at);
    }
}

#[test]
fn a_rollback_that_cannot_restore_says_so_and_keeps_trying() {
    let hooks = [(backup(), &[SOON][..]), (restore(json!({})), &[BROKEN, BROKEN, SOON])];
    let mut drive = released(drive(ready(&hooks), 0.0));
    drive.run(at(18), |_, _| {});
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.run(at(300), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RollingBack);
    let words = "stable serves, but the hook restore";
    assert!(drive.working.message.starts_with(words), "{}", drive.working.message);
    assert!(
        drive
            .working
            .conditions
            .iter()
            .any(|it| it.type_ == "Healthy" && it.status == "False" && it.message.starts_with(words))
    );
    assert_eq!(told(&drive, Reason::HookFailed).len(), 1);
    assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
    assert_eq!(outcome(&drive), Some(Outcome::RolledBack));
    assert_eq!(drive.cluster.made_from("restore").len(), 3);
}

#[test]
fn a_person_ends_a_rollback_that_cannot_restore() {
    let hooks = [(backup(), &[SOON][..]), (restore(json!({})), &[BROKEN])];
    let mut drive = released(drive(ready(&hooks), 0.0));
    drive.run(at(18), |_, _| {});
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.run(at(100), |_, _| {});
    drive.cluster.act(action(ActionKind::Promote, 1));
    assert_eq!(drive.run(at(200), |_, _| {}), Stop::AtRest);
    assert_eq!(outcome(&drive), Some(Outcome::RolledBack));
    assert_eq!(status(&drive, "restore").message, "set aside by a person");
}

#[test]
fn nothing_is_restored_that_was_not_touched() {
    // The backup alone was made, and the run is aborted before any canary pod: there is nothing to put back.
    let tell = hook("tell", "AfterRun", json!({}));
    let hooks = [
        (backup(), &[Fate::Succeeds(Span::seconds(20))][..]),
        (restore(json!({})), &[SOON]),
        (tell, &[SOON]),
    ];
    let mut drive = released(drive(ready(&hooks), 0.0));
    drive.run(at(15), |_, _| {});
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.run(at(20), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RollingBack, "what is under way comes to its end");
    assert_eq!(drive.run(at(200), |_, _| {}), Stop::AtRest);
    assert_eq!(status(&drive, "backup").state, HookState::Succeeded);
    assert!(drive.cluster.made_from("restore").is_empty());
    // Another template, and the former one put back, are no rollback of the data.
    for image in ["app:v3", "app:v1"] {
        let mut drive = released(drive_of(ready(&hooks)));
        drive.run(at(50), |_, _| {});
        assert_eq!(weight_of(&drive.cluster, "shop-api").0, 10);
        drive.cluster.push_image("shop-api", image);
        assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
        assert!(drive.cluster.made_from("restore").is_empty(), "{image}");
    }
}

#[test]
fn a_hook_under_way_ends_before_the_restore_and_is_not_tried_again() {
    for (fate, state) in
        [(SOON, HookState::Succeeded), (BROKEN, HookState::Failed), (NEVER, HookState::Failed)]
    {
        let warm = Hook { retries: 5, ..hook("warm", "BeforePhase", json!({})) };
        let hooks = [(backup(), &[SOON][..]), (warm, &[fate]), (restore(json!({})), &[SOON])];
        let mut drive = released(drive(ready(&hooks), 0.0));
        drive.run(at(17), |_, _| {});
        assert_eq!(status(&drive, "warm").state, HookState::Running);
        drive.cluster.act(action(ActionKind::Abort, 1));
        assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
        assert_eq!(status(&drive, "warm").state, state);
        let made: Vec<_> = drive.cluster.jobs.made.iter().map(|made| made.cron_job.as_str()).collect();
        assert_eq!(made, ["backup", "warm", "restore"]);
        assert_eq!(outcome(&drive), Some(Outcome::RolledBack));
    }
}

#[test]
fn the_last_hook_runs_in_every_outcome_and_changes_none() {
    for (value, outcome_told) in [(0.0, "Completed"), (0.5, "RolledBack")] {
        for (fate, policy) in [(SOON, "Abort"), (BROKEN, "Continue")] {
            let tell = hook("tell", "AfterRun", json!({"onFailure": policy}));
            let mut drive = released(drive(ready(&[(tell, &[fate])]), value));
            assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
            let [made] = drive.cluster.made_from("tell")[..] else { panic!("one Job") };
            assert_eq!(made.environment["PALIER_OUTCOME"], outcome_told);
            assert_eq!(format!("{:?}", outcome(&drive).unwrap()), outcome_told);
        }
    }
}

#[test]
fn a_deleted_rollout_restores_but_does_not_wait_for_ever() {
    for (fate, within) in [(SOON, 60), (NEVER, 200), (BROKEN, 90)] {
        let restore = Hook { retries: 1, ..restore(json!({"onFailure": "Hold"})) };
        let hooks = [(backup(), &[SOON][..]), (restore, &[fate])];
        let mut drive = released(drive(ready(&hooks), 0.0));
        drive.run(at(18), |_, _| {});
        drive.cluster.deleting = true;
        drive.run(at(18 + within), |_, _| {});
        assert!(!drive.cluster.has_finalizer, "{:?}: {}", drive.working.state, drive.working.message);
        let made = drive.cluster.made_from("restore");
        assert_eq!(made[0].environment["PALIER_BACKUP"], drive.cluster.made_from("backup")[0].name);
        let is_said = told(&drive, Reason::HookFailed).iter().any(|it| it.contains("lets go without it"));
        assert_eq!(is_said, made.len() > 1);
    }
}

/// Two components; the gate of `web` fails at 50 %, or its hook does.
fn partly(
    hooks: &[(Hook, &[Fate])],
    gate_fails: bool,
) -> Drive<impl FnMut(&Measurement, Timestamp) -> Answer + use<>> {
    let mut cluster = equip(two_components(), hooks);
    let gate =
        json!([{"name": "own", "interval": "10s", "prometheus": {"query": "up"}, "threshold": {"max": 0.1}}]);
    cluster.spec.components[1].gates = serde_json::from_value(gate).unwrap();
    let mut drive = Drive::new(cluster, move |asked: &Measurement, now: Timestamp| {
        let value = if asked.gate == "own" && gate_fails && now >= at(100) { 0.5 } else { 0.0 };
        Answer::Sample { value, sampled_at: now }
    });
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.cluster.push_image("shop-web", "app:v2");
    drive
}

#[test]
fn a_partial_rollback_has_its_own_hook_and_the_run_waits_for_it() {
    let back = hook("back", "OnPartialRollback", json!({"timeout": "20m"}));
    let hooks = [(back, &[Fate::Succeeds(Span::seconds(600))][..]), (restore(json!({})), &[SOON])];
    let mut drive = partly(&hooks, true);
    drive.run(at(600), |_, _| {});
    assert_eq!(outcome(&drive), None, "the other component has long earned its last phase");
    assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
    assert_eq!(outcome(&drive), Some(Outcome::PartiallyCompleted));
    let [made] = &drive.cluster.jobs.made[..] else { panic!("{:?}", drive.cluster.jobs.made) };
    assert_eq!((made.cron_job.as_str(), made.environment["PALIER_COMPONENT"].as_str()), ("back", "web"));
}

#[test]
fn a_failed_hook_of_a_component_takes_that_component_back() {
    let warm = hook("warm", "AfterPhase", json!({"components": ["web"], "phases": ["pilot"]}));
    let mut drive = partly(&[(warm, &[BROKEN])], false);
    assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
    assert_eq!(outcome(&drive), Some(Outcome::PartiallyCompleted));
    assert_eq!(drive.cluster.deployments["shop-api"].image, "app:v2");
    assert!(
        drive.working.components[1].failure.contains("the hook warm"),
        "{:?}",
        drive.working.components[1]
    );
}

/// A run in which the controller dies after its `crash_after`-th write: what is left, and the Jobs that were created.
fn with_crash(cluster: Cluster, aborts: bool, crash_after: usize) -> (Option<Outcome>, Vec<String>, usize) {
    let mut drive = released(drive_of(cluster));
    let (mut writes, mut is_aborted) = (0, false);
    for _ in 0..3_000 {
        if aborts && !is_aborted && drive.cluster.now >= at(45) {
            is_aborted = true;
            drive.cluster.act(action(ActionKind::Abort, 1));
        }
        let plan = drive.turn(&mut |_, _| {
            writes += 1;
            writes != crash_after
        });
        let is_busy = plan.persist || !plan.writes.is_empty() || drive.plan() != plan;
        match drive.next(&plan) {
            _ if is_busy => {}
            None => {
                let jobs = drive.cluster.jobs.made.iter().map(|made| made.name.clone()).collect();
                return (outcome(&drive), jobs, writes);
            }
            Some(next) => drive.cluster.now = next.max(drive.cluster.now),
        }
    }
    panic!("no end after a crash at write {crash_after}: {:#?}", drive.working);
}

#[test]
fn a_crash_after_any_write_starts_no_job_twice() {
    let backup = Hook { retries: 1, ..backup() };
    let warm = hook("warm", "BeforePhase", json!({"phases": ["pilot"]}));
    let tell = hook("tell", "AfterRun", json!({}));
    let restore = Hook { retries: 1, ..restore(json!({})) };
    let hooks = [(backup, &[BROKEN, SOON][..]), (warm, &[SOON]), (restore, &[NEVER, SOON]), (tell, &[SOON])];
    for (aborts, count) in [(false, 4), (true, 6)] {
        let cluster = || {
            let mut cluster = ready(&hooks);
            cluster.spec.phases.iter_mut().for_each(|phase| phase.bake_time = Span::seconds(20));
            cluster
        };
        let (end, jobs, writes) = with_crash(cluster(), aborts, usize::MAX);
        assert_eq!(jobs.len(), count, "{jobs:?}");
        for crash_after in 1..=writes {
            let (other_end, other_jobs, _) = with_crash(cluster(), aborts, crash_after);
            assert_eq!(other_end, end, "crash after write {crash_after} of {writes}");
            assert_eq!(other_jobs, jobs, "crash after write {crash_after} of {writes}");
        }
    }
}

#[test]
fn a_job_is_created_only_after_its_attempt_is_stored_and_last_of_all() {
    let warm = hook("warm", "BeforePhase", json!({}));
    let mut drive = released(drive(ready(&[(backup(), &[SOON]), (warm, &[SOON])]), 0.0));
    let mut created = 0;
    drive.run(at(3_000), |cluster, plan| {
        for (index, write) in plan.writes.iter().enumerate() {
            let Write::CreateJob { name, .. } = write else { continue };
            created += 1;
            assert_eq!(index + 1, plan.writes.len());
            let stored = &cluster.status.run.as_ref().unwrap().hooks;
            assert!(stored.iter().any(|it| it.job == *name));
        }
    });
    assert!(created >= 4);
}
