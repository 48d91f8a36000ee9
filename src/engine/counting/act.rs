//! What an answer adds: counts, evidence, and the verdict of the gate.

use jiff::Timestamp;

use crate::api::{BucketsRule, CountersRule, GateStatistics, GateStatus, Rule, Threshold, Verdict};
use crate::engine::Answer;
use crate::engine::gates::{self, Judgement};
use crate::engine::statistics::combine::{Say, combined};
use crate::engine::statistics::trial::{Settings, Trial};
use crate::engine::statistics::{Arm, Block, Starts, budget, compare, rate, threshold};
use crate::engine::world::{Answered, Line};

use super::{Counting, Memory, choose, learn, memory, read, trial_of, words};

/// What the other tests of the run have shown: all of them together have one chance of error.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Others {
    /// ln E of each that has begun, without this gate for this component.
    pub shown: Vec<f64>,
    /// How many tests the run has, with this one.
    pub tests: usize,
    /// `spec.alpha`.
    pub alpha: f64,
}

impl Others {
    /// ln E at which a test shows harm if the others show nothing.
    fn limit(&self) -> f64 {
        (self.tests.max(1) as f64 / self.alpha).ln()
    }

    /// Whether harm is shown, and by the test with this ln E more than by any other.
    pub(super) fn is_harm(&self, own: f64) -> bool {
        let leads = self.shown.iter().all(|other| *other <= own);
        let begun = self.shown.iter().chain([&own]).map(|ln_e| Say { weight: 1.0, ln_e: *ln_e });
        // What has not begun has shown nothing: E is 1.
        let waiting = self.tests.saturating_sub(self.shown.len() + 1);
        let says: Vec<Say> = begun.chain((0..waiting).map(|_| Say { weight: 1.0, ln_e: 0.0 })).collect();
        leads && combined(&says) >= (1.0 / self.alpha).ln()
    }
}

/// Adds one answer. One that is not to the next question changes nothing.
pub(in crate::engine) fn fold(
    counting: &Counting<'_>,
    (status, counted): (&GateStatus, &GateStatistics),
    answered: &Answered,
    others: &Others,
) -> (GateStatus, GateStatistics) {
    if answered.key != counting.answer_key(counted, status) {
        return (status.clone(), counted.clone());
    }
    let mut after = status.clone();
    after.evaluated_at = Some(answered.at);
    let series = match &answered.answer {
        Answer::Series(series) => Ok(series.as_slice()),
        other => Err(gates::no_series(other)),
    };
    if counting.is_to_choose() {
        return take_choice(counting, (after, counted), series, answered.at);
    }
    if counting.is_to_learn(counted) {
        return take_history(counting, (after, counted), series, answered.at);
    }
    match series {
        Err(judgement) => {
            gates::apply(counting.gate, &mut after, answered.at, judgement);
            (after, counted.clone())
        }
        Ok(series) => take_blocks(counting, (after, counted), series, answered.at, others),
    }
}

/// Whose metrics are read from now on. Without exactly one answer nothing is judged, and it is asked again.
fn take_choice(
    counting: &Counting<'_>,
    (mut status, counted): (GateStatus, &GateStatistics),
    series: Result<&[Vec<Line>], Judgement>,
    at: Timestamp,
) -> (GateStatus, GateStatistics) {
    let is_its_own = |pod: &str| read::side_of(pod, counting.sets).is_some();
    let chosen = series.map(|series| choose::chosen(counting.gate, counting.has_service, is_its_own, series));
    let judgement = match chosen {
        Ok(Ok(preset)) => {
            status.message =
                format!("reads the metrics of {preset:?}, the only ones with series of the pods");
            // The next question is due already.
            status.evaluated_at = None;
            return (status, GateStatistics { preset: Some(preset), ..counted.clone() });
        }
        Ok(Err(why)) => silent(counting, &status, at, why),
        Err(judgement) => judgement,
    };
    gates::apply(counting.gate, &mut status, at, judgement);
    (status, counted.clone())
}

fn take_history(
    counting: &Counting<'_>,
    (mut status, counted): (GateStatus, &GateStatistics),
    series: Result<&[Vec<Line>], Judgement>,
    at: Timestamp,
) -> (GateStatus, GateStatistics) {
    let mut kept = memory(counted);
    let is_last = kept.tries + 1 >= learn::TRIES_MAX;
    match series {
        Err(judgement) if !is_last => {
            kept.tries += 1;
            status.message =
                gates::clipped(&format!("stable's history cannot be read: {}", judgement.message));
            let state = serde_json::to_string(&kept).unwrap_or_default();
            (status, GateStatistics { state, ..counted.clone() })
        }
        answer => {
            let learned = learn::learned(counting, counted, answer.as_deref().ok());
            status.message = format!("learned from {}", learned.learned);
            if learned.bounds.is_empty() && matches!(counting.rule, Rule::Buckets { .. }) {
                let says =
                    "stable has no requests by which bounds could be chosen: give sequentialLatency.bounds";
                let judgement = silent(counting, &status, at, says.to_owned());
                gates::apply(counting.gate, &mut status, at, judgement);
                return (status, counted.clone());
            }
            // The first block may be due already.
            status.evaluated_at = None;
            (status, GateStatistics { state: String::new(), ..learned })
        }
    }
}

