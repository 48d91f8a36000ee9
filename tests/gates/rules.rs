//! Rules that hold a ratio over a short window against a fixed number, as Argo Rollouts and Flagger do.

use palier::engine::statistics::Block;
use palier::engine::statistics::special::binomial_at_least;

use super::traffic::HOUR;

/// Blocks in a minute.
pub const MINUTE: usize = 4;
/// What the sequential rules and the tuned ones are held to.
pub const ALPHA: f64 = 0.01;
/// Failed checks until the rollback, of the tuned rules with windows of one and of five minutes.
pub const ONE_MINUTE: [usize; 7] = [1, 2, 4, 5, 10, 20, 30];
pub const FIVE_MINUTES: [usize; 3] = [1, 4, 12];

/// How a rule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Blocks until the rollback; all of them if there was none.
    pub block: usize,
    pub rolled_back: bool,
}

impl End {
    /// The end at the first block (counted from 1) at which the rule rolls back.
    pub fn at(first: Option<usize>, blocks: usize) -> Self {
        Self { block: first.unwrap_or(blocks), rolled_back: first.is_some() }
    }
}

/// The canary's error ratio in each minute, over the last `window` minutes; NaN without requests.
pub fn ratios(blocks: &[Block], window: usize) -> Vec<f64> {
    let minutes: Vec<(f64, f64)> = blocks
        .chunks(MINUTE)
        .map(|minute| {
            minute
                .iter()
                .fold((0.0, 0.0), |sum, block| (sum.0 + block.canary.bad, sum.1 + block.canary.total))
        })
        .collect();
    let over = |at: usize| {
        let window = &minutes[(at + 1).saturating_sub(window)..=at];
        let (bad, total) = window.iter().fold((0.0, 0.0), |sum, minute| (sum.0 + minute.0, sum.1 + minute.1));
        bad / total
    };
    (0..minutes.len()).map(over).collect()
}

/// The canary's error ratio in each minute, relative to stable's.
pub fn relative_ratios(blocks: &[Block]) -> Vec<f64> {
    let relative = |minute: &[Block]| {
        let sum = |of: fn(&Block) -> f64| minute.iter().map(of).sum::<f64>();
        let canary = sum(|block| block.canary.bad) / sum(|block| block.canary.total).max(1.0);
        canary / (sum(|block| block.stable.bad).max(0.5) / sum(|block| block.stable.total).max(1.0))
    };
    blocks.chunks(MINUTE).map(relative).collect()
}

/// Rolls back at the `failures`-th ratio above `limit`, never forgetting one: Argo Rollouts with `failureLimit: failures - 1`, and
/// Flagger with `threshold: failures`.
pub fn counted(ratios: &[f64], limit: f64, failures: usize, is_nothing_bad: bool) -> End {
    let is_failed = |ratio: &f64| if ratio.is_nan() { is_nothing_bad } else { *ratio > limit };
    let failed = ratios.iter().enumerate().filter(|(_, ratio)| is_failed(ratio));
    End::at(failed.map(|(at, _)| (at + 1) * MINUTE).nth(failures - 1), ratios.len() * MINUTE)
}

/// The template that Argo Rollouts' documentation prints: `irate` sees one scrape interval, every five minutes; 95 %, four failures.
pub fn argo_as_printed(blocks: &[Block]) -> End {
    const EVERY: usize = 20;
    let is_failed = |block: &Block| block.canary.total == 0.0 || block.canary.bad > 0.05 * block.canary.total;
    let measured = blocks.iter().enumerate().skip(EVERY - 1).step_by(EVERY);
    let failed = measured.filter(|(_, block)| is_failed(block)).map(|(at, _)| at + 1);
    End::at(failed.into_iter().nth(3), blocks.len())
}

/// The limit at which exactly 1 % of `healthy` rollouts are rolled back at the `failures`-th ratio above it. It takes knowledge of
/// the true error rate, traffic and noise, which no user has.
pub fn tuned(healthy: &[Vec<f64>], failures: usize) -> f64 {
    let mut largest: Vec<f64> = healthy
        .iter()
        .map(|ratios| {
            let mut sorted: Vec<f64> =
                ratios.iter().map(|ratio| if ratio.is_nan() { 0.0 } else { *ratio }).collect();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() - failures]
        })
        .collect();
    largest.sort_by(f64::total_cmp);
    largest[((largest.len() - 1) as f64 * (1.0 - ALPHA)).ceil() as usize]
}

/// A test at 1 % that is made anew each minute, without correction.
pub fn peeked(blocks: &[Block]) -> End {
    let mut sum = Block::default();
    let mut first = None;
    for (at, block) in blocks.iter().enumerate() {
        sum = Block { canary: sum.canary.plus(block.canary), stable: sum.stable.plus(block.stable) };
        if (at + 1) % MINUTE != 0 || sum.canary.bad == 0.0 {
            continue;
        }
        let share = sum.canary.total / (sum.canary.total + sum.stable.total);
        // Below the mean it can't be significant.
        let is_above = sum.canary.bad > share * sum.bad();
        if is_above && binomial_at_least(sum.canary.bad, sum.bad(), share) <= ALPHA {
            first = Some(at + 1);
            break;
        }
    }
    End::at(first, blocks.len())
}

/// Rolls back as soon as the likelihood ratio of the true size of the regression says so: a bound for rules that need not guess it.
pub fn knowing_the_ratio(blocks: &[Block], ratio: f64) -> End {
    let mut log = 0.0;
    let limit = (1.0 / ALPHA).ln();
    let first = blocks.iter().position(|block| {
        let share = block.canary.total / (block.canary.total + block.stable.total).max(1.0);
        log += block.canary.bad * ratio.ln() - block.bad() * (share * (ratio - 1.0)).ln_1p();
        log >= limit
    });
    End::at(first.map(|at| at + 1), blocks.len())
}

/// An hour of the canary's weight.
pub fn an_hour() -> Vec<f64> {
    vec![super::traffic::WEIGHT; HOUR]
}
