//! Ratio and difference of two arms, without a guarantee: for numbers that are not counts of requests, and for people who want
//! a plain rule. Count failed checks with [`super::windows`].

use crate::api::Verdict;

use super::Block;

/// When one arm is too far above the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The canary's value may be this many times stable's, …
    pub max_ratio: f64,
    /// … or this much above it: both must be exceeded.
    pub min_difference: f64,
    /// Requests at each arm before anything is judged.
    pub min_samples: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_ratio: 1.5, min_difference: 0.005, min_samples: 300.0 }
    }
}

/// Compares the rates of bad requests, (x + ½)/(n + 1): no division by 0, and few requests pull towards one half at both arms.
#[must_use]
pub fn judge_counts(settings: &Settings, block: &Block) -> Verdict {
    if block.canary.total < settings.min_samples || block.stable.total < settings.min_samples {
        return if block.share().is_some() { Verdict::Wait } else { Verdict::NoData };
    }
    let rate = |bad: f64, total: f64| (bad + 0.5) / (total + 1.0);
    let canary = rate(block.canary.bad, block.canary.total);
    judge(settings, canary, rate(block.stable.bad, block.stable.total))
}

/// Compares the medians of a gauge over the pods of each arm; both need two pods with a number.
#[must_use]
pub fn judge_gauges(settings: &Settings, canary: &[f64], stable: &[f64]) -> Verdict {
    match (median(canary), median(stable)) {
        (Some(canary), Some(stable)) => judge(settings, canary, stable),
        _ => Verdict::NoData,
    }
}

fn judge(settings: &Settings, canary: f64, stable: f64) -> Verdict {
    // A product, not a quotient: stable may be 0.
    let is_above = canary > settings.max_ratio * stable.max(0.0) && canary - stable > settings.min_difference;
    if is_above { Verdict::Fail } else { Verdict::Pass }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 | 1 => None,
        even if even.is_multiple_of(2) => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}
