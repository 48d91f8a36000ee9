//! Synthetic rollouts: an hour at 10 %, in blocks of 15 s.

use palier::engine::statistics::{Arm, Block, history};

use super::random::{Draws as _, Random};

/// The length of a block in seconds.
pub const BLOCK: f64 = 15.0;
/// Blocks in an hour.
pub const HOUR: usize = 240;
/// The canary's share of the requests.
pub const WEIGHT: f64 = 0.1;

const CLUSTER: f64 = 3.0;
const POD_SPREAD: f64 = 0.15;
const STABLE_PODS: usize = 9;
const MINUTE: usize = 4;
/// Requests of a pod in a minute of history, for rates by pod: their number plays no part.
const REQUESTS: f64 = 1e6;

/// What the traffic is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Independent errors; traffic and error rate drift with the day, traffic by 30 % from minute to minute.
    Calm,
    /// Calm, and blips that hit both versions: ten times the errors for about two minutes, about once an hour.
    Bursty,
    /// Bursty, and bad requests come in clusters at one arm (retries of one caller): geometric, three on average.
    Clustered,
    /// Bursty, and both versions fail twice as often as when thresholds were tuned.
    Drift,
    /// Bursty, and the regression begins at minute 30.
    Late,
    /// Bursty, and every pod has an error rate of its own: log-normal, 15 %.
    PodEffect,
}

impl Scenario {
    pub const ALL: [Self; 6] =
        [Self::Calm, Self::Bursty, Self::Clustered, Self::Drift, Self::Late, Self::PodEffect];
    /// Those in which bad requests are compared.
    pub const COMPARED: [Self; 5] = [Self::Calm, Self::Bursty, Self::Clustered, Self::Drift, Self::Late];

    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Bursty => "bursty",
            Self::Clustered => "clustered",
            Self::Drift => "drift",
            Self::Late => "late",
            Self::PodEffect => "podeffect",
        }
    }

    /// What the traffic was like when thresholds were tuned, before the rollout.
    pub fn before(self) -> Self {
        if matches!(self, Self::Calm | Self::Clustered) { self } else { Self::Bursty }
    }

    fn cluster(self) -> f64 {
        if self == Self::Clustered { CLUSTER } else { 1.0 }
    }
}

/// One kind of rollout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    pub scenario: Scenario,
    /// Requests a second, of both arms.
    pub rps: f64,
    /// The share of requests that fail on stable.
    pub bad: f64,
    /// How many times as often they fail on the canary.
    pub ratio: f64,
}

impl Cell {
    pub fn label(&self) -> String {
        format!("{} {} rps {} %", self.scenario.name(), self.rps, self.bad * 100.0)
    }
}

/// The pods' own factors: the canary's first, then nine of stable.
pub fn pods(random: &mut Random, scenario: Scenario) -> [f64; 1 + STABLE_PODS] {
    let mut factors = [1.0; 1 + STABLE_PODS];
    if scenario == Scenario::PodEffect {
        factors = factors.map(|_| (POD_SPREAD * random.normal()).exp());
    }
    factors
}

/// A rollout whose canary has the given share of the traffic in each block.
pub fn rollout(random: &mut Random, cell: &Cell, pods: &[f64], weights: &[f64]) -> Vec<Block> {
    let Cell { scenario, rps, bad, ratio } = *cell;
    let (traffic_phase, error_phase) = (random.unit(), random.unit());
    let wave = |block: usize, phase: f64| {
        1.0 + 0.3 * (std::f64::consts::TAU * (block as f64 * BLOCK / 86_400.0 + phase)).sin()
    };
    let blips =
        if scenario == Scenario::Calm { vec![false; weights.len()] } else { blips(random, weights.len()) };
    let stable_pods = pods[1..].iter().sum::<f64>() / (pods.len() - 1) as f64;
    let mut noise = 1.0;
    let mut blocks = Vec::with_capacity(weights.len());
    for (at, weight) in weights.iter().enumerate() {
        if at % MINUTE == 0 {
            noise = random.gamma(10.0, 0.1);
        }
        let requests = rps * BLOCK * wave(at, traffic_phase) * noise;
        let blip = if blips[at] { 10.0 } else { 1.0 };
        let drift = if scenario == Scenario::Drift { 2.0 } else { 1.0 };
        let share = bad * wave(at, error_phase) * blip * drift;
        let is_worse = scenario != Scenario::Late || at >= weights.len() / 2;
        let ratio = if is_worse { ratio } else { 1.0 };
        let canary = (share * ratio * pods[0]).min(0.95);
        let stable = (share * stable_pods).min(0.95);
        let size = scenario.cluster();
        blocks.push(Block {
            canary: arm(random, requests * weight, canary, size),
            stable: arm(random, requests * (1.0 - weight), stable, size),
        });
    }
    blocks
}

fn arm(random: &mut Random, requests: f64, bad: f64, size: f64) -> Arm {
    if size <= 1.0 {
        // A Poisson number of requests, each bad or good: two Poisson numbers.
        let (bad, good) = (random.poisson(requests * bad), random.poisson(requests * (1.0 - bad)));
        return Arm::new(bad, bad + good);
    }
    let total = random.poisson(requests);
    let (bad, clusters) = random.clusters(total * bad, size);
    // Retries are requests of their own.
    Arm::new(bad, total.max(clusters) + bad - clusters)
}

fn blips(random: &mut Random, blocks: usize) -> Vec<bool> {
    let mut on = vec![false; blocks];
    for at in 0..blocks {
        if random.unit() < BLOCK / 3600.0 {
            let lasting = (random.exponential() * 120.0 / BLOCK).ceil() as usize;
            on[at..(at + lasting).min(blocks)].fill(true);
        }
    }
    on
}

/// What six hours of the stable pods teach before the rollout.
#[derive(Clone, Copy, Debug)]
pub struct Learnt {
    pub phi: f64,
    pub rho0: f64,
    /// What gates take for ρ0.
    pub tolerance: f64,
}

pub fn history(random: &mut Random, cell: &Cell, pods: &[f64]) -> Learnt {
    let drift = if cell.scenario == Scenario::Drift { 2.0 } else { 1.0 };
    let mean = cell.rps * 60.0 * (1.0 - WEIGHT) * cell.bad / STABLE_PODS as f64 * drift;
    let mut sums = history::Dispersion::default();
    let mut whole = [Arm::default(); STABLE_PODS];
    for _ in 0..6 * 60 {
        let mut factor = random.gamma(10.0, 0.1);
        if cell.scenario != Scenario::Calm && random.unit() < 2.0 / 60.0 {
            factor *= 10.0;
        }
        let mut minute = [Arm::default(); STABLE_PODS];
        for (at, pod) in minute.iter_mut().enumerate() {
            let (bad, _) = random.clusters(mean * factor * pods[at + 1], cell.scenario.cluster());
            *pod = Arm::new(bad, REQUESTS);
            whole[at] = whole[at].plus(*pod);
        }
        sums = history::step(&sums, &minute);
    }
    let phi = history::phi(&sums);
    Learnt { phi, rho0: history::rho0(&whole, 1, phi), tolerance: history::tolerance(&whole, 1, phi) }
}
