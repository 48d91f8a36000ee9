//! Each write as the request that it is.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::adapters::kube::scripted::{Script, cluster, recorded};
use crate::adapters::kube::views::RolloutView;
use crate::engine::Weight;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";

fn rollout() -> RolloutView {
    let object = json!({
        "metadata": {
            "name": "shop", "namespace": "shop", "uid": "rollout-uid", "resourceVersion": "50",
            "finalizers": ["somebody.else/finalizer"],
        },
        "spec": {"components": [{"name": "api", "workloadRef": {"name": "shop-api"}}]},
    });
    serde_json::from_value::<Row<RolloutView>>(object).unwrap().view.unwrap()
}

fn seen(name: &str) -> Seen {
    Seen { name: name.to_owned(), uid: "u".to_owned(), resource_version: "7".to_owned() }
}

fn seen_in(object: &Value) -> Seen {
    let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    Seen { name: text("name"), uid: text("uid"), resource_version: text("resourceVersion") }
}

async fn send(write: &Write, answers: &[(u16, Value)]) -> (Result<Effect, CallError>, Script) {
    let (cluster, script) = cluster(Duration::from_millis(200));
    for (status, answer) in answers {
        script.say(*status, answer.clone());
    }
    let rollout = rollout();
    let subject = Subject {
        rollout: &rollout.seen,
        finalizers: &rollout.finalizers,
        service: None,
        deployment: None,
        run: None,
    };
    (perform(&cluster, subject, write).await, script)
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "words"}))
}

/// The one request of a write that a `kind` answers.
async fn request_of(write: &Write, kind: &str) -> (String, String, Value) {
    let (outcome, script) = send(write, &[(200, recorded(kind))]).await;
    outcome.unwrap();
    let asked = script.asked();
    assert_eq!(asked.len(), 1);
    (asked[0].line.clone(), asked[0].content_type.clone(), asked[0].body.clone())
}

#[tokio::test]
async fn a_service_is_pinned_and_unpinned() {
    let line = "PATCH /api/v1/namespaces/shop/services/shop-api?fieldManager=palier".to_owned();
    let pin = Write::PinService { service: seen("shop-api"), pod_hash: Some("abc".to_owned()) };
    let body = json!({
        "metadata": {"uid": "u", "resourceVersion": "7", "labels": {"palier.dev/rollout": "shop"}},
        "spec": {"selector": {"pod-template-hash": "abc"}},
    });
    assert_eq!(request_of(&pin, "service").await, (line.clone(), MERGE.to_owned(), body));
    let unpin = Write::PinService { service: seen("shop-api"), pod_hash: None };
    let body = json!({
        "metadata": {"uid": "u", "resourceVersion": "7", "labels": {"palier.dev/rollout": null}},
        "spec": {"selector": {"pod-template-hash": null}},
    });
    assert_eq!(request_of(&unpin, "service").await, (line, MERGE.to_owned(), body));
}

#[tokio::test]
async fn a_deployment_is_labelled_paused_and_resumed() {
    let line = "PATCH /apis/apps/v1/namespaces/shop/deployments/shop-api?fieldManager=palier".to_owned();
    let deployment = seen("shop-api");
    let cases = [
        (
            Write::LabelDeployment { deployment: deployment.clone(), rollout: Some("shop".to_owned()) },
            json!({"metadata": {"uid": "u", "resourceVersion": "7", "labels": {"palier.dev/rollout": "shop"}}}),
        ),
        (
            Write::PauseDeployment { deployment: deployment.clone() },
            json!({
                "metadata": {"uid": "u", "resourceVersion": "7", "annotations": {"palier.dev/intercepted": "true"}},
                "spec": {"paused": true},
            }),
        ),
    ];
    for (write, body) in cases {
        assert_eq!(request_of(&write, "deployment").await, (line.clone(), MERGE.to_owned(), body));
    }
    let resume = Write::ResumeDeployment { deployment, generation: 3 };
    let mark = "/metadata/annotations/palier.dev~1intercepted";
    let body = json!([
        {"op": "replace", "path": "/metadata/uid", "value": "u"},
        {"op": "test", "path": "/metadata/generation", "value": 3},
        {"op": "add", "path": "/spec/paused", "value": false},
        {"op": "add", "path": mark, "value": ""},
        {"op": "remove", "path": mark},
    ]);
    assert_eq!(request_of(&resume, "deployment").await, (line, JSON.to_owned(), body));
}

