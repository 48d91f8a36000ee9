//! Hooks whose controller dies, and whose Jobs are deleted in that moment.

use jiff::Timestamp;
use palier::api::Outcome;
use palier::engine::{Answer, Measurement, Reason};
use palier::sim::{Drive, Stop};
use serde_json::json;

use crate::examples_hooks::{SOON, backup, hook, outcome, ready, released, restore, status, told};
use crate::fixtures::{at, drive};
use crate::monitors::check_record;

#[test]
fn a_crash_after_any_write_leaves_the_record_of_the_run() {
    let hooks = [(backup(), &[SOON][..]), (restore(json!({})), &[SOON][..])];
    let play = |crash_after: usize| {
        let mut drive = released(drive(ready(&hooks), 0.5));
        let mut writes = 0;
        for _ in 0..2_000 {
            let plan = drive.turn(&mut |cluster, _| {
                check_record(cluster);
                writes += 1;
                writes != crash_after
            });
            let is_busy = plan.persist || !plan.writes.is_empty() || drive.plan() != plan;
            match drive.next(&plan) {
                _ if is_busy => {}
                Some(next) => drive.cluster.now = next.max(drive.cluster.now),
                None => break,
            }
        }
        assert_eq!(outcome(&drive), Some(Outcome::RolledBack), "{:#?}", drive.working);
        assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::RolledBack), "crash after {crash_after}");
        assert_eq!(drive.cluster.made_from("restore").len(), 1, "crash after {crash_after}");
        writes
    };
    for crash_after in 1..=play(usize::MAX) {
        play(crash_after);
    }
}

/// A release whose controller dies right after it created the backup's Job; `delete` happens before the next one looks.
fn crashed_beside_the_job(
    delete: bool,
    policy: &str,
) -> Drive<impl FnMut(&Measurement, Timestamp) -> Answer> {
    let hook = hook("backup", "BeforeRun", json!({"backup": true, "onFailure": policy, "retries": 1}));
    let mut drive = released(drive(ready(&[(hook, &[SOON])]), 0.0));
    while drive.cluster.made_from("backup").is_empty() {
        let plan = drive.turn(&mut |cluster, _| cluster.made_from("backup").is_empty());
        let is_busy = plan.persist || !plan.writes.is_empty() || drive.plan() != plan;
        if let Some(next) = drive.next(&plan).filter(|_| !is_busy) {
            drive.cluster.now = next.max(drive.cluster.now);
        }
    }
    assert_eq!(drive.cluster.status.run.as_ref().unwrap().hooks[0].started_at, None, "nobody has seen it");
    if delete {
        let name = drive.cluster.jobs.made[0].name.clone();
        drive.cluster.vanish(&name);
    }
    drive
}

#[test]
fn a_job_that_is_deleted_before_anybody_saw_it_is_not_created_once_more() {
    let mut drive = crashed_beside_the_job(true, "Abort");
    assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
    let names: Vec<&str> = drive.cluster.made_from("backup").iter().map(|made| made.name.as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_ne!(names[0], names[1], "the second attempt has a name of its own");
    assert!(told(&drive, Reason::HookFailed)[0].contains("its Job was deleted"), "{:?}", drive.happened);
    assert_eq!(outcome(&drive), Some(Outcome::Completed));
    assert_eq!(status(&drive, "backup").attempt, 2);
    assert!(drive.cluster.jobs.jobs.values().all(|job| !job.is_kept), "nothing holds a Job any more");
}

#[test]
fn a_job_that_nobody_deleted_is_found_again_after_a_crash_and_let_go_once_it_is_stored() {
    let mut drive = crashed_beside_the_job(false, "Abort");
    let mut is_released = false;
    drive.run(at(2_000), |cluster, _| {
        let hook = &cluster.status.run.as_ref().unwrap().hooks[0];
        let job = &cluster.jobs.jobs[&cluster.jobs.made[0].name];
        assert!(job.is_kept || hook.started_at.is_some(), "let go before it is stored");
        is_released |= !job.is_kept;
    });
    assert!(is_released);
    assert_eq!(drive.cluster.made_from("backup").len(), 1);
    assert_eq!(outcome(&drive), Some(Outcome::Completed));
}

#[test]
fn a_deleted_rollout_leaves_no_job_that_cannot_go() {
    for delete in [false, true] {
        let mut drive = crashed_beside_the_job(delete, "Hold");
        drive.cluster.deleting = true;
        drive.run(at(2_000), |cluster, _| {
            let is_stuck = !cluster.has_finalizer && cluster.jobs.jobs.values().any(|job| job.is_kept);
            assert!(!is_stuck, "nobody is left to let go of it");
        });
        assert!(!drive.cluster.has_finalizer, "{:#?}", drive.working);
    }
}
