//! Metric servers that speak the Prometheus HTTP API.
//!
//! ```text
//! Sources ─► PrometheusClient ─► POST /api/v1/query ─► bytes, bounded ─► answer::parse ─► engine::Answer
//! ```
//!
//! An [`Answer`](crate::engine::Answer) is all that leaves this module: a number, or a class of failure in our own
//! words. No text of an answer's body ever does, because statuses and events show it to whoever may read them.

pub mod address;
pub mod answer;
pub mod client;
mod credentials;
mod places;
pub mod secret;
pub mod series;
pub mod sources;
pub mod tls;

pub use client::{PrometheusClient, SourceConfig, SourceError};
pub use credentials::{configured, secrets_of};
pub use secret::{Auth, Secret};
pub use sources::{Connect, MetricServer, Reached, Sources};
