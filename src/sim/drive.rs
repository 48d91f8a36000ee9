//! Drives the engine on a cluster: observe, decide, act, and jump the clock to the next thing that is due.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::names::POD_TEMPLATE_HASH;
use crate::api::{Outcome, RolloutStatus};
use crate::engine::world::{Acceptance, Answered, Seen};
use crate::engine::{Answer, Happening, Inquiry, Measurement, Plan, Write, decide};

use super::cluster::{Cluster, Conflict, ROLLOUT, ROLLOUT_UID, Service};
use super::deployments::ReplicaSet;

/// Why a drive stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing is left to do, and nothing is due.
    AtRest,
    /// The clock reached the limit.
    Limit,
    /// So many turns passed without rest that something is wrong.
    Restless,
}

/// One controller on one cluster.
pub struct Drive<F> {
    /// The cluster.
    pub cluster: Cluster,
    /// The status that the controller works with.
    pub working: RolloutStatus,
    /// Term of the controller.
    pub epoch: i64,
    /// Everything that happened, with its time.
    pub happened: Vec<(Timestamp, Happening)>,
    /// Answers the queries.
    pub prometheus: F,
    looked: BTreeSet<Inquiry>,
    answers: Vec<Answered>,
}

/// Turns after which a drive that does not come to rest is stopped.
const TURNS_MAX: usize = 20_000;

impl<F: FnMut(&Measurement, Timestamp) -> Answer> Drive<F> {
    /// A controller that has just started.
    pub fn new(cluster: Cluster, prometheus: F) -> Self {
        let working = cluster.status.clone();
        let (looked, answers, happened) = (BTreeSet::new(), Vec::new(), Vec::new());
        Self { cluster, working, epoch: 1, happened, prometheus, looked, answers }
    }

    /// Forgets all but what is stored, as a crash does.
    pub fn crash(&mut self) {
        self.working = self.cluster.status.clone();
        self.looked.clear();
        self.answers.clear();
    }

    /// Decides once without acting.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let world = self.cluster.observe(&self.working, &self.looked, self.answers.clone(), self.epoch);
        decide(&world, self.cluster.now)
    }

    /// One turn. `inspect` sees the cluster after each write and may stop the rest (a crash).
    pub fn turn(&mut self, inspect: &mut impl FnMut(&Cluster, &Plan) -> bool) -> Plan {
        let plan = self.plan();
        let is_fresh_answer = !self.answers.is_empty();
        if self.act(&plan, inspect) && is_fresh_answer {
            self.answers.clear();
        }
        self.cluster.settle();
        plan
    }

    /// True when the plan was carried out; otherwise nothing of what is not stored is kept.
    fn act(&mut self, plan: &Plan, inspect: &mut impl FnMut(&Cluster, &Plan) -> bool) -> bool {
        if plan.persist {
            self.cluster.store_status(plan.status.clone());
            self.working = plan.status.clone();
            self.happened.extend(plan.happened.iter().map(|h| (self.cluster.now, h.clone())));
            if !inspect(&self.cluster, plan) {
                return false;
            }
        }
        for write in &plan.writes {
            let is_done = self.cluster.apply(write).is_ok();
            self.looked.clear();
            if !is_done || !inspect(&self.cluster, plan) {
                return plan.persist;
            }
        }
        self.working = plan.status.clone();
        self.looked.extend(plan.look.iter().cloned());
        for measurement in &plan.measure {
            let answer = (self.prometheus)(measurement, self.cluster.now);
            let (component, gate, key) =
                (measurement.component.clone(), measurement.gate.clone(), measurement.key.clone());
            self.answers.push(Answered { component, gate, key, at: self.cluster.now, answer });
        }
        true
    }

    /// Goes on until nothing is left to do or the clock reaches `limit`. `inspect` sees the cluster after every write.
    pub fn run(&mut self, limit: Timestamp, mut inspect: impl FnMut(&Cluster, &Plan)) -> Stop {
        for _ in 0..TURNS_MAX {
            let version = self.cluster.bump();
            let before = (self.working.clone(), self.looked.clone());
            let plan = self.turn(&mut |cluster, plan| {
                inspect(cluster, plan);
                true
            });
            let _ = version;
            let is_busy = plan.persist || !plan.writes.is_empty() || !self.answers.is_empty();
            if is_busy || before != (self.working.clone(), self.looked.clone()) {
                continue;
            }
            match plan.wake_at {
                None => return Stop::AtRest,
                Some(at) if at > limit => {
                    self.cluster.now = limit;
                    return Stop::Limit;
                }
                Some(at) => self.cluster.now = at.max(self.cluster.now),
            }
        }
        Stop::Restless
    }
}

fn conflict<T>(what: &str) -> Result<T, Conflict> {
    Err(Conflict(what.to_owned()))
}

fn check(at: &Seen, expected: &Seen) -> Result<(), Conflict> {
    if at.uid != expected.uid || at.resource_version != expected.resource_version {
        return conflict(&format!("{} is another version", at.name));
    }
    Ok(())
}

