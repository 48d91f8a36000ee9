//! Configuration goes out, and goes back, with the code.

use std::collections::BTreeSet;

use palier::api::{ActionKind, Config, Outcome, RolloutSpec, RolloutState};
use palier::engine::world::ConfigKind::{ConfigMap, Secret};
use palier::engine::{Answer, Measurement, Write};
use palier::sim::{Cluster, Drive};

use crate::fixtures::{action, at, cluster, drive, spec};

fn with_config(config: Config) -> RolloutSpec {
    let mut spec = spec();
    spec.components[0].config = Some(config);
    spec
}

fn named() -> RolloutSpec {
    with_config(Config { config_maps: vec!["app".into()], secrets: vec!["key".into()], from_template: false })
}

/// Four pods of v1 with the configuration `old`, of which each was started since it is under the Rollout.
fn shop(spec: RolloutSpec) -> Cluster {
    let mut cluster = cluster(spec);
    cluster.configure(ConfigMap, "app", "old");
    cluster.configure(Secret, "key", "old");
    cluster
}

/// At rest, with every pod of stable on copies.
fn settled<F: FnMut(&Measurement, jiff::Timestamp) -> Answer>(mut drive: Drive<F>) -> Drive<F> {
    drive.run(at(60), |_, _| {});
    let stable = stable_set(&drive.cluster);
    drive.cluster.replace_pods(&stable);
    drive.run(at(100), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Idle, "{:#?}", drive.working);
    drive
}

fn stable_set(cluster: &Cluster) -> String {
    cluster.status.components[0].stable.as_ref().unwrap().replica_set.clone()
}

fn only(value: &str) -> BTreeSet<Option<String>> {
    BTreeSet::from([Some(value.to_owned())])
}

/// What the copies hold, and how many maps there are.
fn left(cluster: &Cluster) -> (Vec<&str>, usize) {
    let copies = cluster.configs.copies.values().map(|copy| copy.value.as_str()).collect();
    (copies, cluster.configs.maps.len())
}

#[test]
fn switching_it_on_starts_no_run_and_new_pods_get_copies() {
    let mut drive = drive(shop(named()), 0.0);
    drive.run(at(60), |_, _| {});
    assert_eq!(drive.working.run, None);
    assert_eq!(left(&drive.cluster), (vec!["old", "old"], 1));
    let message = &drive.working.components[0].message;
    assert!(message.contains("kubectl rollout restart"), "{message}");
    let stable = stable_set(&drive.cluster);
    let is_bound = |cluster: &Cluster| cluster.configs.pods[&stable].iter().all(|pod| pod.copies.len() == 2);
    assert!(!is_bound(&drive.cluster));
    drive.cluster.replace_pods(&stable);
    assert!(is_bound(&drive.cluster));
    drive.run(at(100), |_, _| {});
    assert_eq!(drive.working.components[0].message, "");
    assert!(!drive.cluster.deployments["shop-api"].paused);
}

#[test]
fn another_value_alone_is_released_and_no_canary_pod_restarts() {
    let mut drive = settled(drive(shop(named()), 0.0));
    let stable = stable_set(&drive.cluster);
    drive.cluster.configure(ConfigMap, "app", "new");
    let mut seen = BTreeSet::new();
    drive.run(at(900), |cluster, _| {
        assert!(!cluster.shares("shop-api").contains_key(&None), "requests fail");
        // The former version reads what it always read, to its end.
        assert!(cluster.reads(&stable, ConfigMap, "app").is_subset(&only("old")));
        seen.extend(cluster.sets.keys().cloned());
    });
    assert_eq!(drive.working.state, RolloutState::Completed, "{:#?}", drive.working);
    let component = &drive.working.components[0];
    let released = component.stable.as_ref().unwrap();
    assert_eq!(
        seen,
        BTreeSet::from([stable, released.replica_set.clone()]),
        "one canary ReplicaSet, for good"
    );
    assert_eq!(drive.cluster.sets.keys().collect::<Vec<_>>(), [&released.replica_set]);
    assert_eq!(drive.cluster.reads(&released.replica_set, ConfigMap, "app"), only("new"));
    assert_eq!(drive.cluster.reads(&released.replica_set, Secret, "key"), only("old"));
    assert_eq!(left(&drive.cluster), (vec!["new", "old"], 1));
    assert!(!drive.cluster.deployments["shop-api"].paused);
    assert_eq!(drive.cluster.services["shop-api"].selector.len(), 1);
    // What the Deployment starts from now on is the same.
    drive.cluster.restart("shop-api", "noon");
    drive.run(at(1000), |_, _| {});
    assert_eq!(drive.cluster.reads(&stable_set(&drive.cluster), ConfigMap, "app"), only("new"));
    assert_eq!(drive.working.run.as_ref().unwrap().number, 1);
}

