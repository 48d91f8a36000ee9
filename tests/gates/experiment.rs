//! The first experiment: an hour at 10 %, every rule on the same rollouts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use palier::engine::statistics::Block;

use super::random::Random;
use super::rules::{self, End, FIVE_MINUTES, ONE_MINUTE};
use super::traffic::{self, BLOCK, Cell, Learnt, Scenario};
use super::{kayenta, ours};

pub const RPS: [f64; 3] = [1.0, 10.0, 100.0];
pub const BAD: [f64; 2] = [0.001, 0.01];
pub const RATIOS: [f64; 4] = [1.0, 1.5, 2.0, 5.0];

/// What gates do unless a user says otherwise.
pub const DEFAULT: &str = "sequentialRate";
/// The same with the tolerance of the prototype.
pub const PROTOTYPE: &str = "seq rho0=auto";
pub const ARGO: &str = "tuned 1m k=4";
pub const FLAGGER: &str = "tuned 1m k=10";
pub const KAYENTA: &str = "kayenta every 10 min";
pub const KNOWING: &str = "oracle SPRT (knows rho, phi=1)";

/// How often things are tried.
#[derive(Clone, Copy, Debug)]
pub struct Repetitions {
    /// For each size of a regression; twice as many without one.
    pub each: usize,
    /// For tuning.
    pub tuning: usize,
}

/// What one rule did in one cell.
#[derive(Clone, Debug)]
pub struct Row {
    pub cell: Cell,
    pub rule: String,
    pub tried: usize,
    pub rolled_back: usize,
    /// Minutes; infinite if fewer than half were rolled back.
    pub median: f64,
    /// Bad requests that the canary served until the rollback or the end of the hour.
    pub bad: f64,
    /// Their standard deviation from rollout to rollout.
    pub deviation: f64,
}

impl Row {
    pub fn rate(&self) -> f64 {
        self.rolled_back as f64 / self.tried as f64
    }
}

/// The limits of the tuned rules.
struct Tuned {
    one: Vec<(usize, f64)>,
    five: Vec<(usize, f64)>,
    relative: f64,
}

fn seed(cell: &Cell, purpose: u64, nth: usize) -> Random {
    let scenario = Scenario::ALL.iter().position(|known| *known == cell.scenario).unwrap_or(0);
    Random::new(&[
        7,
        purpose,
        scenario as u64,
        cell.rps.to_bits(),
        cell.bad.to_bits(),
        cell.ratio.to_bits(),
        nth as u64,
    ])
}

fn tune(cell: &Cell, tries: usize) -> Tuned {
    let before = Cell { scenario: cell.scenario.before(), ratio: 1.0, ..*cell };
    let healthy: Vec<Vec<Block>> = (0..tries)
        .map(|nth| traffic::rollout(&mut seed(&before, 1, nth), &before, &[1.0; 10], &rules::an_hour()))
        .collect();
    let over =
        |of: &dyn Fn(&[Block]) -> Vec<f64>| healthy.iter().map(|blocks| of(blocks)).collect::<Vec<_>>();
    let (one, five) = (over(&|blocks| rules::ratios(blocks, 1)), over(&|blocks| rules::ratios(blocks, 5)));
    Tuned {
        one: ONE_MINUTE.map(|failures| (failures, rules::tuned(&one, failures))).to_vec(),
        five: FIVE_MINUTES.map(|failures| (failures, rules::tuned(&five, failures))).to_vec(),
        relative: rules::tuned(&over(&rules::relative_ratios), 4),
    }
}

