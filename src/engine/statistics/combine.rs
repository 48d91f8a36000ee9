//! One α for a whole run, over all its gates that compare.
//!
//! A weighted mean of e-values is an e-value, however the gates depend on each other (Vovk and Wang, "E-values: Calibration,
//! combination and applications", Annals of Statistics 2021), and never weaker than a Bonferroni correction with those weights.

use super::logs::log_sum;

/// One gate's say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Say {
    /// The gate's weight, above 0; only their proportions count.
    pub weight: f64,
    /// The gate's ln E.
    pub ln_e: f64,
}

/// ln of the weighted mean of E; 0 (E = 1, nothing shown) without gates.
#[must_use]
pub fn combined(says: &[Say]) -> f64 {
    let whole: f64 = says.iter().map(|say| say.weight).sum();
    if whole <= 0.0 {
        return 0.0;
    }
    let parts = says.iter().map(|say| (say.weight / whole).ln() + say.ln_e);
    log_sum(&parts.collect::<Vec<_>>())
}

/// The gate with the largest part in the sum: the one to name. `None` without gates.
#[must_use]
pub fn leading(says: &[Say]) -> Option<usize> {
    let part = |say: &Say| say.weight.ln() + say.ln_e;
    let by_part = |a: &(usize, &Say), b: &(usize, &Say)| part(a.1).total_cmp(&part(b.1));
    says.iter().enumerate().max_by(by_part).map(|(at, _)| at)
}

/// Whether harm is shown at level `alpha`, over all gates together.
#[must_use]
pub fn is_harm(says: &[Say], alpha: f64) -> bool {
    combined(says) >= (1.0 / alpha).ln()
}
