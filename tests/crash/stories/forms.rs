//! Other forms of a component: without traffic of its own, and paused between its runs.

use palier::apiserver::{Kind, Store};
use palier::rig::given::SHOP;
use palier::rig::{Late, Rig};
use serde_json::{Value, json};

use super::{PATIENCE, at_rest, ended, furnish_as, is_bad, push};

fn without_traffic(spec: &mut Value) {
    spec["components"][0].as_object_mut().map(|component| component.remove("traffic"));
}

/// The share is the share of pods.
pub async fn by_pods_good(rig: &Rig) -> Result<(), Late> {
    furnish_as(rig, &["api"], &[], without_traffic);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    ended(rig, 1).await
}

pub async fn by_pods_bad(rig: &Rig) -> Result<(), Late> {
    furnish_as(rig, &["api"], &[], without_traffic);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    is_bad(rig, "api", "v2").await?;
    ended(rig, 1).await
}

async fn paused_at_rest(rig: &Rig) -> Result<(), Late> {
    furnish_as(rig, &["api"], &[], |spec| spec["interception"] = json!("AtRest"));
    at_rest(rig, &["api"]).await?;
    let is_paused = |store: &Store| {
        store.get(Kind::Deployment, SHOP, "api").is_some_and(|it| it["spec"]["paused"] == true)
    };
    rig.until("the Deployment is paused at rest", PATIENCE, is_paused).await
}

/// Paused between its runs, as where the API server does not intercept.
pub async fn paused_at_rest_good(rig: &Rig) -> Result<(), Late> {
    paused_at_rest(rig).await?;
    push(rig, "api", "v2");
    ended(rig, 1).await
}

pub async fn paused_at_rest_bad(rig: &Rig) -> Result<(), Late> {
    paused_at_rest(rig).await?;
    push(rig, "api", "v2");
    is_bad(rig, "api", "v2").await?;
    ended(rig, 1).await
}
