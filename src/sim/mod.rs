//! Ring 2: a cluster in memory, on which the engine runs with a virtual clock. No I/O.
//!
//! It plays what borrowing depends on: the Deployment controller (paused Deployments, adoption, saturation, proportional
//! scaling, twins), ready pods, endpoints, a gateway that accepts routes, and preconditions on every write.

pub mod cluster;
pub mod config;
mod config_maps;
pub mod deployments;
pub mod drive;
mod events;
pub mod jobs;
mod latency;
pub mod pods;
pub mod random;
pub mod recording;
pub mod rehearsal;
mod stage;
pub mod traffic;
mod writes;

pub use cluster::{Cluster, Conflict};
pub use drive::{Drive, Reply, Stop};
pub use jobs::Fate;
pub use pods::Ailing;
pub use rehearsal::{Metrics, Rehearsal, Told, rehearse};
pub use traffic::{Load, Model};
