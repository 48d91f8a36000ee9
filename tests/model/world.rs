//! One state of the small world, and every step that may follow it.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use palier::api::{ActionKind, RolloutSpec, RolloutStatus};
use palier::engine::world::{Answered, World};
use palier::engine::{Answer, Inquiry, Measurement, Plan, Write, decide};
use palier::sim::Cluster;

use crate::fixtures::{action, spec, start};
use crate::monitors::{Monitors, weight_of};
use crate::play::delivered;

pub const WORKLOAD: &str = "shop-api";
/// How many revisions a lagging cache may be behind.
const LAG_MAX: usize = 2;

/// What may happen next. The controller is 0, the first leader, or 1, the one that takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The leader does all that is to do now, and the clock goes on to what is due next.
    Go,
    /// One decision on a view that is so many revisions old, carried out as far as the API server lets it.
    Turn(usize, usize),
    /// One decision of which so many writes are done; the rest is still under way when other things happen.
    Hold(usize, usize),
    /// What was under way arrives.
    Arrive(usize),
    /// One decision; the controller dies after so many writes of it.
    Crash(usize, usize),
    /// Another controller is the leader now.
    TakeOver,
    Push(&'static str),
    Abort,
    /// A gate fails from now on, or passes again.
    Flip(usize),
    LosePods,
    Jump(i64),
    /// Somebody edits the share of the second phase.
    Edit(i32),
}

pub const STEPS: [Step; 23] = [
    Step::Go,
    Step::Turn(0, 0),
    Step::Turn(0, 1),
    Step::Turn(0, 2),
    Step::Turn(1, 0),
    Step::Turn(1, 1),
    Step::Turn(1, 2),
    Step::Hold(0, 0),
    Step::Hold(0, 1),
    Step::Hold(1, 1),
    Step::Arrive(0),
    Step::Arrive(1),
    Step::Crash(0, 0),
    Step::Crash(0, 1),
    Step::Crash(0, 2),
    Step::Crash(1, 1),
    Step::TakeOver,
    Step::Push("app:v1"),
    Step::Push("app:v3"),
    Step::Abort,
    Step::Flip(0),
    Step::Flip(1),
    Step::LosePods,
];

/// Steps that are taken once in a path at most, besides those above.
pub const RARE: [Step; 4] = [Step::Jump(3_600), Step::Jump(-3_600), Step::Edit(40), Step::Edit(60)];

/// How often each kind of trouble may still come in a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Budget {
    crashes: u8,
    stale: u8,
    holds: u8,
    takeovers: u8,
    pushes: u8,
    aborts: u8,
    flips: u8,
    losses: u8,
    jumps: u8,
    edits: u8,
}

/// A plan that is being carried out.
#[derive(Clone, Debug)]
struct Flight {
    seen: RolloutStatus,
    plan: Plan,
    at: usize,
    /// The generation of the Rollout that was seen: a status is stored on that version of the object only.
    generation: i64,
}

#[derive(Clone, Debug)]
struct Controller {
    epoch: i64,
    working: RolloutStatus,
    looked: BTreeSet<Inquiry>,
    answers: Vec<Answered>,
    asked: Vec<Answered>,
    flight: Option<Flight>,
    /// It decides nothing from a view older than what it last wrote: the number of that view.
    wrote_at: u64,
    has_acted: bool,
}

impl Controller {
    fn new(cluster: &Cluster, epoch: i64) -> Self {
        Self {
            epoch,
            working: cluster.status.clone(),
            looked: BTreeSet::new(),
            answers: Vec::new(),
            asked: Vec::new(),
            flight: None,
            wrote_at: 0,
            has_acted: false,
        }
    }

    fn forget(&mut self, cluster: &Cluster) {
        self.working = cluster.status.clone();
        self.looked.clear();
        self.answers.clear();
        self.asked.clear();
        self.flight = None;
    }

    fn world(&self, view: &Cluster) -> World {
        let mut world = view.observe(&self.working, &self.looked, self.answers.clone(), self.epoch);
        world.asking = self.asked.iter().map(|a| (a.component.clone(), a.gate.clone())).collect();
        world
    }
}

/// One state.
#[derive(Clone)]
pub struct State {
    pub cluster: Cluster,
    pub monitors: Monitors,
    controllers: Vec<Controller>,
    /// What caches may still show, newest last, each with its number.
    views: VecDeque<(u64, Arc<Cluster>)>,
    view: u64,
    fails: [bool; 2],
    budget: Budget,
    /// Writes of the former leader that were accepted after the claim of the next.
    pub late_writes: u32,
}

