//! Requests to the pods of a rehearsal, and a metric server that counts them.
//!
//! Time goes by in ticks, as a metric server takes samples. In each tick every pod gets its part of the requests by the weight
//! that is in force; each is bad by the share of its version. With a seed the numbers are Poisson's, without one they are means.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::{Component, Gate, RolloutSpec, Rule, Span, Threshold};
use crate::engine::query::{is_pod_of, pods_pattern};
use crate::engine::{Answer, Ask, Line, Measurement, Reading};

use super::drive::Reply;
use super::latency::Latency;
use super::random::Random;
use super::rehearsal::Metrics;

/// How far back stable's counters go.
const HISTORY: SignedDuration = SignedDuration::from_hours(6);
/// The samples of the past are this far apart.
const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// A sample is the present one for this long, at least.
const FRESH: SignedDuration = SignedDuration::from_secs(90);

/// A stretch of time, from the start of the run.
pub type Stretch = (Span, Span);

/// What goes on in a rehearsal, besides the release.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Requests a second to each component.
    pub per_second: f64,
    /// The share of stable's that goes badly, 0 to 1.
    pub bad: f64,
    /// How many times stable's share the canary's is, from `onset` on.
    pub regression: f64,
    /// How many times as long the canary takes, from `onset` on.
    pub slowdown: f64,
    /// How many times as much gates of one number answer for the canary, by their names, from `onset` on.
    pub worse: BTreeMap<String, f64>,
    /// When the canary gets worse, from the start of the run.
    pub onset: Span,
    /// Stretches in which both versions fail this many times as often.
    pub blips: Vec<(Stretch, f64)>,
    /// Stretches in which the metric server neither answers nor takes samples.
    pub outages: Vec<Stretch>,
    /// The chance; `None`: every number is its mean.
    pub seed: Option<u64>,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            per_second: 50.0,
            bad: 0.01,
            regression: 1.0,
            slowdown: 1.0,
            worse: BTreeMap::new(),
            onset: Span::ZERO,
            blips: Vec::new(),
            outages: Vec::new(),
            seed: None,
        }
    }
}

/// Who gets what of one component at this moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// ReplicaSets of the canary and of stable.
    pub sets: (String, String),
    /// Their available pods.
    pub pods: (i32, i32),
    /// The canary's share of the requests, 0 to 1.
    pub weight: f64,
}

/// What a metric server saw of one pod at one moment: when, bad, total, buckets.
type Sampled = (Timestamp, f64, f64, Vec<f64>);

/// The counters of one pod.
#[derive(Clone, Debug, Default)]
struct Track {
    bad: f64,
    total: f64,
    /// Counts up to each bound of the histogram, cumulative over time.
    buckets: Vec<f64>,
    samples: Vec<Sampled>,
}

/// The requests of one component.
#[derive(Clone, Debug)]
struct Flow {
    split: Split,
    pods: BTreeMap<String, Track>,
    latency: Option<Latency>,
    random: Option<Random>,
    /// Bad requests and all of the canary.
    served: (f64, f64),
}

/// All requests, and the metric server that counts them.
#[derive(Clone, Debug)]
pub struct Model {
    load: Load,
    flows: BTreeMap<String, Flow>,
    gates: BTreeMap<(String, String), Gate>,
    tick: SignedDuration,
    until: Timestamp,
    /// When the run began; `None` before.
    began: Option<Timestamp>,
}

impl Model {
    /// The requests to the components of `spec` from `now` on.
    #[must_use]
    pub fn new(spec: &RolloutSpec, load: Load, now: Timestamp) -> Self {
        let mut gates = BTreeMap::new();
        for component in &spec.components {
            for gate in spec.gates.iter().chain(&component.gates) {
                gates.insert((component.name.clone(), gate.name.clone()), gate.clone());
            }
        }
        let least = gates.values().map(|gate| gate.interval.as_millis()).min().unwrap_or(30_000);
        let flow = |(index, component): (u64, &Component)| {
            let own = gates.iter().filter(|((name, _), _)| *name == component.name).map(|(_, gate)| gate);
            let flow = Flow {
                split: Split::default(),
                pods: BTreeMap::new(),
                latency: Latency::for_gates(own),
                random: load.seed.map(|seed| Random::new(&[seed, index])),
                served: (0.0, 0.0),
            };
            (component.name.clone(), flow)
        };
        let flows = (0..).zip(&spec.components).map(flow).collect();
        let tick = SignedDuration::from_millis((least / 4).clamp(1_000, 60_000));
        Model { load, flows, gates, tick, until: now, began: None }
    }

    fn since(&self, at: Timestamp) -> Option<SignedDuration> {
        self.began.map(|began| at.duration_since(began))
    }

    fn is_within(&self, at: Timestamp, (from, to): Stretch) -> bool {
        self.since(at).is_some_and(|since| since >= from.as_signed() && since < to.as_signed())
    }

