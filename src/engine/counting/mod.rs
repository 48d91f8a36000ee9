//! Gates that count requests: which stretch of time is asked for next, and what an answer adds to the evidence.
//!
//! ```text
//! the series that there are ─► choose ─► whose metrics are read (of `preset: Auto`; frozen for the run)
//! the stable pods' last hours ─► learn ─► φ, tolerance, bounds (frozen for the run)
//! counters by pod, from the end of the last block ─► read ─► blocks ─► the gate's test ─► verdict, in words
//! ```
//!
//! Time is cut into blocks of the gate's `interval`, end to end from the moment at which the phase's weight came into force and
//! `initialDelay` had passed. A question covers all blocks that are not counted yet, so what a restart of Palier or of the
//! metric server missed is counted later; the by-pod counters themselves are not stored, as the server says them again.

mod act;
pub mod choose;
mod gather;
pub mod learn;
mod read;
mod words;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::{BucketsRule, CountersRule, Gate, GateStatistics, GateStatus, Rule, SequentialRate, Span};

use super::flaw::{self, Flaw};
use super::plan::Ask;
use super::query::{QueryError, Variables, substitute};
use super::revision::hash;
use super::statistics::counters::Missing;
use super::statistics::schedule::Schedule;
use super::statistics::trial::{Kind, Settings, Trial};
use super::statistics::{Starts, histogram};
use super::turn::after;

pub use act::judge_share;
use act::{Others, fold};
pub(super) use gather::{begin_anew, gather};

/// A block is read this long after its end, or one block later if that is sooner: a server takes a moment to take samples in.
const LAG: Span = Span::seconds(5);
/// A question that brought nothing is asked again after this time, or one block if that is sooner.
const RETRY: Span = Span::seconds(10);
/// A test may begin anew this often within a run: a regression may begin late.
const STARTS_EVERY: Span = Span::seconds(300);

/// One gate that counts, for one component in one phase.
#[derive(Debug)]
pub(super) struct Counting<'c> {
    /// The gate.
    pub gate: &'c Gate,
    /// How it judges.
    pub rule: Rule<'c>,
    /// When the phase's weight came into force.
    pub started_at: Timestamp,
    /// All bake time of the run.
    pub planned: Span,
    /// The ReplicaSets of the canary and of stable.
    pub sets: (&'c str, &'c str),
    /// Pods that the canary is to have.
    pub canary_pods: usize,
    /// Whether all traffic is the canary's in this phase.
    pub is_whole: bool,
    /// Whether the component has a Service, by which requests may be counted.
    pub has_service: bool,
}

/// What the controller remembers of a gate between two blocks, besides what people read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::engine) struct Memory {
    /// The test, for gates that have one.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    trial: serde_json::Value,
    /// What the server will not say again.
    #[serde(skip_serializing_if = "Missing::is_empty")]
    missing: Missing,
    /// Ends of the last blocks in which the canary and stable had traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stable_at: Option<Timestamp>,
    /// How often the history was asked for in vain.
    #[serde(skip_serializing_if = "is_zero")]
    tries: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// What is to be done for a gate now.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing before this time.
    Later(Timestamp),
    /// This is to be asked, with the key of the answer.
    Ask(Ask, String),
}

impl<'c> Counting<'c> {
    /// Whether `gate` counts requests.
    pub fn is_for(gate: &Gate) -> bool {
        matches!(gate.rule(), Some(Rule::Counters { .. } | Rule::Buckets { .. }))
    }

    /// Whether the counts of the whole run are judged by a test with a chance of error.
    pub fn is_test(gate: &Gate) -> bool {
        match gate.rule() {
            Some(Rule::Counters { by, .. }) => matches!(by, CountersRule::Sequential(_)),
            Some(Rule::Buckets { .. }) => true,
            _ => false,
        }
    }

    /// What the counts of a gate belong to: unlike other evidence they go on from phase to phase.
    pub fn key_of(run: i64, canary: &str, gate: &Gate) -> String {
        let gate = serde_json::to_string(gate).unwrap_or_else(|_| format!("{gate:?}"));
        hash(&["counts", &run.to_string(), canary, &gate])
    }

    /// What is to be asked next, or when.
    ///
    /// # Errors
    /// A query whose variables cannot be replaced.
    pub fn next(
        &self,
        counted: &GateStatistics,
        status: &GateStatus,
        variables: &Variables,
        now: Timestamp,
    ) -> Result<Next, QueryError> {
        let schedule = self.schedule();
        let base = self.base(counted);
        let retry = status.evaluated_at.map(|at| after(at, RETRY.min(self.gate.interval)));
        if let Some(at) = retry.filter(|at| *at > now) {
            return Ok(Next::Later(schedule.next_read(Some(base)).map_or(at, |next| next.max(at))));
        }
        if self.is_to_choose() {
            return Ok(Next::Ask(
                choose::which(self.gate, variables, now)?,
                self.answer_key(counted, status),
            ));
        }
        if self.is_to_learn(counted) {
            let asked = learn::asked(self, &memory(counted), variables, schedule.begins_at.min(now))?;
            return Ok(Next::Ask(asked, self.answer_key(counted, status)));
        }
        if variables.canary_pods == variables.stable_pods {
            return Err(QueryError::SamePods);
        }
        let Some((until, as_one)) = schedule.stretch(base, now) else {
            return Ok(Next::Later(schedule.next_read(Some(base)).unwrap_or(Timestamp::MAX)));
        };
        let queries = self.queries(variables)?;
        let (from, step) = match self.window() {
            None => (base, Span::millis(self.gate.interval.as_millis() * as_one)),
            Some(window) => {
                // As many whole blocks as the window holds, and at least one.
                let block = self.gate.interval.as_millis().max(1);
                let blocks = (window.as_millis() / block).clamp(1, 240);
                (before(until, Span::millis(blocks * block)).max(schedule.begins_at), self.gate.interval)
            }
        };
        Ok(Next::Ask(Ask::Series { queries, from, until, step }, self.answer_key(counted, status)))
    }

