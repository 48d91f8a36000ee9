//! The error budget of a service-level objective: how much of it the canary spent, and how fast it burns.
//!
//! Burn rates and their pairs of windows: Google, "The Site Reliability Workbook", chapter "Alerting on SLOs".

use crate::api::Verdict;

use super::{Arm, Block};

/// Bad requests of the canary before a spend is judged.
const BAD_MIN: f64 = 10.0;
/// Bad requests that the burn limit itself must be worth in the short window.
const BURN_BAD_MIN: f64 = 10.0;

/// An objective and what a canary may spend of its budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The share of requests that shall go well, above 0 and below 1, such as 0.999.
    pub objective: f64,
    /// The requests of the objective's whole window (30 days), as measured at the start of the run.
    pub window_requests: f64,
    /// The share of the budget that the canary may spend, such as 0.01.
    pub max_spend: f64,
}

impl Settings {
    /// The bad requests that the objective allows in its window.
    #[must_use]
    pub fn allowed(&self) -> f64 {
        (1.0 - self.objective) * self.window_requests
    }
}

/// The share of the budget that the canary spent beyond what stable would have: counted, nothing guessed.
///
/// `seen` are the requests of the same blocks at both arms. Without stable, the objective's own rate is what it may.
#[must_use]
pub fn spend(settings: &Settings, seen: &Block) -> f64 {
    let (canary, stable) = (seen.canary, seen.stable);
    let rate = if stable.total > 0.0 { stable.bad / stable.total } else { 1.0 - settings.objective };
    (canary.bad - canary.total * rate).max(0.0) / settings.allowed()
}

/// `Fail`: the canary spent too much. `NoData`: it had no request, or the window's are not known.
#[must_use]
pub fn judge_spend(settings: &Settings, seen: &Block) -> Verdict {
    if seen.canary.total == 0.0 || settings.allowed().is_nan() || settings.allowed() <= 0.0 {
        Verdict::NoData
    } else if seen.canary.bad >= BAD_MIN && spend(settings, seen) >= settings.max_spend {
        Verdict::Fail
    } else {
        Verdict::Pass
    }
}

/// Two windows and a burn rate that neither may exceed at the same time as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum Pair {
    /// 14.4 in one hour and in five minutes: 2 % of a 30-day budget in an hour.
    Fast,
    /// 6 in six hours and in thirty minutes: 5 % in six hours.
    Slow,
}

impl Pair {
    /// The burn rate that is too high.
    #[must_use]
    pub fn limit(self) -> f64 {
        match self {
            Self::Fast => 14.4,
            Self::Slow => 6.0,
        }
    }

    /// The long and the short window, in seconds.
    #[must_use]
    pub fn windows(self) -> (u32, u32) {
        match self {
            Self::Fast => (3600, 300),
            Self::Slow => (6 * 3600, 1800),
        }
    }
}

/// How many times too fast `seen` burns the budget: at 1 it lasts exactly the objective's window. 0 without requests.
#[must_use]
pub fn burn(objective: f64, seen: Arm) -> f64 {
    if seen.total > 0.0 { seen.bad / seen.total / (1.0 - objective) } else { 0.0 }
}

/// `Fail`: both windows burn too fast. `Wait`: too few requests in the short one.
#[must_use]
pub fn judge_burn(objective: f64, pair: Pair, long: Arm, short: Arm) -> Verdict {
    let limit = pair.limit();
    if short.total == 0.0 {
        Verdict::NoData
    } else if short.total < BURN_BAD_MIN / (limit * (1.0 - objective)) {
        Verdict::Wait
    } else if burn(objective, long) > limit && burn(objective, short) > limit {
        Verdict::Fail
    } else {
        Verdict::Pass
    }
}
