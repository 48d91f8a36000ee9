//! Is the share of bad requests of the canary alone above a limit? For absolute limits, for "p99 ≤ L" (the share of requests
//! above L is at most 1 %), and for a canary without stable beside it.
//!
//! The hypothesis is p ≤ p0, the alternatives q have g times the odds of p0, for g in [`RATIOS`](super::rate::RATIOS):
//!
//! ```text
//! l = [ x ln(q/p0) + (n − x) ln((1−q)/(1−p0)) ] / φ
//! ```
//!
//! A likelihood ratio of coin tosses, falling in p below p0, so E exp(l) ≤ 1 there (mixture SPRT: Robbins 1970).

use serde::{Deserialize, Serialize};

use crate::api::Verdict;

use super::rate::RATIOS;
use super::{Arm, Mixture, Starts};

/// How an absolute limit is judged. Frozen for a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The most of the requests that may be bad, above 0 and below 1.
    pub limit: f64,
    /// The chance, over the whole run, to roll back a canary within its limit.
    pub alpha: f64,
    /// How much more the counts vary than independent requests would; 1 or more.
    pub phi: f64,
    /// When a regression may begin.
    pub starts: Starts,
}

/// The evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    evidence: Mixture,
    seen: Arm,
    blocks: u32,
}

impl Default for State {
    fn default() -> Self {
        Self { evidence: Mixture::new(RATIOS.len()), seen: Arm::default(), blocks: 0 }
    }
}

/// What `arm` says for `odds` times the odds of `limit`.
#[must_use]
pub fn gain(arm: Arm, limit: f64, odds: f64) -> f64 {
    // ln(q/p0) and ln((1−q)/(1−p0)) share the denominator 1 + p0(odds − 1).
    let spread = (limit * (odds - 1.0)).ln_1p();
    arm.bad * (odds.ln() - spread) - arm.good() * spread
}

/// The state after one more block of the canary.
#[must_use]
pub fn step(state: &State, settings: &Settings, canary: Arm) -> State {
    let weight = settings.starts.weight(state.blocks);
    let gain = |k: usize| gain(canary, settings.limit, RATIOS[k]) / settings.phi;
    State {
        evidence: state.evidence.step(weight, gain),
        seen: state.seen.plus(canary),
        blocks: state.blocks.saturating_add(1),
    }
}

/// ln E against "within the limit".
#[must_use]
pub fn ln_e(state: &State) -> f64 {
    state.evidence.ln_e()
}

/// `Fail`: above the limit, at level `alpha`. `Wait`: not shown, so far. `NoData`: no request yet.
#[must_use]
pub fn verdict(state: &State, settings: &Settings) -> Verdict {
    if state.seen.total == 0.0 {
        Verdict::NoData
    } else if ln_e(state) >= (1.0 / settings.alpha).ln() {
        Verdict::Fail
    } else {
        Verdict::Wait
    }
}

/// The requests seen.
#[must_use]
pub fn requests(state: &State) -> Arm {
    state.seen
}
