//! One decision under way: the new status and what is to be done, collected step by step.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::{
    Component, ComponentStatus, Outcome, RolloutStatus, RunIntent, RunStatus, Span, Stage, TimelineEntry,
};

use super::flaw::{self, Flaw};
use super::partial::Failure;
use super::plan::{Happening, Inquiry, Measurement, Plan, Reason, Write};
use super::references::{References, references};
use super::world::{ComponentSeen, World};
use super::{health, present, settle};

/// Entries of a run's list of handled actions.
pub(super) const RECORD_MAX: usize = 64;
/// Entries of a run's timeline.
pub(super) const TIMELINE_MAX: usize = 128;

/// The state of one decision.
pub(super) struct Turn<'w> {
    pub world: &'w World,
    pub now: Timestamp,
    pub status: RolloutStatus,
    /// Why no run can start: what to change, for people.
    pub problem: Option<String>,
    /// Whether every check of the spec could be made.
    pub is_checked: bool,
    references: BTreeMap<String, References>,
    writes: Vec<Write>,
    /// Writes on Jobs. They come last: what keeps traffic where it belongs never waits for one of them.
    job_writes: Vec<Write>,
    touched: BTreeSet<String>,
    measure: Vec<Measurement>,
    look: BTreeSet<Inquiry>,
    wake_at: Option<Timestamp>,
    happened: Vec<Happening>,
    /// Whether what is new is about to be stored together with something that is still awaited.
    holds_back: bool,
    /// Components that have to go back and were not taken back yet.
    failures: Vec<Failure>,
    /// Canary pods that this decision has granted, by component.
    promised: BTreeMap<String, i64>,
}

/// What belongs to one component: its part of the spec, of the references and of the World.
#[derive(Clone)]
pub(super) struct Part<'w> {
    pub name: String,
    /// Absent once the component has left the spec.
    pub spec: Option<&'w Component>,
    pub refs: References,
    pub seen: &'w ComponentSeen,
}

impl<'w> Turn<'w> {
    pub fn new(world: &'w World, now: Timestamp) -> Self {
        let mut turn = Turn {
            world,
            now,
            status: world.rollout.status.clone(),
            problem: None,
            is_checked: true,
            references: references(&world.rollout.spec, &world.rollout.status),
            writes: Vec::new(),
            job_writes: Vec::new(),
            touched: BTreeSet::new(),
            measure: Vec::new(),
            look: BTreeSet::new(),
            wake_at: None,
            happened: Vec::new(),
            holds_back: false,
            failures: Vec::new(),
            promised: BTreeMap::new(),
        };
        turn.align_components();
        if !flaw::is(Flaw::ClockTrusted) {
            turn.heal_clock();
        }
        turn
    }

    /// Brings times of the status that lie ahead of us back to now: the clock was set back since. Without it every wait
    /// would be longer by that jump; a bake begins anew, because its evidence is keyed by its start.
    fn heal_clock(&mut self) {
        let now = self.now;
        let heal = |time: &mut Option<Timestamp>| *time = time.map(|time| time.min(now));
        for component in &mut self.status.components {
            heal(&mut component.since);
            heal(&mut component.ready_since);
            heal(&mut component.route_mended_at);
            if let Some(bake) = component.bake.as_mut() {
                bake.started_at = bake.started_at.min(now);
                heal(&mut bake.halted_since);
                bake.counted_until = bake.counted_until.filter(|until| *until <= now);
            }
            health::heal_clock(component, now);
            for gate in &mut component.gates {
                heal(&mut gate.evaluated_at);
                heal(&mut gate.sampled_at);
                heal(&mut gate.no_data_since);
            }
            for counted in &mut component.statistics {
                heal(&mut counted.counted_until);
            }
        }
        for hook in self.status.run.iter_mut().flat_map(|run| &mut run.hooks) {
            heal(&mut hook.since);
            heal(&mut hook.started_at);
        }
    }

    /// Gives every component of the spec an entry, in the order of the spec; entries that left the spec come last.
    fn align_components(&mut self) {
        let mut old: Vec<ComponentStatus> = std::mem::take(&mut self.status.components);
        for component in &self.world.rollout.spec.components {
            let known = old.iter().position(|c| c.name == component.name).map(|at| old.remove(at));
            let fresh = || ComponentStatus { name: component.name.clone(), ..ComponentStatus::default() };
            self.status.components.push(known.unwrap_or_else(fresh));
        }
        self.status.components.extend(old);
    }

    /// Calls `step` for each component with its status taken out of the whole, so that both can be changed.
    pub fn for_each(&mut self, mut step: impl FnMut(&mut Self, &mut ComponentStatus, &Part<'w>)) {
        for index in 0..self.status.components.len() {
            let mut component = std::mem::take(&mut self.status.components[index]);
            if let Some(part) = self.part(&component.name) {
                step(self, &mut component, &part);
            }
            self.status.components[index] = component;
        }
    }

    pub fn part(&self, name: &str) -> Option<Part<'w>> {
        Some(Part {
            name: name.to_owned(),
            spec: self.world.rollout.spec.components.iter().find(|c| c.name == name),
            refs: self.references.get(name)?.clone(),
            seen: self.world.components.get(name)?,
        })
    }

