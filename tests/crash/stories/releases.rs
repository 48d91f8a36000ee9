//! Releases of one component and of a chain, and what people do meanwhile.

use palier::apiserver::{Key, Kind};
use palier::rig::given::SHOP;
use palier::rig::{Late, Rig};

use super::{CHAIN, PATIENCE, at_rest, begun, ended, furnish, is_bad, push, reaches, rest};

pub async fn good(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    ended(rig, 1).await
}

pub async fn bad(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    is_bad(rig, "api", "v2").await?;
    ended(rig, 1).await
}

pub async fn bad_at_half(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    is_bad(rig, "api", "v2").await?;
    ended(rig, 1).await
}

pub async fn aborted(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    rig.act(SHOP, "shop", "Abort").expect("an action is taken");
    ended(rig, 1).await
}

pub async fn superseded(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    push(rig, "api", "v3");
    begun(rig, 2).await?;
    ended(rig, 2).await
}

pub async fn back_in_git(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    push(rig, "api", "v1");
    ended(rig, 1).await
}

pub async fn scaled(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 10).await?;
    rig.scale(SHOP, "api", 9).expect("a Deployment takes another size");
    reaches(rig, "api", 50).await?;
    rig.scale(SHOP, "api", 3).expect("a Deployment takes another size");
    ended(rig, 1).await
}

pub async fn deleted(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 50).await?;
    rig.delete("operator", &Key::new(Kind::Rollout, SHOP, "shop")).expect("a Rollout can be deleted");
    rig.until("the Rollout is gone", PATIENCE, |store| store.get(Kind::Rollout, SHOP, "shop").is_none()).await
}

pub async fn paused(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &["api"]);
    at_rest(rig, &["api"]).await?;
    push(rig, "api", "v2");
    reaches(rig, "api", 10).await?;
    rig.act(SHOP, "shop", "Pause").expect("an action is taken");
    rest(300).await;
    rig.act(SHOP, "shop", "Resume").expect("an action is taken");
    ended(rig, 1).await
}

/// The version before the last one again: an empty ReplicaSet of its template is still there.
pub async fn former_again(rig: &Rig) -> Result<(), Late> {
    good(rig).await?;
    push(rig, "api", "v1");
    ended(rig, 2).await
}

pub async fn chain_good(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &CHAIN);
    at_rest(rig, &["api", "web", "worker"]).await?;
    for workload in ["api", "web", "worker"] {
        push(rig, workload, "v2");
    }
    ended(rig, 1).await
}

pub async fn chain_bad(rig: &Rig) -> Result<(), Late> {
    furnish(rig, &CHAIN);
    at_rest(rig, &["api", "web", "worker"]).await?;
    for workload in ["api", "web", "worker"] {
        push(rig, workload, "v2");
    }
    is_bad(rig, "worker", "v2").await?;
    ended(rig, 1).await
}
