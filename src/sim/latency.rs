//! How long requests take in a rehearsal: a log-logistic distribution, whose tail is long as that of real services is.
//!
//! The share of requests that take longer than x is 1 / (1 + (x/m)^2.5), with the median m.

use crate::api::{BucketsRule, Gate, Rule};

/// How fast the tail falls.
const SHAPE: f64 = 2.5;
/// The median if no gate says in which range it should be: seconds.
const MEDIAN: f64 = 0.1;
/// The bounds of the buckets, in medians.
const BOUNDS: [f64; 7] = [0.5, 1.0, 1.6, 2.5, 5.0, 10.0, 25.0];

/// The buckets of a histogram with the distribution behind it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Latency {
    median: f64,
    uppers: Vec<f64>,
}

impl Latency {
    /// For the gates of one component; `None` if none of them looks at a histogram. The median is where a healthy service has it:
    /// half of what a quantile allows, or a tenth of the requests above the first bound that is compared.
    pub fn for_gates<'g>(gates: impl Iterator<Item = &'g Gate>) -> Option<Self> {
        let (mut median, mut bounds, mut is_any) = (None, Vec::new(), false);
        for gate in gates {
            let rule = gate.rule();
            let Some(Rule::Buckets { by, .. }) = &rule else { continue };
            is_any = true;
            match by {
                BucketsRule::Quantile(it) => {
                    bounds.push(it.max);
                    median.get_or_insert(median_for(it.max, (1.0 - it.quantile) / 2.0));
                }
                BucketsRule::Sequential(it) => {
                    bounds.extend(&it.bounds);
                    if let Some(first) = it.bounds.first() {
                        median.get_or_insert(median_for(*first, 0.1));
                    }
                }
            }
        }
        let median = median.filter(|it| *it > 0.0).unwrap_or(MEDIAN);
        let mut uppers: Vec<f64> = BOUNDS.iter().map(|it| it * median).chain(bounds).collect();
        uppers.sort_by(f64::total_cmp);
        uppers.dedup();
        uppers.push(f64::INFINITY);
        is_any.then_some(Latency { median, uppers })
    }

    /// The upper bounds of the buckets, rising, the last one infinite.
    pub fn uppers(&self) -> &[f64] {
        &self.uppers
    }

    /// The share of requests in each bucket, if everything takes `slowdown` times as long.
    pub fn shares(&self, slowdown: f64) -> Vec<f64> {
        let mut above = 1.0;
        let share = |upper: &f64| {
            let next = tail(*upper, self.median * slowdown);
            let share = above - next;
            above = next;
            share
        };
        self.uppers.iter().map(share).collect()
    }
}

/// The share above `bound`.
fn tail(bound: f64, median: f64) -> f64 {
    if bound.is_infinite() { 0.0 } else { 1.0 / (1.0 + (bound / median).powf(SHAPE)) }
}

/// The median at which `share` is above `bound`.
fn median_for(bound: f64, share: f64) -> f64 {
    bound / (1.0 / share.clamp(1e-6, 0.5) - 1.0).powf(1.0 / SHAPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthy_service_keeps_its_quantile_and_a_slow_one_does_not() {
        let gate: Gate = serde_json::from_value(serde_json::json!({
            "name": "p99", "prometheus": {"buckets": "it"}, "quantile": {"quantile": 0.99, "max": 500.0},
        }))
        .unwrap();
        let latency = Latency::for_gates([&gate].into_iter()).unwrap();
        let above = |slowdown: f64| {
            let shares = latency.shares(slowdown);
            let at = latency.uppers().iter().position(|upper| *upper == 500.0).unwrap();
            shares[at + 1..].iter().sum::<f64>()
        };
        assert!((above(1.0) - 0.005).abs() < 1e-9 && above(3.0) > 0.05, "{} {}", above(1.0), above(3.0));
        assert!((latency.shares(2.0).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(Latency::for_gates([].into_iter()).is_none());
    }
}
