//! Kayenta's judgement, as its code makes it: a Mann–Whitney interval on error ratios by the minute, at growing look-backs.
//!
//! NetflixACAJudge with direction *increase*, confidence 98 %, tolerance 25 % of the shift (Hodges and Lehmann's estimate). Any
//! "High" rolls back. Written anew from its description, not run.

use palier::engine::statistics::Block;
use palier::engine::statistics::special::normal_quantile;

use super::rules::{End, MINUTE};

const CONFIDENCE: f64 = 0.98;
const TOLERANCE: f64 = 0.25;

/// Judges after each of these minutes, in ascending order.
pub fn judged(blocks: &[Block], looks: &[usize]) -> End {
    let ratios = |bad: fn(&Block) -> f64, total: fn(&Block) -> f64| -> Vec<f64> {
        let of = |minute: &[Block]| {
            let total: f64 = minute.iter().map(total).sum();
            if total > 0.0 { minute.iter().map(bad).sum::<f64>() / total } else { 0.0 }
        };
        blocks.chunks(MINUTE).map(of).collect()
    };
    let canary = ratios(|block| block.canary.bad, |block| block.canary.total);
    let stable = ratios(|block| block.stable.bad, |block| block.stable.total);
    let first = looks.iter().find(|minutes| is_high(&canary[..**minutes], &stable[..**minutes]));
    End::at(first.map(|minutes| minutes * MINUTE), blocks.len())
}

fn is_high(canary: &[f64], stable: &[f64]) -> bool {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    if mean(canary) < mean(stable) {
        return false;
    }
    let z = normal_quantile(1.0 - (1.0 - CONFIDENCE) / 2.0);
    let allowed = TOLERANCE * shift(canary, stable).abs();
    let smallest = canary.iter().copied().fold(f64::INFINITY, f64::min)
        - stable.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if rank_score(canary, stable, smallest) - z <= 0.0 {
        smallest > allowed
    } else {
        rank_score(canary, stable, allowed) - z > 0.0
    }
}

/// The median of all differences.
fn shift(canary: &[f64], stable: &[f64]) -> f64 {
    let mut differences: Vec<f64> =
        canary.iter().flat_map(|one| stable.iter().map(move |other| one - other)).collect();
    let middle = differences.len() / 2;
    let is_even = differences.len().is_multiple_of(2);
    let (below, upper, _) = differences.select_nth_unstable_by(middle, f64::total_cmp);
    if is_even {
        f64::midpoint(below.iter().copied().fold(f64::NEG_INFINITY, f64::max), *upper)
    } else {
        *upper
    }
}

/// The standardised rank sum of the canary moved down by `by`, with ties and the continuity correction.
fn rank_score(canary: &[f64], stable: &[f64], by: f64) -> f64 {
    let m = canary.len() as f64;
    let n = 2.0 * m;
    let mut all: Vec<(f64, bool)> = canary.iter().map(|value| (value - by, true)).collect();
    all.extend(stable.iter().map(|value| (*value, false)));
    all.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
    let (mut ranks, mut ties, mut before) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let size = group.len() as f64;
        ranks +=
            group.iter().filter(|(_, is_canary)| *is_canary).count() as f64 * (before + (size + 1.0) / 2.0);
        ties += size.powi(3) - size;
        before += size;
    }
    let above = ranks - m * (m + 1.0) / 2.0 - m * m / 2.0;
    let variance = m * m / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)));
    if variance <= 1e-12 {
        return 0.0;
    }
    let half = if above == 0.0 { 0.0 } else { 0.5_f64.copysign(above) };
    (above - half) / variance.sqrt()
}
