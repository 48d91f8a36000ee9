//! Ways back that are not all the way: some components, or some phases.

use palier::rig::given::gate;
use palier::rig::{Late, Rig};
use serde_json::json;

use super::{CHAIN, PATIENCE, at_rest, ended, furnish_as, is_bad, is_good, push, reaches, weight};

/// The one in the middle fails a gate of its own: it goes back with the one that needs it, the first one goes on.
pub async fn partial_in_chain(rig: &Rig) -> Result<(), Late> {
    furnish_as(rig, &CHAIN, &[], |spec| spec["components"][1]["gates"] = json!([gate("own-errors")]));
    at_rest(rig, &["api", "web", "worker"]).await?;
    for workload in ["api", "web", "worker"] {
        push(rig, workload, "v2");
    }
    reaches(rig, "web", 50).await?;
    rig.prometheus.set_bad_for(&super::set_of(rig, "web", "v2").await?, "own-errors", 0.3);
    ended(rig, 1).await
}

async fn open(rig: &Rig, most: i32) -> Result<(), Late> {
    furnish_as(rig, &["api"], &[], |spec| {
        spec["gates"][0]["onFailure"] = json!("StepBack");
        spec["maxStepBacks"] = json!(most);
    });
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    is_bad(rig, "api", "v2").await
}

/// Bad at half, good again at the phase before.
pub async fn stepped_back(rig: &Rig) -> Result<(), Late> {
    open(rig, 3).await?;
    rig.until("it steps back", PATIENCE, |store| weight(store, "api") < 50).await?;
    is_good(rig, "api", "v2").await?;
    ended(rig, 1).await
}

/// Bad for good: a step back does not help.
pub async fn stepped_back_and_out(rig: &Rig) -> Result<(), Late> {
    open(rig, 1).await?;
    ended(rig, 1).await
}
