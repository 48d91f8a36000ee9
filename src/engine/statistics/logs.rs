//! Sums of numbers that are kept as their logarithms, without overflow.

/// ln(eᵃ + eᵇ). Minus infinity is the logarithm of nothing.
#[must_use]
pub fn log_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// ln Σ eᵃ; minus infinity if there are none.
#[must_use]
pub fn log_sum(logs: &[f64]) -> f64 {
    let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if high == f64::NEG_INFINITY {
        return high;
    }
    high + logs.iter().map(|log| (log - high).exp()).sum::<f64>().ln()
}

/// The logarithm of the mean of eᵃ; minus infinity if there are none.
#[must_use]
pub fn log_mean(logs: &[f64]) -> f64 {
    if logs.is_empty() { f64::NEG_INFINITY } else { log_sum(logs) - count(logs.len()).ln() }
}

/// A count as a number.
#[must_use]
pub fn count(items: usize) -> f64 {
    u32::try_from(items).map_or(f64::from(u32::MAX), f64::from)
}