#[tokio::test]
async fn a_replica_set_is_scaled_released_and_unlabelled() {
    let line = "PATCH /apis/apps/v1/namespaces/shop/replicasets/shop-api-abc?fieldManager=palier".to_owned();
    let replica_set = seen("shop-api-abc");
    let scale = Write::ScaleReplicaSet { replica_set: replica_set.clone(), replicas: 2, desired: 4 };
    let body = json!({
        "metadata": {
            "uid": "u", "resourceVersion": "7", "annotations": {"deployment.kubernetes.io/desired-replicas": "4"},
        },
        "spec": {"replicas": 2},
    });
    assert_eq!(request_of(&scale, "replicaset").await, (line.clone(), MERGE.to_owned(), body));
    let release = Write::ReleaseReplicaSet { replica_set: replica_set.clone(), desired: 4 };
    let body = json!({"metadata": {
        "uid": "u", "resourceVersion": "7", "annotations": {"deployment.kubernetes.io/desired-replicas": "4"},
        "ownerReferences": [{"$patch": "delete", "uid": "rollout-uid"}],
    }});
    let strategic = "application/strategic-merge-patch+json".to_owned();
    assert_eq!(request_of(&release, "replicaset").await, (line.clone(), strategic, body));
    let unlabel = Write::UnlabelReplicaSet { replica_set };
    let body = json!({"metadata": {
        "uid": "u", "resourceVersion": "7", "labels": {"palier.dev/rollout": null, "palier.dev/component": null},
    }});
    assert_eq!(request_of(&unlabel, "replicaset").await, (line, MERGE.to_owned(), body));
}

#[tokio::test]
async fn of_a_route_only_the_backends_of_some_rules_are_written() {
    let backends = vec![json!({"name": "shop-api", "port": 80, "weight": 90})];
    let write = Write::SetBackends {
        kind: RouteKind::Http,
        route: seen("shop"),
        rules: vec![(0, backends.clone()), (3, backends.clone())],
        weight: Weight::clamped(10),
    };
    let line = "PATCH /apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/shop?fieldManager=palier";
    let body = json!([
        {"op": "replace", "path": "/metadata/uid", "value": "u"},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "replace", "path": "/spec/rules/0/backendRefs", "value": backends},
        {"op": "replace", "path": "/spec/rules/3/backendRefs", "value": backends},
    ]);
    let expected = (line.to_owned(), "application/json-patch+json".to_owned(), body);
    assert_eq!(request_of(&write, "httproute").await, expected);
}

#[tokio::test]
async fn finalizers_of_others_stay() {
    let own = json!({"metadata": {"name": "shop", "namespace": "shop", "uid": "rollout-uid", "resourceVersion": "51"}});
    for (write, finalizers) in [
        (Write::AddFinalizer, json!(["somebody.else/finalizer", "palier.dev/hand-back"])),
        (Write::RemoveFinalizer, json!(["somebody.else/finalizer"])),
    ] {
        let (outcome, script) = send(&write, &[(200, own.clone())]).await;
        outcome.unwrap();
        let asked = script.asked();
        let metadata = json!({"uid": "rollout-uid", "resourceVersion": "50", "finalizers": finalizers});
        assert_eq!(asked[0].body, json!({"metadata": metadata}));
        assert_eq!(
            asked[0].line,
            "PATCH /apis/palier.dev/v1alpha1/namespaces/shop/rollouts/shop?fieldManager=palier"
        );
    }
}