#[test]
fn a_bad_value_goes_back_and_stable_pods_read_the_old_one_throughout() {
    let mut drive = settled(drive(shop(named()), 0.5));
    let stable = stable_set(&drive.cluster);
    drive.cluster.configure(ConfigMap, "app", "bad");
    let check = |cluster: &Cluster| {
        assert_eq!(cluster.reads(&stable, ConfigMap, "app"), only("old"));
        assert!(!cluster.shares("shop-api").contains_key(&None), "requests fail");
    };
    let mut bad = false;
    for second in 101..400 {
        drive.run(at(second), |cluster, _| {
            check(cluster);
            bad |= cluster.configs.pods.keys().any(|set| cluster.reads(set, ConfigMap, "app") == only("bad"));
        });
        drive.cluster.replace_pods(&stable);
        check(&drive.cluster);
    }
    assert!(bad, "the canary read the new value");
    assert_eq!(drive.working.state, RolloutState::RolledBack, "{:#?}", drive.working);
    assert_eq!(left(&drive.cluster), (vec!["old", "old"], 1), "the bad copy is gone");
    assert_eq!(drive.cluster.sets.len(), 1);
    assert!(!drive.cluster.deployments["shop-api"].paused, "there is nothing to roll");
    // It stays rejected; a restart does not bring it in.
    drive.cluster.restart("shop-api", "noon");
    drive.run(at(500), |_, _| {});
    let now = stable_set(&drive.cluster);
    assert_eq!(drive.cluster.reads(&now, ConfigMap, "app"), only("old"));
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    // Another change of it is another release.
    drive.cluster.configure(ConfigMap, "app", "worse");
    drive.run(at(1000), |_, _| {});
    assert_eq!(drive.cluster.runs["shop-2"], Some(Outcome::RolledBack));
    // A person may try again; the old value put back ends it.
    let number = drive.working.run.as_ref().unwrap().number;
    drive.cluster.act(action(ActionKind::Retry, number));
    drive.run(at(1500), |_, _| {});
    assert_eq!(drive.cluster.runs["shop-3"], Some(Outcome::RolledBack));
    drive.cluster.configure(ConfigMap, "app", "old");
    drive.run(at(1600), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Idle, "{:#?}", drive.working);
    assert_eq!(drive.working.run.as_ref().unwrap().number, 3, "{:#?}", drive.happened);
}

#[test]
fn the_old_value_put_back_withdraws_and_another_one_supersedes() {
    for (value, outcome) in [("old", Outcome::Withdrawn), ("newer", Outcome::Superseded)] {
        let mut drive = settled(drive(shop(named()), 0.0));
        drive.cluster.configure(ConfigMap, "app", "new");
        drive.run(at(180), |_, _| {});
        assert_eq!(drive.working.state, RolloutState::Baking);
        drive.cluster.configure(ConfigMap, "app", value);
        drive.run(at(900), |_, _| {});
        assert_eq!(drive.cluster.runs["shop-1"], Some(outcome));
        let last = stable_set(&drive.cluster);
        assert_eq!(drive.cluster.reads(&last, ConfigMap, "app"), only(value));
        assert_eq!(left(&drive.cluster).0.len(), 2);
    }
}

