//! What must hold of runs: why they begin, what their gates are owed, and what a pause is.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use palier::api::{ActionKind, NoDataThen, OnFailure, Outcome, RunIntent, Stage};
use palier::engine::world::World;
use palier::engine::{Plan, Reason};
use palier::sim::Cluster;

use crate::monitors::Proof;

/// An answer to the question that a gate was asking when it came.
#[derive(Clone, Debug)]
struct Said {
    key: String,
    at: Timestamp,
    proof: Proof,
}

/// What is remembered from one look to the next.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    run: i64,
    /// What every Deployment held when the run began.
    released: BTreeMap<String, String>,
    /// Whether the end of the run was looked at.
    is_over: bool,
    /// What every Deployment held when the run was rolled back, if that is what was released, and how often people had asked for
    /// a retry by then. Gone as soon as one of them holds something else.
    rejected: Option<(BTreeMap<String, String>, usize)>,
    /// Answers of the run that is on, by component and gate, that were taken in or are about to be.
    said: BTreeMap<(String, String), Vec<Said>>,
}

fn images(cluster: &Cluster) -> BTreeMap<String, String> {
    cluster.deployments.iter().map(|(name, it)| (name.clone(), it.image.clone())).collect()
}

fn retries(cluster: &Cluster) -> usize {
    cluster.actions.iter().filter(|seen| seen.action.action == ActionKind::Retry).count()
}

/// Workloads whose pods are of another image than the Deployment's.
fn has_news(cluster: &Cluster) -> bool {
    cluster.deployments.values().any(|deployment| {
        cluster.sets.values().any(|set| {
            set.owner_uid.as_ref() == Some(&deployment.at.uid)
                && set.replicas > 0
                && set.image != deployment.image
        })
    })
}

impl Runs {
    /// Looks at one committed state. `is_late` says that what was written was decided from an old view.
    pub fn look(&mut self, cluster: &Cluster, is_late: bool) {
        let Some(run) = cluster.status.run.as_ref() else { return };
        let has_config = cluster.spec.components.iter().any(|component| component.config.is_some());
        if run.number > self.run {
            self.run = run.number;
            self.said.clear();
            if !has_config {
                assert!(is_late || has_news(cluster), "run {} releases nothing new", run.number);
                let is_again = self
                    .rejected
                    .as_ref()
                    .is_some_and(|(held, retried)| *held == images(cluster) && *retried == retries(cluster));
                assert!(!is_again, "run {} tries again what was rolled back, and nobody asked", run.number);
            }
            (self.rejected, self.is_over, self.released) = (None, false, images(cluster));
        }
        let held = images(cluster);
        if run.ended_at.is_some() && !self.is_over {
            self.is_over = true;
            let is_rejected = run.outcome == Some(Outcome::RolledBack) && held == self.released;
            self.rejected = is_rejected.then(|| (held.clone(), retries(cluster)));
        }
        self.rejected = self.rejected.take().filter(|(rejected, _)| *rejected == held);
    }

    /// Looks at a decision: `world` is what it was made from.
    pub fn look_at_plan(&mut self, world: &World, plan: &Plan, (was_promoted, has_jumped): (bool, bool)) {
        let status = &world.rollout.status;
        let Some(before) = status.run.as_ref().filter(|run| run.ended_at.is_none()) else { return };
        // P28: no deadline runs under a pause.
        let is_late = plan.happened.iter().any(|it| it.reason == Reason::ProgressDeadlineExceeded);
        assert!(!(before.paused && is_late), "a pause counts as a lack of progress: {:?}", plan.happened);
        let Some(after) = plan.status.run.as_ref() else { return };
        if before.intent != RunIntent::Release || after.number != before.number || world.rollout.deleting {
            return;
        }
        self.take_answers(world);
        if after.intent == RunIntent::Release && !was_promoted && world.epoch == status.epoch {
            self.check_obeyed(world, plan, has_jumped);
        }
    }

    /// Notes the answers to questions that are asked now.
    pub fn take_answers(&mut self, world: &World) {
        for answered in &world.answers {
            let component = world.rollout.status.components.iter().find(|c| c.name == answered.component);
            let asks = component.and_then(|c| c.gates.iter().find(|gate| gate.name == answered.gate));
            if asks.is_none_or(|gate| gate.key != answered.key) {
                continue;
            }
            let proof = crate::play::proof_of(&answered.answer, answered.at);
            let said = self.said.entry((answered.component.clone(), answered.gate.clone())).or_default();
            // A decision that was not carried out sees the same answers again.
            if said.last().is_none_or(|last| last.at < answered.at) {
                said.push(Said { key: answered.key.clone(), at: answered.at, proof });
            }
        }
    }

    /// The controller died before it could keep what came of the answers.
    pub fn lose_answers(&mut self, world: &World) {
        for answered in &world.answers {
            if let Some(said) = self.said.get_mut(&(answered.component.clone(), answered.gate.clone())) {
                said.retain(|it| it.at != answered.at);
            }
        }
    }

    /// A gate that asks for a full rollback gets it: when it has failed often enough, or was blind for too long.
    fn check_obeyed(&self, world: &World, plan: &Plan, has_jumped: bool) {
        for gate in &world.rollout.spec.gates {
            let asks = gate.on_failure.unwrap_or(OnFailure::FullRollback);
            let then = gate.on_no_data.then.unwrap_or(NoDataThen::FullRollback);
            let is_judged = |stage: Stage| {
                matches!(
                    stage,
                    Stage::Waiting | Stage::Preparing | Stage::Raising | Stage::Baking | Stage::Baked
                )
            };
            for component in plan.status.components.iter().filter(|c| is_judged(c.stage)) {
                let Some(known) = component.gates.iter().find(|known| known.name == gate.name) else {
                    continue;
                };
                let Some(said) = self.said.get(&(component.name.clone(), gate.name.clone())) else {
                    continue;
                };
                let said: Vec<&Said> = said.iter().filter(|it| it.key == known.key).collect();
                let tail = |proof: Proof| said.iter().rev().take_while(move |it| it.proof == proof);
                let failures = tail(Proof::Fail).count();
                assert!(
                    has_jumped
                        || asks != OnFailure::FullRollback
                        || failures < gate.failure_threshold.max(1) as usize,
                    "{} failed {failures} times for {} ({:?}) and the run goes on at {}",
                    gate.name,
                    component.name,
                    component.stage,
                    said.last().map(|it| it.at).unwrap_or_default()
                );
                let Some(blind_since) = tail(Proof::Nothing).last() else { continue };
                let last = said.last().map_or(blind_since.at, |it| it.at);
                // At first, until there is a window to look at, it is too early to say.
                let is_first = said.iter().all(|it| it.proof == Proof::Nothing);
                let early = if is_first { gate.window.as_signed() } else { SignedDuration::ZERO };
                let patience = gate.on_no_data.deadline.as_signed() + early + SignedDuration::from_mins(1);
                assert!(
                    has_jumped
                        || asks == OnFailure::Notify
                        || then != NoDataThen::FullRollback
                        || last.duration_since(blind_since.at) <= patience,
                    "{} has seen nothing of {} from {} to {last} and the run goes on",
                    gate.name,
                    component.name,
                    blind_since.at
                );
            }
        }
    }
}
