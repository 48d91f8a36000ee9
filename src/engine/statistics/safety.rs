//! Is the canary shown to be good enough? For an early promotion, if the user allows one.
//!
//! Two tests at once, half the stake each: the ratio (hypothesis p_canary ≥ ρ · p_stable) and, since few errors say nothing about
//! a ratio, the canary's own rate (hypothesis p_canary ≥ p_max). E = ½ E_ratio + ½ E_own certifies
//! p_canary < max(ρ · p_stable, p_max). A regression that begins later is not covered: the tests for harm go on.

use serde::{Deserialize, Serialize};

use crate::api::Verdict;

use super::logs::{log_add, log_mean};
use super::{Arm, Block, Mixture, one_arm, rate};

/// The alternatives, as multiples of the ratio or the odds that is to be excluded.
pub const BETTER: [f64; 4] = [0.3, 0.5, 0.65, 0.8];

/// What is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The chance to call a canary safe that is not. 0.05 unless a user says otherwise.
    pub alpha: f64,
    /// The ratio to stable's rate that is excluded; above 1. 2 unless a user says otherwise.
    pub ratio: f64,
    /// The rate of the canary that is excluded, above 0 and below 1; `None`: only the ratio is tested.
    pub rate_max: Option<f64>,
    /// How much more the counts vary than independent requests would; 1 or more.
    pub phi: f64,
}

/// The evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    ratio: Mixture,
    own: Mixture,
}

impl Default for State {
    fn default() -> Self {
        Self { ratio: Mixture::started(BETTER.len()), own: Mixture::started(BETTER.len()) }
    }
}

/// The state after one more block.
#[must_use]
pub fn step(state: &State, settings: &Settings, block: &Block) -> State {
    let ratio = |k: usize| rate::gain(block, settings.ratio * BETTER[k], settings.ratio, settings.phi);
    let own = |k: usize| {
        settings.rate_max.map_or(0.0, |limit| one_arm::gain(block.canary, limit, BETTER[k]) / settings.phi)
    };
    State { ratio: state.ratio.step(0.0, ratio), own: state.own.step(0.0, own) }
}

/// ln E against "not safe".
#[must_use]
pub fn ln_e(state: &State, settings: &Settings) -> f64 {
    match settings.rate_max {
        None => state.ratio.ln_e(),
        Some(_) => log_add(state.ratio.ln_e(), state.own.ln_e()) - 2.0_f64.ln(),
    }
}

/// `Pass`: safe, at level `alpha`. `Wait`: not shown, so far.
#[must_use]
pub fn verdict(state: &State, settings: &Settings) -> Verdict {
    if ln_e(state, settings) >= (1.0 / settings.alpha).ln() { Verdict::Pass } else { Verdict::Wait }
}

/// ln E of the canary's own rate after `arm`, against "at least `limit`"; 0 alternatives never happen.
#[must_use]
pub fn own_rate(arm: Arm, limit: f64) -> f64 {
    log_mean(&BETTER.map(|odds| one_arm::gain(arm, limit, odds)))
}
