//! A release from its push to its end, on a cluster in memory: the engine decides as it does for a real one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    Component, ComponentStatus, Outcome, RolloutSpec, RolloutStatus, Span, Stage, TimelineEntry, Verdict,
};
use crate::engine::{Happening, Measurement, Plan, Reason};

use super::cluster::Cluster;
use super::drive::{Drive, Reply, Stop};
use super::traffic::Split;

/// Time between the start of the clock and the push, for Palier to take hold of the workloads.
const AT_REST: SignedDuration = SignedDuration::from_secs(30);
/// Calls of [`Drive::run`], each of many turns, after which a rehearsal is given up.
const ROUNDS_MAX: usize = 50;
/// Points of evidence that are kept.
const SAMPLES_MAX: usize = 5_000;
/// Entries of a run's timeline from which on the oldest may be gone.
const TIMELINE_FULL: usize = 128;
/// Evaluations of a gate in one phase that a quick rehearsal is content with.
const EVALUATIONS_MAX: i64 = 200;

/// The metric server of a rehearsal.
pub trait Metrics {
    /// The new version was pushed.
    fn begin(&mut self, now: Timestamp);
    /// Time has gone by until `now`; from then on the requests go as `splits` says, by component.
    fn advance(&mut self, now: Timestamp, splits: BTreeMap<String, Split>);
    /// Answers a question.
    fn answer(&mut self, asked: &Measurement, now: Timestamp) -> Reply;
    /// Bad requests and all that the canary of a component has served.
    fn served(&self, component: &str) -> (f64, f64);
}

/// What is rehearsed.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The policy.
    pub spec: RolloutSpec,
    /// Pods of the components.
    pub replicas: BTreeMap<String, i32>,
    /// Pods of components that `replicas` does not name.
    pub usual_replicas: i32,
    /// How long a pod takes to become ready, or to end.
    pub pod_lag: Span,
    /// How long a gateway takes to accept a route, and again to act by it.
    pub gateway_lag: Span,
    /// When it is given up, from the push.
    pub limit: Span,
}

/// One component at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The canary's share of traffic in per cent.
    pub weight: i32,
    /// Canary pods.
    pub canary_pods: i32,
    /// What gates that count have shown: name, ln E, its limit, verdict.
    pub gates: Vec<(String, f64, f64, Verdict)>,
}

/// One bake.
#[derive(Clone, Debug, PartialEq)]
pub struct Bake {
    /// The component.
    pub component: String,
    /// Index of the phase in `spec.phases`.
    pub phase: usize,
    /// Canary pods in it.
    pub canary_pods: i32,
    /// When the weight was in force, from the push.
    pub from: Span,
    /// When the component left it; `None` if it never did.
    pub to: Option<Span>,
}

/// How a rehearsal went. Times are from the push.
#[derive(Clone, Debug)]
pub struct Told {
    /// When the new version was pushed.
    pub began: Timestamp,
    /// Everything that happened since.
    pub happened: Vec<(Span, TimelineEntry)>,
    /// The components over time, whenever something about them had changed.
    pub samples: Vec<(Span, BTreeMap<String, Point>)>,
    /// The bakes, in the order in which they began.
    pub bakes: Vec<Bake>,
    /// How the run ended; `None` if it did not, until `until`.
    pub outcome: Option<Outcome>,
    /// When the run ended, or the rehearsal was given up.
    pub until: Span,
    /// When the first rollback was decided.
    pub rolled_back_at: Option<Span>,
    /// Bad requests and all that the canaries served.
    pub served: (f64, f64),
    /// The most canary pods that there were at once.
    pub extra_pods_max: i32,
    /// The status at the end.
    pub status: RolloutStatus,
}

