//! What happens to the cluster during a run, and how the run ends then.

use jiff::{SignedDuration, Timestamp};
use palier::api::{ActionKind, Component, OnDelete, Outcome, RolloutSpec, RolloutState, Span, Stage};
use palier::engine::{Answer, Measurement, Plan, Reason, Write, decide};
use palier::sim::{Cluster, Drive, Stop};

use crate::fixtures::{action, at, cluster, drive, spec};
use crate::monitors::weight_of;

/// A run whose canary has `percent` of the traffic, its bake just begun, at 30 s and more.
pub fn run_at(cluster: Cluster, percent: i32) -> Drive<impl FnMut(&Measurement, Timestamp) -> Answer> {
    let mut drive = drive(cluster, 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.now = at(30);
    drive.cluster.push_image("shop-api", "app:v2");
    for seconds in 30..400 {
        drive.run(at(seconds), |_, _| {});
        if weight_of(&drive.cluster, "shop-api").0 == percent {
            return drive;
        }
    }
    panic!("{percent} % was not reached: {:#?}", drive.working);
}

pub fn share(cluster: &Cluster, image: &str) -> f64 {
    cluster.shares("shop-api").get(&Some(image.to_owned())).copied().unwrap_or(0.0)
}

pub fn is_as_found(cluster: &Cluster) {
    assert_eq!(cluster.services.len(), 1);
    assert_eq!(cluster.services["shop-api"].selector.len(), 1);
    assert_eq!(cluster.services["shop-api"].rollout_label, None);
    assert_eq!(
        cluster.routes["shop-api"].backends,
        vec![vec![serde_json::json!({"name": "shop-api", "port": 80})]]
    );
    let served: f64 =
        cluster.shares("shop-api").iter().filter(|(image, _)| image.is_some()).map(|(_, s)| s).sum();
    assert_eq!(served, 100.0);
    assert_eq!(cluster.sets.values().filter(|set| set.replicas > 0).count(), 1);
}

fn without_traffic() -> RolloutSpec {
    let mut spec = spec();
    spec.components[0].traffic = None;
    spec
}

#[test]
fn a_third_image_supersedes_and_starts_from_the_first_phase() {
    let mut drive = run_at(cluster(spec()), 50);
    drive.cluster.push_image("shop-api", "app:v3");
    let mut weights = vec![];
    drive.run(at(2_000), |cluster, _| {
        let weight = weight_of(cluster, "shop-api").0;
        if weights.last() != Some(&weight) {
            weights.push(weight);
        }
        assert!(weight == 0 || share(cluster, "app:v2") == 0.0 || weights.len() < 2);
    });
    assert_eq!(weights, [50, 0, 10, 50, 100, 0]);
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Superseded));
    assert_eq!(drive.cluster.runs["shop-2"], Some(Outcome::Completed));
    is_as_found(&drive.cluster);
}

#[test]
fn the_old_image_put_back_ends_at_stable() {
    let mut drive = run_at(cluster(spec()), 50);
    drive.cluster.push_image("shop-api", "app:v1");
    assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::Withdrawn));
    assert!(!drive.cluster.deployments["shop-api"].paused);
    assert_eq!(drive.working.state, RolloutState::Idle);
    is_as_found(&drive.cluster);
}

#[test]
fn the_canary_follows_the_size_of_the_deployment() {
    for percent in [10, 50, 100] {
        let mut drive = run_at(cluster(spec()), percent);
        for replicas in [9, 3] {
            drive.cluster.scale("shop-api", replicas);
            let limit = drive.cluster.now + SignedDuration::from_secs(1);
            drive.run(limit, |_, _| {});
            let canary: i32 = drive
                .cluster
                .sets
                .values()
                .filter(|set| set.image == "app:v2")
                .map(|set| set.available)
                .sum();
            assert_eq!(canary, (replicas * percent + 99) / 100, "{replicas} at {percent} %");
            let stable: i32 = drive
                .cluster
                .sets
                .values()
                .filter(|set| set.image == "app:v1")
                .map(|set| set.available)
                .sum();
            assert_eq!(stable, replicas, "stable stays whole");
        }
        assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.state, RolloutState::Completed);
    }
}