fn take_blocks(
    counting: &Counting<'_>,
    (mut status, counted): (GateStatus, &GateStatistics),
    series: &[Vec<Line>],
    at: Timestamp,
    others: &Others,
) -> (GateStatus, GateStatistics) {
    let mut kept = memory(counted);
    let base = counting.base(counted);
    let before = read::Before::Counted(&kept.missing);
    let answer = match (&counting.rule, series) {
        (Rule::Counters { .. }, [bad, total]) if counting.window().is_some() => {
            let first = total.iter().filter_map(|line| line.points.first()).map(|(at, _)| *at).min();
            let from = first.unwrap_or(base);
            read::counters((bad, total), counting.sets, read::Before::Unknown, (from, at))
        }
        (Rule::Counters { .. }, [bad, total]) => {
            read::counters((bad, total), counting.sets, before, (base, at))
        }
        (Rule::Buckets { .. }, [lines]) => {
            read::buckets(lines, counting.sets, (before, counting.bounds(counted)), (base, at))
        }
        _ => read::Answered::default(),
    };
    kept.missing.clone_from(&answer.missing);
    let mut counted = counted.clone();
    if let Some(why) = words::nothing_of(counting, &answer) {
        let judgement = silent(counting, &status, at, why);
        gates::apply(counting.gate, &mut status, at, judgement);
        return (status, counted);
    }
    let Some(last) = answer.counted.last() else {
        // What was passed before is not passed now: nobody looks at the requests.
        let says = format!("the metric server has no samples of the pods since {base:.0}: are they scraped?");
        let judgement = silent(counting, &status, at, says);
        gates::apply(counting.gate, &mut status, at, judgement);
        return (status, counted);
    };
    counted.counted_until = Some(last.until);
    for block in answer.counted.iter().map(|it| (it.until, it.blocks.first().copied().unwrap_or_default())) {
        kept.canary_at = if block.1.canary.total > 0.0 { Some(block.0) } else { kept.canary_at };
        kept.stable_at = if block.1.stable.total > 0.0 { Some(block.0) } else { kept.stable_at };
    }
    if let Some(limits) = by_window(counting, &answer.counted, &mut counted) {
        gates::apply(counting.gate, &mut status, at, limits);
        return (status, counted);
    }
    judge_run(counting, (&mut status, &mut counted), (&mut kept, &answer.counted), at, others);
    counted.state = serde_json::to_string(&kept).unwrap_or_default();
    (status, counted)
}

/// Nothing at all is too early to say at first, until a window has passed, and no evidence otherwise.
fn silent(counting: &Counting<'_>, status: &GateStatus, at: Timestamp, message: String) -> Judgement {
    let begins_at = counting.schedule().begins_at;
    let is_young = at.duration_since(begins_at) < super::quiet_max(counting.gate);
    let is_early = is_young && status.passes == 0;
    let verdict = if is_early { Verdict::Wait } else { Verdict::NoData };
    Judgement { verdict, value: String::new(), message: gates::clipped(&message) }
}

/// The judgement of a gate that looks at its window only; `None` for the others.
fn by_window(
    counting: &Counting<'_>,
    answered: &[read::Counted],
    counted: &mut GateStatistics,
) -> Option<Judgement> {
    let Rule::Counters { by, .. } = &counting.rule else { return None };
    let seen = answered.iter().filter_map(|it| it.blocks.first());
    let seen = seen.fold(Block::default(), |sum, block| Block {
        canary: sum.canary.plus(block.canary),
        stable: sum.stable.plus(block.stable),
    });
    let verdict = match by {
        CountersRule::Share(limits) => judge_share(limits, seen.canary).verdict,
        CountersRule::Compare(it) => {
            let settings = compare::Settings {
                max_ratio: it.max_ratio,
                min_difference: it.min_difference,
                min_samples: it.min_samples as f64,
            };
            compare::judge_counts(&settings, &seen)
        }
        CountersRule::Sequential(_) | CountersRule::Budget(_) => return None,
    };
    show_counts(counted, seen, false);
    let message = words::in_window(by, &seen, counting.gate.window, verdict);
    let value = words::percent(seen.canary);
    Some(Judgement { verdict, value, message: gates::clipped(&message) })
}

