//! The Deployment controller, as far as borrowing depends on it.
//!
//! A paused Deployment creates no ReplicaSet, but it is scaled: its one active ReplicaSet follows `replicas`; when its
//! newest one is saturated the others go to zero; with several active ones it scales in proportion
//! (`k8s.io/kubernetes/pkg/controller/deployment/sync.go`). Rolling is instant here.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::names::RESTARTED_AT;
use crate::engine::flaw::{self, Flaw};
use crate::engine::revision::identity_of;
use crate::engine::world::{ReplicaSetSeen, Seen};

use super::cluster::Cluster;

/// The most identities that a thread keeps.
const IDENTITIES_MAX: usize = 1_000;

/// What a template is made of.
type Made = (bool, String, String, Option<String>);

thread_local! {
    static IDENTITIES: RefCell<BTreeMap<Made, (String, String)>> = RefCell::default();
}

/// A Deployment.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Identity and version.
    pub at: Seen,
    /// The image of its pod template.
    pub image: String,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.paused`.
    pub paused: bool,
    /// Whether the pause carries our annotation.
    pub is_intercepted: bool,
    /// Our label.
    pub rollout_label: Option<String>,
    /// The restart annotation of its pod template.
    pub restarted_at: Option<String>,
    /// Whether its strategy is Recreate.
    pub recreates: bool,
}

impl Deployment {
    pub(super) fn new(at: Seen, image: &str, replicas: i32) -> Self {
        Self {
            at,
            image: image.to_owned(),
            replicas,
            paused: false,
            is_intercepted: false,
            rollout_label: None,
            restarted_at: None,
            recreates: false,
        }
    }

    /// The pod template.
    #[must_use]
    pub fn template(&self) -> Value {
        let mut template = json!({"metadata": {"labels": {"app": self.at.name}}, "spec": {"containers": [{"image": self.image}]}});
        if let Some(at) = &self.restarted_at {
            template["metadata"]["annotations"] = json!({ RESTARTED_AT: at });
        }
        template
    }

    /// Revision and hash of the pod template. They are asked for at every look, so each is worked out once in a thread.
    pub(super) fn identity(&self) -> (String, String) {
        let key = (
            // With this bug a restart changes the revision.
            flaw::is(Flaw::RestartIsARelease),
            self.at.name.clone(),
            self.image.clone(),
            self.restarted_at.clone(),
        );
        IDENTITIES.with_borrow_mut(|known| {
            if known.len() >= IDENTITIES_MAX {
                known.clear();
            }
            known.entry(key).or_insert_with(|| identity_of(&self.template())).clone()
        })
    }

    pub(super) fn push(&mut self, image: &str, policy_active: bool) {
        if self.image == image {
            return;
        }
        image.clone_into(&mut self.image);
        // A pause by hand stays one.
        if policy_active && self.rollout_label.is_some() && !self.paused {
            (self.paused, self.is_intercepted) = (true, true);
        }
    }
}

/// A ReplicaSet with its pods.
#[derive(Clone, Debug)]
pub struct ReplicaSet {
    /// Identity and version.
    pub at: Seen,
    /// The Deployment whose selector matches it.
    pub app: String,
    /// Uid of the owner.
    pub owner_uid: Option<String>,
    /// Whether it carries our label.
    pub is_labelled: bool,
    /// The pods' `pod-template-hash`.
    pub pod_hash: String,
    /// The image of its template.
    pub image: String,
    /// Hash of its template.
    pub template_hash: String,
    /// Revision of its template.
    pub revision: String,
    /// Its hash and revision without our mark, while it has one.
    pub retired: Option<(String, String)>,
    /// `spec.replicas`.
    pub replicas: i32,
    /// The annotation `desired-replicas`.
    pub desired: Option<i32>,
    /// Pods that are available.
    pub available: i32,
    /// When pods that start now become ready.
    pub ready_at: Option<Timestamp>,
    /// When it is gone, once it is being deleted.
    pub gone_at: Option<Timestamp>,
}

impl ReplicaSet {
    /// Pods that exist.
    #[must_use]
    pub fn current(&self) -> i32 {
        self.replicas
    }

    /// Our mark on its template makes it another one.
    pub(super) fn mark(&mut self, retired: bool) {
        if retired {
            self.retired = Some((self.template_hash.clone(), self.revision.clone()));
            (self.template_hash, self.revision) = ("retired".to_owned(), "retired".to_owned());
        } else if let Some(before) = self.retired.take() {
            (self.template_hash, self.revision) = before;
        }
    }

    pub(super) fn seen(&self) -> ReplicaSetSeen {
        ReplicaSetSeen {
            at: self.at.clone(),
            deleting: self.gone_at.is_some(),
            is_labelled: self.is_labelled,
            owner_uid: self.owner_uid.clone(),
            is_retired: self.retired.is_some(),
            pod_hash: self.pod_hash.clone(),
            revision: self.revision.clone(),
            template_hash: self.template_hash.clone(),
            replicas: self.replicas,
            desired_annotation: self.desired,
            history_revision: 0,
            is_observed: true,
            current: self.current(),
            ready: self.available,
            available: self.available,
        }
    }
}

/// Lets every Deployment and ReplicaSet do what is due.
pub(super) fn settle(cluster: &mut Cluster) {
    let (now, gone_at) = (cluster.now, cluster.in_a_while(cluster.pod_lag));
    for set in cluster.sets.values_mut() {
        // A clock that was set back must not make pods slower.
        set.gone_at = set.gone_at.map(|at| at.min(gone_at));
    }
    cluster.sets.retain(|_, set| set.gone_at.is_none_or(|at| at > now));
    for name in cluster.deployments.keys().cloned().collect::<Vec<_>>() {
        // More than once: what the first pass scales may saturate a set for the second.
        for _ in 0..3 {
            start_pods(cluster);
            let Some(deployment) = cluster.deployments.get(&name).cloned() else { continue };
            adopt(cluster, &deployment);
            if deployment.paused { scale_paused(cluster, &deployment) } else { roll(cluster, &deployment) }
        }
    }
    start_pods(cluster);
}

/// Pods that are not wanted end at once, new ones become ready after the cluster's lag, those of a broken image never.
fn start_pods(cluster: &mut Cluster) {
    let (now, ready_at) = (cluster.now, cluster.in_a_while(cluster.pod_lag));
    let lags = !cluster.pod_lag.is_zero();
    for name in cluster.sets.keys().cloned().collect::<Vec<_>>() {
        let Some(set) = cluster.sets.get(&name) else { continue };
        let is_broken = cluster.broken_images.contains(&set.image);
        let wanted = if is_broken { 0 } else { set.replicas - cluster.ailing_in(set) };
        let is_due = !lags || set.ready_at.is_some_and(|at| at <= now);
        if wanted > set.available && !is_due {
            if let Some(set) = cluster.sets.get_mut(&name) {
                // A clock that was set back must not make pods slower.
                set.ready_at = Some(set.ready_at.map_or(ready_at, |at| at.min(ready_at)));
            }
        } else if wanted != set.available || set.ready_at.is_some() {
            change(cluster, &name, |set| (set.available, set.ready_at) = (wanted, None));
        }
    }
}

fn change(cluster: &mut Cluster, name: &str, edit: impl FnOnce(&mut ReplicaSet)) {
    let version = cluster.bump();
    if let Some(set) = cluster.sets.get_mut(name) {
        edit(set);
        set.at.resource_version = version;
    }
}

fn adopt(cluster: &mut Cluster, deployment: &Deployment) {
    let is_orphan =
        |set: &&ReplicaSet| set.app == deployment.at.name && set.owner_uid.is_none() && set.gone_at.is_none();
    for name in cluster.sets.values().filter(is_orphan).map(|set| set.at.name.clone()).collect::<Vec<_>>() {
        change(cluster, &name, |set| set.owner_uid = Some(deployment.at.uid.clone()));
    }
}

fn owned(cluster: &Cluster, deployment: &Deployment) -> Vec<ReplicaSet> {
    let is_owned =
        |set: &&ReplicaSet| set.owner_uid.as_ref() == Some(&deployment.at.uid) && set.gone_at.is_none();
    cluster.sets.values().filter(is_owned).cloned().collect()
}

fn roll(cluster: &mut Cluster, deployment: &Deployment) {
    let (revision, template_hash) = deployment.identity();
    let name = format!("{}-{template_hash}", deployment.at.name);
    let sets = owned(cluster, deployment);
    let newest = sets.iter().find(|set| set.template_hash == template_hash).map(|set| set.at.name.clone());
    let newest = newest.unwrap_or_else(|| {
        let set = ReplicaSet {
            at: cluster.fresh(&name),
            app: deployment.at.name.clone(),
            owner_uid: Some(deployment.at.uid.clone()),
            is_labelled: false,
            pod_hash: template_hash.clone(),
            image: deployment.image.clone(),
            revision: revision.clone(),
            template_hash: template_hash.clone(),
            retired: None,
            replicas: 0,
            desired: None,
            available: 0,
            ready_at: None,
            gone_at: None,
        };
        cluster.sets.insert(name.clone(), set);
        name.clone()
    });
    if let Some(set) = cluster.sets.get(&newest).cloned() {
        scale(cluster, &set, deployment.replicas, deployment.replicas);
    }
    start_pods(cluster);
    // The former pods end once the new ones are there.
    let is_up = cluster.sets.get(&newest).is_some_and(|set| set.available >= deployment.replicas);
    for set in owned(cluster, deployment).iter().filter(|set| is_up && set.at.name != newest) {
        scale(cluster, set, 0, deployment.replicas);
    }
}

fn scale_paused(cluster: &mut Cluster, deployment: &Deployment) {
    let sets = owned(cluster, deployment);
    let active: Vec<&ReplicaSet> = sets.iter().filter(|set| set.replicas > 0).collect();
    let (_, template_hash) = deployment.identity();
    let newest = sets.iter().find(|set| set.template_hash == template_hash);
    if active.len() <= 1 {
        // Without an active one it is the newest that is left, whatever its template.
        let last = sets.iter().max_by_key(|set| (set.at.uid.len(), set.at.uid.clone()));
        if let Some(set) = active.first().copied().or(newest).or(last) {
            scale(cluster, set, deployment.replicas, deployment.replicas);
        }
        return;
    }
    let is_saturated = |set: &ReplicaSet| {
        set.replicas == deployment.replicas
            && set.desired == Some(deployment.replicas)
            && set.available == deployment.replicas
    };
    if let Some(newest) = newest.filter(|set| is_saturated(set)) {
        for set in active.iter().filter(|set| set.at.name != newest.at.name) {
            scale(cluster, set, 0, deployment.replicas);
        }
        return;
    }
    let surge = (deployment.replicas + 3) / 4;
    let (total, allowed) = (active.iter().map(|set| set.replicas).sum::<i32>(), deployment.replicas + surge);
    if total != allowed && active.iter().any(|set| set.desired != Some(deployment.replicas))
        || total > allowed
    {
        for set in active {
            scale(cluster, set, (set.replicas * allowed / total).max(1), deployment.replicas);
        }
    }
}

fn scale(cluster: &mut Cluster, set: &ReplicaSet, replicas: i32, desired: i32) {
    if set.replicas != replicas || set.desired != Some(desired) {
        change(cluster, &set.at.name, |set| (set.replicas, set.desired) = (replicas, Some(desired)));
    }
}