#[test]
fn a_deleted_rollout_leaves_one_version_at_every_phase() {
    for on_delete in [OnDelete::Rollback, OnDelete::Promote] {
        for turns in [1, 2, 3, 4, 6, 12, 24, 48, 60, 80] {
            let mut spec = spec();
            spec.on_delete = on_delete;
            let mut drive = drive(cluster(spec), 0.0);
            drive.run(at(10), |_, _| {});
            drive.cluster.pod_lag = Span::seconds(2);
            drive.cluster.push_image("shop-api", "app:v2");
            for _ in 0..turns {
                let plan = drive.turn(&mut |_, _| true);
                let next = drive.next(&plan).unwrap_or(drive.cluster.now);
                drive.cluster.now = next.max(drive.cluster.now);
            }
            drive.cluster.deleting = true;
            let stop = drive.run(at(3_000), |cluster, _| {
                assert!(!cluster.shares("shop-api").contains_key(&None), "{on_delete:?} after {turns} turns");
            });
            assert_eq!(stop, Stop::AtRest, "{on_delete:?} after {turns} turns: {:#?}", drive.working);
            assert!(!drive.cluster.has_finalizer);
            assert_eq!(drive.cluster.deployments["shop-api"].rollout_label, None);
            is_as_found(&drive.cluster);
        }
    }
}

#[test]
fn a_rollout_can_go_when_its_deployment_or_its_gateway_is_gone() {
    let mut gone = run_at(cluster(spec()), 100);
    gone.cluster.delete_deployment("shop-api");
    gone.cluster.deleting = true;
    assert_eq!(gone.run(at(3_000), |_, _| {}), Stop::AtRest, "{:#?}", gone.working);
    assert!(!gone.cluster.has_finalizer);
    let mut mute = run_at(cluster(spec()), 50);
    mute.cluster.gateway_accepts = false;
    mute.cluster.deleting = true;
    mute.run(at(3_000), |_, _| {});
    assert!(!mute.cluster.has_finalizer, "{:#?}", mute.working);
}

#[test]
fn pods_that_are_never_ready_get_no_request_and_the_run_goes_back() {
    let mut cluster = cluster(spec());
    cluster.broken_images.insert("app:v2".into());
    let mut drive = drive(cluster, 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.push_image("shop-api", "app:v2");
    let stop = drive.run(at(2_000), |cluster, _| {
        assert_eq!(weight_of(cluster, "shop-api").0, 0);
        assert!(!cluster.shares("shop-api").contains_key(&None));
    });
    assert_eq!((stop, drive.working.state), (Stop::AtRest, RolloutState::RolledBack));
    assert!(drive.happened.iter().any(|(_, h)| h.reason == Reason::ProgressDeadlineExceeded));
}

#[test]
fn lost_pods_send_traffic_back_at_once_in_every_stage() {
    for percent in [50, 100] {
        let mut drive = run_at(cluster(spec()), percent);
        drive.cluster.pod_lag = Span::seconds(20);
        drive.cluster.lose_pods("app:v2");
        for _ in 0..3 {
            drive.turn(&mut |_, _| true);
        }
        assert!(
            !drive.cluster.shares("shop-api").contains_key(&None),
            "{:?}",
            drive.cluster.shares("shop-api")
        );
        assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
        assert_eq!(drive.working.state, RolloutState::Completed);
    }
}

#[test]
fn a_bake_without_its_pods_or_its_route_ends_at_the_deadline() {
    let mut drive = run_at(cluster(spec()), 50);
    drive.cluster.routes.remove("shop-api");
    drive.run(at(5_000), |_, _| {});
    assert_ne!(drive.working.state, RolloutState::Baking, "{:#?}", drive.working);
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::RolledBack));
}

