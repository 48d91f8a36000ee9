//! The statistics of gates: what counted requests prove about a canary, and how surely.
//!
//! ```text
//! raw counters by pod ─► counters ─► Block (canary and stable: bad, total) ─► rate, latency, one_arm, … ─► ln E ─► verdict
//!                                             │                                         ▲
//! the stable pods' last hours ─► history ─► φ, ρ0 (frozen for the run) ─────────────────┘
//! ```
//!
//! Everything is a function of its arguments. A state is small, serialises, and is stepped once for each block: a state that
//! was stored and read again goes on as if nothing had happened, but for the last digit of a number.
//!
//! The sequential tests keep an *e-process*: a number E that starts at 1 and, as long as the canary is no worse than stable,
//! has an expectation of at most 1 whenever one looks. By Ville's inequality it then ever reaches 1/α with a probability of at
//! most α. So one may look after every block, for as long as one likes, and act at once. They are kept as logarithms.

mod accrued;
pub mod alarms;
pub mod block;
pub mod budget;
pub mod change;
pub mod combine;
pub mod compare;
pub mod counters;
pub mod histogram;
pub mod history;
pub mod interval;
pub mod latency;
pub mod logs;
pub mod mixture;
pub mod odds;
pub mod one_arm;
pub mod planner;
pub mod rate;
pub mod safety;
pub mod schedule;
pub mod special;
pub mod threshold;
pub mod trial;
pub mod windows;

pub use block::{Arm, Block};
pub use mixture::{Mixture, Starts};

#[cfg(test)]
mod tests;
