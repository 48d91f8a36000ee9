//! The gate that every release has, by example: what becomes of canary pods.

use jiff::Timestamp;
use palier::api::{HealthStatus, OnUnhealthy, RolloutSpec, RolloutState, Stage, Verdict};
use palier::engine::{Answer, Measurement, Reason};
use palier::sim::{Ailing, Drive, Stop};

use crate::fixtures::{at, cluster, drive, spec};
use crate::monitors::weight_of;
use crate::parts;

const KILLED: (&str, i32) = ("OOMKilled", 137);

fn killed(pods: i32, restarts: i32) -> Ailing {
    Ailing::container(pods, "CrashLoopBackOff", restarts, Some(KILLED))
}

/// A drive at rest on v1 to which v2 was pushed at 30 s.
fn pushed(spec: RolloutSpec) -> Drive<impl FnMut(&Measurement, Timestamp) -> Answer> {
    let mut drive = drive(cluster(spec), 0.0);
    drive.run(at(30), |_, _| {});
    drive.cluster.now = at(30);
    drive.cluster.push_image("shop-api", "app:v2");
    drive
}

/// The same, its canary at 50 % with two pods.
fn at_half(spec: RolloutSpec) -> Drive<impl FnMut(&Measurement, Timestamp) -> Answer> {
    let mut drive = pushed(spec);
    for seconds in 31..400 {
        drive.run(at(seconds), |_, _| {});
        if weight_of(&drive.cluster, "shop-api").0 == 50 {
            return drive;
        }
    }
    panic!("50 % was not reached: {:#?}", drive.working);
}

fn ail<F>(drive: &mut Drive<F>, image: &str, ailing: Ailing) {
    drive.cluster.ailing.insert(image.to_owned(), ailing);
    drive.cluster.settle();
}

/// `seconds` from now.
fn later<F>(drive: &Drive<F>, seconds: i64) -> Timestamp {
    drive.cluster.now + jiff::SignedDuration::from_secs(seconds)
}

fn health<F>(drive: &Drive<F>) -> HealthStatus {
    drive.working.components[0].health.clone().unwrap_or_default()
}

fn asks(on_failure: OnUnhealthy) -> RolloutSpec {
    let mut spec = spec();
    spec.health.on_failure = on_failure;
    spec
}

#[test]
fn a_healthy_release_asks_for_no_pod() {
    for lag in [0, 5, 29] {
        let mut drive = drive(cluster(spec()), 0.0);
        drive.cluster.pod_lag = palier::api::Span::seconds(lag);
        drive.run(at(40), |_, _| {});
        drive.cluster.now = at(40);
        drive.cluster.push_image("shop-api", "app:v2");
        assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.state, RolloutState::Completed);
        assert_eq!(drive.lists_of_pods, 0, "with pods that take {lag} s");
    }
}

