//! The Prometheus adapter against real answers and bad servers, on loopback.
#![allow(clippy::disallowed_methods, reason = "a test measures real time")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod bad_servers;
mod injection;
#[cfg(feature = "flaws")]
#[path = "../flaws/at_the_metric_server.rs"]
mod put_back;
mod requests;
mod server;
mod sources;
mod tenants;
mod tls;

/// A question for one number.
fn asked(query: &str) -> palier::engine::Ask {
    palier::engine::Ask::Number(query.to_owned())
}
