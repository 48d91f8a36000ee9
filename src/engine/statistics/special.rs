//! The few functions that have no closed form. All are total: whatever comes in, they end, soon.
//!
//! The crates that have them were tried: their inverse of the beta function does not end for some counts above 10⁶, and its
//! continued fraction stops after 140 terms, too few from 10⁴ bad requests on.

use std::f64::consts::{LN_2, PI};

/// What Stirling's formula leaves of ln Γ(z): ln Γ(z) − (z−½) ln z + z − ½ ln 2π, for z above 0, to 1e-15.
fn stirling_rest(z: f64) -> f64 {
    // Abramowitz and Stegun, "Handbook of Mathematical Functions", 6.1.41.
    const SERIES: [f64; 8] = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
        -3617.0 / 122_400.0,
    ];
    let mut rest = 0.0;
    let mut at = z;
    // The series is exact enough from here on; below, Γ(z) = Γ(z+1)/z.
    while at < 16.0 {
        rest += (at + 0.5) * (1.0 / at).ln_1p() - 1.0;
        at += 1.0;
    }
    let inverse = 1.0 / at;
    let square = inverse * inverse;
    rest + inverse * SERIES.iter().rev().fold(0.0, |sum, term| sum * square + term)
}

/// ln B(a, b), for a and b above 0. Without the difference of large numbers that ln Γ would bring.
#[must_use]
pub fn ln_b(a: f64, b: f64) -> f64 {
    let (small, large) = if a <= b { (a, b) } else { (b, a) };
    let whole = small + large;
    let rests = stirling_rest(small) + stirling_rest(large) - stirling_rest(whole);
    0.5 * (2.0 * PI).ln() + (small - 0.5) * (small / whole).ln()
        - large * (small / large).ln_1p()
        - 0.5 * large.ln()
        + rests
}

/// The regularised incomplete beta function `I_x(a, b)`, for a and b above 0 and x from 0 to 1; 0 below and 1 above that.
///
/// Lentz's continued fraction: Press et al., "Numerical Recipes", 6.4; about √max(a, b) terms.
#[must_use]
pub fn beta_share(a: f64, b: f64, x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x < (a + 1.0) / (a + b + 2.0) { beta_fraction(a, b, x) } else { 1.0 - beta_fraction(b, a, 1.0 - x) }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const TERMS_MAX: u32 = 100_000;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_b(a, b)).exp() / a;
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for term in 1..TERMS_MAX {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction
}

/// The x at which [`beta_share`] is `share`, for a and b above 0: Newton's steps, kept between bounds by bisection.
#[must_use]
pub fn beta_quantile(a: f64, b: f64, share: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    let ln_b = ln_b(a, b);
    let mut x = a / (a + b);
    for _ in 0..200 {
        let miss = beta_share(a, b, x) - share;
        if miss > 0.0 {
            high = x
        } else {
            low = x
        }
        let slope = ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - ln_b).exp();
        let newton = x - miss / slope;
        // Near 0 the bounds are halved in their logarithm: the quantile may be many times smaller than the mean.
        let middle = if low > 0.0 && high > 4.0 * low {
            (low * high).sqrt()
        } else if low == 0.0 && high < 1e-3 {
            high / 16.0
        } else {
            f64::midpoint(low, high)
        };
        let next = if newton > low && newton < high { newton } else { middle };
        if (next - x).abs() <= 1e-15 * x || high <= f64::MIN_POSITIVE {
            return next;
        }
        x = next;
    }
    x
}

/// The least that a share can be, of which `bad` of `total` were seen, with confidence `confidence`, at one fixed moment; 0 if
/// none was seen. Clopper and Pearson, Biometrika 1934.
#[must_use]
pub fn share_at_least(bad: f64, total: f64, confidence: f64) -> f64 {
    if bad.is_nan() || bad <= 0.0 || total <= 0.0 {
        0.0
    } else if bad >= total {
        (1.0 - confidence).powf(1.0 / total)
    } else {
        beta_quantile(bad, total - bad + 1.0, 1.0 - confidence)
    }
}

/// The most that a share can be, of which `bad` of `total` were seen, with confidence `confidence`, at one fixed moment; 1 if all
/// were bad or there were none. Clopper and Pearson, Biometrika 1934.
#[must_use]
pub fn share_at_most(bad: f64, total: f64, confidence: f64) -> f64 {
    if bad.is_nan() || bad >= total {
        1.0
    } else if bad <= 0.0 {
        -((1.0 - confidence).ln() / total).exp_m1()
    } else {
        beta_quantile(bad + 1.0, total - bad, confidence)
    }
}

/// The quantile of Student's t with `freedom` degrees of freedom, above 0.
///
/// From I_x(½, ν/2) with x = t²/(ν + t²): Abramowitz and Stegun, 26.7.1.
#[must_use]
pub fn student_quantile(share: f64, freedom: f64) -> f64 {
    let within = (2.0 * share - 1.0).abs();
    // 1 − x is the small one in the far tails, and has its own quantile.
    let rest = beta_quantile(freedom / 2.0, 0.5, 1.0 - within);
    (freedom * (1.0 - rest) / rest).sqrt().copysign(share - 0.5)
}

/// The quantile of the normal distribution; 0 if `share` is not between 0 and 1. To 1e-15.
///
/// Bisection of the tail, which is ½ erfc(z/√2), as a continued fraction or a series: Abramowitz and Stegun, 26.2.10 and 26.2.14.
#[must_use]
pub fn normal_quantile(share: f64) -> f64 {
    if !(share > 0.0 && share < 1.0) {
        return 0.0;
    }
    let tail = share.min(1.0 - share);
    let (mut low, mut high) = (0.0_f64, 40.0_f64);
    for _ in 0..70 {
        let middle = f64::midpoint(low, high);
        if normal_tail(middle) > tail { low = middle } else { high = middle }
    }
    f64::midpoint(low, high).copysign(share - 0.5)
}

/// The chance that a normal variable is above z.
#[must_use]
pub fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    let density = (-z * z / 2.0 - 0.5 * (PI.ln() + LN_2)).exp();
    if z < 3.0 {
        let (mut term, mut sum) = (z, z);
        for step in 1..80 {
            term *= z * z / f64::from(2 * step + 1);
            sum += term;
        }
        0.5 - density * sum
    } else {
        density / (1..120).rev().fold(z, |below, step| z + f64::from(step) / below)
    }
}

/// The chance of `least` or more successes in `tries` tries with chance `chance` each.
#[must_use]
pub fn binomial_at_least(least: f64, tries: f64, chance: f64) -> f64 {
    if least <= 0.0 {
        1.0
    } else if least > tries {
        0.0
    } else {
        beta_share(least, tries - least + 1.0, chance)
    }
}