impl Rehearsal {
    /// The same with gates that are asked less often where a phase is long: for questions of order and time, not of evidence.
    #[must_use]
    pub fn quick(mut self) -> Self {
        let shortest = self.spec.phases.iter().map(|phase| phase.bake_time.as_millis()).min().unwrap_or(0);
        let gates = self.spec.components.iter_mut().flat_map(|it| &mut it.gates).chain(&mut self.spec.gates);
        for gate in gates {
            let longer = shortest / EVALUATIONS_MAX;
            let fits = longer.saturating_mul(i64::from(gate.min_evaluations) * 4) <= shortest;
            if longer > gate.interval.as_millis() && fits {
                gate.interval = Span::millis(longer);
            }
        }
        self
    }

    /// The bake time of all phases, one component after the other as they depend on each other: no run is longer without a hold.
    #[must_use]
    pub fn planned(spec: &RolloutSpec) -> Span {
        let phases: i64 = spec.phases.iter().map(|phase| phase.bake_time.as_millis()).sum();
        let own = spec.components.iter().flat_map(|it| &it.phases).filter_map(|it| it.bake_time);
        let own: i64 = own.map(Span::as_millis).sum();
        let count = i64::try_from(spec.components.len()).unwrap_or(1);
        Span::millis(phases.saturating_mul(count).saturating_add(own))
    }
}

/// Plays the release. `keeps_samples` is for pictures; without them it is quicker.
pub fn rehearse<M: Metrics>(it: &Rehearsal, metrics: M, keeps_samples: bool) -> Told {
    let start = Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut cluster = Cluster::of_spec(it.spec.clone(), &it.replicas, it.usual_replicas, start);
    cluster.pod_lag = it.pod_lag;
    cluster.gateway_lag = it.gateway_lag;
    let metrics = Rc::new(RefCell::new(metrics));
    let server = Rc::clone(&metrics);
    let mut drive =
        Drive::new(cluster, move |asked: &Measurement, now| server.borrow_mut().answer(asked, now));
    let began = start.saturating_add(AT_REST).unwrap_or(start);
    drive.run(began, |_, _| {});
    drive.cluster.now = began;
    let mut notes = Notes { began, keeps_samples, ..Notes::default() };
    metrics.borrow_mut().advance(began, splits(&drive.cluster, &drive.working));
    metrics.borrow_mut().begin(began);
    drive.cluster.push_all();
    let limit = began.saturating_add(it.limit.as_signed()).unwrap_or(Timestamp::MAX);
    for _ in 0..ROUNDS_MAX {
        let before = drive.cluster.now;
        let stop = drive.run(limit, |cluster, plan| {
            metrics.borrow_mut().advance(cluster.now, splits(cluster, &plan.status));
            notes.take(cluster, plan);
        });
        let is_over = drive.working.run.as_ref().is_some_and(|run| run.ended_at.is_some());
        if is_over || stop != Stop::Restless || drive.cluster.now <= before {
            break;
        }
    }
    let served = |component: &Component| metrics.borrow().served(&component.name);
    let served = it.spec.components.iter().map(served).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
    notes.told(&drive.working, &drive.happened, drive.cluster.now, served)
}

/// Who gets what, by component.
fn splits(cluster: &Cluster, status: &RolloutStatus) -> BTreeMap<String, Split> {
    let split = |component: &ComponentStatus| {
        let stable = component.stable.as_ref()?.replica_set.clone();
        let canary = component.canary.as_ref().map(|it| it.replica_set.clone()).unwrap_or_default();
        let (pods, workload) = (cluster.pods_of(&component.workload), component.workload.clone());
        let is_known = !workload.is_empty() && !canary.is_empty();
        let pods = if is_known { pods } else { (0, pods.0 + pods.1) };
        let weight = if pods.0 > 0 { f64::from(component.weight.clamp(0, 100)) / 100.0 } else { 0.0 };
        Some((component.name.clone(), Split { sets: (canary, stable), pods, weight }))
    };
    status.components.iter().filter_map(split).collect()
}

/// What is noted down on the way.
#[derive(Default)]
struct Notes {
    began: Timestamp,
    keeps_samples: bool,
    samples: Vec<(Span, BTreeMap<String, Point>)>,
    bakes: Vec<Bake>,
    extra_pods_max: i32,
}

