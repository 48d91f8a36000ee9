//! What must hold on every committed state of the cluster. The monitors look at the cluster and at a ledger of what the
//! metric server said, never at what the planner says of itself.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use palier::api::names::POD_TEMPLATE_HASH;
use palier::api::{OnFailure, Phase, RunIntent, Stage};
use palier::engine::route::Backends;
use palier::engine::world::{Acceptance, World};
use palier::engine::{Plan, Write};
use palier::sim::Cluster;

use crate::monitors_parts::Parts;
use crate::monitors_runs::Runs;
use crate::monitors_serving::Serving;

/// What an answer proves, in the eyes of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Pass,
    Fail,
    Nothing,
}

/// One answer that was delivered.
#[derive(Clone, Debug)]
pub struct Entry {
    pub component: String,
    pub gate: String,
    pub at: Timestamp,
    pub proof: Proof,
}

/// What the monitors remember of one component.
#[derive(Clone, Debug, Default)]
struct Memory {
    weight: i32,
    highest: i32,
    in_force: BTreeMap<i32, Timestamp>,
    unserved_since: Option<Timestamp>,
}

#[derive(Clone, Default)]
pub struct Monitors {
    pub ledger: Vec<Entry>,
    /// Runs of which a person ended a phase.
    pub promoted: Vec<i64>,
    /// The clock jumped: times prove nothing any more.
    pub has_jumped: bool,
    /// What is written now was decided from an old view, or a while ago: pods may have been lost since.
    pub is_late: bool,
    pub raises: u32,
    run: i64,
    memory: BTreeMap<String, Memory>,
    parts: Parts,
    runs: Runs,
    serving: Serving,
}

/// The phases that a component goes through.
fn phases_of(cluster: &Cluster, component: &str) -> Vec<Phase> {
    let own = cluster.spec.components.iter().find(|c| c.name == component).map_or(&[][..], |c| &c.phases);
    let skips = |phase: &&Phase| !own.iter().any(|it| it.name == phase.name && it.skip);
    cluster.spec.phases.iter().filter(skips).cloned().collect()
}

/// The weight that a component's route says, and whether it is accepted.
pub fn weight_of(cluster: &Cluster, workload: &str) -> (i32, bool) {
    let canary = format!("{workload}-canary");
    let backends = Backends { namespace: "shop", stable: workload, canary: &canary };
    cluster.routes.get(workload).map_or((0, true), |route| {
        (backends.weight(&route.backends).percent(), route.acceptance == Acceptance::Accepted)
    })
}

impl Monitors {
    /// The clock jumped: no time that was noted lies ahead.
    pub fn jump(&mut self, now: Timestamp) {
        self.has_jumped = true;
        for since in self.memory.values_mut().flat_map(|memory| memory.in_force.values_mut()) {
            *since = (*since).min(now);
        }
    }

    /// Somebody else changed a route: what it says now is not ours.
    pub fn forgive_weight(&mut self, cluster: &Cluster, workload: &str) {
        self.memory.entry(workload.to_owned()).or_default().weight = weight_of(cluster, workload).0;
    }

    /// Looks at one committed state.
    pub fn look(&mut self, cluster: &Cluster) {
        self.parts.look(cluster);
        self.runs.look(cluster, self.is_late);
        self.serving.look(cluster, self.has_jumped);
        check_record(cluster);
        let run = cluster.status.run.as_ref().map_or(0, |run| run.number);
        if run != self.run {
            self.run = run;
            for (workload, memory) in &mut self.memory {
                let said = weight_of(cluster, workload).0;
                // P24: what was not measured inherits no traffic.
                assert_eq!(said, 0, "run {run} starts with {said} % of {workload} on a canary");
                (memory.highest, memory.in_force) = (0, BTreeMap::new());
            }
        }
        for component in &cluster.spec.components {
            let workload = &component.workload_ref.name;
            if component.traffic.is_none() || !cluster.routes.contains_key(workload) {
                continue;
            }
            let memory = self.memory.entry(workload.clone()).or_default().clone();
            self.look_at_weight(cluster, &component.name, workload, &memory);
            self.look_at_callers(cluster, workload);
        }
    }

    /// Looks at a decision before it is carried out: `world` is what it was made from.
    pub fn look_at_plan(&mut self, cluster: &Cluster, world: &World, plan: &Plan) {
        self.look_at_writes(cluster, &plan.writes);
        let was_promoted = self.promoted.contains(&self.run);
        self.runs.look_at_plan(world, plan, (was_promoted, self.has_jumped));
        if cluster.deleting || was_promoted {
            return;
        }
        for component in plan.status.components.iter().filter(|c| c.stage == Stage::Adopting) {
            let before = world.rollout.status.components.iter().find(|c| c.name == component.name);
            let is_new = before.is_some_and(|before| before.stage != Stage::Adopting);
            let Some(memory) = self.memory.get(&component.workload).filter(|_| is_new) else { continue };
            let context = format!("adoption of {} at {}", component.workload, cluster.now);
            let is_paused = world.rollout.status.run.as_ref().is_some_and(|run| run.paused);
            assert!(
                !is_paused || plan.status.run.as_ref().is_some_and(|run| !run.paused),
                "paused: {context}"
            );
            let steps = phases_of(cluster, &component.name).len();
            self.check_phase_before(cluster, &component.name, (memory, steps), &context);
        }
    }

