//! The third experiment: latency, log-normal with a p99 of 386 ms, in a classic histogram with the default buckets.

use palier::api::Verdict;
use palier::engine::statistics::latency::{Form, Settings, State, step, verdict};
use palier::engine::statistics::special::normal_tail;
use palier::engine::statistics::{Arm, Block, Starts};

use super::experiment::in_parallel;
use super::random::Random;
use super::rules::{self, ALPHA, End, MINUTE};
use super::traffic::{BLOCK, HOUR, WEIGHT};

const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The bounds that are tested: 0.1, 0.25, 0.5 and 1 s.
const TESTED: std::ops::Range<usize> = 4..8;
const MEDIAN: f64 = 0.06;
const SPREAD: f64 = 0.8;

/// What is wrong with the canary: all requests slower by a factor, or a share of them ten times.
pub const CASES: [(&str, f64, f64); 6] = [
    ("nothing", 1.0, 0.0),
    ("all 10 % slower", 1.1, 0.0),
    ("all 25 % slower", 1.25, 0.0),
    ("all 50 % slower", 1.5, 0.0),
    ("2 % of requests ten times slower", 1.0, 0.02),
    ("5 % of requests ten times slower", 1.0, 0.05),
];
pub const RULES: [&str; 3] =
    ["sequentialLatency", "p99 ≤ 500 ms, four minutes", "p99 tuned to 1 %, four minutes"];

/// What one of [`RULES`] did in one case; in their order.
pub struct Row {
    pub rps: f64,
    pub case: &'static str,
    pub tried: usize,
    pub rolled_back: usize,
    /// Minutes; infinite if fewer than half were rolled back.
    pub median: f64,
}

type Counts = [f64; BOUNDS.len() + 1];

/// The share of requests in each bucket.
fn shares(scale: f64, tail: f64) -> Counts {
    let above = |bound: f64, scale: f64| normal_tail((bound / (MEDIAN * scale)).ln() / SPREAD);
    let above = |bound: f64| (1.0 - tail) * above(bound, scale) + tail * above(bound, 10.0 * scale);
    let mut shares = [0.0; BOUNDS.len() + 1];
    let mut last = 1.0;
    for (share, bound) in shares.iter_mut().zip(BOUNDS) {
        *share = last - above(bound);
        last = above(bound);
    }
    shares[BOUNDS.len()] = last;
    shares
}

fn draw(random: &mut Random, requests: f64, shares: &Counts) -> Counts {
    shares.map(|share| random.poisson(requests * share))
}

/// `histogram_quantile(0.99, …)`.
fn p99(counts: &Counts) -> f64 {
    let total: f64 = counts.iter().sum();
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, upper) in counts.iter().zip(BOUNDS) {
        if below + count >= 0.99 * total && total > 0.0 {
            return lower + (upper - lower) * (0.99 * total - below) / count.max(1.0);
        }
        below += count;
        lower = upper;
    }
    if total > 0.0 { lower } else { 0.0 }
}

fn tail(counts: &Counts, above: usize) -> Arm {
    Arm::new(counts[above + 1..].iter().sum(), counts.iter().sum())
}

/// The end by our rule, and the p99 of each minute.
fn rollout(random: &mut Random, rps: f64, canary: &Counts, stable: &Counts) -> (End, Vec<f64>) {
    let forms = TESTED.map(|_| Form::Body { phi: 1.0 }).collect();
    let settings = Settings { alpha: ALPHA, forms, starts: Starts::ONCE };
    let mut state = State::new(&settings);
    let (mut first, mut minutes) = (None, Vec::new());
    let mut minute = Counts::default();
    for at in 0..HOUR {
        let c = draw(random, rps * BLOCK * WEIGHT, canary);
        let s = draw(random, rps * BLOCK * (1.0 - WEIGHT), stable);
        for (sum, count) in minute.iter_mut().zip(c) {
            *sum += count;
        }
        if (at + 1) % MINUTE == 0 {
            minutes.push(p99(&std::mem::take(&mut minute)));
        }
        if first.is_none() {
            let blocks: Vec<Block> =
                TESTED.map(|bound| Block { canary: tail(&c, bound), stable: tail(&s, bound) }).collect();
            state = step(&state, &settings, &blocks);
            first = (verdict(&state, &settings) == Verdict::Fail).then_some(at + 1);
        }
    }
    (End::at(first, HOUR), minutes)
}

fn run_traffic(rps: f64, tries: usize) -> Vec<Row> {
    let stable = shares(1.0, 0.0);
    let mut limit = f64::INFINITY;
    let mut rows = Vec::new();
    for (nth, (case, scale, tail)) in CASES.into_iter().enumerate() {
        let canary = shares(scale, tail);
        let rollouts: Vec<(End, Vec<f64>)> = (0..tries)
            .map(|at| {
                let mut random = Random::new(&[23, rps.to_bits(), nth as u64, at as u64]);
                rollout(&mut random, rps, &canary, &stable)
            })
            .collect();
        if nth == 0 {
            limit = rules::tuned(&rollouts.iter().map(|(_, minutes)| minutes.clone()).collect::<Vec<_>>(), 4);
        }
        let ends = [
            rollouts.iter().map(|(end, _)| *end).collect::<Vec<_>>(),
            rollouts.iter().map(|(_, minutes)| rules::counted(minutes, 0.5, 4, false)).collect(),
            rollouts.iter().map(|(_, minutes)| rules::counted(minutes, limit, 4, false)).collect(),
        ];
        for ends in ends {
            let minutes = |end: &End| {
                if end.rolled_back { end.block as f64 * BLOCK / 60.0 } else { f64::INFINITY }
            };
            let mut times: Vec<f64> = ends.iter().map(minutes).collect();
            times.sort_by(f64::total_cmp);
            rows.push(Row {
                rps,
                case,
                tried: tries,
                rolled_back: ends.iter().filter(|end| end.rolled_back).count(),
                median: times[tries / 2],
            });
        }
    }
    rows
}

pub fn run(tries: usize) -> Vec<Row> {
    in_parallel(&[10.0, 100.0], |rps| run_traffic(*rps, tries)).into_iter().flatten().collect()
}