#[test]
fn a_deleted_deployment_or_service_ends_the_run_or_is_outlived() {
    let mut drive = run_at(cluster(spec()), 50);
    drive.cluster.delete_deployment("shop-api");
    drive.run(at(1_000), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Stalled);
    assert!(drive.working.message.contains("there is no Deployment shop-api"), "{}", drive.working.message);
    let mut drive = run_at(cluster(spec()), 50);
    drive.cluster.services.remove("shop-api");
    drive.run(at(1_000), |_, _| {});
    assert!(drive.working.run.as_ref().unwrap().ended_at.is_some(), "{:#?}", drive.working);
}

#[test]
fn a_route_put_back_from_git_is_mended_rarely_and_the_run_can_be_aborted() {
    let mut drive = run_at(cluster(spec()), 10);
    let (from, mut mended) = (drive.cluster.now, 0);
    for second in 0..120 {
        drive.cluster.reapply_route("shop-api");
        let mut before = 0;
        drive.run(from + SignedDuration::from_secs(second), |cluster, _| {
            let weight = weight_of(cluster, "shop-api").0;
            assert!(weight <= 50);
            mended += i32::from(weight > before);
            before = weight;
        });
    }
    assert!(mended <= 14, "mended {mended} times in two minutes");
    let told = drive.happened.iter().filter(|(_, h)| h.reason == Reason::ForeignChange).count();
    assert_eq!(told, 1);
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.turn(&mut |_, _| true);
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 0);
}

#[test]
fn a_raise_is_no_fight_when_the_gateway_is_slower_than_the_other_writer() {
    let mut cluster = cluster(spec());
    cluster.gateway_lag = Span::seconds(3);
    let mut drive = drive(cluster, 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.push_image("shop-api", "app:v2");
    let before = drive.cluster.write_count;
    for second in 10..70 {
        drive.cluster.reapply_route("shop-api");
        drive.run(at(second), |_, _| {});
    }
    assert!(drive.cluster.write_count - before < 30, "{} writes", drive.cluster.write_count - before);
}

#[test]
fn more_than_was_earned_is_taken_back_at_once() {
    let mut drive = run_at(cluster(spec()), 10);
    drive.cluster.split_route("shop-api", 80);
    drive.turn(&mut |_, _| true);
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 10);
}

