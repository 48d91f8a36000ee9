//! What became of the objects of one namespace: every version that was seen, with the time at which it was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use palier::api::Rollout;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::lab::Lab;

/// One version of an object.
#[derive(Clone)]
pub struct Sight<K> {
    /// When it was seen.
    pub at: Timestamp,
    /// The object.
    pub object: Arc<K>,
    /// Whether this is how it looked when it was deleted.
    pub is_gone: bool,
}

/// All versions of the objects of one kind, in the order in which they were seen.
pub struct History<K> {
    seen: Arc<Mutex<Vec<Sight<K>>>>,
    news: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl<K> History<K>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    /// Follows a kind from now on, until dropped.
    fn follow(api: Api<K>) -> Self {
        let seen: Arc<Mutex<Vec<Sight<K>>>> = Arc::default();
        let (tell, news) = watch::channel(0);
        let kept = seen.clone();
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                let (object, is_gone) = match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
                    Ok(Event::Delete(object)) => (object, true),
                    // The watcher tries again by itself, after a pause.
                    Ok(Event::Init | Event::InitDone) | Err(_) => continue,
                };
                let sight = Sight { at: Timestamp::now(), object: Arc::new(object), is_gone };
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(sight);
                tell.send_replace(kept.len());
            }
        });
        Self { seen, news, task }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sight<K>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every version.
    pub fn all(&self) -> Vec<Sight<K>> {
        self.lock().clone()
    }

    /// Every version of the object of a name.
    pub fn of(&self, name: &str) -> Vec<Sight<K>> {
        let seen = self.lock();
        seen.iter().filter(|sight| sight.object.name_any() == name).cloned().collect()
    }

    /// The object of a name as it is now; `None` when it is gone or was never there.
    pub fn latest(&self, name: &str) -> Option<Arc<K>> {
        let seen = self.lock();
        let last = seen.iter().rev().find(|sight| sight.object.name_any() == name)?;
        (!last.is_gone).then(|| last.object.clone())
    }

    /// The objects there are now, by name.
    pub fn present(&self) -> Vec<Arc<K>> {
        let mut present = std::collections::BTreeMap::new();
        for sight in self.lock().iter() {
            if sight.is_gone {
                present.remove(&sight.object.name_any());
            } else {
                present.insert(sight.object.name_any(), sight.object.clone());
            }
        }
        present.into_values().collect()
    }

    /// Waits until `probe` is satisfied with the object of a name. Fails after `within` with `what`.
    pub async fn until<T>(
        &self,
        what: &str,
        name: &str,
        within: Duration,
        mut probe: impl FnMut(Option<&K>) -> Option<T>,
    ) -> Result<T> {
        let mut news = self.news.clone();
        let wait = async {
            loop {
                news.borrow_and_update();
                if let Some(found) = probe(self.latest(name).as_deref()) {
                    return Ok(found);
                }
                news.changed().await.map_err(|_| anyhow!("nobody follows {name} any more"))?;
            }
        };
        tokio::time::timeout(within, wait)
            .await
            .unwrap_or_else(|_| Err(anyhow!("{name}: {what}: not within {within:?}")))
    }
}

impl<K> Drop for History<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The kinds that scenarios ask about.
pub struct Record {
    /// Rollouts with their status.
    pub rollouts: History<Rollout>,
    /// Deployments.
    pub deployments: History<Deployment>,
    /// ReplicaSets.
    pub sets: History<ReplicaSet>,
    /// Pods.
    pub pods: History<Pod>,
    /// Services.
    pub services: History<Service>,
    /// HTTPRoutes.
    pub routes: History<DynamicObject>,
}

impl Record {
    /// Follows a namespace.
    pub async fn of(lab: &Lab, namespace: &str) -> Result<Self> {
        let client = lab.client();
        let routes = lab.api("gateway.networking.k8s.io/v1", "HTTPRoute", namespace).await?;
        Ok(Self {
            rollouts: History::follow(Api::namespaced(client.clone(), namespace)),
            deployments: History::follow(Api::namespaced(client.clone(), namespace)),
            sets: History::follow(Api::namespaced(client.clone(), namespace)),
            pods: History::follow(Api::namespaced(client.clone(), namespace)),
            services: History::follow(Api::namespaced(client, namespace)),
            routes: History::follow(routes),
        })
    }
}
