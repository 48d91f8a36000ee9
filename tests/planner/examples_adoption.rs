//! What happens while the canary becomes the Deployment's own.

use jiff::Timestamp;
use palier::api::{Outcome, RolloutState, Stage};
use palier::engine::{Answer, Measurement, Write};
use palier::sim::{Cluster, Drive, Stop};

use crate::examples_cluster::{is_as_found, run_at, share};
use crate::fixtures::{at, cluster, spec};

/// Brings a run to the turn in which the ReplicaSet was released (or, `before`, the one before it).
fn adopting(before: bool) -> Drive<impl FnMut(&Measurement, Timestamp) -> Answer> {
    let mut drive = run_at(cluster(spec()), 100);
    for _ in 0..200 {
        let is_released = |cluster: &Cluster| {
            cluster
                .sets
                .values()
                .any(|set| set.is_labelled && set.owner_uid.as_deref() != Some("uid-rollout"))
        };
        let is_adopting = drive.working.components[0].stage == Stage::Adopting;
        if (before && is_adopting) || is_released(&drive.cluster) {
            return drive;
        }
        let plan = drive.turn(&mut |cluster, _| !is_released(cluster));
        let next = drive.next(&plan).unwrap_or(drive.cluster.now);
        drive.cluster.now = next.max(drive.cluster.now);
    }
    panic!("no adoption: {:#?}", drive.working);
}

#[test]
fn a_template_that_comes_during_the_adoption_gets_its_own_run() {
    for before in [true, false] {
        let mut drive = adopting(before);
        drive.cluster.push_image("shop-api", "app:v3");
        let stop = drive.run(at(3_000), |cluster, _| {
            assert!(!cluster.shares("shop-api").contains_key(&None));
        });
        assert_eq!(stop, Stop::AtRest, "{:#?}", drive.working);
        assert_eq!(share(&drive.cluster, "app:v3"), 100.0);
        assert_eq!(drive.cluster.runs["shop-2"], Some(Outcome::Completed));
        is_as_found(&drive.cluster);
    }
}

/// A run whose canary is given up to the Deployment in the very moment in which `edit` changes it.
fn given_up_while(edit: impl Fn(&mut Cluster)) -> Drive<impl FnMut(&Measurement, Timestamp) -> Answer> {
    let mut drive = run_at(cluster(spec()), 100);
    for _ in 0..400 {
        let plan = drive.plan();
        let release = plan.writes.iter().find(|write| matches!(write, Write::ReleaseReplicaSet { .. }));
        if let Some(release) = release {
            edit(&mut drive.cluster);
            drive.cluster.apply(release).expect("the ReplicaSet is as it was seen");
            drive.crash();
            return drive;
        }
        let plan = drive.turn(&mut |_, _| true);
        let next = drive.next(&plan).filter(|_| plan.writes.is_empty() && !plan.persist);
        drive.cluster.now = next.unwrap_or(drive.cluster.now).max(drive.cluster.now);
    }
    panic!("no adoption: {:#?}", drive.working);
}

#[test]
fn the_former_template_put_back_in_the_moment_of_the_adoption_is_followed() {
    // The Deployment controller goes back to stable's pods; of another size it shares them out first.
    for replicas in [4, 8, 2] {
        let mut drive = given_up_while(|cluster| {
            cluster.push_image("shop-api", "app:v1");
            cluster.scale("shop-api", replicas);
        });
        let mut served_late = None;
        let began = drive.cluster.now;
        let stop = drive.run(at(3_000), |cluster, plan| {
            for write in &plan.writes {
                let Write::ScaleReplicaSet { replica_set, .. } = write else { continue };
                let image = cluster.sets.get(&replica_set.name).map(|set| set.image.as_str());
                assert_ne!(image, Some("app:v1"), "the two of them scale it against each other");
            }
            if cluster.shares("shop-api").contains_key(&None) {
                served_late = Some(cluster.now.duration_since(began));
            }
        });
        assert_eq!(stop, Stop::AtRest, "{:#?}", drive.working);
        assert!(served_late.is_none_or(|after| after.as_secs() < 1), "{served_late:?}");
        assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Withdrawn));
        assert!(!drive.cluster.runs.contains_key("shop-2"));
        assert_eq!((share(&drive.cluster, "app:v1"), drive.working.state), (100.0, RolloutState::Idle));
        let set = drive.cluster.sets.values().find(|set| set.image == "app:v1");
        assert_eq!(set.map(|set| set.available), Some(replicas));
        assert!(!drive.cluster.deployments["shop-api"].paused);
        is_as_found(&drive.cluster);
    }
}

#[test]
fn a_restart_or_another_size_during_the_adoption_comes_to_its_end() {
    for (before, is_policy_active) in [(true, true), (false, true), (false, false)] {
        for replicas in [4, 9] {
            let mut drive = adopting(before);
            drive.cluster.policy_active = is_policy_active;
            drive.cluster.restart("shop-api", "noon");
            drive.cluster.scale("shop-api", replicas);
            let stop = drive.run(at(3_000), |cluster, _| {
                assert!(!cluster.shares("shop-api").contains_key(&None));
            });
            assert_eq!(stop, Stop::AtRest, "{:#?}", drive.working);
            assert_eq!(drive.working.state, RolloutState::Completed, "{:#?}", drive.working);
            assert_eq!(share(&drive.cluster, "app:v2"), 100.0);
            is_as_found(&drive.cluster);
        }
    }
}
