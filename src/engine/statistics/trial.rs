//! The tests of one gate that counts since the run began: for harm and for safety side by side, kept small between blocks.
//!
//! | gate | harm | safety |
//! |---|---|---|
//! | rate | [`rate`]; against a fixed share while stable has no traffic | [`safety`] |
//! | latency | [`latency`] over all bounds | [`safety`] at every bound |
//! | quantile | [`one_arm`] | the canary's share above the limit is below twice what the quantile allows |

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Block, Mixture, Starts, latency, one_arm, rate, safety};

/// What is tested. Frozen for a run, but for the moments at which something may begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which test.
    pub kind: Kind,
    /// How much more the counts vary than independent requests would; 1 or more.
    pub phi: f64,
    /// How many times stable's share is no harm; 1 or more.
    pub tolerance: f64,
    /// The ratio to stable's share that safety excludes; above 1.
    pub safe_ratio: f64,
    /// The canary's share that safety excludes; from 0 (not tested) to below 1.
    pub safe_below: f64,
    /// When a regression may begin.
    pub starts: Starts,
}

/// The kinds of tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Bad requests.
    Rate,
    /// Slow requests, at as many bounds.
    Latency {
        /// How many.
        bounds: usize,
    },
    /// Requests above a limit.
    Quantile {
        /// The share that may be above it, above 0 and below 1.
        allowed: f64,
    },
}

/// The chance to call a canary safe that is not.
pub const ALPHA_SAFE: f64 = 0.05;
/// A canary alone is harmful above this many times what is no harm beside stable.
const ALONE: f64 = 2.0;
/// The least and the most share that a canary alone is held to.
const ALONE_MIN: f64 = 1e-4;
const ALONE_MAX: f64 = 0.5;

/// The evidence of a gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trial {
    /// Of bad requests.
    Rate {
        /// Of harm.
        harm: rate::State,
        /// Of safety.
        safe: safety::State,
    },
    /// Of slow requests.
    Latency {
        /// Of harm.
        harm: latency::State,
        /// Of safety, at each bound.
        safe: Vec<safety::State>,
    },
    /// Of a quantile.
    Quantile {
        /// Of harm.
        harm: one_arm::State,
        /// Of safety.
        safe: Mixture,
    },
}