fn create_replica_set(deployment: &Value, revision: &str) -> Write {
    Write::CreateReplicaSet {
        component: "api".to_owned(),
        deployment: seen_in(deployment),
        revision: revision.to_owned(),
        name: "shop-api-abc".to_owned(),
        pod_hash: "abc".to_owned(),
        replicas: 1,
    }
}

fn revision(deployment: &Value) -> String {
    crate::engine::revision::revision_of(&deployment["spec"]["template"])
}

#[tokio::test]
async fn the_canary_replica_set_is_the_deployments_template_under_another_hash() {
    let deployment = recorded("deployment");
    let write = create_replica_set(&deployment, &revision(&deployment));
    let (outcome, script) = send(&write, &[(200, deployment), (201, recorded("replicaset"))]).await;
    outcome.unwrap();
    let asked = script.asked();
    assert_eq!(asked[0].line, "GET /apis/apps/v1/namespaces/shop/deployments/shop-api");
    assert_eq!(asked[1].line, "POST /apis/apps/v1/namespaces/shop/replicasets?fieldManager=palier");
    assert_eq!(asked[1].body, recorded("canary-replicaset"));
}

#[tokio::test]
async fn a_template_that_changed_meanwhile_is_not_released() {
    let deployment = recorded("deployment");
    let mut other = deployment.clone();
    other["metadata"]["uid"] = "another".into();
    for (write, found) in [
        (create_replica_set(&deployment, "another"), deployment.clone()),
        (create_replica_set(&deployment, &revision(&deployment)), other),
    ] {
        let (outcome, script) = send(&write, &[(200, found)]).await;
        assert!(matches!(outcome, Err(CallError::Conflict(_))), "{outcome:?}");
        assert_eq!(script.lines().len(), 1, "nothing is created");
    }
}

#[tokio::test]
async fn the_canary_service_is_a_copy_without_addresses() {
    let service = recorded("service");
    let write = Write::CreateCanaryService {
        component: "api".to_owned(),
        service: seen_in(&service),
        name: "shop-api-canary".to_owned(),
        pod_hash: "abc".to_owned(),
    };
    let (outcome, script) = send(&write, &[(200, service.clone()), (201, service)]).await;
    outcome.unwrap();
    let asked = script.asked();
    assert_eq!(asked[1].line, "POST /api/v1/namespaces/shop/services?fieldManager=palier");
    assert_eq!(asked[1].body, recorded("canary-service"));
}

#[tokio::test]
async fn what_is_there_already_is_taken_only_if_the_rollout_owns_it() {
    let deployment = recorded("deployment");
    let write = create_replica_set(&deployment, &revision(&deployment));
    for (owner, is_ours) in [("rollout-uid", true), ("another", false)] {
        let mut set = recorded("replicaset");
        set["metadata"]["ownerReferences"][0]["uid"] = owner.into();
        let answers = [(200, deployment.clone()), status(409, "AlreadyExists"), (200, set)];
        let (outcome, script) = send(&write, &answers).await;
        assert_eq!(outcome.is_ok(), is_ours, "{outcome:?}");
        assert_eq!(script.lines()[2], "GET /apis/apps/v1/namespaces/shop/replicasets/shop-api-abc");
    }
}