    pub fn run(&self) -> Option<&RunStatus> {
        self.status.run.as_ref()
    }

    /// The run, if it has not ended.
    pub fn run_on(&mut self) -> Option<&mut RunStatus> {
        self.status.run.as_mut().filter(|run| run.ended_at.is_none())
    }

    /// Where the run goes, if one is on.
    pub fn intent(&self) -> Option<RunIntent> {
        self.run().filter(|run| run.ended_at.is_none()).map(|run| run.intent)
    }

    pub fn run_number(&self) -> i64 {
        self.run().map_or(0, |run| run.number)
    }

    pub fn is_paused(&self) -> bool {
        self.run().is_some_and(|run| run.paused)
    }

    /// Adds a write, unless one on the same object is planned already: its precondition would fail.
    pub fn write(&mut self, write: Write) {
        match write.object_uid() {
            Some(uid) if !self.touched.insert(uid.to_owned()) => self.wake(self.now),
            _ => self.writes.push(write),
        }
    }

    /// Adds a write on a Job of a hook, after all others.
    pub fn write_job(&mut self, write: Write) {
        let uid = write.object_uid();
        if uid.is_some() && self.job_writes.iter().any(|other| other.object_uid() == uid) {
            return self.wake(self.now);
        }
        self.job_writes.push(write);
    }

    pub fn measure(&mut self, measurement: Measurement) {
        self.measure.push(measurement);
    }

    pub fn look(&mut self, inquiry: Inquiry) {
        self.look.insert(inquiry);
    }

