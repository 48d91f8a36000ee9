//! Views of objects recorded from a real API server (Kubernetes 1.36, Traefik 3.6).

use std::collections::BTreeMap;

use serde_json::json;

use super::services::replica_set_of;
use super::*;
use crate::adapters::kube::row::{Row, View};
use crate::adapters::kube::scripted::recorded;
use crate::engine::world::{Acceptance, JobState, Look};

fn view<V: View>(object: Value) -> V {
    serde_json::from_value::<Row<V>>(object).unwrap().view.unwrap()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_deployment() {
    let seen = view::<DeploymentView>(recorded("deployment")).seen;
    assert_eq!(seen.at.name, "shop-api");
    assert_eq!(
        (seen.replicas, seen.total_replicas, seen.updated_replicas, seen.available_replicas),
        (4, 4, 4, 4)
    );
    assert_eq!(seen.selector, map(&[("app", "shop-api")]));
    assert_eq!(seen.template_labels, map(&[("app", "shop-api")]));
    assert!(seen.is_complete() && !seen.paused && !seen.recreates && !seen.is_intercepted && !seen.deleting);
    assert_eq!(seen.rollout_label.as_deref(), Some("shop"));
}

#[test]
fn a_replica_set_has_the_revision_of_its_deployment() {
    let deployment = view::<DeploymentView>(recorded("deployment")).seen;
    let set = view::<ReplicaSetView>(recorded("replicaset"));
    assert_eq!(set.seen.revision, deployment.revision);
    assert_eq!(set.seen.template_hash, deployment.template_hash);
    assert_eq!(set.seen.owner_uid.as_ref(), Some(&deployment.at.uid));
    assert_eq!(set.seen.pod_hash, "77485686c8");
    assert_eq!((set.seen.replicas, set.seen.current, set.seen.available), (4, 4, 4));
    assert_eq!((set.seen.desired_annotation, set.seen.history_revision), (Some(4), 1));
    assert!(set.seen.is_observed && !set.seen.is_labelled && !set.is_watched());
}

#[test]
fn a_restart_changes_the_template_and_not_the_revision() {
    let before = view::<DeploymentView>(recorded("deployment")).seen;
    let mut object = recorded("deployment");
    object["spec"]["template"]["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/restartedAt": "2026-11-22T15:00:00Z"});
    let after = view::<DeploymentView>(object).seen;
    assert_eq!(before.revision, after.revision);
    assert_ne!(before.template_hash, after.template_hash);
}

#[test]
fn a_service_and_the_pods_behind_it() {
    let service = view::<ServiceView>(recorded("service")).seen;
    assert_eq!(service.selector, map(&[("app", "shop-api")]));
    assert_eq!(service.ready, Look::Unknown);
    let slice = view::<SliceView>(recorded("endpointslice"));
    assert_eq!(slice.service, "shop-api");
    assert_eq!(slice.ready_pods.len(), 4);
    assert!(slice.ready_pods.iter().all(|pod| replica_set_of(pod) == "shop-api-77485686c8"));
}

#[test]
fn only_ready_pods_are_behind_a_service() {
    let mut object = recorded("endpointslice");
    object["endpoints"][0]["conditions"]["ready"] = json!(false);
    object["endpoints"][1]["targetRef"] = json!({"kind": "Node", "name": "n"});
    object["endpoints"][2]["conditions"] = json!({});
    assert_eq!(view::<SliceView>(object).ready_pods.len(), 2);
    let empty = json!({"metadata": {"name": "s", "namespace": "shop", "uid": "u", "resourceVersion": "1"}, "endpoints": null});
    assert!(view::<SliceView>(empty).ready_pods.is_empty());
}

#[test]
fn a_route() {
    let route = view::<HttpRouteView>(recorded("httproute")).0;
    assert_eq!(route.acceptance, Acceptance::Accepted);
    let backend = json!({"group": "", "kind": "Service", "name": "shop-api", "port": 80, "weight": 1});
    assert_eq!(route.backends, [vec![backend]]);
}