#[tokio::test]
async fn deletions_name_what_was_looked_at() {
    let write = Write::DeleteReplicaSet { replica_set: seen("shop-api-abc") };
    let mut going = recorded("replicaset");
    going["metadata"]["deletionTimestamp"] = "2026-11-22T15:00:00Z".into();
    let (outcome, script) = send(&write, &[(200, going)]).await;
    assert!(matches!(outcome, Ok(Effect::ReplicaSet(Now::Is(_)))), "{outcome:?}");
    let asked = script.asked();
    assert_eq!(asked[0].line, "DELETE /apis/apps/v1/namespaces/shop/replicasets/shop-api-abc");
    let preconditions = json!({"uid": "u", "resourceVersion": "7"});
    assert_eq!(asked[0].body, json!({"preconditions": preconditions, "propagationPolicy": "Foreground"}));
    let write = Write::DeleteService { service: seen("shop-api-canary") };
    for answer in [(200, recorded("service")), (200, json!({"kind": "Status"})), status(404, "NotFound")] {
        let (outcome, _) = send(&write, &[answer]).await;
        assert!(matches!(outcome, Ok(Effect::Service(Now::Gone { .. }))), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_status_is_stored_as_a_whole() {
    let (cluster, script) = cluster(Duration::from_millis(200));
    let rollout = rollout();
    script.say(
        200,
        json!({"metadata": {"name": "shop", "namespace": "shop", "uid": "u", "resourceVersion": "51"}}),
    );
    let status = crate::api::RolloutStatus { epoch: 3, ..Default::default() };
    store_status(&cluster, &rollout.seen, &status).await.unwrap();
    let asked = script.asked();
    assert_eq!(
        asked[0].line,
        "PATCH /apis/palier.dev/v1alpha1/namespaces/shop/rollouts/shop/status?fieldManager=palier"
    );
    assert_eq!(
        asked[0].body[1],
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "50"})
    );
    assert_eq!(asked[0].body[2]["op"], "add");
    assert_eq!(asked[0].body[2]["path"], "/status");
    assert_eq!(asked[0].body[2]["value"]["epoch"], 3);
}

#[tokio::test]
async fn the_record_of_another_rollout_of_that_name_is_left_alone() {
    let write = Write::DeleteRun { name: "shop-1".to_owned() };
    let record = |owner: &str| {
        json!({"metadata": {
            "name": "shop-1", "namespace": "shop", "uid": "run-uid", "resourceVersion": "9",
            "ownerReferences": [{"uid": owner, "controller": true}],
        }})
    };
    let (outcome, script) = send(&write, &[(200, record("another"))]).await;
    assert!(outcome.is_ok());
    assert_eq!(script.lines(), ["GET /apis/palier.dev/v1alpha1/namespaces/shop/rolloutruns/shop-1"]);
    let (outcome, script) =
        send(&write, &[(200, record("rollout-uid")), (200, json!({"kind": "Status"}))]).await;
    assert!(outcome.is_ok());
    assert_eq!(script.asked()[1].body["preconditions"], json!({"uid": "run-uid", "resourceVersion": "9"}));
}

#[tokio::test]
async fn answers_are_told_apart() {
    let write = Write::PinService { service: seen("shop-api"), pod_hash: None };
    let category = async |answer: (u16, Value)| send(&write, &[answer]).await.0.unwrap_err().category();
    assert_eq!(category(status(404, "NotFound")).await, "not_found");
    assert_eq!(category(status(409, "Conflict")).await, "conflict");
    assert_eq!(category(status(422, "Invalid")).await, "refused");
    assert_eq!(category(status(429, "TooManyRequests")).await, "unavailable");
    assert_eq!(category(status(503, "ServiceUnavailable")).await, "unavailable");
    assert_eq!(category((200, json!([]))).await, "lost");
    let (outcome, _) = send(&write, &[]).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.category(), "lost");
    assert!(error.to_string().contains("Service shop/shop-api"), "{error}");
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let write = Write::PinService { service: seen("shop-api"), pod_hash: None };
    let error = send(&write, &[status(403, "Forbidden")]).await.0.unwrap_err().to_string();
    assert!(error.contains("the verb 'patch' on services in shop"), "{error}");
}