/// Every rule's end of one rollout.
fn ends(cell: &Cell, tuned: &Tuned, nth: usize) -> (Vec<Block>, Vec<(String, End)>) {
    let mut random = seed(cell, 2, nth);
    let pods = traffic::pods(&mut random, cell.scenario);
    let blocks = traffic::rollout(&mut random, cell, &pods, &rules::an_hour());
    let learnt = traffic::history(&mut random, cell, &pods);
    let (one, five) = (rules::ratios(&blocks, 1), rules::ratios(&blocks, 5));
    let mut ends: Vec<(String, End)> = vec![
        ("argo as printed: irate every 5m, 95 %, 3".to_owned(), rules::argo_as_printed(&blocks)),
        ("argo limits at 1m: 95 %, 3".to_owned(), rules::counted(&one, 0.05, 4, true)),
        ("flagger as printed: 1m, 99 %, 10".to_owned(), rules::counted(&one, 0.01, 10, true)),
    ];
    for (failures, limit) in &tuned.one {
        ends.push((format!("tuned 1m k={failures}"), rules::counted(&one, *limit, *failures, false)));
    }
    for (failures, limit) in &tuned.five {
        ends.push((format!("tuned 5m k={failures}"), rules::counted(&five, *limit, *failures, false)));
    }
    let relative = rules::relative_ratios(&blocks);
    let hour = blocks.len();
    let seq = |learnt: Learnt| ours::sequential(&blocks, &ours::settings(&learnt, hour));
    ends.extend([
        ("tuned ratio to stable 1m k=4".to_owned(), rules::counted(&relative, tuned.relative, 4, false)),
        (KAYENTA.to_owned(), kayenta::judged(&blocks, &[10, 20, 30, 40, 50, 60])),
        ("kayenta once at 60 min".to_owned(), kayenta::judged(&blocks, &[60])),
        ("binomial test peeked each minute".to_owned(), rules::peeked(&blocks)),
        ("seq phi=1".to_owned(), seq(Learnt { phi: 1.0, rho0: 1.0, ..learnt })),
        ("seq".to_owned(), seq(Learnt { rho0: 1.0, ..learnt })),
        (
            "seq no restarts".to_owned(),
            ours::sequential(&blocks, &ours::without_restarts(&Learnt { rho0: 1.0, ..learnt })),
        ),
        ("seq rho0=1.1".to_owned(), seq(Learnt { rho0: 1.1, ..learnt })),
        (PROTOTYPE.to_owned(), seq(learnt)),
        (DEFAULT.to_owned(), ours::sequential(&blocks, &ours::default(&learnt, hour))),
    ]);
    if cell.ratio > 1.0 {
        ends.push((KNOWING.to_owned(), rules::knowing_the_ratio(&blocks, cell.ratio)));
    }
    (blocks, ends)
}

/// Adds up one rule's ends.
struct Sum {
    rule: String,
    minutes: Vec<f64>,
    rolled_back: usize,
    bad: f64,
    bad_squared: f64,
}

fn run_cell(cell: &Cell, tuned: &Tuned, repetitions: Repetitions) -> Vec<Row> {
    let tried = if cell.ratio == 1.0 { 2 * repetitions.each } else { repetitions.each };
    let mut sums: Vec<Sum> = Vec::new();
    for nth in 0..tried {
        let (blocks, ends) = ends(cell, tuned, nth);
        if sums.is_empty() {
            let new = |rule: &String| Sum {
                rule: rule.clone(),
                minutes: Vec::new(),
                rolled_back: 0,
                bad: 0.0,
                bad_squared: 0.0,
            };
            sums = ends.iter().map(|(rule, _)| new(rule)).collect();
        }
        for (sum, (_, end)) in sums.iter_mut().zip(&ends) {
            let bad: f64 = blocks[..end.block].iter().map(|block| block.canary.bad).sum();
            sum.bad += bad;
            sum.bad_squared += bad * bad;
            sum.rolled_back += usize::from(end.rolled_back);
            let minutes = end.block as f64 * BLOCK / 60.0;
            sum.minutes.push(if end.rolled_back { minutes } else { f64::INFINITY });
        }
    }
    let row = |mut sum: Sum| {
        sum.minutes.sort_by(f64::total_cmp);
        let mean = sum.bad / tried as f64;
        Row {
            cell: *cell,
            rule: sum.rule,
            tried,
            rolled_back: sum.rolled_back,
            median: f64::midpoint(sum.minutes[(tried - 1) / 2], sum.minutes[tried / 2]),
            bad: mean,
            deviation: (sum.bad_squared / tried as f64 - mean * mean).max(0.0).sqrt(),
        }
    };
    sums.into_iter().map(row).collect()
}

/// All sizes of a regression, for one scenario, traffic and error rate.
pub fn run_place(scenario: Scenario, rps: f64, bad: f64, repetitions: Repetitions) -> Vec<Row> {
    let cell = |ratio: f64| Cell { scenario, rps, bad, ratio };
    let tuned = tune(&cell(1.0), repetitions.tuning);
    RATIOS.iter().flat_map(|ratio| run_cell(&cell(*ratio), &tuned, repetitions)).collect()
}

/// Runs `job` on each of `items`, on as many threads as there are processors; in order.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], job: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, item)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|at| items.get(at).map(|item| (at, item)))
                {
                    let result = job(item);
                    done.lock().unwrap().push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The whole experiment. `tell` hears of each place that is done.
pub fn run(repetitions: Repetitions, tell: impl Fn(&str) + Sync) -> Vec<Row> {
    let mut places = Vec::new();
    for scenario in Scenario::ALL {
        for rps in RPS {
            places.extend(BAD.map(|bad| (scenario, rps, bad)));
        }
    }
    let rows = in_parallel(&places, |(scenario, rps, bad)| {
        let rows = run_place(*scenario, *rps, *bad, repetitions);
        tell(&Cell { scenario: *scenario, rps: *rps, bad: *bad, ratio: 1.0 }.label());
        rows
    });
    rows.into_iter().flatten().collect()
}
