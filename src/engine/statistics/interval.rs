//! The band in which a share lies, right at every moment one looks. For display; no gate rests on it.
//!
//! A beta(½, ½) mixture of coin tosses against each p (Robbins, "Statistical methods related to the law of the iterated
//! logarithm", 1970):
//!
//! ```text
//! { p : ln B(½+x, ½+n−x) − ln B(½, ½) − x ln p − (n−x) ln(1−p) < ln(1/α) }
//! ```

use super::Arm;
use super::special::ln_b;

/// The least and the most that the share of bad requests can be, with confidence 1 − `alpha` over all looks; 0 to 1 if nothing
/// was seen. To 12 digits.
#[must_use]
pub fn interval(seen: Arm, alpha: f64) -> (f64, f64) {
    let (bad, good) = (seen.bad, seen.good());
    if bad + good == 0.0 {
        return (0.0, 1.0);
    }
    let mixed = ln_b(0.5 + bad, 0.5 + good) - ln_b(0.5, 0.5);
    let limit = (1.0 / alpha).ln();
    let times_ln = |times: f64, of: f64| if times == 0.0 { 0.0 } else { times * of.ln() };
    let is_inside = |p: f64| mixed - times_ln(bad, p) - times_ln(good, 1.0 - p) < limit;
    let at = bad / (bad + good);
    let lower = if bad == 0.0 { 0.0 } else { edge(&is_inside, at, 0.0) };
    let upper = if good == 0.0 { 1.0 } else { edge(&is_inside, at, 1.0) };
    (lower, upper)
}

/// Where the band ends between `inside`, which lies in it, and `outside`, which does not.
fn edge(is_inside: &impl Fn(f64) -> bool, inside: f64, outside: f64) -> f64 {
    let (mut inside, mut outside) = (inside, outside);
    for _ in 0..100 {
        let middle = f64::midpoint(inside, outside);
        if is_inside(middle) { inside = middle } else { outside = middle }
    }
    f64::midpoint(inside, outside)
}
