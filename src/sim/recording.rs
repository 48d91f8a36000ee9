//! Recorded metrics, played back to a rehearsal: a release judged again, or each stable pod in turn as if it were a canary.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::Preset;
use crate::engine::query::is_pod_of;
use crate::engine::statistics::histogram::Bucket;
use crate::engine::{Answer, Ask, Line, Measurement, Reading};

use super::drive::Reply;
use super::rehearsal::Metrics;
use super::traffic::Split;

/// The form of the file.
pub const FORM: &str = "palier.dev/recording/v1";

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// [`FORM`].
    pub form: String,
    /// Name of the Rollout.
    pub rollout: String,
    /// The first moment.
    pub from: Timestamp,
    /// The last moment.
    pub to: Timestamp,
    /// From one sample to the next, in milliseconds.
    pub step_millis: i64,
    /// When the run began that is in it, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// How long the canary took from there to the first phase's weight, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_millis: Option<i64>,
    /// The components.
    pub components: BTreeMap<String, Revisions>,
    /// What was answered.
    pub series: Vec<Recorded>,
}

/// The ReplicaSets of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revisions {
    /// Stable's.
    pub stable: String,
    /// The canary's; empty if there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub canary: String,
}

/// The series of one query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// The component.
    pub component: String,
    /// The gate.
    pub gate: String,
    /// Which of the gate's queries: 0 is `query`, `bad` or `buckets`, 1 is `total`.
    pub index: usize,
    /// The preset that `Auto` was found to stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// PromQL as it was asked.
    pub query: String,
    /// Its series.
    pub lines: Vec<RecordedLine>,
}

/// One bucket of a native histogram: lower, upper, count.
pub type RecordedBucket = (f64, f64, f64);

/// One series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedLine {
    /// The label `pod`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// The label `le`: `+Inf` or a number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub le: String,
    /// Milliseconds since 1970 and the number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<(i64, f64)>,
    /// Milliseconds since 1970 and the buckets of a native histogram: lower, upper, count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histograms: Vec<(i64, Vec<RecordedBucket>)>,
}

impl RecordedLine {
    /// A series as it is kept. What is no finite number is left out: it is no evidence.
    #[must_use]
    pub fn of(line: &Line) -> Self {
        let mut kept = RecordedLine { pod: line.pod.clone(), ..RecordedLine::default() };
        kept.le = line
            .upper
            .map(|it| if it.is_infinite() { "+Inf".to_owned() } else { it.to_string() })
            .unwrap_or_default();
        for (at, reading) in &line.points {
            match reading {
                Reading::Number(number) if number.is_finite() => {
                    kept.points.push((at.as_millisecond(), *number));
                }
                Reading::Buckets(buckets) => {
                    let all = buckets.iter().map(|it| (it.lower, it.upper.min(f64::MAX), it.count));
                    kept.histograms.push((at.as_millisecond(), all.collect()));
                }
                Reading::Number(_) => {}
            }
        }
        kept
    }

    fn upper(&self) -> Option<f64> {
        if self.le.is_empty() { None } else { self.le.replace("+Inf", "inf").parse().ok() }
    }

    /// The latest sample at `at`, if it is no older than `fresh` milliseconds.
    fn at(&self, at: i64, fresh: i64) -> Option<Reading> {
        let index = self.points.partition_point(|(time, _)| *time <= at);
        if let Some((time, number)) = index.checked_sub(1).and_then(|index| self.points.get(index)) {
            return (at - time <= fresh).then_some(Reading::Number(*number));
        }
        let index = self.histograms.partition_point(|(time, _)| *time <= at);
        let (time, buckets) = index.checked_sub(1).and_then(|index| self.histograms.get(index))?;
        let bucket = |(lower, upper, count): &(f64, f64, f64)| {
            let upper = if *upper == f64::MAX { f64::INFINITY } else { *upper };
            Bucket { lower: *lower, upper, count: *count }
        };
        (at - time <= fresh).then(|| Reading::Buckets(buckets.iter().map(bucket).collect()))
    }
}

/// Who plays the canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cast {
    /// The canary's own pods.
    AsRecorded,
    /// This pod of stable, by component.
    Pod(BTreeMap<String, String>),
}

/// A recording as a metric server.
#[derive(Clone, Debug)]
pub struct Playback<'r> {
    recording: &'r Recording,
    cast: Cast,
    /// The recorded moment at which the rehearsal's run begins.
    begins_at: Timestamp,
    /// From a moment of the rehearsal to the recorded one.
    shift: SignedDuration,
    splits: BTreeMap<String, Split>,
}

impl<'r> Playback<'r> {
    /// Plays `recording` so that the run begins at its moment `begins_at`.
    #[must_use]
    pub fn new(recording: &'r Recording, cast: Cast, begins_at: Timestamp) -> Self {
        Playback { recording, cast, begins_at, shift: SignedDuration::ZERO, splits: BTreeMap::new() }
    }

