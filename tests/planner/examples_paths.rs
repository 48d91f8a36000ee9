//! The main path and its ways back, by example.

use palier::api::{Outcome, RolloutState, Stage};
use palier::sim::Stop;

use crate::fixtures::{at, cluster, drive, spec};

#[test]
fn a_good_release_earns_its_way_and_is_adopted() {
    let mut drive = drive(cluster(spec()), 0.0);
    assert_eq!(drive.run(at(60), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Idle, "{:#?}", drive.working);
    drive.cluster.push_image("shop-api", "app:v2");
    let mut weights = vec![];
    let stop = drive.run(at(600), |cluster, _| {
        let shares = cluster.shares("shop-api");
        assert!(!shares.contains_key(&None), "requests fail: {shares:?}");
        let share = shares.get(&Some("app:v2".to_owned())).copied().unwrap_or(0.0);
        if weights.last() != Some(&share) {
            weights.push(share);
        }
    });
    assert_eq!(stop, Stop::AtRest, "{:#?}", drive.working);
    assert_eq!(weights, [0.0, 10.0, 50.0, 100.0]);
    assert_eq!(drive.working.state, RolloutState::Completed);
    let deployment = &drive.cluster.deployments["shop-api"];
    assert!(!deployment.paused);
    assert_eq!(drive.cluster.services.len(), 1);
    assert_eq!(drive.cluster.services["shop-api"].selector.len(), 1);
    assert_eq!(drive.cluster.routes["shop-api"].backends, cluster(spec()).routes["shop-api"].backends);
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Completed));
    assert!(
        drive.cluster.now >= at(180),
        "three bakes of a minute take three minutes: {}",
        drive.cluster.now
    );
    assert_eq!(drive.working.components[0].stage, Stage::Idle);
}

#[test]
fn a_bad_release_goes_back_at_ten_per_cent_and_stays_rejected() {
    let mut drive = drive(cluster(spec()), 0.2);
    drive.run(at(60), |_, _| {});
    drive.cluster.push_image("shop-api", "app:v2");
    let stop = drive.run(at(600), |cluster, _| {
        let shares = cluster.shares("shop-api");
        assert!(shares.get(&Some("app:v2".to_owned())).copied().unwrap_or(0.0) <= 10.0, "{shares:?}");
        assert!(!shares.contains_key(&None), "requests fail: {shares:?}");
    });
    assert_eq!(stop, Stop::AtRest, "{:#?}", drive.working);
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    assert!(drive.cluster.deployments["shop-api"].paused);
    assert_eq!(drive.cluster.services["shop-api"].selector.len(), 1);
    assert_eq!(drive.cluster.sets.len(), 1);

    drive.cluster.push_image("shop-api", "app:v1");
    assert_eq!(drive.run(at(700), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Idle, "{:#?}", drive.working);
    assert!(!drive.cluster.deployments["shop-api"].paused);
}