fn cron_job() -> Value {
    json!({
        "metadata": {"name": "backup", "namespace": "shop", "uid": "cron-uid", "resourceVersion": "3"},
        "spec": {"suspend": true, "jobTemplate": {
            "metadata": {"labels": {"team": "a"}, "annotations": {"note": "x"}},
            "spec": {"backoffLimit": 2, "ttlSecondsAfterFinished": 0, "template": {"spec": {
                "initContainers": [{"name": "first"}],
                "containers": [
                    {"name": "work", "env": [{"name": "PALIER_RUN", "value": "mine"}, {"name": "KEEP", "value": "it"}]},
                ],
            }}},
        }},
    })
}

fn record() -> Value {
    json!({"metadata": {
        "name": "shop-7", "namespace": "shop", "uid": "run-uid", "resourceVersion": "9",
        "ownerReferences": [{"uid": "rollout-uid", "controller": true}],
    }})
}

fn job(labels: &Value) -> Value {
    json!({"metadata": {"name": "shop-7-backup-1-abc", "namespace": "shop", "uid": "job-uid", "resourceVersion": "4",
           "labels": labels}})
}

fn create_job() -> Write {
    Write::CreateJob {
        name: "shop-7-backup-1-abc".to_owned(),
        component: "api".to_owned(),
        cron_job: seen_in(&cron_job()),
        environment: vec![("PALIER_RUN", "7".to_owned()), ("PALIER_PHASE", String::new())],
        run: "shop-7".to_owned(),
        number: 7,
        started_at: jiff::Timestamp::UNIX_EPOCH,
        components: Vec::new(),
    }
}

#[tokio::test]
async fn a_job_is_the_template_of_its_cron_job_with_the_facts_of_the_run() {
    let answers = [(200, cron_job()), (201, record()), (201, job(&json!({"palier.dev/rollout": "shop"})))];
    let (outcome, script) = send(&create_job(), &answers).await;
    assert!(matches!(outcome, Ok(Effect::Job(Now::Is(_)))), "{outcome:?}");
    let asked = script.asked();
    assert_eq!(asked[0].line, "GET /apis/batch/v1/namespaces/shop/cronjobs/backup");
    assert_eq!(
        asked[1].line,
        "POST /apis/palier.dev/v1alpha1/namespaces/shop/rolloutruns?fieldManager=palier"
    );
    assert_eq!(asked[2].line, "POST /apis/batch/v1/namespaces/shop/jobs?fieldManager=palier");
    let ours = [json!({"name": "PALIER_RUN", "value": "7"}), json!({"name": "PALIER_PHASE", "value": ""})];
    let expected = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "shop-7-backup-1-abc", "namespace": "shop",
            "labels": {"team": "a", "palier.dev/rollout": "shop", "palier.dev/run": "7", "palier.dev/component": "api"},
            "annotations": {"note": "x", "cronjob.kubernetes.io/instantiate": "manual"},
            "finalizers": ["palier.dev/until-seen"],
            "ownerReferences": [{
                "apiVersion": "palier.dev/v1alpha1", "kind": "RolloutRun", "name": "shop-7", "uid": "run-uid",
                "controller": true, "blockOwnerDeletion": false,
            }],
        },
        "spec": {"backoffLimit": 2, "template": {"spec": {
            "initContainers": [{"name": "first", "env": ours}],
            "containers": [{"name": "work", "env": [ours[0], ours[1], {"name": "KEEP", "value": "it"}]}],
        }}},
    });
    assert_eq!(asked[2].body, expected);
}

#[tokio::test]
async fn a_job_is_let_go_of_and_finalizers_of_others_stay() {
    let seen = Seen {
        name: "shop-7-backup-1-abc".to_owned(),
        uid: "job-uid".to_owned(),
        resource_version: "4".to_owned(),
    };
    for answer in [(200, job(&json!({}))), status(404, "NotFound")] {
        let is_there = answer.0 == 200;
        let (outcome, script) = send(&Write::ReleaseJob { job: seen.clone() }, &[answer]).await;
        assert!(matches!(outcome, Ok(Effect::Job(Now::Is(_)))) == is_there && outcome.is_ok(), "{outcome:?}");
        let asked = script.asked();
        assert!(asked[0].line.starts_with("PATCH /apis/batch/v1/namespaces/shop/jobs/shop-7-backup-1-abc?"));
        let metadata = json!({
            "uid": "job-uid", "resourceVersion": "4",
            "$deleteFromPrimitiveList/finalizers": ["palier.dev/until-seen"],
        });
        assert_eq!(asked[0].body, json!({"metadata": metadata}));
    }
}

