use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::apiserver::store::{Key, Part};

const CONTROLLER: &str = "system:serviceaccount:palier:palier";

fn caller(user: &str) -> Caller {
    Caller::new(user, Timestamp::UNIX_EPOCH)
}

fn store(authorizer: Authorizer) -> Store {
    Chart { authorizer, ..Chart::of(CONTROLLER) }.install(Store::new(Vec::new()))
}

fn everybody() -> Authorizer {
    Arc::new(|_, _| true)
}

fn create(store: &mut Store, user: &str, kind: Kind, object: Value) -> Result<Arc<Value>, Refusal> {
    store.create(&caller(user), kind, "shop", object)
}

fn edit(
    store: &mut Store,
    user: &str,
    key: &Key,
    part: Part,
    edit: impl FnOnce(&mut Value),
) -> Result<Arc<Value>, Refusal> {
    store.update(&caller(user), key, part, |mut object| {
        edit(&mut object);
        Ok(object)
    })
}

fn deployment(labels: Value) -> Value {
    json!({"metadata": {"name": "api", "labels": labels}, "spec": {
        "selector": {"matchLabels": {"app": "api"}},
        "template": {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}},
    }})
}

#[test]
fn a_new_version_is_paused_and_a_restart_is_not() {
    let mut store = store(everybody());
    create(&mut store, "ana", Kind::Deployment, deployment(json!({"palier.dev/rollout": "shop"}))).unwrap();
    let key = Key::new(Kind::Deployment, "shop", "api");
    let restarted = edit(&mut store, "ana", &key, Part::Main, |it| {
        it["spec"]["template"]["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/restartedAt": "now"});
    });
    assert!(restarted.unwrap()["spec"].get("paused").is_none());
    // Taking the label away in the same write is no way around.
    let released = edit(&mut store, "ana", &key, Part::Main, |it| {
        it["metadata"]["labels"] = json!({});
        it["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
    })
    .unwrap();
    assert_eq!(released["spec"]["paused"], true);
    assert_eq!(released["metadata"]["annotations"]["palier.dev/intercepted"], "true");
}

