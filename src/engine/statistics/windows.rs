//! How many checks must fail: k of the last n, or a run of k.

use serde::{Deserialize, Serialize};

/// The longest window.
pub const CHECKS_MAX: u32 = 64;

/// When checks add up to a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Failed checks that make a failure, 1 to `of`.
    pub failures: u32,
    /// Among this many of the latest, at most [`CHECKS_MAX`]. The same as `failures`: one after the other.
    pub of: u32,
}

impl Rule {
    /// 3 of 5: one check that fails now and then for no reason is no failure.
    pub const USUAL: Self = Self { failures: 3, of: 5 };

    /// `failures` one after the other.
    #[must_use]
    pub fn consecutive(failures: u32) -> Self {
        Self { failures, of: failures }
    }

    fn window(self) -> u64 {
        u64::MAX >> (CHECKS_MAX - self.of.clamp(1, CHECKS_MAX))
    }
}

/// The latest checks, one bit each, the latest lowest; a failed one is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State(u64);

/// The state after one more check. A check without a verdict is not counted: do not step.
#[must_use]
pub fn step(state: State, has_failed: bool) -> State {
    State(state.0 << 1 | u64::from(has_failed))
}

/// Whether the checks add up to a failure.
#[must_use]
pub fn is_failure(state: State, rule: Rule) -> bool {
    (state.0 & rule.window()).count_ones() >= rule.failures.max(1)
}

impl State {
    /// The state whose latest checks are these bits.
    #[must_use]
    pub(super) fn of(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits of the latest `checks` checks, fewer than [`CHECKS_MAX`].
    #[must_use]
    pub(super) fn last(self, checks: u32) -> u64 {
        self.0 & !(u64::MAX << checks.min(CHECKS_MAX - 1))
    }
}