    /// Asks to decide again at `at`, or earlier.
    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |planned| planned.min(at)));
    }

    /// Asks to decide again after `span`, or earlier.
    pub fn wake_after(&mut self, span: Span) {
        self.wake(after(self.now, span));
    }

    /// Says that something happened, here and in the run's timeline.
    pub fn happen(&mut self, component: &str, reason: Reason, message: String) {
        self.note(component, reason, &message);
        self.happened.push(Happening { component: component.to_owned(), reason, message });
    }

    /// Notes in the run's timeline what is a part of a transition that is told as a whole.
    pub fn note(&mut self, component: &str, reason: Reason, message: &str) {
        if let Some(run) = self.status.run.as_mut() {
            if run.timeline.len() >= TIMELINE_MAX {
                run.timeline.remove(0);
            }
            let (component, message) = (component.to_owned(), clip(message, 512));
            run.timeline.push(TimelineEntry {
                at: self.now,
                component,
                reason: reason.as_str().to_owned(),
                message,
            });
        }
    }

    /// Keeps what is new in memory until `until` at the latest, unless something else has to be stored or written now.
    pub fn hold_back(&mut self, until: Timestamp) {
        self.holds_back = true;
        self.wake(until);
    }

    /// Whether nothing of this kind was said of the component in this run for `span`.
    pub fn is_news(&self, component: &str, reason: Reason, span: Span) -> bool {
        let is_same =
            |entry: &&TimelineEntry| entry.component == component && entry.reason == reason.as_str();
        let said = self.run().and_then(|run| run.timeline.iter().rev().find(is_same));
        said.is_none_or(|entry| between(entry.at, self.now) >= span)
    }

    /// Turns the run back: from here on every decision brings it nearer to stable. Needs no metric and no answer of
    /// anybody.
    pub fn roll_back(&mut self, ends_as: Outcome, reason: Reason, component: &str, why: &str) {
        let Some(run) = self.run_on() else { return };
        run.intent = RunIntent::RollBack;
        run.ends_as = Some(ends_as);
        run.reason = clip(why, 1024);
        run.paused = false;
        // Nothing that was planned on the way forward may still be done.
        self.writes.clear();
        self.touched.clear();
        self.job_writes.retain(|write| !matches!(write, Write::CreateJob { .. }));
        self.happen(component, reason, why.to_owned());
    }

    /// Notes that a component has made no progress for too long: it goes back when every component had its step.
    pub fn give_up(&mut self, component: &str, why: String) {
        let (component, reason) = (component.to_owned(), Reason::ProgressDeadlineExceeded);
        self.failures.push(Failure { component, reason, why });
    }

    /// The components that were given up in this decision.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    /// Takes back what was planned for one component on its way forward.
    pub fn withdraw_writes(&mut self, part: &Part<'_>) {
        let seen = part.seen;
        let sets = seen.replica_sets.iter().map(|set| &set.at.uid);
        let services = [&seen.service, &seen.canary_service].into_iter().filter_map(|look| look.found());
        let routes = seen.routes.iter().filter_map(|(_, _, look)| look.found()).map(|route| &route.at.uid);
        let deployment = seen.deployment.found().map(|deployment| &deployment.at.uid);
        let uids: BTreeSet<&String> =
            sets.chain(services.map(|service| &service.at.uid)).chain(routes).chain(deployment).collect();
        self.writes.retain(|write| match write {
            Write::CreateReplicaSet { component, .. }
            | Write::CreateCanaryService { component, .. }
            | Write::CreateCopy { component, .. }
            | Write::PutConfigMap { component, .. } => *component != part.name,
            write => write.object_uid().is_none_or(|uid| !uids.iter().any(|own| *own == uid)),
        });
        self.touched.retain(|uid| !uids.contains(uid));
        let is_create =
            |write: &Write| matches!(write, Write::CreateJob { component, .. } if *component == part.name);
        self.job_writes.retain(|write| !is_create(write));
    }

    /// Canary pods that this decision has granted a component.
    pub fn promised(&self, component: &str) -> i64 {
        self.promised.get(component).copied().unwrap_or(0)
    }

    /// Notes that a component was granted so many canary pods.
    pub fn promise(&mut self, component: &str, pods: i64) {
        self.promised.insert(component.to_owned(), pods);
    }

    /// Says what is wrong with the spec or the cluster; the first words win.
    pub fn stall(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// Does nothing: another leader has taken over.
    pub fn stand_by(self) -> Plan {
        Plan { status: self.world.rollout.status.clone(), ..self.bare_plan(false) }
    }

    /// Stores nothing but the claim of this leader.
    pub fn claim(mut self) -> Plan {
        self.status = self.world.rollout.status.clone();
        self.status.epoch = self.world.epoch;
        let now = self.now;
        Plan { wake_at: Some(now), status: self.status.clone(), ..self.bare_plan(true) }
    }

    fn bare_plan(&self, persist: bool) -> Plan {
        Plan {
            status: RolloutStatus::default(),
            persist,
            writes: Vec::new(),
            measure: Vec::new(),
            look: Vec::new(),
            wake_at: None,
            happened: Vec::new(),
        }
    }

    /// Words the status and closes the decision.
    pub fn finish(mut self) -> Plan {
        present::word(&mut self);
        self.writes.append(&mut self.job_writes);
        let before = &self.world.rollout.status;
        // An intent is stored before its writes, whatever else could wait.
        let is_held_back = self.holds_back && self.writes.is_empty();
        let persist = !self.happened.is_empty()
            || (!is_held_back && settle::must_store(self.world, &self.status, self.now));
        let persist = persist && (self.writes.is_empty() || !flaw::is(Flaw::NoWriteAhead));
        if persist {
            self.status.checkpointed_at = Some(self.now);
            self.status.epoch = self.world.epoch;
        }
        // One that is due with nothing new to store waits for the next answer, not for the clock.
        let last = if persist { &self.status } else { before };
        if let Some(at) = settle::checkpoint_due(self.world, last, &self.status).filter(|at| *at > self.now) {
            self.wake(at);
        }
        // Traffic never waits for a switch.
        self.writes.sort_by_key(|write| matches!(write, Write::SetConfigMap { .. }));
        Plan {
            status: self.status,
            persist,
            writes: self.writes,
            measure: self.measure,
            look: self.look.into_iter().collect(),
            wake_at: self.wake_at,
            happened: self.happened,
        }
    }

    /// Whether this decision has found something that is stored at once.
    pub fn has_news(&self) -> bool {
        !self.happened.is_empty() || settle::must_store(self.world, &self.status, self.now)
    }

    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Whether a Deployment is only now being labelled or paused.
    pub fn is_taking_hold(&self) -> bool {
        let takes_hold = |write: &Write| {
            matches!(write, Write::LabelDeployment { rollout: Some(_), .. } | Write::PauseDeployment { .. })
        };
        self.writes.iter().any(takes_hold)
    }

    pub fn has_looks(&self) -> bool {
        !self.look.is_empty()
    }
}

impl Part<'_> {
    /// Whether the share is the share of pods.
    pub fn is_by_pods(&self) -> bool {
        self.refs.service.is_none()
    }
}

/// Enters a stage; its clock starts.
pub(super) fn enter(component: &mut ComponentStatus, stage: Stage, now: Timestamp) {
    component.stage = stage;
    component.since = Some(now);
    component.ready_since = None;
}

/// Whether the component is on its way to its canary revision in the run that is on.
pub(super) fn goes_forward(component: &ComponentStatus) -> bool {
    use Stage::{Baked, Baking, Preparing, Raising, Waiting};
    matches!(component.stage, Waiting | Preparing | Raising | Baking | Baked)
}

/// Whether the component takes part in the run that is on.
pub(super) fn takes_part(component: &ComponentStatus) -> bool {
    !matches!(component.stage, Stage::Idle | Stage::RolledBack)
}

/// `at` plus `span`; the end of time at most.
pub(super) fn after(at: Timestamp, span: Span) -> Timestamp {
    at.checked_add(span.as_signed()).unwrap_or(Timestamp::MAX)
}

/// From `from` to `to`; no time if `to` is earlier.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Span {
    Span::millis(to.as_millisecond().saturating_sub(from.as_millisecond()))
}

/// At most `max` characters of `text`.
pub(super) fn clip(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        text.to_owned()
    } else {
        text.chars().take(max - 1).chain(['…']).collect()
    }
}
