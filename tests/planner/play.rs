//! A drive under the eyes of the monitors: every shape of random scripts is played with it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use palier::api::names::POD_TEMPLATE_HASH;
use palier::api::{ActionKind, RunIntent, RunStatus, Span, Stage};
use palier::engine::world::World;
use palier::engine::{Answer, Measurement, Plan, decide};
use palier::sim::{Cluster, Drive, Reply, Stop};

use crate::fixtures::action;
use crate::monitors::{Entry, Monitors, Proof, weight_of};
use crate::record;

/// A drive under the eyes of the monitors.
#[derive(Clone)]
pub struct Play<F> {
    pub drive: Drive<F>,
    pub monitors: Monitors,
    /// Workloads that somebody changed in the middle of a roll: they have no whole version to end at.
    pub mixed: BTreeSet<&'static str>,
}

/// The same World with the lists that an edge may deliver in any order turned round.
fn shuffled(world: &World) -> World {
    let mut world = world.clone();
    world.actions.reverse();
    for component in world.components.values_mut() {
        component.replica_sets.reverse();
    }
    world
}

impl<F: FnMut(&Measurement, Timestamp) -> Reply> Play<F> {
    pub fn new(drive: Drive<F>, monitors: Monitors) -> Self {
        Self { drive, monitors, mixed: BTreeSet::new() }
    }

    /// Does all that is to do now and goes on to what is due next.
    pub fn go_on(&mut self) -> Stop {
        let at = self.drive.cluster.now;
        let mut before = self.drive.world();
        for _ in 0..100 {
            let plan = self.turn(None);
            let after = self.drive.world();
            let is_busy = plan.persist || !plan.writes.is_empty() || after != before;
            before = after;
            if let Some(next) = self.drive.next(&plan).filter(|_| !is_busy) {
                self.drive.cluster.now = next.max(at);
                return Stop::Limit;
            }
            if !is_busy {
                return Stop::AtRest;
            }
        }
        panic!("restless: {:#?}", self.drive.plan());
    }

    /// One decision with all monitors; `crash_after` writes the controller dies.
    pub fn turn(&mut self, crash_after: Option<usize>) -> Plan {
        self.drive.catch_up();
        let world = self.drive.world();
        let now = self.drive.cluster.now;
        let plan = decide(&world, now);
        // P15.
        assert!(plan == decide(&shuffled(&world), now), "the order of lists changes the plan");
        let (monitors, mut count) = (&mut self.monitors, 0);
        let delivered = delivered(&world);
        let known = monitors.ledger.len();
        monitors.ledger.extend(delivered);
        let mut is_dead = crash_after == Some(0);
        let mut is_lost = is_dead;
        if is_dead {
            self.drive.crash();
        }
        if !is_dead {
            monitors.look_at_plan(&self.drive.cluster, &world, &plan);
        }
        let plan = if is_dead {
            self.drive.plan()
        } else {
            self.drive.carry_out(&plan, &mut |cluster, plan| {
                monitors.look(cluster);
                count += 1;
                is_dead = crash_after.is_some_and(|after| count >= after);
                is_lost = is_dead && !plan.persist;
                !is_dead
            });
            plan
        };
        if is_lost {
            monitors.lose_answers(&world, known);
        }
        monitors.look(&self.drive.cluster);
        record::decision(&plan);
        plan
    }

    pub fn run(&mut self, seconds: i64) -> Stop {
        let limit = self.drive.cluster.now + SignedDuration::from_secs(seconds);
        let mut before = self.drive.world();
        for _ in 0..600 {
            let plan = self.turn(None);
            let after = self.drive.world();
            let is_busy = plan.persist || !plan.writes.is_empty() || after != before;
            before = after;
            if is_busy {
                continue;
            }
            match self.drive.next(&plan) {
                None => return Stop::AtRest,
                Some(at) if at > limit => {
                    self.drive.cluster.now = limit;
                    return Stop::Limit;
                }
                Some(at) => self.drive.cluster.now = at.max(self.drive.cluster.now),
            }
            // The clock may show in it.
            before = self.drive.world();
        }
        Stop::Restless
    }

    /// Another leader claims; then the old one carries out what it had decided before.
    pub fn take_over(&mut self) {
        let (seen, plan) = (self.drive.working.clone(), self.drive.plan());
        self.drive.crash();
        self.drive.epoch += 1;
        self.turn(None);
        self.turn(None);
        let is_claimed = self.drive.cluster.status.epoch == self.drive.epoch;
        let cluster = &mut self.drive.cluster;
        if plan.persist {
            let is_accepted = cluster.store_status(&seen, plan.status.clone()).is_ok();
            assert!(!(is_claimed && is_accepted), "the old leader stores a status");
            if !is_accepted {
                return;
            }
            self.drive.crash();
        }
        for write in &plan.writes {
            if self.drive.cluster.apply(write).is_err() {
                break;
            }
            self.monitors.look(&self.drive.cluster);
        }
    }

    /// Nothing borrowed is left.
    pub fn check_end(&self) {
        check_end(&self.drive.cluster, &self.mixed);
    }

