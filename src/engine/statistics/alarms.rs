//! How often a healthy release would be failed by a rule that counts failed checks. For lint: people underestimate it.

use super::special::binomial_at_least;
use super::windows::{Rule, State, is_failure, step};

/// The longest window that is reckoned with: 2¹⁵ histories.
pub const WINDOW_MAX: u32 = 16;

/// The chance of `failures` or more failed checks among all `checks`, never forgotten, if each fails with chance `chance`.
#[must_use]
pub fn cumulative(chance: f64, checks: u32, failures: u32) -> f64 {
    binomial_at_least(f64::from(failures), f64::from(checks), chance)
}

/// The chance that a [`Rule`] ever fails within `checks` checks, if each fails with chance `chance` on its own; `None` for a
/// window above [`WINDOW_MAX`].
///
/// Dynamic programming over the last n − 1 checks.
#[must_use]
pub fn sliding(chance: f64, checks: u32, rule: Rule) -> Option<f64> {
    if rule.of > WINDOW_MAX || rule.failures > rule.of {
        return (rule.failures > rule.of).then_some(0.0);
    }
    let histories = 1_usize << (rule.of.max(1) - 1);
    let successors: Vec<[Option<usize>; 2]> =
        (0..histories).map(|history| [false, true].map(|failed| successor(history, failed, rule))).collect();
    let mut chances = vec![0.0; histories];
    chances[0] = 1.0;
    let mut alarmed = 0.0;
    for _ in 0..checks {
        let mut next = vec![0.0; histories];
        for (history, known) in chances.iter().enumerate().filter(|(_, known)| **known > 0.0) {
            for (to, share) in successors[history].iter().zip([1.0 - chance, chance]) {
                match to {
                    Some(to) => next[*to] += known * share,
                    None => alarmed += known * share,
                }
            }
        }
        chances = next;
    }
    Some(alarmed)
}

/// The history after one more check; `None` if that makes a failure.
fn successor(history: usize, has_failed: bool, rule: Rule) -> Option<usize> {
    let after = step(State::of(u64::try_from(history).ok()?), has_failed);
    let kept = usize::try_from(after.last(rule.of.max(1) - 1)).ok()?;
    (!is_failure(after, rule)).then_some(kept)
}