impl Trial {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        match settings.kind {
            Kind::Rate => Self::Rate { harm: rate::State::default(), safe: safety::State::default() },
            Kind::Latency { bounds } => Self::Latency {
                harm: latency::State::new(&settings.of_latency(bounds)),
                safe: vec![safety::State::default(); bounds.min(latency::BOUNDS_MAX)],
            },
            Kind::Quantile { .. } => Self::Quantile {
                harm: one_arm::State::default(),
                safe: Mixture::started(safety::BETTER.len()),
            },
        }
    }

    /// After one more block: one [`Block`], or one for each bound. A block of another kind of test changes nothing.
    #[must_use]
    pub fn step(&self, settings: &Settings, blocks: &[Block]) -> Self {
        let first = blocks.first().copied().unwrap_or_default();
        match (self, settings.kind) {
            (Self::Rate { harm, safe }, Kind::Rate) => {
                let of_rate = settings.of_rate();
                let harm = match alone_limit(settings, harm, &first) {
                    Some(limit) => rate::step_alone(harm, &of_rate, first.canary, limit),
                    None => rate::step(harm, &of_rate, &first),
                };
                Self::Rate { harm, safe: safety::step(safe, &settings.of_safety(), &first) }
            }
            (Self::Latency { harm, safe }, Kind::Latency { bounds }) => {
                let at = |(at, state): (usize, &safety::State)| {
                    safety::step(state, &settings.of_safety(), &blocks.get(at).copied().unwrap_or_default())
                };
                Self::Latency {
                    harm: latency::step(harm, &settings.of_latency(bounds), blocks),
                    safe: safe.iter().enumerate().map(at).collect(),
                }
            }
            (Self::Quantile { harm, safe }, Kind::Quantile { allowed }) => {
                let gain = |k: usize| {
                    let excluded = (2.0 * allowed).min(ALONE_MAX);
                    one_arm::gain(first.canary, excluded, safety::BETTER[k]) / settings.phi
                };
                Self::Quantile {
                    harm: one_arm::step(harm, &settings.of_quantile(allowed), first.canary),
                    safe: safe.step(0.0, gain),
                }
            }
            (other, _) => other.clone(),
        }
    }

    /// ln E of harm.
    #[must_use]
    pub fn harm(&self) -> f64 {
        match self {
            Self::Rate { harm, .. } => rate::ln_e(harm),
            Self::Latency { harm, .. } => latency::ln_e(harm),
            Self::Quantile { harm, .. } => one_arm::ln_e(harm),
        }
    }

    /// Whether the canary is shown to be safe, at level [`ALPHA_SAFE`].
    #[must_use]
    pub fn is_safe(&self, settings: &Settings) -> bool {
        let of_safety = settings.of_safety();
        let is_shown = |ln_e: f64| ln_e >= (1.0 / ALPHA_SAFE).ln();
        match self {
            Self::Rate { safe, .. } => is_shown(safety::ln_e(safe, &of_safety)),
            Self::Latency { safe, .. } => {
                !safe.is_empty() && safe.iter().all(|state| is_shown(safety::ln_e(state, &of_safety)))
            }
            Self::Quantile { safe, .. } => is_shown(safe.ln_e()),
        }
    }

    /// The least that the canary's share can be in multiples of stable's, at the level `alpha`; `None` for other tests.
    #[must_use]
    pub fn ratio_at_least(&self, settings: &Settings, alpha: f64) -> Option<f64> {
        let Self::Rate { harm, .. } = self else { return None };
        Some(rate::ratio_at_least(harm, &rate::Settings { alpha, ..settings.of_rate() }))
    }

    /// As text, with nine digits behind the point: what is stored is what is gone on with.
    #[must_use]
    pub fn rounded(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        round(&mut value);
        value
    }
}

impl Settings {
    fn of_rate(&self) -> rate::Settings {
        rate::Settings {
            phi: self.phi,
            rho0: self.tolerance,
            starts: self.starts,
            ..rate::Settings::default()
        }
    }

    fn of_safety(&self) -> safety::Settings {
        safety::Settings {
            alpha: ALPHA_SAFE,
            // Safety that excludes less than what is called no harm would contradict it.
            ratio: self.safe_ratio.max(self.tolerance),
            rate_max: Some(self.safe_below).filter(|share| *share > 0.0),
            phi: self.phi,
        }
    }

    fn of_latency(&self, bounds: usize) -> latency::Settings {
        let form = latency::Form::Tail { phi: self.phi, rho0: self.tolerance };
        let forms = vec![form; bounds.min(latency::BOUNDS_MAX)];
        latency::Settings { alpha: rate::Settings::default().alpha, forms, starts: self.starts }
    }

    fn of_quantile(&self, allowed: f64) -> one_arm::Settings {
        let alpha = rate::Settings::default().alpha;
        one_arm::Settings { limit: allowed, alpha, phi: self.phi, starts: self.starts }
    }
}

/// The share that a canary without stable beside it is held to: twice what would be no harm beside stable as it was, and no less
/// than what is safe in itself. `None` while stable has traffic, or never had.
fn alone_limit(settings: &Settings, harm: &rate::State, block: &Block) -> Option<f64> {
    let stable = rate::requests(harm).stable;
    let is_alone = block.stable.total == 0.0 && block.canary.total > 0.0 && stable.total > 0.0;
    is_alone.then(|| {
        let beside = ALONE * settings.tolerance * stable.bad / stable.total;
        beside.max(settings.safe_below).clamp(ALONE_MIN, ALONE_MAX)
    })
}

