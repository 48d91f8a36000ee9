//! The Kubernetes API server.
//!
//! ```text
//! watches ─► rows ─► stores ◄─ answers to our own reads and writes
//! ```
//!
//! Reads and writes are requests with a deadline that are never repeated by themselves; every write carries the uid and
//! the version of what was looked at.

pub mod backoff;
pub mod call;
pub mod config;
pub mod events;
pub mod lease;
pub mod pods;
pub mod policy;
pub mod reads;
pub mod row;
#[cfg(test)]
pub mod scripted;
pub mod secrets;
pub mod store;
pub mod stores;
pub mod version;
pub mod views;
pub mod watch;
pub mod writes;