#[test]
fn template_and_configuration_change_together() {
    let mut drive = settled(drive(shop(named()), 0.0));
    let stable = stable_set(&drive.cluster);
    drive.cluster.configure(Secret, "key", "new");
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(900), |cluster, _| {
        assert!(!cluster.shares("shop-api").contains_key(&None), "requests fail");
        assert!(cluster.reads(&stable, Secret, "key").is_subset(&only("old")));
        for (set, pods) in cluster.configs.pods.iter().filter(|(set, _)| **set != stable) {
            assert!(pods.is_empty() || cluster.reads(set, Secret, "key") == only("new"));
        }
    });
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Completed));
    assert_eq!(drive.cluster.runs.len(), 1);
    assert_eq!(drive.cluster.reads(&stable_set(&drive.cluster), Secret, "key"), only("new"));
    assert_eq!(left(&drive.cluster), (vec!["old", "new"], 1));
}

#[test]
fn a_restart_during_the_run_keeps_the_new_value() {
    let mut drive = settled(drive(shop(named()), 0.0));
    drive.cluster.configure(ConfigMap, "app", "new");
    drive.run(at(180), |_, _| {});
    drive.cluster.restart("shop-api", "noon");
    drive.run(at(900), |cluster, _| {
        assert!(!cluster.shares("shop-api").contains_key(&None), "requests fail");
    });
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Completed), "{:#?}", drive.working);
    let last = stable_set(&drive.cluster);
    assert_eq!(drive.cluster.reads(&last, ConfigMap, "app"), only("new"));
    assert_eq!(drive.cluster.sets.values().filter(|set| set.replicas > 0).count(), 1);
}

#[test]
fn all_that_the_template_names_can_be_taken() {
    let mut drive =
        settled(drive(shop(with_config(Config { from_template: true, ..Config::default() })), 0.0));
    drive.cluster.configure(Secret, "key", "new");
    drive.run(at(900), |_, _| {});
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Completed));
    assert_eq!(drive.cluster.reads(&stable_set(&drive.cluster), Secret, "key"), only("new"));
    // One that comes later is taken in without a run.
    drive.cluster.configure(ConfigMap, "late", "1");
    drive.run(at(1000), |_, _| {});
    assert_eq!(drive.cluster.runs.len(), 1);
    assert_eq!(left(&drive.cluster).0.len(), 3);
}

#[test]
fn what_is_missing_is_said_with_its_cure() {
    let mut missing = drive(cluster(named()), 0.0);
    missing.run(at(60), |_, _| {});
    assert_eq!(missing.working.state, RolloutState::Stalled);
    let says = "spec.components[api].config.configMaps: there is no ConfigMap app in this namespace";
    assert!(missing.working.message.starts_with(says), "{}", missing.working.message);

    let mut before = shop(named());
    before.config_policy_active = false;
    let mut before = drive(before, 0.0);
    before.run(at(60), |_, _| {});
    assert_eq!(before.working.state, RolloutState::Stalled);
    assert!(before.working.message.contains("config.enabled=true"), "{}", before.working.message);
    assert_eq!(left(&before.cluster), (vec![], 0));
}

#[test]
fn letting_go_leaves_running_pods_their_copies() {
    for (value, maps) in [("old", 0), ("bad", 1)] {
        let mut drive = settled(drive(shop(named()), 0.5));
        let stable = stable_set(&drive.cluster);
        drive.cluster.configure(ConfigMap, "app", value);
        drive.run(at(400), |_, _| {});
        drive.cluster.deleting = true;
        drive.run(at(600), |_, _| {});
        assert!(!drive.cluster.has_finalizer, "{:#?}", drive.working);
        assert_eq!(drive.cluster.reads(&stable, ConfigMap, "app"), only("old"));
        assert_eq!(left(&drive.cluster).1, maps, "the map stays while the objects hold what was not earned");
        let owner = &drive.cluster.deployments["shop-api"].at.uid;
        assert!(drive.cluster.configs.copies.values().all(|copy| copy.owner_uid == *owner));
        // As before: what starts now reads the objects, unless they hold what was rolled back.
        drive.cluster.replace_pods(&stable);
        assert_eq!(drive.cluster.reads(&stable, ConfigMap, "app"), only("old"));
    }
}

