//! Is the canary slower than stable? "Slow" is a request above a bound; each bound is a test of its own, and their e-values are
//! averaged. So the hypothesis is "at no bound has the canary a larger tail": it is not stochastically slower.

use serde::{Deserialize, Serialize};

use crate::api::Verdict;

use super::logs::{count, log_mean};
use super::{Arm, Block, Mixture, Starts, odds, rate};

/// Bounds that are tested at once.
pub const BOUNDS_MAX: usize = 6;
/// Stable's share of requests above a bound that is chosen: the most and the least.
const TAIL_MAX: f64 = 0.2;
const TAIL_MIN: f64 = 0.001;

/// Which test a bound gets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Form {
    /// [`rate`]: for tails of up to 20 %, any tolerance.
    Tail {
        /// As in [`rate::Settings`], of slow requests; slowness clusters: 2 to 10 is usual.
        phi: f64,
        /// As in [`rate::Settings`].
        rho0: f64,
    },
    /// [`odds`]: for larger tails, at a tolerance of 1.
    Body {
        /// As for a tail.
        phi: f64,
    },
}

/// How latency is judged. Frozen for a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The chance, over the whole run, to roll back a canary that is not slower.
    pub alpha: f64,
    /// The test of each bound, in their order; at most [`BOUNDS_MAX`].
    pub forms: Vec<Form>,
    /// When a regression may begin; for tails.
    pub starts: Starts,
}

/// The evidence of one bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Bound {
    Tail(Mixture),
    Body(odds::State),
}

/// The evidence. Below 2 KiB as JSON for six bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    bounds: Vec<Bound>,
    blocks: u32,
    canary: f64,
}

impl State {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let bounds = settings.forms.iter().take(BOUNDS_MAX).map(|form| match form {
            Form::Tail { .. } => Bound::Tail(Mixture::new(rate::RATIOS.len())),
            Form::Body { .. } => Bound::Body(odds::State::default()),
        });
        Self { bounds: bounds.collect(), blocks: 0, canary: 0.0 }
    }
}

/// The state after one more block, given as one [`Block`] for each bound, in which "bad" is slow. A bound without a block stays as
/// it is.
#[must_use]
pub fn step(state: &State, settings: &Settings, blocks: &[Block]) -> State {
    let weight = settings.starts.weight(state.blocks);
    let bounds = state.bounds.iter().zip(&settings.forms).enumerate().map(|(at, (bound, form))| {
        let block = blocks.get(at).copied().unwrap_or_default();
        match (bound, form) {
            (Bound::Tail(evidence), Form::Tail { phi, rho0 }) => Bound::Tail(
                evidence.step(weight, |k| rate::gain(&block, rho0 * rate::RATIOS[k], *rho0, *phi)),
            ),
            (Bound::Body(body), Form::Body { phi }) => Bound::Body(odds::step(body, &block, *phi)),
            // The settings are frozen for a run; a state of others is not added to.
            (bound, _) => bound.clone(),
        }
    });
    State {
        bounds: bounds.collect(),
        blocks: state.blocks.saturating_add(1),
        canary: state.canary + blocks.first().map_or(0.0, |block| block.canary.total),
    }
}

/// ln E of each bound.
#[must_use]
pub fn ln_e_by_bound(state: &State) -> Vec<f64> {
    let ln_e = |bound: &Bound| match bound {
        Bound::Tail(evidence) => evidence.ln_e(),
        Bound::Body(body) => odds::ln_e(body),
    };
    state.bounds.iter().map(ln_e).collect()
}

/// ln E against "not slower": of the mean over the bounds; 0 without bounds.
#[must_use]
pub fn ln_e(state: &State) -> f64 {
    let by_bound = ln_e_by_bound(state);
    if by_bound.is_empty() { 0.0 } else { log_mean(&by_bound) }
}

/// `Fail`: the canary is slower, at level `alpha`. `Wait`: not shown, so far. `NoData`: nothing to compare.
#[must_use]
pub fn verdict(state: &State, settings: &Settings) -> Verdict {
    if state.canary == 0.0 || state.bounds.is_empty() {
        Verdict::NoData
    } else if ln_e(state) >= (1.0 / settings.alpha).ln() {
        Verdict::Fail
    } else {
        Verdict::Wait
    }
}

/// The bounds to test, of all that the histogram has: those above which stable has 20 % to 0.1 % of its requests, thinned evenly to
/// at most [`BOUNDS_MAX`]. `tails` gives each bound with stable's (slow, total) in the history.
#[must_use]
pub fn chosen_bounds(tails: &[(f64, Arm)]) -> Vec<f64> {
    let is_telling = |tail: &Arm| {
        let share = tail.bad / tail.total;
        (TAIL_MIN..=TAIL_MAX).contains(&share)
    };
    let mut fit: Vec<f64> =
        tails.iter().filter(|(_, tail)| is_telling(tail)).map(|(bound, _)| *bound).collect();
    fit.sort_by(f64::total_cmp);
    fit.dedup();
    if fit.len() <= BOUNDS_MAX {
        return fit;
    }
    let step = (count(fit.len()) - 1.0) / (count(BOUNDS_MAX) - 1.0);
    (0..BOUNDS_MAX).filter_map(|at| nearest(&fit, count(at) * step)).collect()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 0, below the length")]
fn nearest(sorted: &[f64], at: f64) -> Option<f64> {
    sorted.get(at.round() as usize).copied()
}
