//! Palier: a Kubernetes operator for phased rollouts.
//!
//! The house is built in rings; each may use those before it:
//! [`api`] (what users write) → [`engine`] (pure decisions: no I/O, no clock) → `adapters` (the edges) → `controller`
//! (time, tasks, order) → `server` and `cli` (what people see).

#[cfg(feature = "controller")]
#[allow(clippy::disallowed_methods, reason = "the edge reads clocks and hands the time on")]
pub mod adapters;
pub mod api;
#[cfg(feature = "controller")]
pub mod apiserver;
#[cfg(all(feature = "controller", feature = "cli"))]
#[allow(clippy::disallowed_methods, reason = "the edge reads clocks and hands the time on")]
pub mod cli;
#[cfg(feature = "controller")]
#[allow(clippy::disallowed_methods, reason = "the edge reads clocks and hands the time on")]
pub mod controller;
pub mod engine;
#[cfg(feature = "controller")]
pub mod rig;
#[cfg(feature = "controller")]
#[allow(clippy::disallowed_methods, reason = "the edge reads clocks and hands the time on")]
pub mod server;
pub mod sim;