    /// P9: from here an abort takes all traffic away in a few turns, with every metric server silent.
    pub fn check_abort(&self) {
        let cluster = &self.drive.cluster;
        let Some(run) = cluster.status.run.as_ref().filter(|run| run.ended_at.is_none()) else { return };
        if run.intent != RunIntent::Release || cluster.deleting {
            return;
        }
        let never = |_: &Measurement, _: Timestamp| Reply::Late(Span::seconds(86_400), Answer::Empty);
        let mut other = Drive::new(cluster.clone(), never);
        other.epoch = self.drive.epoch;
        if !cluster.spec.gates.is_empty() {
            // Questions go out, and are never answered.
            other.cluster.now += SignedDuration::from_secs(31);
            for _ in 0..3 {
                other.turn(&mut |_, _| true);
            }
        }
        let is_on = |run: &&RunStatus| run.ended_at.is_none() && run.intent == RunIntent::Release;
        let Some(run) = other.cluster.status.run.clone().filter(|run| is_on(&run)) else { return };
        other.cluster.act(action(ActionKind::Abort, run.number));
        // Those that depend on others go back before them, one turn after the other.
        for _ in 0..6 + 2 * cluster.spec.components.len() {
            other.turn(&mut |_, _| true);
        }
        let is_given_up = |name: &str| {
            let component = other.cluster.status.components.iter().find(|c| c.name == name);
            component.is_some_and(|c| matches!(c.stage, Stage::Adopting | Stage::Adopted))
        };
        for component in cluster.spec.components.iter().filter(|c| !is_given_up(&c.name)) {
            let weight = weight_of(&other.cluster, &component.workload_ref.name).0;
            assert_eq!(weight, 0, "abort leaves {weight} % in {:#?}", other.working);
        }
    }
}

/// What the metric server said. An answer to a question of another phase or version says nothing of the present one (P5).
pub fn delivered(world: &World) -> Vec<Entry> {
    let is_of_now = |answered: &&palier::engine::world::Answered| {
        let component = world.rollout.status.components.iter().find(|it| it.name == answered.component);
        let gate = component.and_then(|it| it.gates.iter().find(|it| it.name == answered.gate));
        gate.is_none_or(|gate| gate.key.is_empty() || gate.key == answered.key)
    };
    let entry = |answered: &palier::engine::world::Answered| Entry {
        component: answered.component.clone(),
        gate: answered.gate.clone(),
        at: answered.at,
        proof: proof_of(&answered.answer, answered.at),
    };
    world.answers.iter().filter(is_of_now).map(entry).collect()
}

/// What must be true once everything is healed and at rest.
pub fn check_end(cluster: &Cluster, mixed: &BTreeSet<&str>) {
    for component in &cluster.spec.components {
        let workload = component.workload_ref.name.as_str();
        let service = &cluster.services[workload];
        assert_eq!(service.selector.get(POD_TEMPLATE_HASH), None, "{workload} stays pinned");
        assert_eq!(service.rollout_label, None);
        assert!(!cluster.services.contains_key(&format!("{workload}-canary")), "a canary Service stays");
        assert_eq!(weight_of(cluster, workload).0, 0);
        let found = vec![vec![serde_json::json!({"name": workload, "port": 80})]];
        assert_eq!(cluster.routes[workload].backends, found, "the route is not as found");
        let deployment = &cluster.deployments[workload];
        let sets = || cluster.sets.values().filter(|set| set.app == workload && set.replicas > 0);
        assert!(
            sets().all(|set| set.owner_uid.as_ref() == Some(&deployment.at.uid)),
            "a ReplicaSet of ours stays"
        );
        if !mixed.contains(workload) {
            assert_eq!(sets().count(), 1, "{:?}", sets().collect::<Vec<_>>());
            assert_eq!(sets().map(|set| set.available).sum::<i32>(), deployment.replicas);
        }
        let is_rejected =
            cluster.status.components.iter().any(|c| c.workload == workload && c.rejected.is_some());
        let is_whole = !mixed.contains(workload) && !cluster.deleting;
        if is_whole
            && cluster.policy_active
            && !is_rejected
            && sets().all(|set| set.image == deployment.image)
        {
            assert!(!(deployment.paused && deployment.is_intercepted), "{workload} stays paused");
        }
        if cluster.deleting {
            assert_eq!(deployment.rollout_label, None);
        }
    }
    assert!(!cluster.deleting || !cluster.has_finalizer, "the Rollout cannot go");
}

/// `at` is when it arrived: an old number proves nothing.
pub fn proof_of(answer: &Answer, at: Timestamp) -> Proof {
    match answer {
        Answer::Sample { sampled_at, .. }
            if at.duration_since(*sampled_at) > SignedDuration::from_mins(5) =>
        {
            Proof::Nothing
        }
        Answer::Sample { value, .. } if *value == 0.0 => Proof::Pass,
        Answer::Sample { value, .. } if *value == 0.5 => Proof::Fail,
        _ => Proof::Nothing,
    }
}