#[test]
fn a_refused_route_ends_at_the_deadline() {
    let mut cluster = cluster(spec());
    cluster.gateway_refuses = Some("RefNotPermitted".into());
    let mut drive = drive(cluster, 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.push_image("shop-api", "app:v2");
    assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    assert!(drive.working.message.contains("RefNotPermitted"), "{}", drive.working.message);
    is_as_found(&drive.cluster);
}

#[test]
fn the_share_is_the_share_of_pods_without_traffic() {
    let mut drive = drive(cluster(without_traffic()), 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.push_image("shop-api", "app:v2");
    let mut shares = vec![];
    assert_eq!(
        drive.run(at(2_000), |cluster, _| {
            let share = share(cluster, "app:v2");
            if shares.last() != Some(&share) {
                shares.push(share);
            }
        }),
        Stop::AtRest
    );
    assert_eq!(drive.working.state, RolloutState::Completed);
    assert_eq!(shares, [0.0, 20.0, 50.0, 100.0]);
}

#[test]
fn paused_at_rest_without_the_policy_and_after_a_run_again() {
    let mut cluster = cluster(spec());
    cluster.policy_active = false;
    let mut drive = drive(cluster, 0.0);
    drive.run(at(10), |_, _| {});
    assert!(drive.cluster.deployments["shop-api"].paused);
    drive.cluster.push_image("shop-api", "app:v2");
    assert_eq!(drive.run(at(600), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
    assert!(drive.cluster.deployments["shop-api"].paused);
    drive.cluster.restart("shop-api", "noon");
    assert_eq!(drive.run(at(700), |_, _| {}), Stop::AtRest);
    assert!(drive.cluster.deployments["shop-api"].paused);
    let restarted = drive.cluster.sets.values().find(|set| set.replicas > 0).unwrap();
    assert_eq!(
        Some(&restarted.template_hash),
        drive.working.components[0].stable.as_ref().map(|s| &s.template)
    );
}

#[test]
fn a_restart_that_nobody_saw_is_no_roll_that_was_stopped_half_way() {
    let mut drive = drive(cluster(spec()), 0.0);
    drive.run(at(10), |_, _| {});
    let known = drive.working.components[0].stable.clone().unwrap();
    // While no controller is there the restart comes to its end, and then another template comes.
    drive.cluster.restart("shop-api", "noon");
    for _ in 0..20 {
        drive.cluster.now += SignedDuration::from_secs(1);
        drive.cluster.settle();
    }
    drive.cluster.push_image("shop-api", "app:v2");
    assert!(drive.cluster.sets.get(&known.replica_set).is_none_or(|set| set.current() == 0));
    let stop = drive.run(at(600), |_, plan| assert_ne!(plan.status.state, RolloutState::Stalled));
    assert_eq!(stop, Stop::AtRest, "{:#?}", drive.working);
    assert_eq!(drive.working.state, RolloutState::Completed, "{:#?}", drive.working);
    assert_eq!(share(&drive.cluster, "app:v2"), 100.0);
    is_as_found(&drive.cluster);
}

#[test]
fn a_restart_during_a_run_is_carried_out_at_its_end() {
    for percent in [10, 100] {
        let mut drive = run_at(cluster(spec()), percent);
        drive.cluster.restart("shop-api", "noon");
        let stop = drive.run(at(2_000), |cluster, _| {
            assert!(!cluster.shares("shop-api").contains_key(&None));
        });
        assert_eq!(stop, Stop::AtRest, "{:#?}", drive.working);
        assert_eq!(drive.working.state, RolloutState::Completed, "{:#?}", drive.working);
        is_as_found(&drive.cluster);
        assert!(!drive.cluster.deployments["shop-api"].paused);
    }
}

#[test]
fn a_pause_by_hand_at_rest_is_kept() {
    let mut drive = drive(cluster(spec()), 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.pause_by_hand("shop-api", true);
    assert_eq!(drive.run(at(100), |_, _| {}), Stop::AtRest);
    assert!(drive.cluster.deployments["shop-api"].paused);
    assert!(!drive.cluster.deployments["shop-api"].is_intercepted);
}

#[test]
fn a_twin_from_an_older_release_is_no_obstacle() {
    let mut drive = run_at(cluster(spec()), 100);
    assert_eq!(drive.run(at(600), |_, _| {}), Stop::AtRest);
    drive.cluster.push_image("shop-api", "app:v1");
    assert_eq!(drive.run(at(1_200), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed, "{:#?}", drive.working);
    assert_eq!(share(&drive.cluster, "app:v1"), 100.0);
    is_as_found(&drive.cluster);
}

#[test]
fn a_raise_that_was_never_written_is_tried_again_at_once_and_blamed_on_nobody() {
    let raises = |plan: &Plan| {
        plan.writes.iter().any(|it| matches!(it, Write::SetBackends { weight, .. } if weight.percent() == 50))
    };
    let mut drive = run_at(cluster(spec()), 10);
    for _ in 0..2_000 {
        // The intent is stored; the write is refused.
        let plan = drive.turn(&mut |_, plan| !raises(plan));
        if raises(&plan) {
            break;
        }
        let next = drive.next(&plan).unwrap_or(drive.cluster.now);
        drive.cluster.now = next.max(drive.cluster.now);
    }
    assert_eq!(
        (drive.working.components[0].stage, weight_of(&drive.cluster, "shop-api").0),
        (Stage::Raising, 10)
    );
    for words in ["", "missing: the verb 'patch' on httproutes"] {
        let mut world = drive.world();
        words.clone_into(&mut world.refused);
        let plan = decide(&world, drive.cluster.now);
        assert!(raises(&plan), "{:#?}", plan.status);
        assert!(plan.happened.is_empty(), "{:?}", plan.happened);
        assert!(plan.status.message.contains(words) && plan.status.components[0].message.contains(words));
    }
    drive.turn(&mut |_, _| true);
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 50);
    assert_eq!(drive.run(at(2_000), |_, _| {}), Stop::AtRest);
    assert!(drive.happened.iter().all(|(_, it)| it.reason != Reason::ForeignChange), "{:?}", drive.happened);
    assert_eq!(drive.working.state, RolloutState::Completed);
}

#[test]
fn a_deployment_resumed_by_somebody_leaves_no_unearned_pods() {
    let mut drive = run_at(cluster(spec()), 10);
    drive.cluster.pod_lag = Span::seconds(5);
    drive.cluster.pause_by_hand("shop-api", false);
    let stop = drive.run(at(2_000), |cluster, _| {
        assert!(!cluster.shares("shop-api").contains_key(&None));
    });
    assert_eq!(stop, Stop::AtRest, "{:#?}", drive.working);
    is_as_found(&drive.cluster);
}

pub fn two_components() -> Cluster {
    let mut spec = spec();
    let web: Component = serde_json::from_value(serde_json::json!({
        "name": "web", "workloadRef": {"name": "shop-web"},
        "traffic": {"service": "shop-web", "gatewayAPI": {"httpRoutes": [{"name": "shop-web"}]}},
    }))
    .expect("a valid component");
    spec.components.push(web);
    let mut cluster = cluster(spec);
    cluster.add_workload("shop-web", "app:v1", 2);
    cluster
}

#[test]
fn two_components_go_side_by_side_and_back_together() {
    let mut drive = drive(two_components(), 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.push_image("shop-api", "app:v2");
    drive.cluster.push_image("shop-web", "app:v2");
    drive.run(at(30), |_, _| {});
    assert_eq!((weight_of(&drive.cluster, "shop-api").0, weight_of(&drive.cluster, "shop-web").0), (10, 10));
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.turn(&mut |_, _| true);
    assert_eq!((weight_of(&drive.cluster, "shop-api").0, weight_of(&drive.cluster, "shop-web").0), (0, 0));
    drive.run(at(100), |_, _| {});
    drive.cluster.act(action(ActionKind::Retry, 1));
    assert_eq!(drive.run(at(900), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
}

#[test]
fn a_component_that_leaves_lets_go_of_its_workload() {
    for is_running in [false, true] {
        let mut drive = drive(two_components(), 0.0);
        drive.run(at(10), |_, _| {});
        if is_running {
            drive.cluster.push_image("shop-web", "app:v2");
            drive.run(at(90), |_, _| {});
        }
        drive.cluster.edit_spec(|spec| drop(spec.components.pop()));
        assert_eq!(drive.run(at(900), |_, _| {}), Stop::AtRest, "{:#?}", drive.working);
        assert_eq!(drive.cluster.deployments["shop-web"].rollout_label, None);
        assert_eq!(drive.cluster.services["shop-web"].selector.len(), 1);
        assert_eq!(drive.working.components.len(), 1);
    }
}

#[test]
fn another_workload_at_rest_lets_go_of_the_former_one() {
    let mut cluster = cluster(spec());
    cluster.policy_active = false;
    cluster.add_workload("shop-new", "app:v1", 2);
    let mut drive = drive(cluster, 0.0);
    drive.run(at(10), |_, _| {});
    drive.cluster.edit_spec(|spec| spec.components[0].workload_ref.name = "shop-new".into());
    // The Service of the former one does not select the new one's pods: the spec has to follow.
    drive.cluster.edit_spec(|spec| spec.components[0].traffic = None);
    assert_eq!(drive.run(at(900), |_, _| {}), Stop::AtRest, "{:#?}", drive.working);
    assert_eq!(drive.cluster.deployments["shop-api"].rollout_label, None);
    assert!(!drive.cluster.deployments["shop-api"].paused);
    assert!(drive.cluster.deployments["shop-new"].rollout_label.is_some());
}

#[test]
fn a_later_leader_claims_first_and_an_earlier_one_stands_by() {
    let mut drive = run_at(cluster(spec()), 10);
    drive.epoch = 5;
    let plan = drive.turn(&mut |_, _| true);
    assert!(plan.persist && plan.writes.is_empty());
    assert_eq!(drive.cluster.status.epoch, 5);
    drive.epoch = 4;
    let plan = drive.plan();
    assert!(!plan.persist && plan.writes.is_empty() && plan.wake_at.is_none() && plan.measure.is_empty());
}

#[test]
fn problems_stall_touch_nothing_and_are_recovered_from() {
    type Edit = fn(&mut Cluster);
    let problems: [(&str, Edit, Edit); 7] = [
        (
            "there is no Deployment",
            |c| c.spec.components[0].workload_ref.name = "none".into(),
            |c| c.spec.components[0].workload_ref.name = "shop-api".into(),
        ),
        (
            "Recreate",
            |c| c.deployments.get_mut("shop-api").unwrap().recreates = true,
            |c| c.deployments.get_mut("shop-api").unwrap().recreates = false,
        ),
        (
            "names the Deployment",
            |c| drop(c.claimed_by.insert("api".into(), "other".into())),
            |c| c.claimed_by.clear(),
        ),
        (
            "also selects the pod",
            |c| drop(c.foreign_pods.insert("api".into(), "x".into())),
            |c| c.foreign_pods.clear(),
        ),
        (
            "MetricSource",
            |c| c.metric_sources.clear(),
            |c| {
                c.metric_sources.insert("default".into());
            },
        ),
        (
            "no selector",
            |c| c.services.get_mut("shop-api").unwrap().selector.clear(),
            |c| {
                let _ =
                    c.services.get_mut("shop-api").unwrap().selector.insert("app".into(), "shop-api".into());
            },
        ),
        (
            "no rule names",
            |c| c.routes.get_mut("shop-api").unwrap().backends = vec![vec![]],
            |c| c.reapply_route("shop-api"),
        ),
    ];
    for (words, break_it, mend_it) in problems {
        let mut cluster = cluster(spec());
        break_it(&mut cluster);
        let mut drive = drive(cluster, 0.0);
        drive.run(at(100), |_, _| {});
        assert_eq!(drive.working.state, RolloutState::Stalled, "{words}");
        assert!(drive.working.message.contains(words), "{words}: {}", drive.working.message);
        assert!(drive.cluster.deployments["shop-api"].rollout_label.is_none(), "{words}");
        mend_it(&mut drive.cluster);
        drive.run(at(200), |_, _| {});
        assert_eq!(drive.working.state, RolloutState::Idle, "{words}: {}", drive.working.message);
        assert!(drive.happened.iter().any(|(_, h)| h.reason == Reason::Recovered), "{words}");
    }
}

#[test]
fn a_canary_that_shrinks_with_its_deployment_does_not_keep_the_pods_of_the_next_phase() {
    let mut drive = run_at(cluster(spec()), 50);
    drive.cluster.scale("shop-api", 9);
    drive.run(drive.cluster.now + SignedDuration::from_secs(12), |_, _| {});
    drive.cluster.scale("shop-api", 3);
    drive.run(drive.cluster.now + SignedDuration::from_secs(5), |_, _| {});
    let canary = drive.working.components[0].canary.clone().expect("a canary");
    assert_eq!(drive.cluster.sets[&canary.replica_set].replicas, 2);
}

#[test]
fn the_pods_of_the_next_phase_are_there_when_a_phase_is_earned() {
    let mut spec = spec();
    spec.phases[0].bake_time = Span::seconds(120);
    let mut cluster = cluster(spec);
    cluster.pod_lag = Span::seconds(20);
    let mut drive = run_at(cluster, 10);
    let begun = drive.working.components[0].bake.clone().expect("baking").started_at;
    let mut raised_at = None;
    drive.run(at(2_000), |cluster, _| {
        let canary = cluster.sets.values().find(|set| set.image == "app:v2").map_or(0, |set| set.replicas);
        if cluster.now < begun + SignedDuration::from_secs(80) {
            assert_eq!(canary, 1, "too early at {}", cluster.now);
        }
        if weight_of(cluster, "shop-api").0 == 50 {
            raised_at.get_or_insert(cluster.now);
        }
    });
    let waited = raised_at.expect("raised").duration_since(begun).as_secs();
    assert!((120..=125).contains(&waited), "raised after {waited} s");
}
