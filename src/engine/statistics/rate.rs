//! Does the canary fail more often than stable? The test that gates use when they are given `bad` and `total`.
//!
//! The hypothesis is p_canary ≤ ρ0 · p_stable, block by block, whatever the error rate does from block to block and however the
//! traffic is split. With the canary's share π of a block's requests and D(r) = 1 + π(r − 1), the gain of alternative ρ is
//!
//! ```text
//! l = [ x_c ln(ρ/ρ0) − (x_c + x_s) ln(D(ρ)/D(ρ0)) ] / φ
//! ```
//!
//! Why that is valid: given the past and the split, requests fail independently. With a = (ρ/ρ0)·D(ρ0)/D(ρ) and b = D(ρ0)/D(ρ),
//! E exp(l) = Π(1 + p_i(a−1)) Π(1 + p_j(b−1)) ≤ exp(n_c p_c (a−1) + n_s p_s (b−1)) ≤ 1 under the hypothesis.
//! It is the count process of Lindon and Malek ("Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022) and the
//! two-stream e-variable of Turner, Ly and Grünwald (2021), as a mixture over alternatives with later starts ([`Mixture`]).
//! Dividing by φ is exact if bad requests come in same-arm clusters of at most φ, since aᵘ is convex.

use serde::{Deserialize, Serialize};

use crate::api::Verdict;

use super::accrued::Accrued;
use super::{Arm, Block, Mixture, Starts, one_arm};

/// The alternatives, as multiples of the tolerance ρ0.
pub const RATIOS: [f64; 8] = [1.25, 1.6, 2.0, 3.0, 5.0, 10.0, 30.0, 1000.0];

/// How a rate is judged. Frozen for a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The chance, over the whole run, to roll back a canary that is not worse; 0 to 1. 0.01 unless a user says otherwise.
    pub alpha: f64,
    /// Bad requests of the canary before anything is called harm. Only lowers false alarms.
    pub min_bad: f64,
    /// How much more the counts vary than independent requests would; 1 or more. See [`super::history`].
    pub phi: f64,
    /// How many times stable's rate the canary may have, for the pods differ; 1 or more. See [`super::history`].
    pub rho0: f64,
    /// When a regression may begin.
    pub starts: Starts,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            min_bad: 5.0,
            phi: super::history::PHI_UNKNOWN,
            rho0: super::history::RHO0_UNKNOWN,
            starts: Starts::ONCE,
        }
    }
}

/// The evidence. Below 1.5 KiB as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    evidence: Mixture,
    accrued: Accrued,
    blocks: u32,
}

impl Default for State {
    fn default() -> Self {
        Self { evidence: Mixture::new(RATIOS.len()), accrued: Accrued::default(), blocks: 0 }
    }
}

/// What one block says for the alternative `ratio` against the hypothesis that the ratio is at most `rho0`; 0 if an arm had
/// no traffic.
#[must_use]
pub fn gain(block: &Block, ratio: f64, rho0: f64, phi: f64) -> f64 {
    let Some(share) = block.share() else { return 0.0 };
    let mean = |ratio: f64| (share * (ratio - 1.0)).ln_1p();
    (block.canary.bad * (ratio / rho0).ln() - block.bad() * (mean(ratio) - mean(rho0))) / phi
}

/// The state after one more block. The caller sees to it that each block is counted once ([`super::counters`]).
#[must_use]
pub fn step(state: &State, settings: &Settings, block: &Block) -> State {
    let weight = settings.starts.weight(state.blocks);
    let gain = |k: usize| gain(block, settings.rho0 * RATIOS[k], settings.rho0, settings.phi);
    State {
        evidence: state.evidence.step(weight, gain),
        accrued: state.accrued.plus(block),
        blocks: state.blocks.saturating_add(1),
    }
}

/// The state after a block in which stable had no traffic, as at 100 %: the canary alone against `limit`, a share above 0 and
/// below 1 that the caller fixed before the block. Going on with another hypothesis is allowed: each block's factor has an
/// expectation of at most 1 under its own.
#[must_use]
pub fn step_alone(state: &State, settings: &Settings, canary: Arm, limit: f64) -> State {
    let weight = settings.starts.weight(state.blocks);
    let gain = |k: usize| one_arm::gain(canary, limit, RATIOS[k]) / settings.phi;
    State {
        evidence: state.evidence.step(weight, gain),
        accrued: state.accrued.clone(),
        blocks: state.blocks.saturating_add(1),
    }
}

/// ln E against "no worse than ρ0 times stable".
#[must_use]
pub fn ln_e(state: &State) -> f64 {
    state.evidence.ln_e()
}

/// `Fail`: the canary is worse, at level `alpha`. `Wait`: not shown, so far. `NoData`: nothing to compare yet.
#[must_use]
pub fn verdict(state: &State, settings: &Settings) -> Verdict {
    let canary = state.accrued.canary();
    if canary.total == 0.0 {
        Verdict::NoData
    } else if ln_e(state) >= (1.0 / settings.alpha).ln() && canary.bad >= settings.min_bad {
        Verdict::Fail
    } else {
        Verdict::Wait
    }
}

/// The least that the ratio p_canary/p_stable can be, with confidence 1 − alpha at whatever moment one looks; 0 if the evidence
/// bounds nothing. For people: it is computed from a test without later starts.
///
/// It is the ρ0 at which ln E(ρ0) = ln(1/alpha), found by bisection to 12 digits.
#[must_use]
pub fn ratio_at_least(state: &State, settings: &Settings) -> f64 {
    let limit = (1.0 / settings.alpha).ln();
    let is_refuted = |rho0: f64| state.accrued.ln_e(&RATIOS, rho0, settings.phi) >= limit;
    let (mut low, mut high) = (1e-6_f64.ln(), 1e6_f64.ln());
    if !is_refuted(low.exp()) {
        return 0.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if is_refuted(middle.exp()) { low = middle } else { high = middle }
    }
    low.exp()
}

/// The requests that count: those of blocks in which both arms had traffic.
#[must_use]
pub fn requests(state: &State) -> Block {
    Block { canary: state.accrued.canary(), stable: state.accrued.stable() }
}
