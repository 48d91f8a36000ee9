//! What the controller keeps in memory for one Rollout between two decisions. All of it can be lost: the status is the
//! only memory that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::adapters::kube::call::CallError;
use crate::adapters::kube::row::View;
use crate::adapters::kube::views::{ConfigMapView, CronJobView, DeploymentView, ReplicaSetView, ServiceView};
use crate::adapters::kube::writes::{Effect, Now};
use crate::api::RolloutStatus;
use crate::engine::References;
use crate::engine::world::{
    Answered, ConfigMapSeen, ConfigSeen, CronJobSeen, DeploymentSeen, Look, PodsSeen, ReplicaSetSeen, Seen,
    ServiceSeen,
};

use super::queue::Key;

/// A live read is good for this long.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// One that found something which is about to go is good for this long: nobody tells when it is gone.
const GOOD_WHILE_GOING: Duration = Duration::from_millis(500);

/// The desks of all Rollouts.
#[derive(Debug, Default)]
pub struct Desks {
    desks: Mutex<BTreeMap<Key, Arc<Mutex<Desk>>>>,
}

impl Desks {
    /// The desk of a Rollout.
    #[must_use]
    pub fn of(&self, key: &Key) -> Arc<Mutex<Desk>> {
        lock(&self.desks).entry(key.clone()).or_default().clone()
    }

    /// The desk of a Rollout, if there is one.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Arc<Mutex<Desk>>> {
        lock(&self.desks).get(key).cloned()
    }

    /// Clears the desk of a Rollout that is gone.
    pub fn clear(&self, key: &Key) {
        lock(&self.desks).remove(key);
    }
}

/// Locks for a moment; never across an await. A panic meanwhile leaves nothing that later reads could not take.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One desk.
#[derive(Debug, Default)]
pub struct Desk {
    /// Uid of the Rollout that the desk is for: another one of that name starts with a clear desk.
    pub uid: String,
    /// The status decided last, where it need not be stored.
    pub working: Option<Working>,
    /// Answers that no decision has seen yet, in order of arrival.
    pub inbox: Vec<Answered>,
    /// Questions without an answer yet, as (component, gate).
    pub asking: BTreeSet<(String, String)>,
    /// What the components name, as last observed.
    pub names: BTreeMap<String, References>,
    /// Live reads by component. Boxed: a map sets room for eleven aside, and there is seldom more than one.
    pub looks: BTreeMap<String, Box<Looks>>,
    /// Live reads of CronJobs, by name.
    pub cron_jobs: BTreeMap<String, Kept<CronJobSeen>>,
    /// Jobs that the API server refused to create, with its words.
    pub refused_jobs: BTreeMap<String, String>,
    /// Live reads of ConfigMaps, by name.
    pub config_maps: BTreeMap<String, Kept<ConfigMapSeen>>,
    /// When a read or a write of a ConfigMap was refused last, and the words for it, by name.
    pub refused_config_maps: BTreeMap<String, (Instant, String)>,
    /// The record of the present run as it was last written.
    pub run: Option<Seen>,
    /// What was last said about a refused write: it is said once.
    pub refusal: String,
    /// Statuses that may have been stored since the one that was seen last.
    pub unsure: Vec<Unsure>,
}

/// A status that was sent, without a word on whether it was stored.
#[derive(Debug)]
pub struct Unsure {
    /// The version that it was to replace.
    pub version: String,
    /// The status.
    pub status: RolloutStatus,
    /// The answers that it rests on: they must not be judged twice.
    pub answers: Vec<Answered>,
}

/// A status that is not stored.
#[derive(Debug)]
pub struct Working {
    /// The stored status that it follows from. When another one is stored, this one is void.
    pub base: RolloutStatus,
    /// The status.
    pub status: RolloutStatus,
}

/// The live reads of one component.
#[derive(Debug, Default)]
pub struct Looks {
    /// The Deployment.
    pub deployment: Kept<DeploymentSeen>,
    /// The Service of its callers.
    pub service: Kept<ServiceSeen>,
    /// The Service of its canary.
    pub canary_service: Kept<ServiceSeen>,
    /// ReplicaSets that the Deployment's selector matches and that are not watched; the name is that of a state of the Deployment.
    pub replica_sets: Kept<Vec<ReplicaSetSeen>>,
    /// A pod that the Service selects and the Deployment does not; the name is the Service's.
    pub foreign_pod: Kept<String>,
    /// The configuration; the name is the Deployment's.
    pub config: Kept<ConfigSeen>,
    /// Pods of the canary; the name is its ReplicaSet's.
    pub canary_pods: Kept<PodsSeen>,
    /// Pods of stable; the name is its ReplicaSet's.
    pub stable_pods: Kept<PodsSeen>,
}

