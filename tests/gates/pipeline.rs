//! The second experiment: 20 minutes at 10 %, 20 at 50 %, and then, if nobody noticed, an hour at 100 % until a person reverts.

use palier::engine::statistics::Block;

use super::experiment::{ARGO, BAD, DEFAULT, FLAGGER, RATIOS, Repetitions, in_parallel};
use super::ours;
use super::random::Random;
use super::rules::{self, End};
use super::traffic::{self, Cell, Scenario};

const PHASE: usize = 80;

/// What one rule did in one cell.
pub struct Row {
    pub cell: Cell,
    pub rule: &'static str,
    pub tried: usize,
    pub rolled_back: usize,
    /// Rolled back at 10 % already.
    pub early: usize,
    /// Bad requests that the canary served, the missed hour included.
    pub bad: f64,
}

pub const SCENARIOS: [Scenario; 2] = [Scenario::Bursty, Scenario::Clustered];
pub const ARGO_LIMITS: &str = "argo limits at 1m: 95 %, 3";
pub const FLAGGER_PRINTED: &str = "flagger as printed: 1m, 99 %, 10";

fn weights() -> Vec<f64> {
    [[0.1; PHASE], [0.5; PHASE]].concat()
}

fn rollout(cell: &Cell, purpose: u64, nth: usize) -> (Random, Vec<Block>) {
    let scenario = u64::from(cell.scenario == Scenario::Clustered);
    let mut random = Random::new(&[
        11,
        purpose,
        scenario,
        cell.rps.to_bits(),
        cell.bad.to_bits(),
        cell.ratio.to_bits(),
        nth as u64,
    ]);
    let blocks = traffic::rollout(&mut random, cell, &[1.0; 10], &weights());
    (random, blocks)
}

fn run_place(place: Cell, repetitions: Repetitions) -> Vec<Row> {
    let healthy: Vec<Vec<f64>> =
        (0..repetitions.tuning).map(|nth| rules::ratios(&rollout(&place, 1, nth).1, 1)).collect();
    let (four, ten) = (rules::tuned(&healthy, 4), rules::tuned(&healthy, 10));
    let mut rows = Vec::new();
    for ratio in RATIOS {
        let cell = Cell { ratio, ..place };
        let missed = if ratio > 1.0 { cell.rps * 3600.0 * cell.bad * 1.3 * ratio } else { 0.0 };
        let row = |rule| Row { cell, rule, tried: repetitions.each, rolled_back: 0, early: 0, bad: 0.0 };
        let mut sums = [ARGO_LIMITS, FLAGGER_PRINTED, ARGO, FLAGGER, DEFAULT].map(row);
        for nth in 0..repetitions.each {
            let (mut random, blocks) = rollout(&cell, 2, nth);
            let learnt = traffic::history(&mut random, &cell, &[1.0; 10]);
            let ratios = rules::ratios(&blocks, 1);
            let ends: [End; 5] = [
                rules::counted(&ratios, 0.05, 4, true),
                rules::counted(&ratios, 0.01, 10, true),
                rules::counted(&ratios, four, 4, false),
                rules::counted(&ratios, ten, 10, false),
                ours::sequential(&blocks, &ours::default(&learnt, blocks.len())),
            ];
            for (sum, end) in sums.iter_mut().zip(ends) {
                let served: f64 = blocks[..end.block].iter().map(|block| block.canary.bad).sum();
                sum.bad += served + if end.rolled_back { 0.0 } else { missed };
                sum.rolled_back += usize::from(end.rolled_back);
                sum.early += usize::from(end.rolled_back && end.block <= PHASE);
            }
        }
        rows.extend(sums.map(|sum| Row { bad: sum.bad / repetitions.each as f64, ..sum }));
    }
    rows
}

pub fn run(repetitions: Repetitions) -> Vec<Row> {
    let mut places = Vec::new();
    for scenario in SCENARIOS {
        for rps in [10.0, 100.0] {
            places.extend(BAD.map(|bad| Cell { scenario, rps, bad, ratio: 1.0 }));
        }
    }
    in_parallel(&places, |place| run_place(*place, repetitions)).into_iter().flatten().collect()
}
