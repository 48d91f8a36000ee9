//! Drives the engine on a cluster: observe, decide, act, and jump the clock to the next thing that is due.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::{RolloutStatus, Span};
use crate::engine::world::{Answered, PodsSeen, World};
use crate::engine::{Answer, Happening, Inquiry, Measurement, Plan, Write, decide};

use super::cluster::Cluster;
use super::config_maps::REFUSED_FOR;

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

/// What the metric server does with a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It answers at once.
    Now(Answer),
    /// It answers after a while.
    Late(Span, Answer),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Reply::Now(answer)
    }
}

/// One controller on one cluster.
#[derive(Clone)]
pub struct Drive<F> {
    /// The cluster.
    pub cluster: Cluster,
    /// The status that the controller works with.
    pub working: RolloutStatus,
    /// Term of the controller.
    pub epoch: i64,
    /// Everything that happened, with its time.
    pub happened: Vec<(Timestamp, Happening)>,
    /// Statuses stored so far.
    pub status_writes: u64,
    /// Decisions made so far.
    pub turns: u64,
    /// Answers the queries.
    pub prometheus: F,
    /// Lists of pods so far.
    pub lists_of_pods: u64,
    looked: BTreeSet<Inquiry>,
    pods: BTreeMap<Inquiry, PodsSeen>,
    refusals: BTreeMap<String, (Timestamp, String)>,
    answers: Vec<Answered>,
    asked: Vec<Answered>,
}

/// Turns after which a drive that does not come to rest is stopped.
const TURNS_MAX: usize = 20_000;