#[test]
fn a_pause_of_a_person_stays_theirs() {
    let mut store = store(everybody());
    let mut paused = deployment(json!({"palier.dev/rollout": "shop"}));
    paused["spec"]["paused"] = json!(true);
    create(&mut store, "ana", Kind::Deployment, paused).unwrap();
    let key = Key::new(Kind::Deployment, "shop", "api");
    let released = edit(&mut store, "ana", &key, Part::Main, |it| {
        it["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
    });
    assert!(released.unwrap()["metadata"].get("annotations").is_none());
}

#[test]
fn others_roll_as_they_are() {
    let mut store = store(everybody());
    create(&mut store, "ana", Kind::Deployment, deployment(json!({}))).unwrap();
    let key = Key::new(Kind::Deployment, "shop", "api");
    let released = edit(&mut store, "ana", &key, Part::Main, |it| {
        it["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
    });
    assert!(released.unwrap()["spec"].get("paused").is_none());
}

#[test]
fn an_action_is_the_word_of_its_sender_for_good() {
    let may: Authorizer = Arc::new(|caller, right| caller.user == "ana" && right.verb == "abort");
    let mut store = store(may);
    let action = |action: &str, name: &str| {
        let by = json!({"user": "root", "groups": ["system:masters"]});
        json!({"metadata": {"name": name}, "spec": {"rollout": "shop", "run": 1, "action": action, "requestedBy": by}})
    };
    let made = create(&mut store, "ana", Kind::RolloutAction, action("Abort", "a")).unwrap();
    assert_eq!(made["spec"]["requestedBy"], json!({"user": "ana", "groups": ["system:authenticated"]}));
    let key = Key::new(Kind::RolloutAction, "shop", "a");
    let changed = edit(&mut store, "ana", &key, Part::Main, |it| it["spec"]["action"] = json!("Pause"));
    assert!(changed.is_err());
    let forbidden = create(&mut store, "ben", Kind::RolloutAction, action("Abort", "b")).unwrap_err();
    assert_eq!(forbidden.code, 403);
    assert!(forbidden.message.contains("user \"ben\" may not abort the Rollout \"shop\""), "{forbidden}");
}

#[test]
fn only_the_controller_writes_what_is_evidence() {
    let mut store = store(everybody());
    let rollout = json!({"metadata": {"name": "shop"}, "spec": {"components": [
        {"name": "api", "workloadRef": {"name": "api"}}
    ]}});
    create(&mut store, "ana", Kind::Rollout, rollout).unwrap();
    let key = Key::new(Kind::Rollout, "shop", "shop");
    let say = |it: &mut Value| it["status"] = json!({"message": "done"});
    assert_eq!(edit(&mut store, "ana", &key, Part::Status, say).unwrap_err().code, 403);
    assert!(edit(&mut store, CONTROLLER, &key, Part::Status, say).is_ok());
    let record = json!({"metadata": {"name": "shop-1"}, "spec": {
        "rollout": "shop", "number": 1, "components": [], "phases": [], "startedAt": "2026-01-01T00:00:00Z",
    }});
    assert_eq!(create(&mut store, "ana", Kind::RolloutRun, record.clone()).unwrap_err().code, 403);
    assert!(create(&mut store, CONTROLLER, Kind::RolloutRun, record).is_ok());
}

#[test]
fn pods_get_the_copies_of_their_side() {
    let mut store = store(everybody());
    let map = json!({
        "metadata": {"name": "map", "labels": {"palier.dev/config-map": "true"}},
        "data": {
            "deployment": "api", "canary": "h2", "canary.config": "new", "stable.config": "old",
            "canary.configMap.conf": "conf-new", "canary.secret.key": "key-new", "stable.configMap.conf": "conf-old",
        },
    });
    assert_eq!(create(&mut store, "ana", Kind::ConfigMap, map.clone()).unwrap_err().code, 403);
    create(&mut store, CONTROLLER, Kind::ConfigMap, map).unwrap();
    let pod = |name: &str, hash: &str| {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("api-{hash}"), "uid": "1", "controller": true});
        json!({
            "metadata": {"name": name, "labels": {"pod-template-hash": hash}, "ownerReferences": [owner]},
            "spec": {
                "volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "conf"}}]}}],
                "containers": [{"name": "a", "env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}]}],
            },
        })
    };
    let names = |pod: &Value| {
        let read = |path: &str| pod.pointer(path).and_then(Value::as_str).unwrap_or("none").to_owned();
        [
            read("/metadata/labels/palier.dev~1config"),
            read("/spec/volumes/0/projected/sources/0/configMap/name"),
            read("/spec/containers/0/env/0/valueFrom/secretKeyRef/name"),
        ]
    };
    let canary = create(&mut store, "rs", Kind::Pod, pod("a", "h2")).unwrap();
    assert_eq!(names(&canary), ["new", "conf-new", "key-new"]);
    let stable = create(&mut store, "rs", Kind::Pod, pod("b", "h1")).unwrap();
    assert_eq!(names(&stable), ["old", "conf-old", "key"]);
}

#[test]
fn an_author_needs_the_rights_that_palier_uses() {
    let may: Authorizer = Arc::new(|_, right| right.kind != Kind::Deployment || right.name == "own");
    let mut store = store(may);
    let rollout = |name: &str, deployment: &str| {
        json!({"metadata": {"name": name}, "spec": {"components": [
            {"name": "api", "workloadRef": {"name": deployment}}
        ]}})
    };
    assert!(create(&mut store, "ben", Kind::Rollout, rollout("a", "own")).is_ok());
    let refusal = create(&mut store, "ben", Kind::Rollout, rollout("b", "foreign")).unwrap_err();
    assert!(refusal.message.contains("may not patch the Deployment \"foreign\""), "{refusal}");
}