    /// The pod under the name that the rehearsal knows it by.
    fn renamed(&self, component: &str, pod: &str) -> String {
        let (Some(split), Some(own)) = (self.splits.get(component), self.recording.components.get(component))
        else {
            return pod.to_owned();
        };
        let is_canary = match &self.cast {
            Cast::AsRecorded => !own.canary.is_empty() && is_pod_of(pod, &own.canary),
            Cast::Pod(chosen) => chosen.get(component).is_some_and(|it| it == pod),
        };
        let set = if is_canary { &split.sets.0 } else { &split.sets.1 };
        let is_known = is_canary || is_pod_of(pod, &own.stable);
        if pod.is_empty() || !is_known || set.is_empty() {
            return pod.to_owned();
        }
        let prefix: String = set.chars().chain(['-']).take(58).collect();
        let random: String = pod.chars().skip(pod.chars().count().saturating_sub(5)).collect();
        format!("{prefix}{random}")
    }

    fn recorded(&self, asked: &Measurement, index: usize) -> Option<&'r Recorded> {
        let is_it =
            |it: &&Recorded| it.component == asked.component && it.gate == asked.gate && it.index == index;
        self.recording.series.iter().find(is_it)
    }

    fn fresh(&self) -> i64 {
        self.recording.step_millis.saturating_mul(3) / 2
    }

    fn number(&self, asked: &Measurement, now: Timestamp) -> Answer {
        let at = self.moment(now);
        let lines = self.recorded(asked, 0).map_or(&[][..], |it| &it.lines);
        let found: Vec<f64> = lines
            .iter()
            .filter_map(|line| match line.at(at, self.fresh())? {
                Reading::Number(number) => Some(number),
                Reading::Buckets(_) => None,
            })
            .collect();
        match found[..] {
            [] => Answer::Empty,
            [value] => Answer::Sample { value, sampled_at: now },
            _ => Answer::ManySeries(found.len()),
        }
    }

    /// The pods of the preset that was recorded, and nothing of the others.
    fn which(&self, asked: &Measurement, presets: &[Preset]) -> Answer {
        let recorded = self.recorded(asked, 0);
        let of = |preset: &Preset| match recorded.filter(|it| it.preset == Some(*preset)) {
            Some(it) => it.lines.iter().map(|line| self.renamed(&asked.component, &line.pod)).collect(),
            None => Vec::new(),
        };
        let named = |pod: String| Line { pod, ..Line::default() };
        let lines = |preset| -> Vec<Line> {
            let pods: Vec<String> = of(preset);
            pods.into_iter().map(named).collect()
        };
        Answer::Series(presets.iter().map(lines).collect())
    }

    fn moment(&self, at: Timestamp) -> i64 {
        at.checked_add(self.shift).unwrap_or(at).as_millisecond()
    }
}

impl Metrics for Playback<'_> {
    fn begin(&mut self, now: Timestamp) {
        self.shift = self.begins_at.duration_since(now);
    }

    fn advance(&mut self, _: Timestamp, splits: BTreeMap<String, Split>) {
        self.splits = splits;
    }

    fn answer(&mut self, asked: &Measurement, now: Timestamp) -> Reply {
        if self.moment(now) > self.recording.to.as_millisecond() {
            return Reply::Now(Answer::Failed("the recording is over".to_owned()));
        }
        let (queries, from, until, step) = match &asked.ask {
            Ask::Number(_) => return Reply::Now(self.number(asked, now)),
            Ask::Which { presets, .. } => return Reply::Now(self.which(asked, presets)),
            Ask::Series { queries, from, until, step } => (queries, from, until, step),
        };
        let next = |at: &Timestamp| at.checked_add(step.as_signed()).ok().filter(|_| !step.is_zero());
        let moments: Vec<Timestamp> =
            std::iter::successors(Some(*from), next).take_while(|at| at <= until).collect();
        let lines = |index: usize| -> Vec<Line> {
            let all = self.recorded(asked, index).map_or(&[][..], |it| &it.lines);
            all.iter()
                .map(|line| Line {
                    pod: self.renamed(&asked.component, &line.pod),
                    upper: line.upper(),
                    points: moments
                        .iter()
                        .filter_map(|at| Some((*at, line.at(self.moment(*at), self.fresh())?)))
                        .collect(),
                })
                .filter(|line| !line.points.is_empty())
                .collect()
        };
        Reply::Now(Answer::Series((0..queries.len()).map(lines).collect()))
    }

    fn served(&self, _: &str) -> (f64, f64) {
        (0.0, 0.0)
    }
}

impl Recording {
    /// The pods of stable that were there, by component.
    #[must_use]
    pub fn stable_pods(&self, component: &str) -> BTreeSet<String> {
        let Some(own) = self.components.get(component) else { return BTreeSet::new() };
        let of = self.series.iter().filter(|it| it.component == component).flat_map(|it| &it.lines);
        of.map(|line| line.pod.clone()).filter(|pod| is_pod_of(pod, &own.stable)).collect()
    }
}
