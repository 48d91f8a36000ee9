//! Our rule, by the very functions that the controller calls.

use palier::api::Verdict;
use palier::engine::statistics::{Block, Starts, rate};

use super::rules::{ALPHA, End};
use super::traffic::{HOUR, Learnt};

/// One restart in five minutes.
pub const RESTART: u32 = 20;

/// The rule with these settings; `planned` blocks of bake.
pub fn settings(learnt: &Learnt, planned: usize) -> rate::Settings {
    let starts = Starts { every: RESTART, planned: u32::try_from(planned).unwrap_or(u32::MAX) };
    rate::Settings { alpha: ALPHA, min_bad: 0.0, phi: learnt.phi, rho0: learnt.rho0, starts }
}

/// The rule as gates have it unless a user says otherwise.
pub fn default(learnt: &Learnt, planned: usize) -> rate::Settings {
    let settings = settings(&Learnt { rho0: learnt.tolerance, ..*learnt }, planned);
    rate::Settings { min_bad: rate::Settings::default().min_bad, ..settings }
}

/// The same with one start only.
pub fn without_restarts(learnt: &Learnt) -> rate::Settings {
    rate::Settings { starts: Starts::ONCE, ..settings(learnt, HOUR) }
}

pub fn sequential(blocks: &[Block], settings: &rate::Settings) -> End {
    let mut state = rate::State::default();
    let first = blocks.iter().position(|block| {
        state = rate::step(&state, settings, block);
        rate::verdict(&state, settings) == Verdict::Fail
    });
    End::at(first.map(|at| at + 1), blocks.len())
}
