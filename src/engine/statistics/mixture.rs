//! An e-process over several alternatives and several moments at which a regression may begin.
//!
//! For each alternative k the logarithm R_k of its likelihood ratio is kept. At a *start* a part w of the stake is put on all of
//! them; what is not yet put on any stays in hand and counts as it is:
//!
//! ```text
//! R_k ← ln(exp R_k + w) + l_k          ln E = ln( mean_k exp R_k  +  1 − Σ w )
//! ```
//!
//! A mean of e-processes is one (mixture SPRT: Robbins 1970; Johari, Pekelis, Walsh, "Always Valid Inference", 2015), and so is
//! one that starts later (e-detectors: Shin, Ramdas, Rinaldo, 2022). Starts cost ln 2 and find what begins late.

use serde::{Deserialize, Serialize};

use super::logs::{log_add, log_mean};

/// Logarithms are held within ± this: far beyond every limit, and `-1e6` is as good as nothing.
const LOG_MAX: f64 = 1e6;

/// When the stake is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// Blocks from one start to the next; with 0 there is only the first.
    pub every: u32,
    /// Blocks that are planned; nothing starts after them.
    pub planned: u32,
}

impl Starts {
    /// One start, with the whole stake, at the first block.
    pub const ONCE: Self = Self { every: 0, planned: 0 };

    /// The part of the stake that is put in just before the block number `block` (from 0).
    ///
    /// Half at the first; the other half in equal parts at every later start; all at the first if it stays the only one.
    #[must_use]
    pub fn weight(&self, block: u32) -> f64 {
        let starts = if self.every == 0 { 1 } else { self.planned.div_ceil(self.every).max(1) };
        match block {
            0 if starts == 1 => 1.0,
            0 => 0.5,
            _ if self.every > 0 && block.is_multiple_of(self.every) && block / self.every < starts => {
                0.5 / f64::from(starts - 1)
            }
            _ => 0.0,
        }
    }
}

/// The evidence of an e-process: one logarithm for each alternative. At most about 200 bytes as JSON for eight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    logs: Vec<f64>,
    in_hand: f64,
}

impl Mixture {
    /// Nothing put in yet, over `alternatives` alternatives.
    #[must_use]
    pub fn new(alternatives: usize) -> Self {
        Self { logs: vec![-LOG_MAX; alternatives], in_hand: 1.0 }
    }

    /// The whole stake on every alternative.
    #[must_use]
    pub fn started(alternatives: usize) -> Self {
        Self { logs: vec![0.0; alternatives], in_hand: 0.0 }
    }

    /// After putting in `weight` of the stake and one block, in which alternative k gained `gain(k)`.
    #[must_use]
    pub fn step(&self, weight: f64, gain: impl Fn(usize) -> f64) -> Self {
        let weight = weight.clamp(0.0, self.in_hand);
        let logs = self.logs.iter().enumerate().map(|(k, log)| {
            let put_in = if weight > 0.0 { log_add(*log, weight.ln()) } else { *log };
            (put_in + gain(k)).clamp(-LOG_MAX, LOG_MAX)
        });
        Self { logs: logs.collect(), in_hand: self.in_hand - weight }
    }

    /// ln E. It is 0 at the beginning; E ≥ 1/α speaks against the hypothesis at level α, at whatever moment one looks.
    #[must_use]
    pub fn ln_e(&self) -> f64 {
        // What remains of 1 after parts that add up to it is rounding, not a stake.
        const NOTHING: f64 = 1e-12;
        let played = log_mean(&self.logs);
        if self.in_hand > NOTHING { log_add(played, self.in_hand.ln()) } else { played }
    }
}
