//! A controller that dies at each of its writes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::controllers::{Controller, free_lease};
use super::scene::Scene;
use super::shop::{SOON, Shop};
use crate::lab::audit::Entry;

/// How often the controller is killed at most.
const KILLS: usize = 60;
/// At which of its writes it is killed, one time after the other. The end of a run takes three: claim, record, end.
const NTH: [usize; 6] = [2, 2, 1, 2, 2, 3];
/// How long killing it may take; after that the run goes on undisturbed.
const KILLING: Duration = Duration::from_secs(180);
/// How often the audit log is looked at for the next write.
const LOOK: Duration = Duration::from_millis(1);

/// Kills the controller at one of its first writes, starts another one, and so on until the run has ended. The first write is
/// the claim of a new leader: killed there each time, it would never do anything. Gives the writes at which it died.
/// `user` is the controller in the audit log.
pub async fn kill_at_each_write(
    scene: &Scene,
    shop: &Shop,
    controller: &Controller,
    user: &str,
) -> Result<Vec<String>> {
    let until = Timestamp::now() + KILLING;
    let mut killed_at = Vec::new();
    while killed_at.len() < KILLS && Timestamp::now() < until {
        let nth = NTH[killed_at.len() % NTH.len()];
        let Some(write) = nth_write(scene, shop, user, nth).await? else { break };
        controller.kill(scene.lab())?;
        killed_at.push(write);
        free_lease(scene.lab(), controller.home()).await?;
        controller.start_again(scene.lab()).await?;
    }
    println!("{}: killed at {}", scene.name, killed_at.join(", "));
    Ok(killed_at)
}

/// Waits for the n-th write from now on; `None` when the run has ended before.
async fn nth_write(scene: &Scene, shop: &Shop, user: &str, nth: usize) -> Result<Option<String>> {
    let mark = scene.lab().audit().mark();
    let is_write = |entry: &Entry| {
        entry.namespace == scene.namespace
            && !entry.is_lease()
            && entry.resource != "events"
            && entry.code < 300
    };
    let wait = async {
        loop {
            let writes = scene.lab().audit().since(&mark)?.by(user).mutations().only(is_write);
            if let Some(write) = writes.0.get(nth - 1) {
                return Ok(Some(format!("{} {} {}", write.verb, write.resource, write.name)));
            }
            if shop.status()?.run.is_some_and(|run| run.ended_at.is_some()) {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.context("no write follows")?
}