/// The canary's share of bad requests against limits, with a bound of 95 %.
#[must_use]
pub fn judge_share(limits: &Threshold, canary: Arm) -> threshold::Check {
    let settings = threshold::Settings {
        limits: threshold::Limits { min: limits.min, max: limits.max },
        min_samples: limits.min_samples.map(|samples| samples as f64),
        confidence: 0.95,
    };
    threshold::judge_share(&settings, canary.bad, canary.total)
}

/// Puts counts where people see them: in place of those before, or on top of them.
fn show_counts(counted: &mut GateStatistics, seen: Block, is_sum: bool) {
    let before = if is_sum {
        Block::new((counted.canary_bad, counted.canary_total), (counted.stable_bad, counted.stable_total))
    } else {
        Block::default()
    };
    let (canary, stable) = (before.canary.plus(seen.canary), before.stable.plus(seen.stable));
    (counted.canary_bad, counted.canary_total) = (canary.bad, canary.total);
    (counted.stable_bad, counted.stable_total) = (stable.bad, stable.total);
}

/// The judgement of a gate that counts since the run began.
fn judge_run(
    counting: &Counting<'_>,
    (status, counted): (&mut GateStatus, &mut GateStatistics),
    (kept, blocks): (&mut Memory, &[read::Counted]),
    at: Timestamp,
    others: &Others,
) {
    for block in blocks.iter().filter_map(|it| it.blocks.first()) {
        show_counts(counted, *block, true);
    }
    let verdict = match counting.settings(counted) {
        Some(settings) => {
            let trial = tried(&settings, kept, (status, counted), blocks);
            kept.trial = trial.rounded();
            counted.evidence = round(trial.harm());
            counted.limit = round(others.limit());
            counted.ratio_at_least = trial.ratio_at_least(&settings, others.alpha).map(round);
            let is_enough = min_bad(&counting.rule).is_none_or(|least| counted.canary_bad >= least);
            if others.is_harm(trial.harm()) && is_enough {
                counted.safe = false;
                Verdict::Fail
            } else {
                counted.safe = trial.is_safe(&settings);
                if counted.safe { Verdict::Pass } else { Verdict::Wait }
            }
        }
        None => spent(counting, counted),
    };
    let idle = words::idle(counting, kept, at);
    let verdict = if idle.is_some() && verdict != Verdict::Fail { Verdict::NoData } else { verdict };
    let message = idle.unwrap_or_else(|| words::shown(counting, counted, verdict));
    let judgement =
        Judgement { verdict, value: words::value(counting, counted), message: gates::clipped(&message) };
    if matches!(verdict, Verdict::Wait) {
        // Neither harm nor safety is shown: a block that speaks for going on, but is no pass.
        status.passes = status.passes.saturating_add(1);
        status.consecutive_failures = 0;
    }
    gates::apply(counting.gate, status, at, judgement);
    // What is shown is shown: it is not asked twice.
    status.tripped |= verdict == Verdict::Fail;
    let more = i32::try_from(blocks.len().saturating_sub(1)).unwrap_or(i32::MAX);
    if matches!(verdict, Verdict::Pass | Verdict::Wait) {
        status.passes = status.passes.saturating_add(more);
    }
}

/// The test after all blocks. One that has shown harm, and whose gate asks for less than a rollback, begins anew.
fn tried(
    settings: &Settings,
    kept: &Memory,
    (status, counted): (&GateStatus, &GateStatistics),
    blocks: &[read::Counted],
) -> Trial {
    let is_over = status.tripped && counted.limit > 0.0 && counted.evidence >= counted.limit;
    let (start, settings) = if is_over {
        let settings = Settings { starts: Starts::ONCE, ..settings.clone() };
        (Trial::new(&settings), settings)
    } else {
        (trial_of(kept, settings), settings.clone())
    };
    blocks.iter().fold(start, |trial, block| trial.step(&settings, &block.blocks))
}

fn min_bad(rule: &Rule<'_>) -> Option<f64> {
    match rule {
        Rule::Counters { by: CountersRule::Sequential(it), .. } => Some(it.min_bad as f64),
        Rule::Buckets { by: BucketsRule::Quantile(_), .. } => Some(rate::Settings::default().min_bad),
        _ => None,
    }
}

fn spent(counting: &Counting<'_>, counted: &GateStatistics) -> Verdict {
    let Rule::Counters { by: CountersRule::Budget(it), .. } = &counting.rule else { return Verdict::NoData };
    budget::judge_spend(&words::budget(it), &words::counts(counted))
}

/// Enough digits for people, and the same number after it was stored.
fn round(number: f64) -> f64 {
    (number.clamp(-1e9, 1e9) * 1e4).round() / 1e4
}