fn small() -> RolloutSpec {
    let mut spec = spec();
    for phase in &mut spec.phases {
        phase.bake_time = "20s".parse().expect("a duration");
    }
    let mut slow = spec.gates[0].clone();
    "slow".clone_into(&mut slow.name);
    spec.gates.push(slow);
    spec
}

impl State {
    /// A release of v2 that is about to begin.
    pub fn first() -> Self {
        let mut cluster = Cluster::new(small(), start());
        cluster.add_workload(WORKLOAD, "app:v1", 4);
        let controllers = vec![Controller::new(&cluster, 1)];
        let budget = Budget {
            crashes: 2,
            stale: 2,
            holds: 2,
            takeovers: 1,
            pushes: 2,
            aborts: 1,
            flips: 2,
            losses: 1,
            jumps: 1,
            edits: 1,
        };
        let mut state = State {
            cluster,
            monitors: Monitors::default(),
            controllers,
            views: VecDeque::new(),
            view: 0,
            fails: [false; 2],
            budget,
            late_writes: 0,
        };
        for _ in 0..20 {
            state.go();
        }
        state.change(|cluster| cluster.push_image(WORKLOAD, "app:v2"));
        state
    }

    fn leader(&self) -> usize {
        self.controllers.len() - 1
    }

    /// The term of the leader.
    pub fn epoch(&self) -> i64 {
        self.controllers[self.leader()].epoch
    }

    /// Something changes in the cluster: caches may show it later.
    fn change(&mut self, edit: impl FnOnce(&mut Cluster)) {
        self.views.push_back((self.view, Arc::new(self.cluster.clone())));
        if self.views.len() > LAG_MAX {
            self.views.pop_front();
        }
        self.view += 1;
        edit(&mut self.cluster);
    }

    fn answer(&self, asked: &Measurement) -> Answered {
        let fails = self.fails[usize::from(asked.gate != "errors")];
        let (now, value) = (self.cluster.now, if fails { 0.5 } else { 0.0 });
        Answered {
            component: asked.component.clone(),
            gate: asked.gate.clone(),
            key: asked.key.clone(),
            at: now,
            answer: Answer::Sample { value, sampled_at: now },
        }
    }

    /// A decision of a controller on a view that is `lag` revisions old. `None` if there is no such view.
    fn decide(&mut self, who: usize, lag: usize) -> Option<(Flight, usize)> {
        self.cluster.settle();
        let view = match lag {
            0 => None,
            lag => Some(self.views.get(self.views.len().checked_sub(lag)?)?.clone()),
        };
        let controller = &mut self.controllers[who];
        if controller.flight.is_some()
            || view.as_ref().is_some_and(|(number, _)| *number < controller.wrote_at)
        {
            return None;
        }
        let now = self.cluster.now;
        let (due, rest) =
            std::mem::take(&mut controller.asked).into_iter().partition(|a: &Answered| a.at <= now);
        controller.asked = rest;
        let due: Vec<Answered> = due;
        controller.answers.extend(due);
        let world = match &view {
            None => controller.world(&self.cluster),
            Some((_, view)) => controller.world(view),
        };
        let plan = decide(&world, now);
        let known = self.monitors.ledger.len();
        self.monitors.ledger.extend(delivered(&world));
        if who + 1 == self.controllers.len() {
            self.monitors.hear(&world);
            if lag == 0 {
                self.monitors.look_at_plan(&self.cluster, &world, &plan);
            }
        }
        let seen = self.controllers[who].working.clone();
        let generation = world.rollout.generation;
        Some((Flight { seen, plan, at: 0, generation }, known))
    }

    /// One write of a plan. False when nothing is left of it.
    fn advance(&mut self, who: usize, flight: &mut Flight) -> bool {
        let is_old = who < self.leader();
        let is_claimed = is_old && self.controllers[self.leader()].has_acted;
        let offset = usize::from(flight.plan.persist);
        if flight.plan.persist && flight.at == 0 {
            flight.at = 1;
            let mut after = self.cluster.clone();
            let is_other = flight.generation != self.cluster.generation;
            if is_other || after.store_status(&flight.seen, flight.plan.status.clone()).is_err() {
                self.controllers[who].forget(&self.cluster);
                return false;
            }
            assert!(!is_claimed, "the former leader stores a status after the next one has acted");
            self.change(|cluster| *cluster = after);
            let view = self.view;
            let controller = &mut self.controllers[who];
            (controller.wrote_at, controller.has_acted) = (view, true);
            controller.working = flight.plan.status.clone();
            controller.answers.clear();
            self.monitors.look(&self.cluster);
            return true;
        }
        let Some(write) = flight.plan.writes.get(flight.at - offset).cloned() else {
            self.conclude(who, flight);
            return false;
        };
        flight.at += 1;
        self.controllers[who].looked.clear();
        let mut after = self.cluster.clone();
        if after.apply(&write).is_err() {
            if let Write::CreateCanaryService { component, .. } = &write {
                self.controllers[who].looked.insert(Inquiry::CanaryService(component.clone()));
            }
            return false;
        }
        self.monitors.look_at_writes(&self.cluster, &[write]);
        self.change(|cluster| *cluster = after);
        let view = self.view;
        let controller = &mut self.controllers[who];
        (controller.wrote_at, controller.has_acted) = (view, true);
        if is_claimed {
            // Objects carry versions and no terms: what it had on its way may arrive. The next one sees it and puts it right.
            self.late_writes += 1;
            self.monitors.forgive_weight(&self.cluster, WORKLOAD);
        }
        self.monitors.look(&self.cluster);
        true
    }

