//! What the last hours of the stable pods teach: how much the counts vary, and how much pods differ. Frozen when a run starts.
//!
//! φ, the variance inflation: in one minute the bad requests x of J pods should be spread over them as their traffic is, like
//! balls thrown independently. The excess of their squared deviations over that is φ (Pearson's dispersion, McCullagh and
//! Nelder, "Generalized Linear Models", 1989), pulled towards 1.5 with the weight of 20 bad requests:
//!
//! ```text
//! φ = max(1, (ΣΣ(x_jt − e_jt)² + 20·1.5) / (ΣΣ e_jt(1 − v_j) + 20))        v_j = n_j/Σn,  e_jt = x_t v_j
//! ```
//!
//! ρ0, the tolerance: what a further pod may differ from the mean of J of them, if their rates have a spread σ beyond chance.

use serde::{Deserialize, Serialize};

use super::Arm;
use super::logs::count;
use super::special::student_quantile;

/// φ without any history: what the prior says.
pub const PHI_UNKNOWN: f64 = 1.5;
/// φ is never taken for more.
pub const PHI_MAX: f64 = 20.0;
/// ρ0 where too few pods teach it.
pub const RHO0_UNKNOWN: f64 = 1.25;
/// ρ0 is never less when it was learnt.
pub const RHO0_MIN: f64 = 1.1;
/// The tolerance is never less when it was learnt.
pub const TOLERANCE_MIN: f64 = 1.05;
/// ρ0 is never taken for more.
pub const RHO0_MAX: f64 = 3.0;
/// Fewer stable pods teach no spread.
pub const PODS_MIN: usize = 4;

const PRIOR_WEIGHT: f64 = 20.0;
const SPREAD_CONFIDENCE: f64 = 0.99;

/// The sums from which φ is learnt, one minute after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    deviation: f64,
    expected: f64,
}

/// The sums after one more minute, with the requests of each stable pod in it. A minute without bad requests or with fewer than
/// two pods teaches nothing.
#[must_use]
pub fn step(sums: &Dispersion, pods: &[Arm]) -> Dispersion {
    let bad: f64 = pods.iter().map(|pod| pod.bad).sum();
    let total: f64 = pods.iter().map(|pod| pod.total).sum();
    let is_telling = bad > 0.0 && pods.iter().filter(|pod| pod.total > 0.0).count() >= 2;
    if !is_telling {
        return *sums;
    }
    let mut after = *sums;
    for pod in pods {
        let share = pod.total / total;
        after.deviation += (pod.bad - bad * share).powi(2);
        after.expected += bad * share * (1.0 - share);
    }
    after
}

/// φ, 1 to [`PHI_MAX`].
#[must_use]
pub fn phi(sums: &Dispersion) -> f64 {
    let raw = (sums.deviation + PRIOR_WEIGHT * PHI_UNKNOWN) / (sums.expected + PRIOR_WEIGHT);
    raw.clamp(1.0, PHI_MAX)
}

/// The spread σ of the pods' rates beyond chance, relative to their mean: √max(0, s² − φm)/m, of whole-history counts.
///
/// Pods with unequal traffic are put at the mean traffic first. `None` with fewer than [`PODS_MIN`] pods with traffic, or
/// without a bad request.
#[must_use]
pub fn spread(pods: &[Arm], phi: f64) -> Option<f64> {
    spread_beyond(pods, phi)
}

/// The spread beyond `chance` times what independent requests make.
fn spread_beyond(pods: &[Arm], chance: f64) -> Option<f64> {
    let seen: Vec<&Arm> = pods.iter().filter(|pod| pod.total > 0.0).collect();
    let whole: f64 = seen.iter().map(|pod| pod.total).sum();
    let pods = count(seen.len());
    let counts: Vec<f64> = seen.iter().map(|pod| pod.bad * (whole / pods) / pod.total).collect();
    let mean = counts.iter().sum::<f64>() / pods;
    if seen.len() < PODS_MIN || mean <= 0.0 {
        return None;
    }
    let variance = counts.iter().map(|bad| (bad - mean).powi(2)).sum::<f64>() / (pods - 1.0);
    // What chance does to a count at the mean traffic is more for a pod that had less.
    let unequal = seen.iter().map(|pod| whole / pods / pod.total).sum::<f64>() / pods;
    Some((variance - chance * mean * unequal).max(0.0).sqrt() / mean)
}

/// What a further pod may have, as a multiple of the mean rate of `pods`: `exp(t · σ · √(1/J_c + 1/J))`, t the 99 % quantile of
/// Student's t with J − 1 degrees of freedom.
fn allowance(spread: f64, pods: &[Arm], canary_pods: usize) -> f64 {
    let seen = count(pods.iter().filter(|pod| pod.total > 0.0).count());
    let t = student_quantile(SPREAD_CONFIDENCE, seen - 1.0);
    (t * spread * (1.0 / count(canary_pods.max(1)) + 1.0 / seen).sqrt()).exp()
}

/// ρ0, [`RHO0_MIN`] to [`RHO0_MAX`], from the spread beyond chance; [`RHO0_UNKNOWN`] if the history teaches no spread.
#[must_use]
pub fn rho0(pods: &[Arm], canary_pods: usize, phi: f64) -> f64 {
    spread(pods, phi)
        .map_or(RHO0_UNKNOWN, |spread| allowance(spread, pods, canary_pods).clamp(RHO0_MIN, RHO0_MAX))
}

/// The tolerance that gates use for ρ0: as [`rho0`], but a spread is believed only beyond *twice* what chance makes,
/// √max(0, s² − 2φm)/m, and the least is [`TOLERANCE_MIN`].
///
/// With few bad requests chance alone looks like a spread of 15 %, now and then, and ρ0 = 1.3 then hides a regression of one half.
/// A spread that six hours of history cannot tell from chance cannot mislead a bake either, which counts fewer bad requests than
/// they: `docs/gates.md` has both rules.
#[must_use]
pub fn tolerance(pods: &[Arm], canary_pods: usize, phi: f64) -> f64 {
    spread_beyond(pods, 2.0 * phi)
        .map_or(RHO0_UNKNOWN, |spread| allowance(spread, pods, canary_pods).clamp(TOLERANCE_MIN, RHO0_MAX))
}
