//! Palier: a Kubernetes operator for phased rollouts.
//!
//! The house is built in rings; each may use those before it:
//! [`api`] (what users write) → [`engine`] (pure decisions: no I/O, no clock) → `adapters` (the edges) → `controller`
//! (time, tasks, order) → `server` and `cli` (what people see).

#[cfg(feature = "controller")]
pub mod adapters;
pub mod api;
#[cfg(all(feature = "controller", feature = "cli"))]
pub mod cli;
#[cfg(feature = "controller")]
pub mod controller;
pub mod engine;
#[cfg(feature = "controller")]
pub mod server;
pub mod sim;
