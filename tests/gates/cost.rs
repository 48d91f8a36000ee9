//! What one decision of a gate costs: its stored test read, one block more, judged, and made ready to be stored.

use std::hint::black_box;
use std::time::Instant;

use palier::engine::statistics::trial::{Kind, Settings, Trial};
use palier::engine::statistics::{Block, Starts};

/// Rollouts side by side, each with a gate.
const ROLLOUTS: u32 = 1000;
/// Blocks of each.
const BLOCKS: u32 = 20;

/// Microseconds for one decision, on average, and the bytes of the largest state.
pub fn of_a_decision() -> (f64, usize) {
    let starts = Starts { every: 10, planned: 60 };
    let settings =
        Settings { kind: Kind::Rate, phi: 1.3, tolerance: 1.05, safe_ratio: 2.0, safe_below: 0.01, starts };
    let mut states = vec![Trial::new(&settings).rounded().to_string(); ROLLOUTS as usize];
    let begun = Instant::now();
    for nth in 0..BLOCKS {
        for (rollout, state) in states.iter_mut().enumerate() {
            let bad = f64::from((nth + rollout as u32) % 4);
            let trial: Trial = serde_json::from_str(state).unwrap();
            let trial = trial.step(&settings, &[Block::new((bad, 150.0), (12.0, 1350.0))]);
            black_box((trial.harm(), trial.is_safe(&settings), trial.ratio_at_least(&settings, 0.01)));
            *state = trial.rounded().to_string();
        }
    }
    let each = begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROLLOUTS * BLOCKS);
    (each, states.iter().map(String::len).max().unwrap_or_default())
}
