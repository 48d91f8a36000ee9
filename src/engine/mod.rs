//! Ring 1: decisions. Pure, total and deterministic: no I/O, no clock, no randomness, no hash-ordered map.
//!
//! ```text
//! observe (edge) ─► World ─► decide(&World, now) ─► Plan ─► act (edge) ─► observe …
//! ```
//!
//! The controller, the simulator and the tests all call [`decide`].

mod actions;
mod adoption;
mod ahead;
mod borrow;
mod checks;
pub mod config;
mod copies;
mod counting;
pub mod decide;
mod degraded;
mod ending;
mod evidence;
mod fellows;
#[cfg(feature = "flaws")]
pub mod flaw;
#[cfg(not(feature = "flaws"))]
pub(crate) mod flaw;
pub mod gate_templates;
pub mod gates;
mod health;
mod held;
mod hooks;
mod judges;
mod letting_go;
pub mod lint;
mod order;
pub mod outlook;
mod partial;
pub mod plan;
mod present;
mod put_back;
pub mod query;
pub mod references;
mod release;
mod rest;
mod restart;
mod retire;
pub mod revision;
mod rollback;
mod room;
pub mod route;
pub mod scaling;
mod settle;
mod splice;
pub mod statistics;
mod switches;
mod templates;
mod trips;
mod turn;
pub mod units;
pub mod world;

pub use counting::{choose, judge_share, learn};
pub use decide::decide;
pub use plan::{Ask, Happening, Inquiry, Measurement, Plan, Reason, Write};
pub use references::{References, references};
pub use units::Weight;
pub use world::{Answer, Line, Reading, World};