    /// Looks at what is about to be written.
    pub fn look_at_writes(&self, cluster: &Cluster, writes: &[Write]) {
        self.serving.look_at_writes(cluster, writes, (self.has_jumped, self.is_late));
    }

    /// Takes in the answers that a decision is made from, whatever it decides.
    pub fn hear(&mut self, world: &World) {
        self.runs.take_answers(world);
    }

    /// The controller died before it could keep what came of the answers, of which there were `known` before.
    pub fn lose_answers(&mut self, world: &World, known: usize) {
        self.ledger.truncate(known);
        self.runs.lose_answers(world);
    }

    fn look_at_weight(&mut self, cluster: &Cluster, component: &str, workload: &str, before: &Memory) {
        check_sums(cluster, workload);
        let (weight, is_accepted) = weight_of(cluster, workload);
        if weight > before.weight {
            self.raises += 1;
            let context = format!("{workload} from {} to {weight} % at {}", before.weight, cluster.now);
            let run = cluster.status.run.as_ref().expect("a raise belongs to a run");
            // P8: a rollback never gives more.
            assert!(
                run.intent != RunIntent::RollBack && run.ended_at.is_none(),
                "raised on the way back: {context}"
            );
            if !self.is_late {
                check_need(cluster, workload, weight, &context);
            }
            if weight > before.highest {
                // P28.
                assert!(!run.paused, "raised under a pause: {context}");
                self.check_proof(cluster, component, (before, weight), &context);
            }
        }
        let memory = self.memory.get_mut(workload).expect("just looked up");
        memory.weight = weight;
        memory.highest = memory.highest.max(weight);
        if is_accepted && weight > 0 {
            memory.in_force.entry(weight).or_insert(cluster.now);
        }
    }

    /// P3, P4: the raise goes to the next declared weight, and the phase before it was proven.
    fn check_proof(
        &self,
        cluster: &Cluster,
        component: &str,
        (before, weight): (&Memory, i32),
        context: &str,
    ) {
        if self.promoted.contains(&self.run) {
            return;
        }
        let phases = phases_of(cluster, component);
        let index = phases.iter().position(|phase| phase.traffic == weight);
        let index = index.unwrap_or_else(|| panic!("not a declared weight: {context}"));
        self.check_phase_before(cluster, component, (before, index), context);
        // A weight that the phases do not name any more is proven like one of them, for as long as the one that it becomes.
        let is_below = |phase: &Phase| phase.traffic < before.weight;
        let is_edited = phases[..index].iter().all(is_below) && before.in_force.contains_key(&before.weight);
        if is_edited {
            let edited = Phase { traffic: before.weight, ..phases[index].clone() };
            self.check_phase(cluster, component, (before, &edited), context);
        }
    }

    /// P3: the phase before the one of this number was proven, all of it and to the last.
    fn check_phase_before(
        &self,
        cluster: &Cluster,
        component: &str,
        (before, index): (&Memory, usize),
        context: &str,
    ) {
        let phases = phases_of(cluster, component);
        if let Some(last) = index.checked_sub(1).map(|last| &phases[last]) {
            self.check_phase(cluster, component, (before, last), context);
        }
    }

    fn check_phase(
        &self,
        cluster: &Cluster,
        component: &str,
        (before, last): (&Memory, &Phase),
        context: &str,
    ) {
        let since = before.in_force.get(&last.traffic);
        let since = *since.unwrap_or_else(|| panic!("a phase was skipped: {context}"));
        let own = cluster.spec.components.iter().filter(|c| c.name == component).flat_map(|c| &c.gates);
        let gates: Vec<_> = cluster
            .spec
            .gates
            .iter()
            .chain(own)
            .filter(|gate| gate.on_failure != Some(OnFailure::Notify))
            .collect();
        let names: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
        // After a jump of the clock times do not tell before from after: all entries count, in their order.
        let is_since = |e: &Entry| self.has_jumped || e.at >= since;
        let entries: Vec<&Entry> = self
            .ledger
            .iter()
            .filter(|e| e.component == component && is_since(e) && names.contains(&e.gate.as_str()))
            .collect();
        for gate in &gates {
            let mine: Vec<_> = entries.iter().filter(|e| e.gate == gate.name).collect();
            let passes = mine.iter().filter(|e| e.proof == Proof::Pass).count();
            assert!(
                passes >= gate.min_evaluations as usize,
                "{} passed {passes} times: {context}",
                gate.name
            );
            let latest = mine.last().map(|e| e.proof);
            assert_eq!(latest, Some(Proof::Pass), "{} did not pass last: {context}", gate.name);
        }
        if !self.has_jumped {
            let bake = SignedDuration::from_millis(last.bake_time.as_millis());
            let clean = if gates.is_empty() {
                cluster.now.duration_since(since)
            } else {
                clean_time(&entries, &names)
            };
            assert!(clean >= bake, "only {clean:#} of {bake:#} are proven: {context}\n{entries:#?}");
        }
    }