/// Carries out one write, if its preconditions hold.
pub(super) fn apply(cluster: &mut Cluster, write: &Write) -> Result<(), Conflict> {
    let version = cluster.bump();
    match write {
        Write::AddFinalizer => cluster.has_finalizer = true,
        Write::RemoveFinalizer => cluster.has_finalizer = false,
        Write::LabelDeployment { deployment, rollout } => {
            let Some(found) = cluster.deployments.get_mut(&deployment.name) else {
                return conflict("no such Deployment");
            };
            check(&found.at, deployment)?;
            found.rollout_label.clone_from(rollout);
            found.at.resource_version = version;
        }
        Write::PauseDeployment { deployment, paused } => {
            let Some(found) = cluster.deployments.get_mut(&deployment.name) else {
                return conflict("no such Deployment");
            };
            check(&found.at, deployment)?;
            (found.paused, found.is_intercepted) = (*paused, *paused);
            found.at.resource_version = version;
        }
        Write::CreateReplicaSet { deployment, revision, name, pod_hash, replicas, .. } => {
            create_set(cluster, (deployment, revision), (name, pod_hash, *replicas))?;
        }
        Write::ScaleReplicaSet { replica_set, replicas, desired } => {
            let found = set_of(cluster, replica_set)?;
            (found.replicas, found.desired) = (*replicas, Some(*desired));
            found.at.resource_version = version;
        }
        Write::ReleaseReplicaSet { replica_set, desired } => {
            let found = set_of(cluster, replica_set)?;
            (found.owner_uid, found.desired) = (None, Some(*desired));
            found.at.resource_version = version;
        }
        Write::UnlabelReplicaSet { replica_set } => {
            let found = set_of(cluster, replica_set)?;
            found.is_labelled = false;
            found.at.resource_version = version;
        }
        Write::DeleteReplicaSet { replica_set } => {
            set_of(cluster, replica_set)?;
            cluster.sets.remove(&replica_set.name);
        }
        Write::CreateCanaryService { .. } | Write::PinService { .. } | Write::DeleteService { .. } => {
            apply_to_service(cluster, write, version)?;
        }
        Write::SetBackends { route, rules, .. } => {
            let Some(found) = cluster.routes.get_mut(&route.name) else { return conflict("no such route") };
            check(&found.at, route)?;
            for (index, backends) in rules {
                found.backends[*index].clone_from(backends);
            }
            found.acceptance = Acceptance::Pending;
            found.at.resource_version = version;
        }
        Write::CreateRun { name, .. } => {
            cluster.runs.entry(name.clone()).or_insert(None);
        }
        Write::RecordRun { name, status, .. } => {
            cluster.runs.insert(name.clone(), status.outcome.or(Some(Outcome::RolledBack)));
        }
        Write::DeleteRun { name } => {
            cluster.runs.remove(name);
        }
    }
    Ok(())
}

fn set_of<'c>(cluster: &'c mut Cluster, at: &Seen) -> Result<&'c mut ReplicaSet, Conflict> {
    let Some(found) = cluster.sets.get_mut(&at.name) else { return conflict("no such ReplicaSet") };
    check(&found.at, at)?;
    Ok(found)
}

fn create_set(
    cluster: &mut Cluster,
    (deployment, revision): (&Seen, &str),
    (name, pod_hash, replicas): (&str, &str, i32),
) -> Result<(), Conflict> {
    let Some(found) = cluster.deployments.get(&deployment.name).cloned() else {
        return conflict("no such Deployment");
    };
    let is_same = crate::engine::revision::revision_of(&found.template()) == revision;
    if found.at.uid != deployment.uid || !is_same || cluster.sets.contains_key(name) {
        return conflict("another template, or the name is taken");
    }
    let set = ReplicaSet {
        at: cluster.fresh(name),
        app: deployment.name.clone(),
        owner_uid: Some(ROLLOUT_UID.to_owned()),
        is_labelled: true,
        pod_hash: pod_hash.to_owned(),
        image: found.image.clone(),
        template_hash: crate::engine::revision::template_hash_of(&found.template()),
        revision: revision.to_owned(),
        replicas,
        desired: Some(found.replicas),
        available: 0,
    };
    cluster.sets.insert(name.to_owned(), set);
    Ok(())
}

fn apply_to_service(cluster: &mut Cluster, write: &Write, version: String) -> Result<(), Conflict> {
    match write {
        Write::CreateCanaryService { service, name, pod_hash, .. } => {
            let Some(found) = cluster.services.get(&service.name).cloned() else {
                return conflict("no such Service");
            };
            if cluster.services.contains_key(name) {
                return conflict("the name is taken");
            }
            let mut selector = found.selector;
            selector.insert(POD_TEMPLATE_HASH.to_owned(), pod_hash.clone());
            let (rollout_label, owner_uid) = (Some(ROLLOUT.to_owned()), Some(ROLLOUT_UID.to_owned()));
            let at = cluster.fresh(name);
            cluster.services.insert(name.clone(), Service { at, selector, rollout_label, owner_uid });
        }
        Write::PinService { service, pod_hash } => {
            let Some(found) = cluster.services.get_mut(&service.name) else {
                return conflict("no such Service");
            };
            check(&found.at, service)?;
            found.selector.remove(POD_TEMPLATE_HASH);
            found.selector.extend(pod_hash.iter().map(|hash| (POD_TEMPLATE_HASH.to_owned(), hash.clone())));
            found.rollout_label = pod_hash.as_ref().map(|_| ROLLOUT.to_owned());
            found.at.resource_version = version;
        }
        Write::DeleteService { service } => {
            let Some(found) = cluster.services.get(&service.name) else { return conflict("no such Service") };
            check(&found.at, service)?;
            cluster.services.remove(&service.name);
        }
        _ => {}
    }
    Ok(())
}
