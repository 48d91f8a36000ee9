//! A person's word, obeyed and refused, at every stage.

use palier::api::{ActionKind, RolloutState, Stage};
use palier::engine::Reason;
use palier::sim::Stop;

use crate::fixtures::{action, at, cluster, drive, spec};
use crate::monitors::weight_of;

fn last_reason(happened: &[(jiff::Timestamp, palier::engine::Happening)]) -> Vec<Reason> {
    happened.iter().map(|(_, h)| h.reason).collect()
}

#[test]
fn a_pause_keeps_the_weight_and_resume_goes_on() {
    let mut drive = drive(cluster(spec()), 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(40), |_, _| {});
    drive.cluster.act(action(ActionKind::Pause, 1));
    drive.run(at(2_000), |cluster, _| assert!(weight_of(cluster, "shop-api").0 <= 10));
    assert_eq!(drive.working.state, RolloutState::Paused);
    drive.cluster.act(action(ActionKind::Resume, 1));
    drive.run(at(2_050), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 50);
}

#[test]
fn promote_ends_a_phase_and_promote_full_all_of_them() {
    let mut drive = drive(cluster(spec()), 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(20), |_, _| {});
    drive.cluster.act(action(ActionKind::Promote, 1));
    drive.run(at(21), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 50);
    let mut full = action(ActionKind::Promote, 1);
    full.full = true;
    drive.cluster.act(full);
    assert_eq!(drive.run(at(100), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
}

#[test]
fn promote_in_full_waits_at_full_traffic_for_the_slower_component() {
    let mut cluster = crate::examples_cluster::two_components();
    cluster.broken_images.insert("web:v2".into());
    let mut drive = drive(cluster, 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.cluster.push_image("shop-web", "web:v2");
    drive.run(at(20), |_, _| {});
    let mut full = action(ActionKind::Promote, 1);
    full.full = true;
    drive.cluster.act(full);
    assert_eq!(drive.run(at(300), |_, _| {}), Stop::Limit);
    assert_eq!(drive.working.components[0].stage, Stage::Baked);
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 100);
    assert!(drive.status_writes < 30, "{} statuses", drive.status_writes);
}

#[test]
fn a_refused_promote_leaves_the_pause() {
    let mut cluster = cluster(spec());
    cluster.broken_images.insert("app:v2".into());
    let mut drive = drive(cluster, 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(20), |_, _| {});
    assert_eq!(drive.working.components[0].stage, Stage::Preparing);
    drive.cluster.act(action(ActionKind::Pause, 1));
    drive.cluster.act(action(ActionKind::Promote, 1));
    drive.run(at(5_000), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Paused, "a paused run has no deadline");
    assert!(last_reason(&drive.happened).contains(&Reason::ActionRefused));
}

#[test]
fn an_abort_is_obeyed_after_a_hundred_other_actions() {
    let mut drive = drive(cluster(spec()), 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(20), |_, _| {});
    for _ in 0..100 {
        drive.cluster.act(action(ActionKind::Resume, 1));
    }
    drive.run(at(21), |_, _| {});
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.run(at(60), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    drive.cluster.act(action(ActionKind::Retry, 1));
    drive.run(at(61), |_, _| {});
    assert_eq!(drive.working.run.as_ref().unwrap().number, 2);
}

#[test]
fn abort_goes_back_from_every_stage_and_retry_tries_again() {
    for seconds in [0, 1, 30, 61, 90, 125, 170] {
        let mut drive = drive(cluster(spec()), 0.0);
        drive.run(at(10), |_, _| {});
        drive.cluster.now = at(10);
        drive.cluster.push_image("shop-api", "app:v2");
        drive.turn(&mut |_, _| true);
        drive.run(at(10 + seconds), |_, _| {});
        drive.cluster.act(action(ActionKind::Abort, 1));
        drive.turn(&mut |_, _| true);
        assert_eq!(weight_of(&drive.cluster, "shop-api").0, 0);
        assert_eq!(drive.run(at(400), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.state, RolloutState::RolledBack, "after {seconds} s");
        drive.cluster.act(action(ActionKind::Retry, 1));
        assert_eq!(drive.run(at(1_000), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.state, RolloutState::Completed, "after {seconds} s");
    }
}

#[test]
fn actions_on_another_run_are_void() {
    let mut drive = drive(cluster(spec()), 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(10);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.cluster.act(action(ActionKind::Abort, 2));
    assert_eq!(drive.run(at(600), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
}