/// What a live read found.
#[derive(Debug)]
pub struct Kept<T> {
    found: Option<(Instant, String, Look<T>)>,
    /// Whether something of it is about to go.
    is_going: bool,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { found: None, is_going: false }
    }
}

impl<T: Clone> Kept<T> {
    /// Keeps what was found of the object `name`.
    pub fn set(&mut self, name: &str, look: Look<T>) {
        self.found = Some((Instant::now(), name.to_owned(), look));
    }

    /// What is known of the object `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Look<T> {
        let good_for = if self.is_going { GOOD_WHILE_GOING } else { GOOD_FOR };
        match &self.found {
            Some((at, kept, look)) if kept == name && at.elapsed() < good_for => look.clone(),
            _ => Look::Unknown,
        }
    }

    /// Keeps what a write did, unless a watch tells it too.
    fn learn<V: View>(&mut self, now: &Now<V>, pick: impl Fn(&V) -> T) {
        match now {
            Now::Is(row) if row.view.as_ref().is_ok_and(View::is_watched) => self.drop(),
            _ => self.set(name_of(now), look_of(now, pick)),
        }
    }

    fn drop(&mut self) {
        self.found = None;
    }
}

impl Kept<Vec<ReplicaSetSeen>> {
    /// Keeps the ReplicaSets of a Deployment as it is now: what was listed before its spec changed says nothing of what came of that.
    pub fn set_list(&mut self, deployment: &DeploymentSeen, list: Vec<ReplicaSetSeen>) {
        self.keep_list(&list_name(deployment), list);
    }

    /// The ReplicaSets of a Deployment, if they were listed since its spec changed last.
    #[must_use]
    pub fn list_of(&self, deployment: &DeploymentSeen) -> Look<Vec<ReplicaSetSeen>> {
        self.get(&list_name(deployment))
    }

    fn keep_list(&mut self, name: &str, list: Vec<ReplicaSetSeen>) {
        self.is_going = list.iter().any(|set| set.deleting);
        self.set(name, Look::Found(list));
    }
}

fn list_name(deployment: &DeploymentSeen) -> String {
    format!("{}/{}", deployment.at.uid, deployment.generation)
}

impl Looks {
    fn is_stale(&self) -> bool {
        let old = |at: Option<&Instant>| at.is_none_or(|at| at.elapsed() >= GOOD_FOR);
        old(self.deployment.found.as_ref().map(|it| &it.0))
            && old(self.service.found.as_ref().map(|it| &it.0))
            && old(self.canary_service.found.as_ref().map(|it| &it.0))
            && old(self.replica_sets.found.as_ref().map(|it| &it.0))
            && old(self.config.found.as_ref().map(|it| &it.0))
            && old(self.canary_pods.found.as_ref().map(|it| &it.0))
            && old(self.stable_pods.found.as_ref().map(|it| &it.0))
            && old(self.foreign_pod.found.as_ref().map(|it| &it.0))
    }

    /// Brings what is known of the objects that `names` names to what a write did.
    fn learn(&mut self, names: &References, effect: &Effect) {
        match effect {
            Effect::Deployment(now) => {
                if names.workload == name_of(now) {
                    self.deployment.learn(now, |view: &DeploymentView| view.seen.clone());
                    // The Deployment controller may create or scale ReplicaSets because of it.
                    self.replica_sets.drop();
                }
            }
            Effect::Service(now) => {
                let seen = |view: &ServiceView| view.seen.clone();
                if names.service.as_deref() == Some(name_of(now)) {
                    self.service.learn(now, seen);
                } else if names.canary_service().as_deref() == Some(name_of(now)) {
                    self.canary_service.learn(now, seen);
                }
            }
            Effect::ReplicaSet(now) => self.learn_replica_set(now),
            Effect::Rollout(_)
            | Effect::Config(_)
            | Effect::HttpRoute(_)
            | Effect::GrpcRoute(_)
            | Effect::ConfigMap(_)
            | Effect::Run(_)
            | Effect::Job(_)
            | Effect::CronJob(_)
            | Effect::JobRefused { .. } => {}
        }
    }

    fn learn_replica_set(&mut self, now: &Now<ReplicaSetView>) {
        let Some((_, deployment, Look::Found(list))) = &self.replica_sets.found else { return };
        let (deployment, mut list) = (deployment.clone(), list.clone());
        let before = list.len();
        list.retain(|it| it.at.name != name_of(now));
        let was_listed = list.len() < before;
        // A watched one is in its store. One that is not listed belongs to another component.
        if let Now::Is(row) = now
            && let Ok(view) = &row.view
            && was_listed
            && !view.is_watched()
        {
            list.push(view.seen.clone());
        }
        if was_listed {
            self.replica_sets.keep_list(&deployment, list);
        }
    }
}

