//! A number against a fixed limit, with the samples behind it.
//!
//! A ratio of few requests says little: below [`min_samples`] nothing is judged, and a check fails only if even the confidence
//! bound is past the limit. For false alarms over a run see [`super::alarms`]; a gate that has counters of both arms is better
//! off with [`super::rate`].

use crate::api::Verdict;

use super::special::{share_at_least, share_at_most};

/// The limits of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// The least that passes.
    pub min: Option<f64>,
    /// The most that passes.
    pub max: Option<f64>,
}

/// How a ratio is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The limits, of a share between 0 and 1.
    pub limits: Limits,
    /// Requests before anything is judged; `None`: [`min_samples`] of the limit.
    pub min_samples: Option<f64>,
    /// The confidence of the bounds, one-sided, between 0.5 and 1.
    pub confidence: f64,
}

/// What one check says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// `Pass`, `Fail`, `Wait` (too few samples) or `NoData` (no number).
    pub verdict: Verdict,
    /// The share, if it is one.
    pub value: f64,
    /// The least that the share can be.
    pub lower: f64,
    /// The most that it can be.
    pub upper: f64,
}

/// The fewest requests among which not one bad request would speak, with 95 % confidence, for a share within `max`:
/// ⌈ln 0.05 / ln(1 − max)⌉. Infinite at 0, and 1 at 1 or more.
#[must_use]
pub fn min_samples(max: f64) -> f64 {
    if max >= 1.0 { 1.0 } else { (0.05_f64.ln() / (-max.max(0.0)).ln_1p()).ceil() }
}

/// Judges `value`. What is not finite is no data, whichever side the limit is on.
#[must_use]
pub fn judge_value(limits: &Limits, value: f64) -> Verdict {
    if !value.is_finite() {
        return Verdict::NoData;
    }
    let is_within = limits.min.is_none_or(|min| value >= min) && limits.max.is_none_or(|max| value <= max);
    if is_within { Verdict::Pass } else { Verdict::Fail }
}

/// Judges `bad` of `total` requests.
#[must_use]
pub fn judge_share(settings: &Settings, bad: f64, total: f64) -> Check {
    let value = bad / total;
    if !(value.is_finite() && total > 0.0 && bad >= 0.0 && bad <= total) {
        return Check { verdict: Verdict::NoData, value, lower: 0.0, upper: 1.0 };
    }
    let lower = share_at_least(bad, total, settings.confidence);
    let upper = share_at_most(bad, total, settings.confidence);
    let limits = &settings.limits;
    // For a least share it is the good ones whose absence would mean something.
    let needed = || limits.max.or(limits.min.map(|min| 1.0 - min)).map_or(0.0, min_samples);
    let is_past = limits.max.is_some_and(|max| lower > max) || limits.min.is_some_and(|min| upper < min);
    let verdict = if total < settings.min_samples.unwrap_or_else(needed) {
        Verdict::Wait
    } else if is_past {
        Verdict::Fail
    } else {
        Verdict::Pass
    };
    Check { verdict, value, lower, upper }
}
