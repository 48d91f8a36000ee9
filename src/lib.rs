//! Palier: a Kubernetes operator for phased rollouts.
//!
//! The house is built in rings; each may use those before it:
//! [`api`] (what users write) → [`engine`] (pure decisions: no I/O, no clock) → `adapters` (the edges) → `controller`
//! (time, tasks, order).

#[cfg(feature = "controller")]
pub mod adapters;
pub mod api;
pub mod engine;
