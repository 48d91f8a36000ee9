//! Judging: what an answer proves about a gate, and when the next one is due.
//!
//! Only a finite number within the limits ever counts as a pass. Everything else fails or is no evidence, whichever
//! side the limit is on.

use jiff::{SignedDuration, Timestamp};

use crate::api::{Gate, GateStatus, Threshold, TreatNoDataAs, Verdict};

use super::Answer;
use super::flaw::{self, Flaw};
use super::revision::hash;
use super::world::Answered;

/// What one answer proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Of a number never Wait.
    pub verdict: Verdict,
    /// The number, at most 32 characters; empty if the answer has none.
    pub value: String,
    /// What the verdict rests on, at most 256 characters.
    pub message: String,
}

/// Evaluations that `recent` remembers; a failure window looks back no further.
const RECENT_MAX: usize = 50;
/// How far a sample's time may be from ours. Prometheus itself takes no sample that is older for the present one.
/// <https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness>
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);
const MESSAGE_MAX: usize = 256;

/// Judges one answer by the gate's limits.
#[must_use]
pub fn judge(gate: &Gate, answer: &Answer) -> Judgement {
    match answer {
        Answer::Sample { value, .. } => match &gate.threshold {
            Some(limits) => judge_number(limits, *value),
            None => no_data(shown(*value), "the gate has no limit: give threshold.min or max".to_owned()),
        },
        Answer::Empty if flaw::is(Flaw::NothingPasses) => passed(),
        Answer::Failed(_) if flaw::is(Flaw::OutagePasses) => passed(),
        Answer::Series(_) => no_data(String::new(), "the query answers series, not one number".to_owned()),
        Answer::Empty => no_data(
            String::new(),
            "the query answers nothing: no such series. A healthy service may have none of a counter of errors: \
             write (… or vector(0)) around it"
                .to_owned(),
        ),
        Answer::ManySeries(series) => no_data(
            String::new(),
            format!("the query answers {series} series: aggregate them to one, for example with sum()"),
        ),
        Answer::WrongType(kind) => {
            no_data(String::new(), format!("the query answers {kind}, not one number: aggregate it"))
        }
        Answer::Warnings(warnings) => {
            no_data(String::new(), format!("the answer may not be whole, the server warns: {warnings}"))
        }
        Answer::Failed(reason) => {
            Judgement { verdict: Verdict::Error, value: String::new(), message: clipped(reason) }
        }
    }
}

/// What an answer without series proves about a gate that counts: nothing.
#[must_use]
pub fn no_series(answer: &Answer) -> Judgement {
    match answer {
        Answer::Failed(reason) => {
            Judgement { verdict: Verdict::Error, value: String::new(), message: clipped(reason) }
        }
        Answer::Warnings(warnings) => {
            no_data(String::new(), format!("the answer may not be whole, the server warns: {warnings}"))
        }
        Answer::WrongType(kind) => {
            no_data(String::new(), format!("the query answers {kind}, not series of counters"))
        }
        _ => no_data(String::new(), "the query answers no series of counters".to_owned()),
    }
}

fn judge_number(limits: &Threshold, number: f64) -> Judgement {
    let value = shown(number);
    if !number.is_finite() && flaw::is(Flaw::NanPasses) {
        return passed();
    }
    if !number.is_finite() {
        return no_data(
            value.clone(),
            format!("the answer is {value}: probably a division by zero, that is, no traffic yet"),
        );
    }
    let (verdict, message) = match (limits.min, limits.max) {
        (None, None) => return no_data(value, "the gate has no limit: give threshold.min or max".to_owned()),
        // Written so that a limit that is no number lets nothing pass.
        (Some(min), _) if !matches!(number.partial_cmp(&min), Some(order) if order.is_ge()) => {
            (Verdict::Fail, format!("{} is below the least allowed, {}", apart(number, min), shown(min)))
        }
        (_, Some(max)) if !matches!(number.partial_cmp(&max), Some(order) if order.is_le()) => {
            (Verdict::Fail, format!("{} is above the most allowed, {}", apart(number, max), shown(max)))
        }
        (Some(min), Some(max)) => {
            (Verdict::Pass, format!("{value} is within {} and {}", shown(min), shown(max)))
        }
        (Some(min), None) => (Verdict::Pass, format!("{value} is at least {}", shown(min))),
        (None, Some(max)) => (Verdict::Pass, format!("{value} is at most {}", shown(max))),
    };
    Judgement { verdict, value, message }
}

/// What a flawed judge says.
fn passed() -> Judgement {
    Judgement { verdict: Verdict::Pass, value: String::new(), message: String::new() }
}

fn no_data(value: String, message: String) -> Judgement {
    Judgement { verdict: Verdict::NoData, value, message: clipped(&message) }
}

/// A number for people: exact when that is short, else rounded to six digits.
fn shown(number: f64) -> String {
    const EXACT_MAX: usize = 12;
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let exact = number.to_string();
    if exact.len() <= EXACT_MAX {
        return exact;
    }
    let rounded: f64 = format!("{number:.5e}").parse().unwrap_or(number);
    let plain = rounded.to_string();
    if plain.len() <= EXACT_MAX { plain } else { format!("{rounded:e}") }
}

/// `number`, exactly where rounding would make it look like the limit that it breaks.
fn apart(number: f64, limit: f64) -> String {
    let text = shown(number);
    if text == shown(limit) { format!("{number:e}") } else { text }
}

/// Text as a message of a gate may hold it.
pub(super) fn clipped(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_MAX).collect()
}