#[test]
fn a_spec_without_it_leaves_pods_as_they_are() {
    let mut drive = settled(drive(shop(named()), 0.0));
    let stable = stable_set(&drive.cluster);
    drive.cluster.edit_spec(|spec| spec.components[0].config = None);
    drive.run(at(200), |_, _| {});
    assert_eq!(left(&drive.cluster), (vec!["old", "old"], 0));
    drive.cluster.configure(ConfigMap, "app", "new");
    assert_eq!(drive.cluster.reads(&stable, ConfigMap, "app"), only("old"));
    drive.cluster.replace_pods(&stable);
    assert_eq!(drive.cluster.reads(&stable, ConfigMap, "app"), only("new"));
    drive.run(at(300), |_, _| {});
    assert_eq!(drive.working.run, None);
}

/// A release of configuration alone in which the controller dies after its `crash_after`-th write.
fn with_crash(value: f64, crash_after: usize) -> (String, usize) {
    let answer = move |_: &Measurement, now| Answer::Sample { value, sampled_at: now };
    let mut drive = settled(Drive::new(shop(named()), answer));
    let stable = stable_set(&drive.cluster);
    drive.cluster.configure(ConfigMap, "app", "new");
    let (mut writes, end) = (0, at(900));
    for _ in 0..2_000 {
        let plan = drive.turn(&mut |cluster, _| {
            assert!(!cluster.shares("shop-api").contains_key(&None), "requests fail");
            assert!(cluster.reads(&stable, ConfigMap, "app").is_subset(&only("old")));
            writes += 1;
            writes != crash_after
        });
        let is_busy = plan.persist || !plan.writes.is_empty() || drive.plan() != plan;
        match drive.next(&plan) {
            _ if is_busy => {}
            Some(next) if next < end => drive.cluster.now = next.max(drive.cluster.now),
            _ => {
                let sets: Vec<_> =
                    drive.cluster.sets.values().map(|set| (&set.pod_hash, set.replicas)).collect();
                let reads = drive.cluster.reads(&stable_set(&drive.cluster), ConfigMap, "app");
                let paused = drive.cluster.deployments["shop-api"].paused;
                let end =
                    (sets, reads, left(&drive.cluster), paused, &drive.cluster.runs, drive.working.state);
                return (format!("{end:?}"), writes);
            }
        }
    }
    panic!("no end after a crash at write {crash_after}: {:#?}", drive.working);
}

#[test]
fn a_crash_after_any_write_changes_no_end() {
    for value in [0.0, 0.5] {
        let (end, writes) = with_crash(value, usize::MAX);
        assert!(end.contains(if value == 0.0 { "Completed" } else { "RolledBack" }), "{end}");
        for crash_after in 1..=writes {
            assert_eq!(with_crash(value, crash_after).0, end, "crash after write {crash_after} of {writes}");
        }
    }
}

#[test]
fn a_template_that_comes_before_the_release_supersedes() {
    let mut drive = settled(drive(shop(named()), 0.0));
    let stable = stable_set(&drive.cluster);
    drive.cluster.configure(ConfigMap, "app", "new");
    let mut is_marked = false;
    for _ in 0..2_000 {
        let plan = drive.turn(&mut |_, _| true);
        is_marked = drive.cluster.sets[&stable].retired.is_some();
        if is_marked {
            break;
        }
        let is_busy = plan.persist || !plan.writes.is_empty() || drive.plan() != plan;
        if !is_busy && let Some(next) = drive.next(&plan) {
            drive.cluster.now = next.max(drive.cluster.now);
        }
    }
    assert!(is_marked);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(3_000), |cluster, plan| {
        assert!(!cluster.shares("shop-api").contains_key(&None), "requests fail");
        let is_resume = |write: &Write| matches!(write, Write::ResumeDeployment { .. });
        let is_second = cluster.status.run.as_ref().is_some_and(|run| run.number == 2);
        assert!(is_second || !plan.writes.iter().any(is_resume), "v2 would roll by itself");
        if is_second && let Some(set) = cluster.sets.get(&stable) {
            assert_eq!(set.retired, None, "stable is as it was");
        }
    });
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Superseded));
    assert_eq!(drive.cluster.runs["shop-2"], Some(Outcome::Completed), "{:#?}", drive.working);
    assert_eq!(drive.cluster.reads(&stable_set(&drive.cluster), ConfigMap, "app"), only("new"));
}

