//! As [`super::rate`], for shares too large for its bound: it gives away a factor of about 1 − p. For the tolerance 1 only.
//!
//! The alternatives are odds ratios o. With q_s the pooled share of bad requests in the blocks before (so that it is known
//! beforehand), q_c = o q_s / (1 − q_s + o q_s) and q_0 = π q_c + (1 − π) q_s:
//!
//! ```text
//! l = x_c ln(q_c/q_0) + (n_c−x_c) ln((1−q_c)/(1−q_0)) + x_s ln(q_s/q_0) + (n_s−x_s) ln((1−q_s)/(1−q_0))
//! ```
//!
//! The two-stream e-variable of Turner, Ly and Grünwald ("Generic E-variables for exact sequential k-sample tests", 2021); valid
//! by the inequality of arithmetic and geometric means.

use serde::{Deserialize, Serialize};

use super::{Arm, Block, Mixture};

/// The alternatives: ratios of odds.
pub const ODDS: [f64; 8] = [1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];

/// The pooled share stays this far from 0 and 1.
const MARGIN: f64 = 1e-9;

/// The evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    evidence: Mixture,
    seen: Arm,
}

impl Default for State {
    fn default() -> Self {
        // Half a bad request of one: the first guess.
        Self { evidence: Mixture::started(ODDS.len()), seen: Arm { bad: 0.5, total: 1.0 } }
    }
}

/// What a block says for the odds ratio `odds`, if stable's share is thought to be `guess`; 0 if an arm had no traffic.
#[must_use]
pub fn gain(block: &Block, guess: f64, odds: f64) -> f64 {
    let Some(share) = block.share() else { return 0.0 };
    let stable = guess;
    let canary = odds * stable / (1.0 - stable + odds * stable);
    let null = share * canary + (1.0 - share) * stable;
    let of =
        |arm: Arm, rate: f64| arm.bad * (rate / null).ln() + arm.good() * ((1.0 - rate) / (1.0 - null)).ln();
    of(block.canary, canary) + of(block.stable, stable)
}

/// The state after one more block. `phi` as in [`super::rate::Settings`].
#[must_use]
pub fn step(state: &State, block: &Block, phi: f64) -> State {
    let guess = (state.seen.bad / state.seen.total).clamp(MARGIN, 1.0 - MARGIN);
    let gain = |k: usize| gain(block, guess, ODDS[k]) / phi;
    State { evidence: state.evidence.step(0.0, gain), seen: state.seen.plus(block.canary).plus(block.stable) }
}

/// ln E against "the canary is no worse".
#[must_use]
pub fn ln_e(state: &State) -> f64 {
    state.evidence.ln_e()
}
