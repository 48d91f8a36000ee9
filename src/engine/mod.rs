//! Ring 1: decisions. Pure, total and deterministic: no I/O, no clock, no randomness, no hash-ordered map.
//!
//! ```text
//! observe (edge) ─► World ─► decide(&World, now) ─► Plan ─► act (edge) ─► observe …
//! ```
//!
//! The controller, the simulator and the tests all call [`decide`].

pub mod gates;
pub mod plan;
pub mod query;
pub mod revision;
pub mod units;
pub mod world;

pub use plan::{Happening, Measurement, Plan, Reason, Write};
pub use units::Weight;
pub use world::{Answer, World};