#[test]
fn no_pod_of_an_older_template_starts_at_the_end() {
    let mut drive = settled(drive(shop(named()), 0.0));
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(900), |_, _| {});
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Completed));
    drive.cluster.configure(ConfigMap, "app", "new");
    drive.run(at(1900), |cluster, _| {
        let old = cluster.sets.values().filter(|set| set.image == "app:v1").map(|set| set.replicas);
        assert_eq!(old.sum::<i32>(), 0);
    });
    assert_eq!(drive.cluster.runs["shop-2"], Some(Outcome::Completed));
    assert!(drive.cluster.sets.values().any(|set| set.image == "app:v1"), "the history is kept");
}

/// Somebody deletes the copy that stable's pods mount.
fn lose_copy(cluster: &mut Cluster, value: &str) {
    let place = cluster.configs.copies.iter().find(|(_, copy)| copy.value == value).map(|it| it.0.clone());
    cluster.configs.copies.remove(&place.expect("a copy"));
    cluster.bump();
}

/// The shop with another value in each object, so that copies can be told apart; at rest.
fn settled_apart() -> Drive<impl FnMut(&Measurement, jiff::Timestamp) -> Answer> {
    let mut cluster = cluster(named());
    cluster.configure(ConfigMap, "app", "old");
    cluster.configure(Secret, "key", "secret");
    settled(drive(cluster, 0.0))
}

#[test]
fn a_deleted_copy_is_made_again_while_its_object_holds_the_same() {
    let mut drive = settled_apart();
    lose_copy(&mut drive.cluster, "old");
    drive.run(at(200), |_, _| {});
    assert_eq!(left(&drive.cluster), (vec!["old", "secret"], 1));
}

#[test]
fn stable_never_gets_the_new_value_when_its_copy_is_lost() {
    let mut drive = settled_apart();
    let stable = stable_set(&drive.cluster);
    lose_copy(&mut drive.cluster, "old");
    drive.cluster.configure(ConfigMap, "app", "new");
    let nothing = BTreeSet::from([None]);
    drive.run(at(400), |cluster, _| {
        assert!(cluster.reads(&stable, ConfigMap, "app").is_subset(&nothing), "it reads the new value");
        assert_eq!(crate::monitors::weight_of(cluster, "shop-api").0, 0, "there is no way back");
    });
    // Pods that start now wait for the copy.
    drive.cluster.replace_pods(&stable);
    assert_eq!(drive.cluster.reads(&stable, ConfigMap, "app"), nothing);
    assert_eq!(drive.working.state, RolloutState::Held, "{:#?}", drive.working);
    let says = "put the former content back into the configmap app";
    assert!(drive.working.message.to_lowercase().contains(says), "{}", drive.working.message);
    let told = |drive: &Drive<_>| {
        let foreign =
            drive.happened.iter().filter(|(_, it)| it.reason == palier::engine::Reason::ForeignChange);
        foreign.filter(|(_, it)| it.message.to_lowercase().contains(says)).count()
    };
    assert!((1..=3).contains(&told(&drive)), "at rest, and once in the run: {:#?}", drive.happened);
    // Put back, it is made again, and all is as before.
    drive.cluster.configure(ConfigMap, "app", "old");
    drive.run(at(600), |_, _| {});
    assert_eq!(drive.cluster.reads(&stable, ConfigMap, "app"), only("old"));
    assert_eq!(
        (drive.working.state, left(&drive.cluster).1),
        (RolloutState::Idle, 1),
        "{:#?}",
        drive.working
    );
}

