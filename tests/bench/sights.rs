//! What the Rollouts' status says, as a watch sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use palier::api::{Rollout, RolloutStatus};
use tokio::sync::watch;

/// A status, and when it was seen.
pub type Sight = (Timestamp, Arc<RolloutStatus>);

/// The newest status of every Rollout.
pub struct Sights {
    seen: Arc<Mutex<BTreeMap<String, Sight>>>,
    news: watch::Sender<()>,
}

impl Default for Sights {
    fn default() -> Self {
        Self { seen: Arc::default(), news: watch::Sender::new(()) }
    }
}

impl Sights {
    /// Follows the Rollouts of a namespace for ever.
    pub fn follow(&self, client: Client, namespace: &str) {
        let rollouts: Api<Rollout> = Api::namespaced(client, namespace);
        let (seen, news) = (self.seen.clone(), self.news.clone());
        tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(rollouts, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(rollout) | Event::InitApply(rollout)) = event else { continue };
                let name = rollout.name_any();
                lock(&seen).insert(name, (Timestamp::now(), Arc::new(rollout.status.unwrap_or_default())));
                news.send_replace(());
            }
        });
    }

    /// The newest status of one.
    pub fn of(&self, name: &str) -> Option<Sight> {
        lock(&self.seen).get(name).cloned()
    }

    /// Waits until every one of `names` satisfies `probe`, and gives when each first did. Fails after `within` with `what`.
    pub async fn until_all(
        &self,
        what: &str,
        names: &[String],
        within: Duration,
        probe: impl Fn(&str, &RolloutStatus) -> bool,
    ) -> Result<BTreeMap<String, Timestamp>> {
        let mut news = self.news.subscribe();
        let mut done: BTreeMap<String, Timestamp> = BTreeMap::new();
        let wait = async {
            loop {
                news.borrow_and_update();
                {
                    let seen = lock(&self.seen);
                    for name in names.iter().filter(|name| !done.contains_key(*name)).collect::<Vec<_>>() {
                        if let Some((at, status)) = seen.get(name)
                            && probe(name, status)
                        {
                            done.insert(name.clone(), *at);
                        }
                    }
                }
                if done.len() == names.len() {
                    return;
                }
                // Whoever looks at a thousand of them at each change would be what is measured.
                tokio::time::sleep(Duration::from_millis(if names.len() > 1 { 20 } else { 1 })).await;
                let _ = news.changed().await;
            }
        };
        let in_time = tokio::time::timeout(within, wait).await.is_ok();
        if !in_time {
            let missing = names.iter().find(|name| !done.contains_key(*name));
            let status = missing.and_then(|name| self.of(name)).map(|(_, status)| status);
            bail!(
                "{what}: {} of {} within {within:?}; {}: {}",
                done.len(),
                names.len(),
                missing.map_or("", String::as_str),
                serde_json::to_string(&status.as_deref()).unwrap_or_default()
            );
        }
        Ok(done)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
