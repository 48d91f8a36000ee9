//! What a phase can find out, before it begins: how long until a regression is found, and the smallest that is.
//!
//! With A = ln(ρ/ρ0) − ln(D/D0), B = −ln(D/D0), D = 1 + w(ρ − 1), D0 = 1 + w(ρ0 − 1), ln E of [`super::rate`] drifts and varies by
//!
//! ```text
//! μ = r p (w ρ A + (1−w) B) / φ          V = r p (w ρ A² + (1−w) B²) / φ        for each second
//! ```
//!
//! and has to reach b = ln(1/α) + ln K + ln 2: the level, the K alternatives, the later starts. Wald's approximations ("Sequential
//! Analysis", 1947): half of the regressions of size ρ are found within b/μ.

use super::logs::count;
use super::rate::RATIOS;
use super::special::{normal_quantile, share_at_most};

/// The traffic that a phase will see. From history, or as a user says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Requests a second, of both arms together.
    pub per_second: f64,
    /// The canary's share of them, above 0 and below 1.
    pub weight: f64,
    /// The share of requests that fail today, above 0 and below 1.
    pub bad: f64,
    /// As in [`super::rate::Settings`].
    pub phi: f64,
    /// As in [`super::rate::Settings`].
    pub rho0: f64,
    /// As in [`super::rate::Settings`].
    pub alpha: f64,
}

/// What a phase can find out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// The canary's requests.
    pub requests: f64,
    /// The smallest ratio to stable's rate that is found with the asked power; `None`: not even one of a thousand.
    pub smallest: Option<f64>,
    /// Seconds until a doubled rate is found with the asked power.
    pub doubling: f64,
    /// The rate that the canary may still have if not one request fails, with 95 % confidence.
    pub most_if_none_bad: f64,
}

/// The largest ratio that is looked for.
const RATIO_MAX: f64 = 1000.0;

struct Drift {
    mean: f64,
    variance: f64,
}

fn drift(traffic: &Traffic, ratio: f64) -> Drift {
    let Traffic { weight, rho0, .. } = *traffic;
    let mean = |ratio: f64| (weight * (ratio - 1.0)).ln_1p();
    let of_stable = mean(rho0) - mean(ratio);
    let of_canary = (ratio / rho0).ln() + of_stable;
    let scale = traffic.per_second * traffic.bad / traffic.phi;
    Drift {
        mean: scale * (weight * ratio * of_canary + (1.0 - weight) * of_stable),
        variance: scale * (weight * ratio * of_canary.powi(2) + (1.0 - weight) * of_stable.powi(2)),
    }
}

fn boundary(traffic: &Traffic) -> f64 {
    (1.0 / traffic.alpha).ln() + count(RATIOS.len()).ln() + 2.0_f64.ln()
}

/// Seconds until half of the regressions of size `ratio` are found; infinite if they never are.
#[must_use]
pub fn median_seconds(traffic: &Traffic, ratio: f64) -> f64 {
    let Drift { mean, .. } = drift(traffic, ratio);
    if mean > 0.0 { boundary(traffic) / mean } else { f64::INFINITY }
}

/// Seconds until the share `power` of the regressions of size `ratio` is found; infinite if it never is.
#[must_use]
pub fn seconds(traffic: &Traffic, ratio: f64, power: f64) -> f64 {
    let Drift { mean, variance } = drift(traffic, ratio);
    if mean.is_nan() || mean <= 0.0 {
        return f64::INFINITY;
    }
    let z = normal_quantile(power);
    let root = (z * z * variance + 4.0 * mean * boundary(traffic)).sqrt();
    ((z * variance.sqrt() + root) / (2.0 * mean)).powi(2)
}

/// The smallest ratio that is found within `bake` seconds with the given power, by bisection to 12 digits.
#[must_use]
pub fn smallest_ratio(traffic: &Traffic, bake: f64, power: f64) -> Option<f64> {
    let is_found = |log: f64| seconds(traffic, log.exp(), power) <= bake;
    let (mut low, mut high) = (traffic.rho0.ln(), RATIO_MAX.ln());
    if !is_found(high) {
        return None;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if is_found(middle) { high = middle } else { low = middle }
    }
    Some(high.exp())
}

/// What a phase of `bake` seconds can find out, with the given power (0.8 unless a user says otherwise).
#[must_use]
pub fn outlook(traffic: &Traffic, bake: f64, power: f64) -> Outlook {
    let requests = traffic.per_second * traffic.weight * bake;
    Outlook {
        requests,
        smallest: smallest_ratio(traffic, bake, power),
        doubling: seconds(traffic, 2.0, power),
        most_if_none_bad: share_at_most(0.0, requests, 0.95),
    }
}