    fn is_out(&self, at: Timestamp) -> bool {
        self.load.outages.iter().any(|stretch| self.is_within(at, *stretch))
    }

    fn is_worse(&self, at: Timestamp) -> bool {
        self.since(at).is_some_and(|since| since >= self.load.onset.as_signed())
    }

    fn factor(&self, at: Timestamp) -> f64 {
        let on = self.load.blips.iter().filter(|(stretch, _)| self.is_within(at, *stretch));
        on.map(|(_, factor)| *factor).product()
    }

    /// The number of a gate with limits: well within them, unless it is to be worse. What its query would say nobody knows.
    fn number(&self, asked: &Measurement, now: Timestamp) -> f64 {
        let gate = self.gates.get(&(asked.component.clone(), asked.gate.clone()));
        let worse = self.load.worse.get(&asked.gate).copied().filter(|_| self.is_worse(now)).unwrap_or(1.0);
        match gate.and_then(|gate| gate.threshold) {
            Some(Threshold { min: Some(min), max: Some(max), .. }) => min + (max - min) * (0.5 * worse),
            Some(Threshold { max: Some(max), .. }) if max > 0.0 => max * 0.5 * worse,
            Some(Threshold { max: Some(max), .. }) => max - 1.0 + (worse - 1.0) * 2.0,
            Some(Threshold { min: Some(min), .. }) if min > 0.0 => min * 2.0 / worse,
            Some(Threshold { min: Some(min), .. }) => min + 1.0 - (worse - 1.0) * 2.0,
            _ => 0.0,
        }
    }
}

impl Metrics for Model {
    fn begin(&mut self, now: Timestamp) {
        self.began = Some(now);
    }

    fn served(&self, component: &str) -> (f64, f64) {
        self.flows.get(component).map_or((0.0, 0.0), |flow| flow.served)
    }

    fn advance(&mut self, now: Timestamp, splits: BTreeMap<String, Split>) {
        while let Some(next) = self.until.checked_add(self.tick).ok().filter(|next| *next <= now) {
            self.until = next;
            let (factor, is_worse) = (self.factor(next), self.is_worse(next));
            let is_sampled = !self.is_out(next);
            for flow in self.flows.values_mut() {
                flow.step((next, self.tick), &self.load, (factor, is_worse), is_sampled);
            }
        }
        for (name, split) in splits {
            let Some(flow) = self.flows.get_mut(&name) else { continue };
            if flow.pods.is_empty() && split.pods.1 > 0 {
                flow.recall(&split, &self.load, self.until);
            }
            flow.split = split;
        }
    }

    fn answer(&mut self, asked: &Measurement, now: Timestamp) -> Reply {
        if self.is_out(now) {
            return Reply::Now(Answer::Failed("no connection to the server".to_owned()));
        }
        match &asked.ask {
            Ask::Number(_) => Reply::Now(Answer::Sample { value: self.number(asked, now), sampled_at: now }),
            // Whose metrics they are does not matter here: there is one choice, and it is the first.
            Ask::Which { queries, at, .. } => {
                let Some(flow) = self.flows.get(&asked.component) else { return Reply::Now(Answer::Empty) };
                let mut lines = vec![Vec::new(); queries.len()];
                if let (Some(first), Some(query)) = (lines.first_mut(), queries.first()) {
                    *first = flow.lines(query, What::Total, &[*at], FRESH.max(self.tick.saturating_mul(2)));
                }
                Reply::Now(Answer::Series(lines))
            }
            Ask::Series { queries, from, until, step } => {
                let next = |at: &Timestamp| at.checked_add(step.as_signed()).ok().filter(|_| !step.is_zero());
                let moments: Vec<Timestamp> =
                    std::iter::successors(Some(*from), next).take_while(|at| at <= until).collect();
                let Some(flow) = self.flows.get(&asked.component) else { return Reply::Now(Answer::Empty) };
                let lines = |(index, query): (usize, &String)| {
                    let what = if queries.len() > 1 { What::of(index) } else { What::Buckets };
                    flow.lines(query, what, &moments, FRESH.max(self.tick.saturating_mul(2)))
                };
                Reply::Now(Answer::Series(queries.iter().enumerate().map(lines).collect()))
            }
        }
    }
}

/// Which counters a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Bad,
    Total,
    Buckets,
}

impl What {
    const fn of(index: usize) -> Self {
        if index == 0 { What::Bad } else { What::Total }
    }
}

/// Name of the pod with this number.
#[must_use]
pub fn pod_name(set: &str, number: i32) -> String {
    let pattern: String = set.chars().chain(['-']).take(58).collect();
    format!("{pattern}p{:04}", number.clamp(0, 9_999))
}