#[test]
fn a_person_may_go_on_without_the_way_back() {
    let mut drive = settled_apart();
    let stable = stable_set(&drive.cluster);
    drive.cluster.configure(ConfigMap, "app", "new");
    drive.run(at(180), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Baking);
    lose_copy(&mut drive.cluster, "old");
    let weight = crate::monitors::weight_of(&drive.cluster, "shop-api").0;
    drive.run(at(900), |cluster, _| {
        assert_eq!(crate::monitors::weight_of(cluster, "shop-api").0, weight, "it holds where it is");
        assert!(!cluster.reads(&stable, ConfigMap, "app").contains(&Some("new".to_owned())));
    });
    assert_eq!(drive.working.state, RolloutState::Held, "{:#?}", drive.working);
    let mut word = action(ActionKind::Promote, 1);
    word.full = true;
    drive.cluster.act(word);
    drive.run(at(1900), |_, _| {});
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Completed), "{:#?}", drive.working);
    assert_eq!(drive.cluster.reads(&stable_set(&drive.cluster), ConfigMap, "app"), only("new"));
    assert_eq!(left(&drive.cluster), (vec!["new", "secret"], 1));
}

#[test]
fn a_rejected_value_is_not_served_when_the_copy_of_the_former_one_is_lost() {
    let mut cluster = cluster(named());
    cluster.configure(ConfigMap, "app", "old");
    cluster.configure(Secret, "key", "secret");
    let mut drive = settled(drive(cluster, 0.5));
    let stable = stable_set(&drive.cluster);
    drive.cluster.configure(ConfigMap, "app", "bad");
    drive.run(at(400), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    lose_copy(&mut drive.cluster, "old");
    drive.run(at(500), |_, _| {});
    drive.cluster.replace_pods(&stable);
    assert_eq!(drive.cluster.reads(&stable, ConfigMap, "app"), BTreeSet::from([None]));
    let message = &drive.working.components[0].message;
    assert!(message.contains("is gone, which pods of the stable version mount"), "{message}");
    assert_eq!(drive.run(at(2_000), |_, _| {}), palier::sim::Stop::Limit, "it looks again now and then");
    assert_eq!(drive.working.run.as_ref().unwrap().number, 1);
}

#[test]
fn an_object_that_changes_before_its_first_copy_is_made_is_taken_as_it_is() {
    let mut drive = drive(shop(named()), 0.0);
    // Until the copies are about to be made.
    while !drive.plan().writes.iter().any(|write| matches!(write, Write::CreateCopy { .. })) {
        drive.turn(&mut |_, _| true);
    }
    drive.cluster.configure(ConfigMap, "app", "new");
    drive.run(at(120), |_, _| {});
    assert_eq!(left(&drive.cluster), (vec!["new", "old"], 1), "{:#?}", drive.working);
    let stable = stable_set(&drive.cluster);
    drive.cluster.replace_pods(&stable);
    assert_eq!(drive.cluster.reads(&stable, ConfigMap, "app"), only("new"));
    assert_eq!(drive.working.run, None);
}

#[test]
fn canary_pods_without_their_configuration_get_no_traffic_and_do_not_start_anew_for_ever() {
    let mut drive = settled_apart();
    drive.cluster.configure(ConfigMap, "app", "new");
    drive.cluster.edit_spec(|spec| spec.progress_deadline = palier::api::Span::seconds(300));
    let (mut starts, end) = (0, at(900));
    for _ in 0..3_000 {
        let stable = stable_set(&drive.cluster);
        let plan = drive.turn(&mut |_, _| true);
        starts += plan.writes.iter().filter(|it| matches!(it, Write::CreateReplicaSet { .. })).count();
        // The policy is there, and does nothing: so an API server is that does not hear of the map.
        let pods = &mut drive.cluster.configs.pods;
        for pod in pods.iter_mut().filter(|(set, _)| **set != stable).flat_map(|(_, pods)| pods) {
            *pod = palier::sim::config::Pod::default();
        }
        assert_eq!(crate::monitors::weight_of(&drive.cluster, "shop-api").0, 0);
        let is_busy = plan.persist || !plan.writes.is_empty() || drive.plan() != plan;
        match drive.next(&plan) {
            _ if is_busy => {}
            Some(next) if next < end => drive.cluster.now = next.max(drive.cluster.now),
            _ => break,
        }
    }
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::RolledBack), "{:#?}", drive.working);
    assert!((2..=20).contains(&starts), "{starts} starts in five minutes");
}
