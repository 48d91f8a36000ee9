//! Configuration that is released, and goes back, with the code.

use palier::api::names::RESTARTED_AT;
use palier::apiserver::{Key, Kind, Store};
use palier::rig::given::SHOP;
use palier::rig::{Late, Rig};
use serde_json::{Value, json};

use super::{PATIENCE, at_rest, ended, is_bad, push};

/// What is in the Secret: it must be nowhere else.
pub const SECRET: &str = "aHVudGVyMi1tdXN0LW5vdC1iZS1zZWVu";

fn objects() -> [Value; 2] {
    [
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": SHOP},
            "data": {"mode": "old"},
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": SHOP},
            "type": "Opaque", "data": {"token": SECRET},
        }),
    ]
}

/// Pods that read both objects, each started since the Rollout looks after it.
async fn open(rig: &Rig) -> Result<(), Late> {
    let made = rig.furnish_as(&["api"], |all| {
        for object in all.iter_mut() {
            if object["kind"] == "Deployment" {
                let pod = &mut object["spec"]["template"]["spec"];
                pod["volumes"] = json!([{"name": "app", "configMap": {"name": "app"}}]);
                let key = json!({"secretKeyRef": {"name": "key", "key": "token"}});
                pod["containers"][0]["env"] = json!([{"name": "TOKEN", "valueFrom": key}]);
            } else if object["kind"] == "Rollout" {
                object["spec"]["components"][0]["config"] = json!({"fromTemplate": true});
            }
        }
        let place = all.len() - 1;
        all.splice(place..place, objects());
    });
    made.expect("the cluster takes it");
    at_rest(rig, &["api"]).await?;
    let has_map = |store: &Store| store.get(Kind::ConfigMap, SHOP, "palier-config-api").is_some();
    rig.until("the policy has its map", PATIENCE, has_map).await?;
    let restarted = rig.change("developer", &Key::new(Kind::Deployment, SHOP, "api"), |deployment| {
        deployment["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] =
            json!("2026-01-05T09:00:00Z");
    });
    restarted.expect("a Deployment can be restarted");
    rig.until("every pod was given its configuration", PATIENCE, is_bound).await
}

/// Four pods, all of which mount copies.
fn is_bound(store: &Store) -> bool {
    let pods: Vec<&Value> = store.list(Kind::Pod, Some(SHOP)).map(|(_, pod)| &**pod).collect();
    let mounts_copy = |pod: &&Value| {
        let name = pod["spec"]["volumes"][0]["configMap"]["name"].as_str().unwrap_or_default();
        name.starts_with("app-") && pod["metadata"]["deletionTimestamp"].is_null()
    };
    let deployment = store.get(Kind::Deployment, SHOP, "api");
    pods.len() == 4
        && pods.iter().all(mounts_copy)
        && deployment
            .is_some_and(|it| it["status"]["readyReplicas"] == 4 && it["status"]["updatedReplicas"] == 4)
}

fn edit(rig: &Rig, value: &str) {
    let edited = rig.change("developer", &Key::new(Kind::ConfigMap, SHOP, "app"), |map| {
        map["data"]["mode"] = json!(value);
    });
    edited.expect("a ConfigMap takes another value");
}

/// Another value alone is a release.
pub async fn config_good(rig: &Rig) -> Result<(), Late> {
    open(rig).await?;
    edit(rig, "new");
    ended(rig, 1).await
}

/// Another value and another image go back together.
pub async fn config_bad(rig: &Rig) -> Result<(), Late> {
    open(rig).await?;
    edit(rig, "new");
    push(rig, "api", "v2");
    is_bad(rig, "api", "v2").await?;
    ended(rig, 1).await
}