    /// P2: nobody is sent to a Service without ready pods while the other side has some, but for the time of a reaction.
    fn look_at_callers(&mut self, cluster: &Cluster, workload: &str) {
        let shares = cluster.shares(workload);
        let lost = shares.get(&None).copied().unwrap_or(0.0);
        let has_pods = cluster.sets.values().any(|set| set.app == workload && set.available > 0);
        let memory = self.memory.entry(workload.to_owned()).or_default();
        // Nobody can help whom the pods of a whole version fail: the other version has earned no more than it has.
        let fails_whole = |image: &str, replicas: i32| {
            replicas > 0 && cluster.ailing.get(image).is_some_and(|ailing| ailing.pods >= replicas)
        };
        let ails =
            cluster.sets.values().any(|set| set.app == workload && fails_whole(&set.image, set.replicas));
        if lost == 0.0 || !has_pods || ails || !cluster.gateway_accepts || self.has_jumped {
            memory.unserved_since = None;
            return;
        }
        let since = *memory.unserved_since.get_or_insert(cluster.now);
        let lag = SignedDuration::from_millis(cluster.gateway_lag.as_millis() * 4 + 15_000);
        assert!(
            cluster.now.duration_since(since) <= lag,
            "{lost} % of {workload} unserved since {since}: {shares:?}"
        );
    }
}

/// What a run came to is in its record before the status says so; the records of a deleted Rollout go with it.
pub fn check_record(cluster: &Cluster) {
    let run = cluster.status.run.as_ref().filter(|run| run.ended_at.is_some() && !cluster.deleting);
    let Some(run) = run else { return };
    let record = cluster.runs.get(&format!("{}-{}", palier::sim::cluster::ROLLOUT, run.number));
    let is_kept = record.is_some_and(|outcome| *outcome == run.outcome);
    assert!(is_kept, "run {} ended {:?}, its record says {record:?}", run.number, run.outcome);
}

/// P1.
fn check_sums(cluster: &Cluster, workload: &str) {
    for rule in &cluster.routes[workload].backends {
        let weights: Vec<i64> = rule.iter().filter_map(|backend| backend["weight"].as_i64()).collect();
        if rule.len() > 1 {
            assert_eq!(weights.iter().sum::<i64>(), 100, "{rule:?}");
            assert!(weights.iter().all(|weight| (0..=100).contains(weight)), "{rule:?}");
        }
    }
}

/// P2 at the moment of a raise: the canary has the pods for it.
fn check_need(cluster: &Cluster, workload: &str, weight: i32, context: &str) {
    let desired = cluster.deployments.get(workload).map_or(0, |deployment| deployment.replicas);
    let need = ((desired * weight + 99) / 100).max(1);
    let service = &cluster.services[&format!("{workload}-canary")];
    let ready: i32 = cluster.ready_behind(service).values().sum();
    assert!(ready >= need, "{ready} of {need} pods: {context}");
    let pin = cluster.services[workload].selector.get(POD_TEMPLATE_HASH);
    assert!(pin.is_some(), "callers are not pinned: {context}");
}

/// Time in which every gate's latest answer was a pass. What lies between a pass and a later failure is not in it.
fn clean_time(entries: &[&Entry], gates: &[&str]) -> SignedDuration {
    let mut latest: BTreeMap<&str, &Entry> = BTreeMap::new();
    let (mut clean, mut from) = (SignedDuration::ZERO, None::<Timestamp>);
    for entry in entries {
        if entry.proof == Proof::Pass {
            latest.insert(&entry.gate, entry);
        } else {
            latest.remove(entry.gate.as_str());
            from = None;
            continue;
        }
        if latest.len() < gates.len() {
            continue;
        }
        // Known clean until the oldest of the latest passes.
        let until = latest.values().map(|entry| entry.at).min().expect("every gate has one");
        match from {
            None => from = Some(entry.at),
            Some(start) if until > start => {
                clean += until.duration_since(start);
                from = Some(until);
            }
            Some(_) => {}
        }
    }
    clean
}