    /// Everything was written: what was decided is remembered, looks and questions go out.
    fn conclude(&mut self, who: usize, flight: &Flight) {
        let plan = &flight.plan;
        let asked: Vec<Answered> = plan.measure.iter().map(|it| self.answer(it)).collect();
        let controller = &mut self.controllers[who];
        controller.working = plan.status.clone();
        controller.answers.clear();
        controller.looked.extend(plan.look.iter().cloned());
        controller.asked.extend(asked);
        self.cluster.settle();
        self.monitors.look(&self.cluster);
    }

    fn turn(&mut self, who: usize, lag: usize) -> Option<Plan> {
        let (mut flight, _) = self.decide(who, lag)?;
        while self.advance(who, &mut flight) {}
        self.cluster.settle();
        Some(flight.plan)
    }

    fn hold(&mut self, who: usize, writes: usize) -> bool {
        let Some((mut flight, _)) = self.decide(who, 0) else { return false };
        let all = flight.plan.writes.len() + usize::from(flight.plan.persist);
        if all <= writes {
            return false;
        }
        for _ in 0..writes {
            if !self.advance(who, &mut flight) {
                return false;
            }
        }
        self.controllers[who].flight = Some(flight);
        true
    }

    fn arrive(&mut self, who: usize) -> bool {
        let Some(mut flight) = self.controllers[who].flight.take() else { return false };
        if who < self.leader() {
            // Of a former leader it is the one request that was under way: it looks at its lease before the next.
            self.advance(who, &mut flight);
            self.controllers[who].forget(&self.cluster);
        } else {
            while self.advance(who, &mut flight) {}
        }
        self.cluster.settle();
        true
    }

    fn crash(&mut self, who: usize, writes: usize) -> bool {
        let Some((mut flight, known)) = self.decide(who, 0) else { return false };
        let all = flight.plan.writes.len() + usize::from(flight.plan.persist);
        if all < writes {
            return false;
        }
        for _ in 0..writes {
            if !self.advance(who, &mut flight) {
                break;
            }
        }
        if writes == 0 || !flight.plan.persist {
            self.monitors.lose_answers(&self.controllers[who].world(&self.cluster), known);
        }
        self.controllers[who].forget(&self.cluster);
        self.cluster.settle();
        true
    }

    /// The leader comes to rest, and the clock goes on.
    fn go(&mut self) -> bool {
        let (who, at) = (self.leader(), self.cluster.now);
        for _ in 0..60 {
            let before = (self.controllers[who].working.clone(), self.controllers[who].looked.clone());
            let Some(plan) = self.turn(who, 0) else { return false };
            let controller = &self.controllers[who];
            let is_due = controller.asked.iter().any(|asked| asked.at <= at);
            let is_same = before == (controller.working.clone(), controller.looked.clone());
            if plan.persist || !plan.writes.is_empty() || is_due || !is_same {
                continue;
            }
            let next = controller.asked.iter().map(|asked| asked.at).chain(plan.wake_at);
            let next = next.chain(self.cluster.next_change()).min();
            self.cluster.now = next.unwrap_or(at).max(at);
            self.cluster.settle();
            return true;
        }
        panic!("restless: {:#?}", self.controllers[who].working);
    }

