//! Crashes, repeated writes and old views, one by one.

use palier::api::RolloutState;
use palier::engine::{Answer, Measurement, Write};
use palier::sim::{Cluster, Drive, Stop};

use crate::fixtures::{at, cluster, drive, spec};

/// What a run must leave behind, whatever happened on the way.
fn end_of(cluster: &Cluster) -> String {
    let deployment = &cluster.deployments["shop-api"];
    let sets: Vec<_> = cluster.sets.values().map(|s| (&s.image, s.replicas, s.available)).collect();
    let services: Vec<_> =
        cluster.services.values().map(|s| (&s.at.name, &s.selector, &s.rollout_label)).collect();
    let routes: Vec<_> = cluster.routes.values().map(|r| &r.backends).collect();
    format!("{:?}", (deployment.paused, &deployment.rollout_label, sets, services, routes, &cluster.runs))
}

/// A run of v2 in which the controller dies after its `crash_after`-th write; (end, state, writes).
fn with_crash(value: f64, crash_after: usize) -> (String, RolloutState, usize) {
    let answer = move |_: &Measurement, now| Answer::Sample { value, sampled_at: now };
    let mut drive = Drive::new(cluster(spec()), answer);
    drive.run(at(10), |_, _| {});
    drive.cluster.push_image("shop-api", "app:v2");
    let mut writes = 0;
    for _ in 0..2_000 {
        let plan = drive.turn(&mut |_, _| {
            writes += 1;
            writes != crash_after
        });
        let is_busy = plan.persist || !plan.writes.is_empty() || drive.plan() != plan;
        match drive.next(&plan) {
            _ if is_busy => {}
            None => return (end_of(&drive.cluster), drive.working.state, writes),
            Some(next) => drive.cluster.now = next.max(drive.cluster.now),
        }
    }
    panic!("no end after a crash at write {crash_after}: {:#?}", drive.working);
}

#[test]
fn a_crash_after_any_write_changes_no_end() {
    for (value, state) in [(0.0, RolloutState::Completed), (0.5, RolloutState::RolledBack)] {
        let (end, reached, writes) = with_crash(value, usize::MAX);
        assert_eq!(reached, state);
        for crash_after in 1..=writes {
            let (other, reached, _) = with_crash(value, crash_after);
            assert_eq!(reached, state, "crash after write {crash_after} of {writes}");
            assert_eq!(other, end, "crash after write {crash_after} of {writes}");
        }
    }
}

#[test]
fn every_write_is_refused_the_second_time_or_does_nothing() {
    let mut drive = drive(cluster(spec()), 0.0);
    let mut pushed = false;
    for _ in 0..600 {
        let plan = drive.turn(&mut |_, _| true);
        for write in &plan.writes {
            let mut again = drive.cluster.clone();
            let before = end_of(&again);
            let is_refused = again.apply(write).is_err();
            let is_harmless = matches!(
                write,
                Write::AddFinalizer
                    | Write::CreateRun { .. }
                    | Write::RecordRun { .. }
                    | Write::DeleteRun { .. }
            );
            assert!(is_refused || (is_harmless && end_of(&again) == before), "{write:?}");
        }
        if plan.writes.is_empty() && !plan.persist {
            match drive.next(&plan) {
                Some(next) => drive.cluster.now = next.max(drive.cluster.now),
                None if pushed => return,
                None => {
                    pushed = true;
                    drive.cluster.push_image("shop-api", "app:v2");
                }
            }
        }
    }
    panic!("no end");
}

#[test]
fn a_plan_from_an_older_view_is_refused_where_things_have_moved() {
    let mut drive = drive(cluster(spec()), 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.push_image("shop-api", "app:v2");
    let mut plans = vec![];
    drive.run(at(900), |_, plan| plans.push(plan.clone()));
    let end = end_of(&drive.cluster);
    for write in plans.iter().flat_map(|plan| &plan.writes) {
        let is_record = matches!(
            write,
            Write::AddFinalizer | Write::CreateRun { .. } | Write::RecordRun { .. } | Write::DeleteRun { .. }
        );
        // A canary that is created again is the one case: its name is free again once it is gone.
        let is_refused = drive.cluster.clone().apply(write).is_err();
        let is_create = matches!(write, Write::CreateCanaryService { .. });
        assert!(is_refused || is_record || is_create, "{write:?}");
    }
    assert_eq!(end_of(&drive.cluster), end);
}

#[test]
fn a_run_needs_few_writes_and_rest_needs_none() {
    let mut drive = drive(cluster(spec()), 0.0);
    drive.run(at(10), |_, _| {});
    let (writes, statuses) = (drive.cluster.write_count, drive.status_writes);
    drive.cluster.push_image("shop-api", "app:v2");
    assert_eq!(drive.run(at(900), |_, _| {}), Stop::AtRest);
    let (writes, statuses) = (drive.cluster.write_count - writes, drive.status_writes - statuses);
    assert!(writes <= 32 && statuses <= 16, "{writes} writes, {statuses} of them statuses");
    let transitions = drive.happened.len() as u64;
    assert!(statuses <= transitions * 3, "{statuses} statuses for {transitions} transitions");
    for _ in 0..10 {
        let plan = drive.turn(&mut |_, _| true);
        assert!(!plan.persist && plan.writes.is_empty() && plan.look.is_empty(), "{plan:#?}");
    }
}

/// A creation has no version by which it could be refused: it may be done long after it was asked for.
#[test]
fn what_was_created_after_the_end_of_its_run_goes() {
    let mut drive = drive(cluster(spec()), 0.5);
    drive.run(at(10), |_, _| {});
    drive.cluster.push_image("shop-api", "app:v2");
    let mut late = Vec::new();
    drive.run(at(600), |_, plan| {
        let creates = |write: &&Write| {
            matches!(write, Write::CreateReplicaSet { .. } | Write::CreateCanaryService { .. })
        };
        late.extend(plan.writes.iter().filter(creates).cloned());
    });
    assert_eq!(drive.cluster.status.state, RolloutState::RolledBack);
    // The plan is seen when it is stored and when it is carried out.
    late.truncate(2);
    assert_eq!(late.len(), 2, "{late:?}");
    let before: Vec<String> = drive.cluster.sets.keys().cloned().collect();
    for write in &late {
        drive.cluster.apply(write).expect("nothing speaks against it");
    }
    assert!(
        drive.cluster.sets.len() > before.len() && drive.cluster.services.contains_key("shop-api-canary")
    );
    drive.run(at(700), |_, _| {});
    assert_eq!(drive.cluster.sets.keys().cloned().collect::<Vec<_>>(), before);
    assert!(!drive.cluster.services.contains_key("shop-api-canary"));
    assert_eq!(drive.cluster.status.state, RolloutState::RolledBack);
}