fn round(value: &mut Value) {
    const DIGITS: f64 = 1e9;
    match value {
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        Value::Number(number) => {
            if let Some(exact) = number.as_f64().filter(|_| number.is_f64()) {
                *value = Value::from((exact * DIGITS).round() / DIGITS);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: Kind) -> Settings {
        let starts = Starts { every: 10, planned: 60 };
        Settings { kind, phi: 1.0, tolerance: 1.05, safe_ratio: 2.0, safe_below: 0.01, starts }
    }

    fn after(settings: &Settings, blocks: &[Block], times: usize) -> Trial {
        (0..times).fold(Trial::new(settings), |trial, _| trial.step(settings, blocks))
    }

    #[test]
    fn a_healthy_canary_is_shown_safe_and_a_bad_one_harmful() {
        let of_rate = settings(Kind::Rate);
        let healthy = after(&of_rate, &[Block::new((1.0, 100.0), (9.0, 900.0))], 40);
        assert!(healthy.is_safe(&of_rate) && healthy.harm() < 0.0, "{healthy:?}");
        let bad = after(&of_rate, &[Block::new((5.0, 100.0), (9.0, 900.0))], 10);
        assert!(!bad.is_safe(&of_rate) && bad.harm() > 100.0_f64.ln(), "{bad:?}");
        assert!(bad.ratio_at_least(&of_rate, 0.01).is_some_and(|ratio| ratio > 1.5 && ratio < 5.0));
        let slow = settings(Kind::Latency { bounds: 2 });
        let blocks = [Block::new((40.0, 100.0), (100.0, 900.0)), Block::new((9.0, 100.0), (9.0, 900.0))];
        let slower = after(&slow, &blocks, 4);
        assert!(slower.harm() > 100.0_f64.ln() && !slower.is_safe(&slow), "{slower:?}");
        let even = [Block::new((11.0, 100.0), (99.0, 900.0)), Block::new((0.0, 100.0), (1.0, 900.0))];
        assert!(after(&slow, &even, 60).is_safe(&slow));
        let quantile = settings(Kind::Quantile { allowed: 0.01 });
        assert!(after(&quantile, &[Block::new((0.0, 100.0), (0.0, 0.0))], 5).is_safe(&quantile));
        assert!(after(&quantile, &[Block::new((5.0, 100.0), (0.0, 0.0))], 4).harm() > 100.0_f64.ln());
    }

    #[test]
    fn a_canary_alone_is_held_to_what_stable_had() {
        let of_rate = settings(Kind::Rate);
        let before = after(&of_rate, &[Block::new((5.0, 500.0), (5.0, 500.0))], 20);
        let alone = |bad: f64| {
            let block = Block::new((bad, 1000.0), (0.0, 0.0));
            (0..5).fold(before.clone(), |trial, _| trial.step(&of_rate, &[block])).harm()
        };
        assert!(alone(10.0) < before.harm() && alone(60.0) > 100.0_f64.ln());
        // Without anything that stable ever had there is nothing to hold it to.
        let never = Trial::new(&of_rate).step(&of_rate, &[Block::new((90.0, 100.0), (0.0, 0.0))]);
        assert!(never.harm().abs() < 1e-12);
    }

    #[test]
    fn what_is_stored_is_small_and_goes_on() {
        for kind in [Kind::Rate, Kind::Latency { bounds: 6 }, Kind::Quantile { allowed: 0.01 }] {
            let settings = settings(kind);
            let blocks: Vec<Block> =
                (1..7).map(|n| Block::new((f64::from(n), 131.0), (7.0, 911.0))).collect();
            let trial = after(&settings, &blocks, 50);
            let stored = trial.rounded();
            let most = if matches!(kind, Kind::Latency { .. }) { 4096 } else { 2048 };
            assert!(stored.to_string().len() < most, "{kind:?}: {} bytes", stored.to_string().len());
            let read: Trial = serde_json::from_value(stored.clone()).unwrap();
            assert_eq!(read.rounded(), stored);
            assert!((read.harm() - trial.harm()).abs() < 1e-6 * trial.harm().abs().max(1.0));
        }
    }
}