impl<R: Into<Reply>, F: FnMut(&Measurement, Timestamp) -> R> Drive<F> {
    /// A controller that has just started.
    pub fn new(cluster: Cluster, prometheus: F) -> Self {
        Self {
            working: cluster.status.clone(),
            cluster,
            epoch: 1,
            happened: Vec::new(),
            status_writes: 0,
            turns: 0,
            prometheus,
            lists_of_pods: 0,
            looked: BTreeSet::new(),
            pods: BTreeMap::new(),
            refusals: BTreeMap::new(),
            answers: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Forgets all but what is stored, as a crash does.
    pub fn crash(&mut self) {
        self.working = self.cluster.status.clone();
        self.cluster.jobs.refused.clear();
        self.looked.clear();
        self.pods.clear();
        self.refusals.clear();
        self.answers.clear();
        self.asked.clear();
    }

    /// What the controller sees now.
    #[must_use]
    pub fn world(&self) -> World {
        let mut world = self.cluster.observe(&self.working, &self.looked, self.answers.clone(), self.epoch);
        let is_good = |(at, _): &&(Timestamp, String)| self.cluster.now.duration_since(*at) < REFUSED_FOR;
        let refusals =
            self.refusals.iter().filter_map(|(name, it)| Some((name, is_good(&it).then_some(it)?)));
        world.refusals = refusals.map(|(name, (_, words))| (name.clone(), words.clone())).collect();
        super::pods::show(&mut world, &self.pods);
        world.asking = self.asked.iter().map(|a| (a.component.clone(), a.gate.clone())).collect();
        world
    }

    /// Decides once without acting.
    #[must_use]
    pub fn plan(&self) -> Plan {
        decide(&self.world(), self.cluster.now)
    }

    /// One turn. `inspect` sees the cluster after each write and may stop the rest (a crash).
    pub fn turn(&mut self, inspect: &mut impl FnMut(&Cluster, &Plan) -> bool) -> Plan {
        self.catch_up();
        let plan = self.plan();
        self.carry_out(&plan, inspect);
        plan
    }

    /// The rest of a turn, for whoever has decided already: `plan` is what was decided from the present [`Drive::world`].
    pub fn carry_out(&mut self, plan: &Plan, inspect: &mut impl FnMut(&Cluster, &Plan) -> bool) {
        self.turns += 1;
        self.act(plan, inspect);
        self.cluster.settle();
    }

    /// The clock is set to another time. What was asked is answered as soon as it would have been.
    pub fn jump(&mut self, by: jiff::SignedDuration) {
        self.cluster.now = self.cluster.now.checked_add(by).unwrap_or(self.cluster.now);
        for asked in &mut self.asked {
            asked.at = asked.at.checked_add(by).unwrap_or(asked.at);
        }
    }

    /// What is due in the cluster happens, and answers that are due arrive.
    pub fn catch_up(&mut self) {
        self.cluster.settle();
        let now = self.cluster.now;
        let (due, rest) = std::mem::take(&mut self.asked).into_iter().partition(|a: &Answered| a.at <= now);
        self.asked = rest;
        self.answers.extend(due);
    }

    /// Carries out a plan up to the first refusal; nothing of what is not stored is kept then.
    fn act(&mut self, plan: &Plan, inspect: &mut impl FnMut(&Cluster, &Plan) -> bool) {
        if plan.persist {
            if self.cluster.store_status(&self.working, plan.status.clone()).is_err() {
                return self.crash();
            }
            self.status_writes += 1;
            self.working = plan.status.clone();
            self.answers.clear();
            self.happened.extend(plan.happened.iter().map(|h| (self.cluster.now, h.clone())));
            if !inspect(&self.cluster, plan) {
                return self.crash();
            }
        }
        for write in &plan.writes {
            let is_done = self.cluster.apply(write).is_ok() || self.is_refused(write);
            self.looked.clear();
            if !inspect(&self.cluster, plan) {
                return self.crash();
            }
            if !is_done {
                // The edge looks at what it could not create.
                if let Write::CreateCanaryService { component, .. } = write {
                    self.looked.insert(Inquiry::CanaryService(component.clone()));
                }
                return;
            }
        }
        self.working = plan.status.clone();
        self.answers.clear();
        for inquiry in &plan.look {
            self.look(inquiry);
        }
        for measurement in &plan.measure {
            self.ask(measurement);
        }
    }

    /// Whether the API server refuses a write for good; it is remembered for a while.
    fn is_refused(&mut self, write: &Write) -> bool {
        let Write::SetConfigMap { config_map, .. } = write else { return false };
        let words = self.cluster.refused_writes.get(&config_map.name).cloned();
        let words = words.map(|words| (self.cluster.now, words));
        let is_refused = words.is_some();
        self.refusals.extend(words.map(|words| (config_map.name.clone(), words)));
        is_refused
    }

    fn look(&mut self, inquiry: &Inquiry) {
        if let Inquiry::ConfigMap(name) = inquiry
            && let Some(words) = self.cluster.refused_reads.get(name)
        {
            self.refusals.insert(name.clone(), (self.cluster.now, words.clone()));
        } else if let Some(seen) = super::pods::list(&self.cluster, inquiry) {
            self.lists_of_pods += 1;
            self.pods.insert(inquiry.clone(), seen);
        } else {
            self.looked.insert(inquiry.clone());
        }
    }

    fn ask(&mut self, measurement: &Measurement) {
        let now = self.cluster.now;
        let (at, answer) = match (self.prometheus)(measurement, now).into() {
            Reply::Now(answer) => (now, answer),
            Reply::Late(after, answer) => (now.checked_add(after.as_signed()).unwrap_or(now), answer),
        };
        let (component, gate) = (measurement.component.clone(), measurement.gate.clone());
        self.asked.push(Answered { component, gate, key: measurement.key.clone(), at, answer });
    }

    /// When something is due next, for the controller (`plan` is its latest), the metric server or the cluster.
    #[must_use]
    pub fn next(&self, plan: &Plan) -> Option<Timestamp> {
        let answers = self.asked.iter().map(|asked| asked.at);
        answers.chain(plan.wake_at).chain(self.cluster.next_change()).min()
    }

    /// Goes on until nothing is left to do or the clock reaches `limit`. `inspect` sees the cluster after every write.
    pub fn run(&mut self, limit: Timestamp, mut inspect: impl FnMut(&Cluster, &Plan)) -> Stop {
        for _ in 0..TURNS_MAX {
            let before =
                (self.working.clone(), self.looked.clone(), self.refusals.clone(), self.pods.clone());
            let plan = self.turn(&mut |cluster, plan| {
                inspect(cluster, plan);
                true
            });
            let is_answered = self.asked.iter().any(|asked| asked.at <= self.cluster.now);
            let is_busy = plan.persist || !plan.writes.is_empty() || is_answered;
            if is_busy
                || before
                    != (self.working.clone(), self.looked.clone(), self.refusals.clone(), self.pods.clone())
            {
                continue;
            }
            match self.next(&plan) {
                None => return Stop::AtRest,
                Some(at) if at > limit => {
                    self.cluster.now = limit.max(self.cluster.now);
                    self.cluster.settle();
                    return Stop::Limit;
                }
                Some(at) => self.cluster.now = at.max(self.cluster.now),
            }
            inspect(&self.cluster, &plan);
        }
        Stop::Restless
    }
}