#[test]
fn a_canary_that_is_killed_under_traffic_goes_back_at_once_with_the_reason_in_words() {
    let mut drive = at_half(spec());
    ail(&mut drive, "app:v2", killed(1, 3));
    let begun = drive.cluster.now;
    drive.run(begun, |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 0, "in the same moment: {:#?}", drive.working);
    let why =
        "gate health failed: 1 of 2 canary pods: container app restarted 3 times, last OOMKilled (exit 137)";
    assert_eq!(drive.working.run.as_ref().unwrap().reason, why);
    assert_eq!(drive.lists_of_pods, 1);
    drive.run(later(&drive, 600), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    let told = drive.working.components[0].all_gates();
    let told = told.iter().find(|gate| gate.name == "health").expect("the verdict stays");
    assert!(told.tripped && told.message.starts_with("1 of 2 canary pods: container app restarted 3 times"));
}

#[test]
fn as_many_restarts_as_allowed_are_borne_and_looked_at_now_and_then() {
    let mut drive = at_half(spec());
    ail(&mut drive, "app:v2", killed(1, 2));
    let lists = drive.lists_of_pods;
    drive.run(later(&drive, 60), |_, _| {});
    assert_eq!(drive.working.components[0].stage, Stage::Baking);
    assert_eq!(health(&drive).verdict, Verdict::Wait);
    let message = &drive.working.components[0].message;
    assert_eq!(
        message,
        "1 of 2 canary pods are ready; 1 of 2 canary pods: container app restarted 2 times, last OOMKilled (exit 137): \
         the bake stands still"
    );
    let lists = drive.lists_of_pods - lists;
    assert!((6..=7).contains(&lists), "{lists} lists in a minute");
    drive.cluster.ailing.clear();
    assert_eq!(drive.run(later(&drive, 600), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
}

#[test]
fn pods_that_flap_are_listed_no_more_often() {
    let mut drive = at_half(spec());
    for _ in 0..30 {
        ail(&mut drive, "app:v2", killed(1, 1));
        drive.run(later(&drive, 1), |_, _| {});
        drive.cluster.ailing.clear();
        drive.run(later(&drive, 1), |_, _| {});
    }
    assert!(drive.lists_of_pods <= 7, "{} lists in a minute", drive.lists_of_pods);
    assert_eq!(health(&drive).verdict, Verdict::Pass);
    assert!(health(&drive).message.starts_with("all are ready again; before: 1 of 2 canary pods: "));
}

#[test]
fn an_image_that_cannot_be_had_goes_back_before_the_progress_deadline() {
    for (waiting, seconds) in
        [("ImagePullBackOff", 105), ("CreateContainerConfigError", 105), ("InvalidImageName", 45)]
    {
        let mut drive = pushed(spec());
        ail(&mut drive, "app:v2", Ailing::container(9, waiting, 0, None));
        drive.run(at(30 + seconds), |cluster, _| assert_eq!(weight_of(cluster, "shop-api").0, 0));
        assert_eq!(drive.working.state, RolloutState::RolledBack, "{waiting}: {:#?}", drive.working);
        let why = &drive.working.run.as_ref().unwrap().reason;
        assert!(why.contains(&format!("container app cannot be started: {waiting}")), "{why}");
    }
}

#[test]
fn a_registry_that_is_away_for_a_while_holds_nothing_against_the_release() {
    let mut drive = pushed(spec());
    ail(&mut drive, "app:v2", Ailing::container(9, "ErrImagePull", 0, None));
    drive.run(at(30 + 70), |_, _| {});
    assert_eq!(health(&drive).verdict, Verdict::Wait);
    drive.cluster.ailing.clear();
    assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
}

#[test]
fn pods_that_only_take_long_are_left_to_the_progress_deadline_with_their_words() {
    for (ailing, words) in [
        (Ailing::container(9, "", 0, None), "container app runs and is not ready"),
        (Ailing::container(9, "ContainerCreating", 0, None), "container app waits: ContainerCreating"),
    ] {
        let mut drive = pushed(spec());
        ail(&mut drive, "app:v2", ailing);
        drive.run(at(30 + 599), |_, _| {});
        assert_eq!(drive.working.state, RolloutState::Progressing);
        drive.run(at(2_000), |_, _| {});
        assert_eq!(drive.working.state, RolloutState::RolledBack);
        let told = drive.happened.iter().find(|(_, it)| it.reason == Reason::ProgressDeadlineExceeded);
        let message = &told.expect("told").1.message;
        assert!(message.ends_with(&format!("1 of 1 canary pods: {words}")), "{message}");
    }
}

#[test]
fn pods_without_a_node_and_pods_that_were_evicted_wait() {
    let unscheduled = |ailing: &mut Ailing| ailing.says.unscheduled = "0/3 nodes are available".into();
    let evicted = |ailing: &mut Ailing| ailing.says.taken = "Evicted".into();
    for change in [unscheduled as fn(&mut Ailing), evicted] {
        let mut drive = pushed(spec());
        let mut ailing = Ailing::container(9, "", 0, None);
        change(&mut ailing);
        ail(&mut drive, "app:v2", ailing);
        drive.run(at(30 + 300), |_, _| {});
        assert_eq!((drive.working.state, health(&drive).verdict), (RolloutState::Progressing, Verdict::Wait));
        drive.cluster.ailing.clear();
        assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.state, RolloutState::Completed);
    }
}

#[test]
fn when_stables_pods_fail_alike_the_run_holds_and_goes_on() {
    let mut drive = at_half(spec());
    ail(&mut drive, "app:v1", killed(1, 1));
    ail(&mut drive, "app:v2", killed(1, 3));
    drive.run(later(&drive, 60), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Held, "{:#?}", drive.working);
    assert_eq!(health(&drive).verdict, Verdict::NoData);
    assert!(
        health(&drive)
            .message
            .ends_with("; 1 of stable's pods fail in the same way, so it is not the release")
    );
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 50);
    drive.cluster.ailing.clear();
    assert_eq!(drive.run(later(&drive, 600), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
}

#[test]
fn stables_pods_that_fail_in_another_way_excuse_nothing() {
    let mut drive = at_half(spec());
    ail(&mut drive, "app:v1", Ailing::container(1, "ImagePullBackOff", 0, None));
    ail(&mut drive, "app:v2", killed(1, 3));
    drive.run(later(&drive, 1), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 0);
}

#[test]
fn it_does_what_the_spec_asks_for() {
    for (asks_for, state) in [
        (OnUnhealthy::Notify, RolloutState::Baking),
        (OnUnhealthy::Hold, RolloutState::Held),
        (OnUnhealthy::FullRollback, RolloutState::RolledBack),
    ] {
        let mut drive = at_half(asks(asks_for));
        ail(&mut drive, "app:v2", killed(1, 3));
        drive.run(later(&drive, 120), |_, _| {});
        assert_eq!(drive.working.state, state, "{asks_for:?}: {:#?}", drive.working);
        let told =
            drive.happened.iter().filter(|(_, it)| it.message.starts_with("gate health failed: ")).count();
        assert_eq!(told, 1, "{asks_for:?}");
    }
}

#[test]
fn a_step_back_goes_to_the_share_at_which_it_was_well() {
    let mut drive = at_half(asks(OnUnhealthy::StepBack));
    ail(&mut drive, "app:v2", killed(1, 3));
    let told = drive.happened.len();
    drive.run(later(&drive, 0), |_, _| {});
    let message = &drive.happened[told].1.message;
    assert!(message.starts_with("back to 10 % (pilot), step back 1 of 2: gate health failed: "), "{message}");
    drive.run(later(&drive, 600), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack, "the one pod of the pilot is killed too");
}

#[test]
fn only_the_component_and_what_depends_on_it_go_back() {
    let (mut drive, _) = parts::voiced(parts::spec(&[("api", &[]), ("news", &[])]));
    parts::push_all(&mut drive.cluster, "app:v2");
    drive.cluster.deployments.get_mut("news").unwrap().image = "app:other".into();
    drive.run(at(60), |_, _| {});
    ail(&mut drive, "app:v2", killed(9, 3));
    assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
    assert_eq!(parts::part(&drive.working, "api").stage, Stage::RolledBack);
    assert_eq!(parts::part(&drive.working, "news").stage, Stage::Idle);
}

#[test]
fn it_can_be_switched_off() {
    let mut spec = spec();
    spec.health.enabled = false;
    let mut drive = at_half(spec);
    ail(&mut drive, "app:v2", killed(1, 9));
    drive.run(later(&drive, 300), |_, _| {});
    assert_eq!((drive.lists_of_pods, drive.working.components[0].health.is_some()), (0, false));
    assert_eq!(drive.working.components[0].stage, Stage::Baking);
    drive.run(later(&drive, 600), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack, "the progress deadline holds without it");
}

#[test]
fn pods_that_cannot_be_listed_leave_it_to_the_progress_deadline() {
    let mut drive = at_half(spec());
    drive.cluster.refused_pods = Some("forbidden".into());
    ail(&mut drive, "app:v2", killed(1, 9));
    drive.run(later(&drive, 60), |_, _| {});
    assert_eq!(health(&drive).verdict, Verdict::Error);
    assert_eq!(drive.working.components[0].stage, Stage::Baking);
    assert!(drive.working.components[0].message.contains("the pods cannot be looked at: forbidden"));
}

#[test]
fn a_controller_that_died_looks_again_and_comes_to_the_same() {
    let mut drive = at_half(spec());
    drive.cluster.refused_pods = Some("away".into());
    ail(&mut drive, "app:v2", killed(1, 3));
    drive.turn(&mut |_, _| true);
    drive.cluster.refused_pods = None;
    drive.crash();
    drive.epoch += 1;
    drive.run(later(&drive, 35), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 0, "{:#?}", drive.working);
}

#[test]
fn a_clock_that_was_set_back_makes_no_look_late() {
    let mut drive = at_half(spec());
    ail(&mut drive, "app:v2", killed(1, 2));
    drive.run(later(&drive, 15), |_, _| {});
    drive.cluster.now -= jiff::SignedDuration::from_hours(1);
    drive.run(later(&drive, 1), |_, _| {});
    ail(&mut drive, "app:v2", killed(1, 3));
    drive.run(later(&drive, 41), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 0, "{:#?}", drive.working);
}