/// Whether two statuses are stored as the same: the API server keeps the time of a condition to the second.
#[must_use]
pub fn is_stored_alike(one: &RolloutStatus, other: &RolloutStatus) -> bool {
    let stored = |status: &RolloutStatus| serde_json::to_value(status).ok();
    one == other || (one.epoch == other.epoch && stored(one) == stored(other))
}

/// Doubts that are kept at once; each is of another try to replace the same version.
const DOUBTS_MAX: usize = 4;

impl Desk {
    /// Keeps a status of which it is not known whether it was stored.
    pub fn doubt(&mut self, unsure: Unsure) {
        if self.unsure.len() < DOUBTS_MAX {
            self.unsure.push(unsure);
        }
    }

    /// Takes what is stored now: if it is one of those that nobody was sure of, its answers have been judged.
    pub fn recognize(&mut self, version: &str, status: &RolloutStatus) {
        let is_it = |unsure: &Unsure| unsure.version != version && is_stored_alike(&unsure.status, status);
        if let Some(found) = self.unsure.iter().position(is_it) {
            let judged = self.unsure.swap_remove(found).answers;
            self.inbox.retain(|answered| !judged.contains(answered));
        }
        self.unsure.retain(|unsure| unsure.version == version);
    }

    /// Brings every live read to what a write did.
    pub fn learn(&mut self, effect: &Effect) {
        for (component, names) in &self.names {
            let looks = self.looks.entry(component.clone()).or_default();
            looks.learn(names, effect);
        }
        match effect {
            Effect::Run(now) => {
                self.run = match now {
                    Now::Is(row) => Some(row.seen()),
                    Now::Gone { name, .. } => self.run.take().filter(|run| run.name != *name),
                };
            }
            Effect::ConfigMap(now) => {
                let look = look_of(now, |view: &ConfigMapView| view.0.clone());
                self.config_maps.entry(name_of(now).to_owned()).or_default().set(name_of(now), look);
            }
            // One look tells of everything that hangs together.
            Effect::Config(component) => self.looks.entry(component.clone()).or_default().config.drop(),
            Effect::CronJob(now) => self.keep_cron_job(name_of(now), now),
            Effect::JobRefused { name, why } => drop(self.refused_jobs.insert(name.clone(), why.clone())),
            _ => {}
        }
    }

    /// Keeps what was found of a CronJob.
    pub fn keep_cron_job(&mut self, name: &str, found: &Now<CronJobView>) {
        let look = look_of(found, |view| view.0.clone());
        self.cron_jobs.entry(name.to_owned()).or_default().set(name, look);
    }

    /// Remembers that the API server refuses a ConfigMap: it is asked again when a look would be too old.
    pub fn refuse_config_map(&mut self, name: &str, error: &CallError) {
        let words = match error {
            CallError::Forbidden { .. } => {
                format!("add {name} to the chart's value degradedModes.configMaps: {error}")
            }
            _ => error.to_string(),
        };
        self.refused_config_maps.insert(name.to_owned(), (Instant::now(), words));
    }

    /// What is known of the ConfigMaps that were looked at.
    #[must_use]
    pub fn config_maps_seen(&self) -> BTreeMap<String, Look<ConfigMapSeen>> {
        let looks = self.config_maps.iter().map(|(name, kept)| (name.clone(), kept.get(name)));
        looks.filter(|(_, look)| *look != Look::Unknown).collect()
    }

    /// The ConfigMaps that are refused, with the words for it.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<String, String> {
        let is_good = |at: &Instant| at.elapsed() < GOOD_FOR;
        let refused = self.refused_config_maps.iter().filter(|(_, (at, _))| is_good(at));
        refused.map(|(name, (_, words))| (name.clone(), words.clone())).collect()
    }

    /// Drops what a Rollout at rest does not need: live reads that are too old, and names.
    pub fn tidy(&mut self) {
        self.names = BTreeMap::new();
        self.looks.retain(|_, looks| !looks.is_stale());
        if self.looks.is_empty() {
            // What a map has set aside stays with it.
            self.looks = BTreeMap::new();
        }
        self.cron_jobs.retain(|name, kept| kept.get(name) != Look::Unknown);
        self.config_maps.retain(|name, kept| kept.get(name) != Look::Unknown);
        self.refused_config_maps.retain(|_, (at, _)| at.elapsed() < GOOD_FOR);
    }
}

fn name_of<V>(now: &Now<V>) -> &str {
    match now {
        Now::Is(row) => row.name(),
        Now::Gone { name, .. } => name,
    }
}

/// What a read found, as a look; something that cannot be read is not known.
#[must_use]
pub fn look_of<V, T>(now: &Now<V>, pick: impl Fn(&V) -> T) -> Look<T> {
    match now {
        Now::Is(row) => row.view.as_ref().map_or(Look::Unknown, |view| Look::Found(pick(view))),
        Now::Gone { .. } => Look::Missing,
    }
}