#[tokio::test]
async fn a_job_that_is_there_already_is_taken_only_if_it_is_of_this_run() {
    let ours = json!({"palier.dev/rollout": "shop", "palier.dev/run": "7"});
    let other_run = json!({"palier.dev/rollout": "shop", "palier.dev/run": "6"});
    for (labels, is_ours) in [(ours, true), (other_run, false), (json!({}), false)] {
        let found = job(&labels);
        let answers = [(200, cron_job()), (201, record()), status(409, "AlreadyExists"), (200, found)];
        let (outcome, _) = send(&create_job(), &answers).await;
        match outcome.unwrap() {
            Effect::Job(Now::Is(row)) => assert!(is_ours && row.place().uid == "job-uid"),
            Effect::JobRefused { name, why } => {
                assert!(
                    !is_ours && name == "shop-7-backup-1-abc" && why.contains("is there already"),
                    "{why}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refused_job_is_an_effect_and_trouble_is_an_error() {
    for answer in [status(403, "Forbidden"), status(422, "Invalid")] {
        let (outcome, _) = send(&create_job(), &[(200, cron_job()), (201, record()), answer]).await;
        assert!(matches!(outcome, Ok(Effect::JobRefused { .. })), "{outcome:?}");
    }
    let (outcome, _) =
        send(&create_job(), &[(200, cron_job()), (201, record()), status(503, "Unavailable")]).await;
    assert!(matches!(outcome, Err(CallError::Unavailable { .. })), "{outcome:?}");
    let mut another = cron_job();
    another["metadata"]["uid"] = "another".into();
    let (outcome, script) = send(&create_job(), &[(200, another)]).await;
    assert!(matches!(outcome, Err(CallError::Conflict(_))), "{outcome:?}");
    assert_eq!(script.lines().len(), 1, "nothing is created");
}

#[tokio::test]
async fn keys_of_a_config_map_are_set_and_removed_and_nothing_else() {
    let answer =
        json!({"metadata": {"name": "flags", "namespace": "shop", "uid": "u", "resourceVersion": "8"}});
    let sent = async |is_empty: bool, changes: Vec<(String, Option<String>)>| {
        let write = Write::SetConfigMap { config_map: seen("flags"), is_empty, changes };
        let (outcome, script) = send(&write, &[(200, answer.clone())]).await;
        assert!(matches!(outcome, Ok(Effect::ConfigMap(Now::Is(_)))), "{outcome:?}");
        let asked = script.asked();
        assert_eq!(asked[0].line, "PATCH /api/v1/namespaces/shop/configmaps/flags?fieldManager=palier");
        assert_eq!(asked[0].content_type, "application/json-patch+json");
        let operations = asked[0].body.as_array().unwrap().clone();
        assert_eq!(operations[0], json!({"op": "replace", "path": "/metadata/uid", "value": "u"}));
        assert_eq!(
            operations[1],
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"})
        );
        operations[2..].to_vec()
    };
    let changes = vec![("A".to_owned(), Some("on".to_owned())), ("b.json".to_owned(), None)];
    assert_eq!(
        sent(false, changes).await,
        [
            json!({"op": "add", "path": "/data/A", "value": "on"}),
            json!({"op": "remove", "path": "/data/b.json"})
        ]
    );
    let changes = vec![("A".to_owned(), Some("on".to_owned()))];
    assert_eq!(sent(true, changes).await, [json!({"op": "add", "path": "/data", "value": {"A": "on"}})]);
}
