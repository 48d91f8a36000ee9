//! What every part of the controller shares.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::adapters::kube::call::Cluster;
use crate::adapters::kube::events::Events;
use crate::adapters::kube::lease::{Claim, Standing};
use crate::adapters::kube::policy;
use crate::adapters::kube::stores::Stores;
use crate::adapters::prometheus::Sources;
use crate::api::Interception;
use crate::engine::flaw::{self, Flaw};
use crate::engine::{Plan, World};
use crate::server::{Health, Metrics};

use super::desk::{Desks, lock};
use super::names::Names;
use super::queue::Queue;

/// How long an answer about the admission policy is good for.
const POLICY_GOOD_FOR: Duration = Duration::from_secs(60);

/// What every part of the controller shares.
pub struct Context {
    /// The API server.
    pub cluster: Cluster,
    /// What is known of the cluster.
    pub stores: Stores,
    /// Which Rollouts name which objects.
    pub names: Names,
    /// What is kept in memory for each Rollout.
    pub desks: Desks,
    /// Which Rollout is next.
    pub queue: Queue,
    /// The metric servers.
    pub sources: Sources,
    /// Told when a MetricSource changed.
    pub source_changed: Notify,
    /// Namespaces that may use each metric source.
    pub allowed: Mutex<BTreeMap<String, Vec<String>>>,
    /// The admission policy that pauses changed Deployments.
    pub policy: Policy,
    /// The admission policy that gives pods copies of their configuration.
    pub config_policy: Policy,
    /// Events to be sent.
    pub events: Events,
    /// The operator's own metrics.
    pub metrics: Metrics,
    /// What the probes read.
    pub health: Health,
    /// Where this process stands.
    pub standing: watch::Receiver<Standing>,
    /// What `interception: Auto` stands for.
    pub interception: Interception,
    /// Whether Palier runs for one namespace and sees nothing outside of it.
    pub is_namespaced: bool,
    /// Whether hooks are run: only then are Jobs watched.
    pub hooks: bool,
    /// The engine.
    pub decide: fn(&World, Timestamp) -> Plan,
}

impl Context {
    /// The claim to lead, if it is good for one more write.
    pub fn claim(&self) -> Result<Claim, NotLeading> {
        match *self.standing.borrow() {
            Standing::Leading(claim) if claim.covers(self.cluster.deadline(), self.cluster.now()) => {
                Ok(claim)
            }
            Standing::Leading(claim) if flaw::is(Flaw::LeaderForEver) => Ok(claim),
            _ => Err(NotLeading),
        }
    }
}

/// Nothing may be written: this process does not lead, or its claim may end before a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead (any more)")]
pub struct NotLeading;

/// Whether an admission policy is in force, as it was last looked up.
#[derive(Debug)]
pub struct Policy {
    name: &'static str,
    may_look: bool,
    seen: Mutex<Option<(Instant, bool)>>,
    looking: tokio::sync::Mutex<()>,
}

impl Policy {
    /// Nothing is known yet. Without `may_look` nothing is ever asked: in namespaced mode there is no right to.
    #[must_use]
    pub fn new(name: &'static str, may_look: bool) -> Self {
        Self { name, may_look, seen: Mutex::default(), looking: tokio::sync::Mutex::default() }
    }

    /// What was last looked up; not in force before that.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        lock(&self.seen).is_some_and(|(_, is_in_force)| is_in_force)
    }

    /// As if it had just been looked up.
    #[cfg(test)]
    #[must_use]
    pub fn known(is_in_force: bool) -> Self {
        Self { seen: Mutex::new(Some((Instant::now(), is_in_force))), ..Self::new("palier-test", true) }
    }

    /// Whether it is time for another look: the last one is older than a minute. Never where there is no right to look.
    #[must_use]
    pub fn is_old(&self) -> bool {
        self.may_look && lock(&self.seen).is_none_or(|(at, _)| at.elapsed() >= POLICY_GOOD_FOR)
    }

    /// Looks again if the last look is older than a minute.
    pub async fn refresh(&self, cluster: &Cluster) {
        let _turn = self.looking.lock().await;
        if !self.is_old() {
            return;
        }
        let is_in_force = policy::is_in_force(cluster, self.name).await;
        *lock(&self.seen) = Some((Instant::now(), is_in_force));
    }
}