impl Flow {
    /// One tick up to `at`.
    fn step(
        &mut self,
        (at, tick): (Timestamp, SignedDuration),
        load: &Load,
        (factor, is_worse): (f64, bool),
        is_sampled: bool,
    ) {
        let all = load.per_second * tick.as_secs_f64();
        let (regression, slowdown) = if is_worse { (load.regression, load.slowdown) } else { (1.0, 1.0) };
        let split = self.split.clone();
        for (is_canary, set, pods, share) in [
            (true, &split.sets.0, split.pods.0, split.weight),
            (false, &split.sets.1, split.pods.1, 1.0 - split.weight),
        ] {
            let bad = (load.bad * factor * if is_canary { regression } else { 1.0 }).clamp(0.0, 1.0);
            let slow = if is_canary { slowdown } else { 1.0 };
            for number in 0..pods {
                let requests = all * share / f64::from(pods);
                let counted = self.count(&pod_name(set, number), (requests, bad, slow), at, is_sampled);
                if is_canary {
                    self.served = (self.served.0 + counted.0, self.served.1 + counted.1);
                }
            }
        }
    }

    /// Adds the requests of one tick to a pod: (bad, all).
    fn count(
        &mut self,
        pod: &str,
        (requests, bad, slow): (f64, f64, f64),
        at: Timestamp,
        is_sampled: bool,
    ) -> (f64, f64) {
        let random = &mut self.random;
        let mut draw = |mean: f64| random.as_mut().map_or(mean, |random| random.poisson(mean));
        let failed = draw(requests * bad);
        let all = failed + draw(requests * (1.0 - bad));
        let track = self.pods.entry(pod.to_owned()).or_default();
        track.bad += failed;
        track.total += all;
        if let Some(latency) = &self.latency {
            let shares = latency.shares(slow);
            track.buckets.resize(shares.len(), 0.0);
            for (bucket, share) in track.buckets.iter_mut().zip(shares) {
                *bucket += draw(requests * share);
            }
        }
        if is_sampled {
            track.samples.push((at, track.bad, track.total, track.buckets.clone()));
        }
        (failed, all)
    }

    /// What stable's pods counted before the rehearsal began.
    fn recall(&mut self, split: &Split, load: &Load, now: Timestamp) {
        let Ok(mut at) = now.checked_sub(HISTORY) else { return };
        let requests = load.per_second * MINUTE.as_secs_f64() / f64::from(split.pods.1.max(1));
        while at <= now {
            for number in 0..split.pods.1 {
                self.count(&pod_name(&split.sets.1, number), (requests, load.bad, 1.0), at, true);
            }
            let Ok(next) = at.checked_add(MINUTE) else { return };
            at = next;
        }
    }

    /// The series of a query: of the pods whose pattern it names; of all, if it names none.
    fn lines(&self, query: &str, what: What, moments: &[Timestamp], fresh: SignedDuration) -> Vec<Line> {
        let names = |set: &String| !set.is_empty() && query.contains(&pods_pattern(set));
        let (canary, stable) = (names(&self.split.sets.0), names(&self.split.sets.1));
        let is_asked = |pod: &str| {
            (!canary && !stable)
                || (canary && is_pod_of(pod, &self.split.sets.0))
                || (stable && is_pod_of(pod, &self.split.sets.1))
        };
        let mut lines = Vec::new();
        for (pod, track) in self.pods.iter().filter(|(pod, _)| is_asked(pod)) {
            let sample = |at: &Timestamp| {
                let after = track.samples.partition_point(|(sampled, ..)| sampled <= at);
                let found = track.samples.get(after.checked_sub(1)?)?;
                (at.duration_since(found.0) <= fresh).then_some((*at, found))
            };
            let found: Vec<_> = moments.iter().filter_map(sample).collect();
            let line = |upper: Option<f64>, value: &dyn Fn(&Sampled) -> Option<f64>| {
                let point = |(at, it): &(Timestamp, &Sampled)| Some((*at, Reading::Number(value(it)?)));
                Line { pod: pod.clone(), upper, points: found.iter().filter_map(point).collect() }
            };
            match (what, &self.latency) {
                // The first bad request makes the series.
                (What::Bad, _) => lines.push(line(None, &|it| (it.1 > 0.0).then_some(it.1))),
                (What::Total, _) => lines.push(line(None, &|it| Some(it.2))),
                (What::Buckets, Some(latency)) => {
                    for (index, upper) in latency.uppers().iter().enumerate() {
                        lines.push(line(Some(*upper), &|it| Some(it.3.iter().take(index + 1).sum())));
                    }
                }
                (What::Buckets, None) => {}
            }
        }
        lines
    }
}

/// Whether a gate counts requests.
#[must_use]
pub fn counts(gate: &Gate) -> bool {
    matches!(gate.rule(), Some(Rule::Counters { .. } | Rule::Buckets { .. }))
}
