//! Feature switches that are set while a gate fails.

use std::sync::Arc;

use palier::apiserver::{Kind, Store};
use palier::rig::given::SHOP;
use palier::rig::{Late, Rig};
use serde_json::{Value, json};

use super::{PATIENCE, at_rest, ended, furnish_as, is_bad, is_good, push, reaches};

/// A file of flags with a formatting of its own.
const FILE: &str = "{\n  \"flags\" : {\n\t\"search\": { \"state\":\"ENABLED\" }\n  }\n}\n";

fn flags() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags", "namespace": SHOP},
        "data": {"flags.json": FILE, "SEARCH": "on", "other": "kept"},
    })
}

async fn open(rig: &Rig, deadline: &str) -> Result<(), Late> {
    furnish_as(rig, &["api"], &[flags()], |spec| {
        spec["gates"][0]["onFailure"] = json!("DegradedMode");
        spec["gates"][0]["degradedMode"] = json!("no-search");
        spec["degradedModes"] = json!([{
            "name": "no-search", "recoverAfter": "10s", "deadline": deadline, "then": "FullRollback",
            "switches": [
                {"configMap": "flags", "key": "flags.json", "pointer": "/flags/search/state", "json": "\"DISABLED\""},
                {"configMap": "flags", "key": "SEARCH", "value": "off"},
                {"configMap": "flags", "key": "BANNER", "value": "search is off"},
            ],
        }]);
    });
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    is_bad(rig, "api", "v2").await?;
    // A mode that cannot be entered in time, because the API server forbids it, ends the run.
    let is_off_or_over = |store: &Store| {
        let has_ended = |it: &Arc<Value>| {
            !it["status"]["run"]["endedAt"].is_null() || it["status"]["run"]["intent"] == "RollBack"
        };
        store.get(Kind::ConfigMap, SHOP, "flags").is_some_and(|map| map["data"]["SEARCH"] == "off")
            || store.get(Kind::Rollout, SHOP, "shop").is_some_and(has_ended)
    };
    rig.until("the search is off, or the run goes back", PATIENCE, is_off_or_over).await
}

/// With the search off it is good again: the switches go back and the run goes on.
pub async fn degraded_and_recovered(rig: &Rig) -> Result<(), Late> {
    open(rig, "1h").await?;
    is_good(rig, "api", "v2").await?;
    ended(rig, 1).await
}

/// That does not help: the run goes back, then the switches.
pub async fn degraded_for_good(rig: &Rig) -> Result<(), Late> {
    open(rig, "30s").await?;
    ended(rig, 1).await
}