    /// The state after a step; `None` where the step changes nothing or may not be taken any more.
    pub fn after(&self, step: Step) -> Option<State> {
        let mut next = self.clone();
        next.monitors.is_late = matches!(step, Step::Arrive(_)) || matches!(step, Step::Turn(_, 1..));
        let has = |who: usize| who < self.controllers.len();
        let is_on = match step {
            Step::Go => next.go(),
            Step::Turn(who, lag) if lag > 0 => {
                has(who) && spend(&mut next.budget.stale) && next.old_turn(who, lag).is_some()
            }
            Step::Turn(who, _) => has(who) && next.old_turn(who, 0).is_some(),
            Step::Hold(who, writes) => {
                who == self.leader() && spend(&mut next.budget.holds) && next.hold(who, writes)
            }
            Step::Arrive(who) => has(who) && next.arrive(who),
            Step::Crash(who, writes) => {
                who == self.leader() && spend(&mut next.budget.crashes) && next.crash(who, writes)
            }
            Step::TakeOver => {
                let epoch = self.epoch() + 1;
                next.controllers.push(Controller::new(&self.cluster, epoch));
                spend(&mut next.budget.takeovers)
            }
            Step::Push(image) => {
                next.change(|cluster| cluster.push_image(WORKLOAD, image));
                spend(&mut next.budget.pushes) && self.cluster.deployments[WORKLOAD].image != image
            }
            Step::Abort => {
                let run = self.cluster.status.run.as_ref().map_or(1, |run| run.number);
                next.change(|cluster| cluster.act(action(ActionKind::Abort, run)));
                spend(&mut next.budget.aborts)
            }
            Step::Flip(gate) => {
                next.fails[gate] = !next.fails[gate];
                spend(&mut next.budget.flips)
            }
            Step::LosePods => {
                next.change(|cluster| cluster.lose_pods("app:v2"));
                spend(&mut next.budget.losses)
            }
            Step::Jump(seconds) => {
                let by = SignedDuration::from_secs(seconds);
                next.cluster.now = self.cluster.now + by;
                for asked in next.controllers.iter_mut().flat_map(|it| &mut it.asked) {
                    asked.at += by;
                }
                next.monitors.jump(next.cluster.now);
                spend(&mut next.budget.jumps)
            }
            Step::Edit(share) => {
                next.change(|cluster| cluster.edit_spec(|spec| spec.phases[1].traffic = share));
                spend(&mut next.budget.edits)
            }
        };
        next.monitors.is_late = false;
        if !is_on {
            return None;
        }
        next.monitors.look(&next.cluster);
        Some(next)
    }

    /// One decision. A former leader may still try to store what it decided; other writes it does not begin any more.
    fn old_turn(&mut self, who: usize, lag: usize) -> Option<Plan> {
        if who == self.leader() {
            return self.turn(who, lag);
        }
        let (mut flight, _) = self.decide(who, lag)?;
        if flight.plan.persist {
            self.advance(who, &mut flight);
        }
        Some(flight.plan)
    }

    /// What tells two states apart: all but versions, names of actions and the record of what happened.
    pub fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let said = format!("{:?}", (self.cluster.now, of_cluster(&self.cluster), &self.fails));
        (said, &self.budget).hash(&mut hasher);
        for controller in &self.controllers {
            let Controller { working, looked, asked, answers, flight, has_acted, .. } = controller;
            let flight = flight.as_ref().map(|it| (it.at, it.plan.persist, it.plan.writes.len()));
            let asked: Vec<_> = asked.iter().chain(answers).map(|it| (&it.gate, it.at, &it.key)).collect();
            format!("{:?}", (of_status(working), looked, asked, flight, has_acted)).hash(&mut hasher);
        }
        for (_, view) in &self.views {
            format!("{:?}", of_cluster(view)).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Whether the canary has traffic.
    pub fn has_traffic(&self) -> bool {
        weight_of(&self.cluster, WORKLOAD).0 > 0
    }

    pub fn now(&self) -> Timestamp {
        self.cluster.now
    }
}

fn spend(budget: &mut u8) -> bool {
    let is_left = *budget > 0;
    *budget = budget.saturating_sub(1);
    is_left
}

fn of_status(status: &RolloutStatus) -> RolloutStatus {
    let mut status = status.clone();
    status.checkpointed_at = None;
    status.conditions.clear();
    if let Some(run) = status.run.as_mut() {
        run.timeline.clear();
        run.handled_actions.clear();
    }
    status
}

/// What is in a cluster, without versions.
fn of_cluster(cluster: &Cluster) -> impl std::fmt::Debug + use<'_> {
    let sets: Vec<_> = cluster
        .sets
        .values()
        .map(|s| (&s.at.name, s.replicas, s.available, &s.owner_uid, s.gone_at))
        .collect();
    let services: Vec<_> = cluster.services.values().map(|s| (&s.at.name, &s.selector)).collect();
    let deployment = &cluster.deployments[WORKLOAD];
    let deployment = (&deployment.image, deployment.paused, deployment.replicas, &deployment.rollout_label);
    let route = cluster.routes.get(WORKLOAD).map(|route| (&route.backends, &route.acceptance));
    (of_status(&cluster.status), sets, services, deployment, route, cluster.actions.len(), cluster.generation)
}
