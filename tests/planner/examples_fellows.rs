//! Components that went back only because of another: they come along with its next template.

use jiff::Timestamp;
use palier::api::{Outcome, Stage};
use palier::engine::{Answer, Measurement, Reason};
use palier::sim::{Drive, Stop};

use crate::examples_parts::images;
use crate::fixtures::at;
use crate::monitors::weight_of;
use crate::parts::{CHAIN, Values, part, push_all, say, spec, voiced};

/// A chain in which production failed with half of the traffic, and clients went back with it; the rest is released.
fn without_production(
    edges: &[(&str, &[&str])],
) -> (Drive<impl FnMut(&Measurement, Timestamp) -> Answer>, Values) {
    let (mut drive, values) = voiced(spec(edges));
    push_all(&mut drive.cluster, "app:v2");
    say(&values, "production", "errors", 0.5);
    assert_eq!(drive.run(at(4_000), |_, _| {}), Stop::AtRest);
    say(&values, "production", "errors", 0.0);
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::PartiallyCompleted));
    let clients = part(&drive.working, "clients");
    assert_eq!((clients.stage, &*clients.went_back_with), (Stage::RolledBack, "production"));
    assert_eq!(part(&drive.working, "production").went_back_with, "");
    (drive, values)
}

#[test]
fn what_only_went_back_with_another_comes_along_with_its_fix() {
    let (mut drive, _) = without_production(&CHAIN);
    drive.cluster.push_image("production", "app:v3");
    let mut first = Vec::new();
    let stop = drive.run(at(9_000), |cluster, _| {
        for name in ["production", "clients"] {
            if weight_of(cluster, name).0 > 0 && !first.contains(&name) {
                first.push(name);
            }
        }
    });
    assert_eq!(stop, Stop::AtRest);
    let run = drive.working.run.clone().expect("a run");
    assert_eq!((run.number, run.outcome), (2, Some(Outcome::Completed)), "{run:#?}");
    assert_eq!(first, ["production", "clients"], "in the order of the dependencies");
    let serving = images(&drive.cluster);
    assert_eq!((serving["production"], serving["clients"]), ("app:v3", "app:v2"));
    let told: Vec<_> = drive.happened.iter().filter(|(_, h)| h.reason == Reason::ReleasedAgain).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].1.message,
        "it went back with production and was not judged: it is released again, after it"
    );
}

#[test]
fn a_fix_that_fails_too_takes_it_back_again_and_no_run_follows() {
    let (mut drive, values) = without_production(&CHAIN);
    say(&values, "production", "errors", 0.5);
    drive.cluster.push_image("production", "app:v3");
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    let run = drive.working.run.clone().expect("a run");
    assert_eq!((run.number, run.outcome), (2, Some(Outcome::RolledBack)), "nobody else is left: {run:#?}");
    assert_eq!(part(&drive.working, "clients").went_back_with, "production");
    // The next fix brings both through all the same.
    say(&values, "production", "errors", 0.0);
    drive.cluster.push_image("production", "app:v4");
    assert_eq!(drive.run(at(19_000), |_, _| {}), Stop::AtRest);
    let serving = images(&drive.cluster);
    assert_eq!((serving["production"], serving["clients"]), ("app:v4", "app:v2"));
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::Completed));
}

#[test]
fn the_former_template_of_the_failing_one_brings_nobody_along() {
    let (mut drive, _) = without_production(&CHAIN);
    drive.cluster.push_image("production", "app:v1");
    // Nor does a new one of something else that it depends on.
    drive.run(drive.cluster.now + jiff::SignedDuration::from_secs(60), |_, _| {});
    drive.cluster.push_image("suppliers", "app:v3");
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    let run = drive.working.run.clone().expect("a run");
    assert_eq!((run.number, run.outcome), (2, Some(Outcome::Completed)));
    assert_eq!(part(&drive.working, "clients").stage, Stage::RolledBack);
    assert!(drive.cluster.deployments["clients"].paused);
    assert_eq!(images(&drive.cluster)["clients"], "app:v1");
}

#[test]
fn a_component_that_was_judged_itself_waits_for_a_template_of_its_own() {
    let (mut drive, values) = voiced(spec(&CHAIN));
    push_all(&mut drive.cluster, "app:v2");
    say(&values, "clients", "errors", 0.5);
    assert_eq!(drive.run(at(4_000), |_, _| {}), Stop::AtRest);
    say(&values, "clients", "errors", 0.0);
    drive.cluster.push_image("production", "app:v3");
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    let serving = images(&drive.cluster);
    assert_eq!((serving["production"], serving["clients"]), ("app:v3", "app:v1"));
}

#[test]
fn of_two_that_fail_both_have_to_be_mended_before_what_depends_on_both_comes_along() {
    let edges: [(&str, &[&str]); 4] = [("a", &[]), ("b", &[]), ("c", &["a", "b"]), ("d", &[])];
    for order in [["a", "b"], ["b", "a"]] {
        let (mut drive, values) = voiced(spec(&edges));
        push_all(&mut drive.cluster, "app:v2");
        say(&values, "a", "errors", 0.5);
        say(&values, "b", "errors", 0.5);
        assert_eq!(drive.run(at(4_000), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::PartiallyCompleted));
        say(&values, "a", "errors", 0.0);
        say(&values, "b", "errors", 0.0);
        drive.cluster.push_image(order[0], "app:v3");
        assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
        assert_eq!(images(&drive.cluster)["c"], "app:v1", "{order:?}");
        drive.cluster.push_image(order[1], "app:v3");
        assert_eq!(drive.run(at(14_000), |_, _| {}), Stop::AtRest);
        assert_eq!(images(&drive.cluster)["c"], "app:v2", "{order:?}");
        assert_eq!(drive.working.run.clone().expect("a run").number, 3);
    }
}

#[test]
fn a_failure_of_another_run_does_not_excuse_what_was_judged_before() {
    let (mut drive, values) = voiced(spec(&CHAIN));
    push_all(&mut drive.cluster, "app:v2");
    // Clients is judged itself; later production fails alone, which it depends on.
    say(&values, "clients", "errors", 0.5);
    assert_eq!(drive.run(at(4_000), |_, _| {}), Stop::AtRest);
    say(&values, "clients", "errors", 0.0);
    say(&values, "production", "errors", 0.5);
    drive.cluster.push_image("production", "app:v3");
    assert_eq!(drive.run(at(9_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.run.clone().expect("a run").outcome, Some(Outcome::RolledBack));
    assert_eq!(part(&drive.working, "clients").went_back_with, "");
    say(&values, "production", "errors", 0.0);
    drive.cluster.push_image("production", "app:v4");
    assert_eq!(drive.run(at(14_000), |_, _| {}), Stop::AtRest);
    let serving = images(&drive.cluster);
    assert_eq!((serving["production"], serving["clients"]), ("app:v4", "app:v1"));
}
