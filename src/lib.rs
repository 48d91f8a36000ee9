//! Palier: a Kubernetes operator for phased rollouts.
//!
//! The house is built in rings; each may use those before it:
//! [`api`] (what users write) → [`engine`] (pure decisions: no I/O, no clock).

#[cfg(feature = "controller")]
pub mod adapters;
pub mod api;
pub mod engine;
pub mod sim;
