//! What has been counted so far, kept so that ln E can be computed again for another tolerance.
//!
//! Σ (x_c + x_s) ln D_t(r) is needed for any r, and D_t knows the block's split π_t. Blocks of nearly the same split are kept
//! together at their mean split, weighted by bad requests: exact for equal splits, and right to second order otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::logs::log_mean;
use super::{Arm, Block};

/// Splits are kept apart in this many classes between 0 and 1.
const CLASSES: f64 = 16.0;

/// Blocks of nearly the same split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Class {
    bad: f64,
    share: f64,
}

/// The sums. At most 16 classes; about 1 KiB as JSON at the very most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Accrued {
    canary: Arm,
    stable: Arm,
    classes: BTreeMap<u8, Class>,
}

impl Accrued {
    pub(super) fn plus(&self, block: &Block) -> Self {
        let Some(share) = block.share() else { return self.clone() };
        let mut classes = self.classes.clone();
        if block.bad() > 0.0 {
            let class = classes.entry(class_of(share)).or_default();
            let bad = class.bad + block.bad();
            // A step towards the new share, not a quotient of sums: equal shares stay what they are.
            class.share += (share - class.share) * block.bad() / bad;
            class.bad = bad;
        }
        Self { canary: self.canary.plus(block.canary), stable: self.stable.plus(block.stable), classes }
    }

    pub(super) fn canary(&self) -> Arm {
        self.canary
    }

    pub(super) fn stable(&self) -> Arm {
        self.stable
    }

    /// ln E of the alternatives `rho0 · multiples`, all started at the first block, with equal weights.
    pub(super) fn ln_e(&self, multiples: &[f64], rho0: f64, phi: f64) -> f64 {
        let spent = |ratio: f64| -> f64 {
            self.classes.values().map(|class| class.bad * (class.share * (ratio - 1.0)).ln_1p()).sum()
        };
        let at_null = spent(rho0);
        let gains = multiples
            .iter()
            .map(|multiple| (self.canary.bad * multiple.ln() - (spent(rho0 * multiple) - at_null)) / phi);
        log_mean(&gains.collect::<Vec<_>>())
    }
}

/// `share` lies between 0 and 1, so the class does between 0 and 16.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 16")]
fn class_of(share: f64) -> u8 {
    (share * CLASSES) as u8
}