#[test]
fn a_route_is_accepted_when_all_its_gateways_speak_of_its_generation() {
    let acceptance = |change: &dyn Fn(&mut Value)| {
        let mut object = recorded("httproute");
        change(&mut object);
        view::<HttpRouteView>(object).0.acceptance
    };
    type Edit<'e> = &'e dyn Fn(&mut Value);
    let cases: [(&str, Edit<'_>, Acceptance); 6] = [
        ("a newer generation", &|it| it["metadata"]["generation"] = json!(2), Acceptance::Pending),
        ("no word", &|it| it["status"] = Value::Null, Acceptance::Pending),
        ("no gateway", &|it| it["spec"]["parentRefs"] = json!([]), Acceptance::Pending),
        (
            "a second gateway without a word",
            &|it| it["spec"]["parentRefs"] = json!([{"name": "gw"}, {"name": "other"}]),
            Acceptance::Pending,
        ),
        (
            "a gateway named with its defaults",
            &|it| it["spec"]["parentRefs"] = json!([{"name": "gw", "namespace": "shop", "kind": "Gateway"}]),
            Acceptance::Accepted,
        ),
        (
            "an unknown backend",
            &|it| {
                it["status"]["parents"][0]["conditions"][1]["status"] = json!("False");
                it["status"]["parents"][0]["conditions"][1]["reason"] = json!("BackendNotFound");
                it["status"]["parents"][0]["conditions"][1]["message"] = json!("no such Service");
            },
            Acceptance::Refused("BackendNotFound: no such Service".to_owned()),
        ),
    ];
    for (case, change, expected) in cases {
        assert_eq!(acceptance(change), expected, "{case}");
    }
}

#[test]
fn a_body_that_does_not_fit_is_reported_with_its_field() {
    let object = json!({"metadata": {"name": "shop", "namespace": "shop", "uid": "u", "resourceVersion": "1"}, "spec": {"components": 7}});
    let row = serde_json::from_value::<Row<RolloutView>>(object).unwrap();
    let place = row.place();
    assert_eq!((place.namespace, place.name, place.version), ("shop", "shop", "1"));
    assert!(row.view.unwrap_err().starts_with("spec: "));
}

#[test]
fn a_job() {
    let job = |conditions: Value| {
        view::<JobView>(json!({
            "metadata": {
                "name": "j", "namespace": "shop", "uid": "u", "resourceVersion": "1",
                "creationTimestamp": "2026-11-22T15:00:00Z",
                "labels": {"palier.dev/rollout": "shop", "palier.dev/run": "7"},
            },
            "status": {"conditions": conditions},
        }))
    };
    let running = job(Value::Null);
    assert_eq!((running.rollout(), running.seen.run), (Some("shop"), 7));
    let said = |kind: &str, status: &str| json!({"type": kind, "status": status, "message": "why"});
    let cases = [
        (json!([]), JobState::Running),
        (
            json!([said("FailureTarget", "True"), said("Failed", "False"), said("Suspended", "True")]),
            JobState::Running,
        ),
        (json!([said("SuccessCriteriaMet", "True"), said("Complete", "True")]), JobState::Complete),
        (json!([said("FailureTarget", "True"), said("Failed", "True")]), JobState::Failed("why".to_owned())),
    ];
    for (conditions, state) in cases {
        assert_eq!(job(conditions.clone()).seen.state, state, "{conditions}");
    }
}

#[test]
fn a_cron_job_that_says_nothing_is_not_suspended() {
    let cron_job = |spec: Value| {
        let metadata = json!({"name": "c", "namespace": "shop", "uid": "u", "resourceVersion": "1"});
        view::<CronJobView>(json!({"metadata": metadata, "spec": spec})).0.suspended
    };
    assert!(cron_job(json!({"suspend": true})));
    assert!(!cron_job(json!({"suspend": false})) && !cron_job(json!({})));
}