impl Notes {
    fn since(&self, at: Timestamp) -> Span {
        let millis = at.duration_since(self.began).as_millis();
        Span::millis(i64::try_from(millis).unwrap_or(0))
    }

    fn take(&mut self, cluster: &Cluster, plan: &Plan) {
        let now = self.since(cluster.now);
        let is_ours =
            |set: &&super::deployments::ReplicaSet| set.is_labelled && set.image == super::stage::CANARY;
        let extra: i32 = cluster.sets.values().filter(is_ours).map(|set| set.replicas).sum();
        self.extra_pods_max = self.extra_pods_max.max(extra);
        for component in &plan.status.components {
            self.take_bake(component, now);
        }
        if self.keeps_samples && self.samples.len() < SAMPLES_MAX {
            let points = plan.status.components.iter().map(|it| (it.name.clone(), point(it))).collect();
            if self.samples.last().is_none_or(|(_, last)| *last != points) {
                self.samples.push((now, points));
            }
        }
    }

    fn take_bake(&mut self, component: &ComponentStatus, now: Span) {
        let phase = component.phase_index.and_then(|index| usize::try_from(index).ok());
        let phase = phase.filter(|_| component.stage == Stage::Baking);
        let open = self.bakes.iter_mut().find(|it| it.component == component.name && it.to.is_none());
        match (open, phase) {
            (Some(open), Some(phase)) if open.phase == phase => open.canary_pods = component.canary_replicas,
            (open, phase) => {
                if let Some(open) = open {
                    open.to = Some(now);
                }
                let bake = phase.map(|phase| Bake {
                    component: component.name.clone(),
                    phase,
                    canary_pods: component.canary_replicas,
                    from: now,
                    to: None,
                });
                self.bakes.extend(bake);
            }
        }
    }

    fn told(
        self,
        status: &RolloutStatus,
        happened: &[(Timestamp, Happening)],
        now: Timestamp,
        served: (f64, f64),
    ) -> Told {
        let run = status.run.as_ref();
        let ended_at = run.and_then(|run| run.ended_at);
        let entry = |(at, it): &(Timestamp, Happening)| TimelineEntry {
            at: *at,
            component: it.component.clone(),
            reason: it.reason.as_str().to_owned(),
            message: it.message.clone(),
        };
        // The run's own timeline tells more, until it is full.
        let entries: Vec<TimelineEntry> = match run.map(|run| &run.timeline) {
            Some(timeline) if timeline.len() < TIMELINE_FULL => timeline.clone(),
            _ => happened.iter().map(entry).collect(),
        };
        let of_run = entries.into_iter().filter(|it| it.at >= self.began);
        let happened: Vec<(Span, TimelineEntry)> = of_run.map(|it| (self.since(it.at), it)).collect();
        let back = [Reason::RollbackStarted, Reason::ProgressDeadlineExceeded].map(Reason::as_str);
        let is_back = |(_, it): &&(Span, TimelineEntry)| back.contains(&it.reason.as_str());
        Told {
            began: self.began,
            rolled_back_at: happened.iter().find(is_back).map(|(at, _)| *at),
            happened,
            until: self.since(ended_at.unwrap_or(now)),
            samples: self.samples,
            bakes: self.bakes,
            outcome: run.filter(|run| run.ended_at.is_some()).and_then(|run| run.outcome),
            served,
            extra_pods_max: self.extra_pods_max,
            status: status.clone(),
        }
    }
}

fn point(component: &ComponentStatus) -> Point {
    let verdict = |name: &str| {
        component.gates.iter().find(|gate| gate.name == name).map_or(Verdict::Wait, |gate| gate.verdict)
    };
    let shown = component.statistics.iter().filter(|it| it.limit > 0.0);
    Point {
        weight: component.weight,
        canary_pods: component.canary_replicas,
        gates: shown.map(|it| (it.name.clone(), it.evidence, it.limit, verdict(&it.name))).collect(),
    }
}
