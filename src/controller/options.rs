//! What the controller is told at its start.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::adapters::clock::Clock;
use crate::adapters::prometheus::Connect;
use crate::api::Interception;
use crate::server::{Health, Metrics};

/// Everything that `palier run` hands to the controller.
#[derive(Clone)]
pub struct RunOptions {
    /// The time of day.
    pub clock: Clock,
    /// The API server, as the ServiceAccount of the process. It does not repeat requests by itself.
    pub client: kube::Client,
    /// The one namespace to work in (namespaced mode: no cluster rights at all), or all of them.
    pub namespace: Option<String>,
    /// Where Palier itself runs: its Lease, and the Secrets that a MetricSource names.
    pub lease_namespace: String,
    /// Name of the Lease.
    pub lease_name: String,
    /// Name of this process among the candidates; no two processes share it.
    pub identity: String,
    /// A claim on the Lease is good for this long.
    pub lease_duration: Duration,
    /// A leader that could not renew its claim for this long stops to act; shorter than `lease_duration`.
    pub renew_deadline: Duration,
    /// Time between two attempts to take or renew the claim; shorter than `renew_deadline`.
    pub retry_period: Duration,
    /// The MetricSource `default`, when a flag gives it; it then wins over the object of that name.
    pub prometheus: Option<PrometheusFlag>,
    /// How metric servers are reached.
    pub connect: Connect,
    /// What a Rollout with `interception: Auto` gets.
    pub interception: Interception,
    /// Whether hooks are run, which needs rights on Jobs and CronJobs.
    pub hooks: bool,
    /// Rollouts that are worked on at the same time, at least 1.
    pub concurrency: usize,
    /// The operator's own metrics.
    pub metrics: Metrics,
    /// What the probes read.
    pub health: Health,
    /// Cancelled when the process is to end: finish writes under way, release the Lease, return.
    pub shutdown: CancellationToken,
}

/// A metric server named by a flag, by whoever starts the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusFlag {
    /// Base address, `http` or `https`, without user, query or fragment.
    pub url: url::Url,
    /// Whether that address may be on the loopback interface.
    pub allow_loopback: bool,
}