    /// What the answer to the next question has to carry: an answer to an earlier one adds nothing.
    fn answer_key(&self, counted: &GateStatistics, status: &GateStatus) -> String {
        let what = match () {
            () if self.is_to_choose() => "which",
            () if self.is_to_learn(counted) => "history",
            () => "blocks",
        };
        hash(&[&status.key, &counted.key, what, &self.base(counted).as_nanosecond().to_string()])
    }

    fn queries(&self, variables: &Variables) -> Result<Vec<String>, QueryError> {
        match &self.rule {
            Rule::Number { query, .. } | Rule::Buckets { asked: Some(query), .. } => {
                Ok(vec![substitute(query, variables)?])
            }
            Rule::Counters { asked: Some((bad, total)), .. } => {
                Ok(vec![substitute(bad, variables)?, substitute(total, variables)?])
            }
            Rule::Counters { asked: None, .. } | Rule::Buckets { asked: None, .. } => Ok(Vec::new()),
        }
    }

    /// Whether it is not known yet whose metrics are read.
    fn is_to_choose(&self) -> bool {
        matches!(&self.rule, Rule::Counters { asked: None, .. } | Rule::Buckets { asked: None, .. })
    }

    fn schedule(&self) -> Schedule {
        let begins_at = after(self.started_at, self.gate.initial_delay);
        // Metric servers know milliseconds.
        let begins_at = Timestamp::from_millisecond(begins_at.as_millisecond()).unwrap_or(begins_at);
        Schedule {
            begins_at,
            block: self.gate.interval.as_signed(),
            lag: LAG.min(self.gate.interval).as_signed(),
        }
    }

    /// The moment from which the next block is counted.
    fn base(&self, counted: &GateStatistics) -> Timestamp {
        let begins_at = self.schedule().begins_at;
        let known = counted.counted_until.filter(|_| !flaw::is(Flaw::CountedTwice));
        known.filter(|until| *until > begins_at).unwrap_or(begins_at)
    }

    /// How far back a gate looks that judges anew each time; `None` for one that counts since the run began.
    fn window(&self) -> Option<Span> {
        let by_window = matches!(
            &self.rule,
            Rule::Counters { by: CountersRule::Share(_) | CountersRule::Compare(_), .. }
        );
        by_window.then_some(self.gate.window)
    }

    fn is_to_learn(&self, counted: &GateStatistics) -> bool {
        counted.learned.is_empty() && Self::is_test(self.gate)
    }

    /// The bounds of a histogram that are counted.
    fn bounds<'b>(&'b self, counted: &'b GateStatistics) -> &'b [f64] {
        match &self.rule {
            Rule::Buckets { by: BucketsRule::Quantile(it), .. } => std::slice::from_ref(&it.max),
            _ => &counted.bounds,
        }
    }

    /// The test, with what was learned.
    pub(in crate::engine) fn settings(&self, counted: &GateStatistics) -> Option<Settings> {
        // Gates that do not name them have the same.
        let usual = SequentialRate::default();
        let (kind, safe_ratio, safe_below) = match &self.rule {
            Rule::Counters { by: CountersRule::Sequential(it), .. } => {
                (Kind::Rate, it.safe_ratio, it.safe_below)
            }
            Rule::Buckets { by: BucketsRule::Sequential(_), .. } => {
                (Kind::Latency { bounds: counted.bounds.len() }, usual.safe_ratio, usual.safe_below)
            }
            Rule::Buckets { by: BucketsRule::Quantile(it), .. } => {
                (Kind::Quantile { allowed: 1.0 - it.quantile }, usual.safe_ratio, 0.0)
            }
            _ => return None,
        };
        let block = self.gate.interval.as_millis().max(1);
        let blocks = |span: Span| u32::try_from(span.as_millis() / block).unwrap_or(u32::MAX);
        let starts = Starts { every: blocks(STARTS_EVERY).max(1), planned: blocks(self.planned) };
        let (phi, tolerance) = (counted.phi.max(1.0), counted.tolerance.max(1.0));
        Some(Settings { kind, phi, tolerance, safe_ratio, safe_below, starts })
    }
}

pub(in crate::engine) fn memory(counted: &GateStatistics) -> Memory {
    // A state that cannot be read is none: what it held is counted as not shown.
    serde_json::from_str(&counted.state).unwrap_or_default()
}

pub(in crate::engine) fn trial_of(memory: &Memory, settings: &Settings) -> Trial {
    serde_json::from_value(memory.trial.clone()).unwrap_or_else(|_| Trial::new(settings))
}

fn before(time: Timestamp, by: Span) -> Timestamp {
    time.checked_sub(by.as_signed()).unwrap_or(Timestamp::MIN)
}

/// The requests of one pod above each bound, and all of them.
fn above(buckets: &[histogram::Bucket], bounds: &[f64]) -> (Vec<f64>, f64) {
    let slow = |bound: &f64| histogram::above(buckets, *bound, histogram::Side::Surely);
    (bounds.iter().map(slow).collect(), histogram::total(buckets))
}

/// The longest stretch in which nothing is no outage: a quiet service.
fn quiet_max(gate: &Gate) -> SignedDuration {
    gate.window.max(Span::millis(gate.interval.as_millis() * 5)).as_signed()
}

#[cfg(test)]
mod tests;
