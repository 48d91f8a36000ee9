//! Do canary and stable differ at all, in any bucket of a histogram? For a hint to people, never for a rollback: a faster canary
//! differs too. With one bucket, of all requests, it tells whether the traffic is split as it should be.
//!
//! A beta mixture for each bucket (Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022):
//!
//! ```text
//! ln E = Σ_b  ln B(a + x_b, c + n_b − x_b) − ln B(a, c) − x_b ln π − (n_b − x_b) ln(1 − π),     a = κπ,  c = κ(1 − π)
//! ```
//!
//! It holds for a constant split π only. Connections that live long skew the split of a correct router for a while.

use super::special::ln_b;

/// How closely the alternatives lie about π: worth so many requests.
const CONCENTRATION: f64 = 100.0;

/// ln E against "both have the same histogram", of the requests in each bucket at both arms, canary first, since the split is
/// `share` (of the canary, above 0 and below 1).
#[must_use]
pub fn ln_e(share: f64, buckets: &[(f64, f64)]) -> f64 {
    let (a, c) = (CONCENTRATION * share, CONCENTRATION * (1.0 - share));
    let of_bucket = |(canary, stable): &(f64, f64)| {
        ln_b(a + canary, c + stable) - ln_b(a, c) - canary * share.ln() - stable * (-share).ln_1p()
    };
    buckets.iter().map(of_bucket).sum()
}