/// Adds one answer to the evidence of a gate. An answer to another question (`key`) changes nothing.
///
/// A sample that is not newer than the one before, or far from our own time, comes from a cache or a wrong clock: it is
/// no evidence. No evidence never resets a count of failures, and never adds to one unless `treatAs` says so.
#[must_use]
pub fn fold(gate: &Gate, before: &GateStatus, answered: &Answered) -> GateStatus {
    if answered.key != before.key {
        return before.clone();
    }
    let judgement = match staleness(before, answered) {
        Some(stale) => stale,
        None => judge(gate, &answered.answer),
    };
    let mut after = before.clone();
    apply(gate, &mut after, answered.at, judgement);
    if let (Answer::Sample { sampled_at, .. }, Verdict::Pass | Verdict::Fail) =
        (&answered.answer, after.verdict)
    {
        after.sampled_at = Some(*sampled_at);
    }
    after
}

/// Takes a judgement of `at` into the evidence.
pub(super) fn apply(gate: &Gate, status: &mut GateStatus, at: Timestamp, judgement: Judgement) {
    status.evaluated_at = Some(at);
    status.verdict = judgement.verdict;
    status.value = judgement.value;
    status.message = judgement.message;
    match judgement.verdict {
        Verdict::Pass => {
            status.passes = status.passes.saturating_add(1);
            status.consecutive_failures = 0;
            status.tripped = false;
            status.no_data_since = None;
            remember(&mut status.recent, 'P');
        }
        Verdict::Fail => {
            status.no_data_since = None;
            count_failure(gate, status);
        }
        // There is an answer, and it is too early to say.
        Verdict::Wait => status.no_data_since = None,
        Verdict::NoData | Verdict::Error => {
            status.no_data_since.get_or_insert(at);
            if gate.on_no_data.treat_as == TreatNoDataAs::Fail {
                count_failure(gate, status);
            }
        }
    }
}

/// Why the time of a sample makes it no evidence, if it does.
fn staleness(before: &GateStatus, answered: &Answered) -> Option<Judgement> {
    let Answer::Sample { value, sampled_at } = &answered.answer else { return None };
    let age = answered.at.duration_since(*sampled_at);
    if flaw::is(Flaw::CacheIsEvidence) {
        return None;
    }
    let message = if before.sampled_at.is_some_and(|last| *sampled_at <= last) {
        "the answer is no newer than the one before: is there a cache in front of the server?".to_owned()
    } else if age > SKEW_MAX {
        format!("the answer is {} s old: a cache, or a clock that is wrong", age.as_secs())
    } else if age < -SKEW_MAX {
        format!("the answer is from {} s ahead of us: a clock is wrong", age.as_secs().saturating_abs())
    } else {
        return None;
    };
    Some(no_data(shown(*value), message))
}

fn count_failure(gate: &Gate, status: &mut GateStatus) {
    status.consecutive_failures = status.consecutive_failures.saturating_add(1);
    remember(&mut status.recent, 'F');
    let in_a_row = status.consecutive_failures >= gate.failure_threshold.max(1);
    let in_window = gate.failure_window.is_some_and(|window| {
        let of = usize::try_from(window.of).unwrap_or(0);
        let failures = status.recent.chars().rev().take(of).filter(|c| *c == 'F').count();
        failures >= usize::try_from(window.failures).unwrap_or(0).max(1)
    });
    status.tripped = status.tripped || in_a_row || in_window;
}

fn remember(recent: &mut String, letter: char) {
    let skip = (recent.chars().count() + 1).saturating_sub(RECENT_MAX);
    *recent = recent.chars().skip(skip).chain([letter]).collect();
}

/// When the gate is to be asked next: first after `initialDelay`, then every `interval`, but once as early as
/// `finish_at`, when this answer is all that the phase waits for.
#[must_use]
pub fn due_at(
    gate: &Gate,
    status: &GateStatus,
    bake_started_at: Timestamp,
    finish_at: Option<Timestamp>,
) -> Timestamp {
    let Some(evaluated_at) = status.evaluated_at else {
        return later(bake_started_at, gate.initial_delay.as_signed());
    };
    let regular = later(evaluated_at, gate.interval.as_signed());
    match finish_at {
        Some(finish) if finish > evaluated_at => regular.min(finish),
        _ => regular,
    }
}

/// Until when the run may go without evidence; `None` while there is evidence.
#[must_use]
pub fn no_data_deadline(gate: &Gate, status: &GateStatus) -> Option<Timestamp> {
    status.no_data_since.map(|since| later(since, gate.on_no_data.deadline.as_signed()))
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// What evidence belongs to. Anything that changes what an answer means, or how answers are counted, changes the key,
/// and with it the evidence is void: that is, all of the gate, the run, the phase, the revision, and the moment at
/// which the weight came into force.
#[must_use]
pub fn evidence_key(
    run: i64,
    phase_name: &str,
    phase_traffic: i32,
    canary_revision: &str,
    weight_accepted_at: Timestamp,
    gate: &Gate,
) -> String {
    // A gate always has a JSON form; were it not so, its debug form would tell gates apart as well.
    let gate = serde_json::to_string(gate).unwrap_or_else(|_| format!("{gate:?}"));
    hash(&[
        &run.to_string(),
        phase_name,
        &phase_traffic.to_string(),
        canary_revision,
        &weight_accepted_at.as_nanosecond().to_string(),
        &gate,
    ])
}

#[cfg(test)]
mod tests;
