//! The whole controller against an API server in memory: how it starts, leads, stands by and ends.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
mod lifecycle;
#[cfg(feature = "flaws")]
#[path = "../flaws/at_the_lease.rs"]
mod put_back;
mod server;
