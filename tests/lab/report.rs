//! What the load measured, and questions to ask of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A pod answered with success.
    Good,
    /// A pod answered, with an error of its own: the application's fault.
    PodError(u16),
    /// Nobody answered, or somebody who is not a pod: the operation's fault.
    Lost(String),
}

/// One request of the load.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was sent.
    pub at: Timestamp,
    /// How long the answer took.
    pub took: Duration,
    /// The image tag of the pod that answered.
    pub version: Option<String>,
    /// The pod that answered.
    pub pod: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

/// Requests in the order in which they were sent.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The requests.
    pub requests: Vec<Request>,
}

impl Report {
    /// The requests sent from `from` until before `to`.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Self {
        let requests = self.requests.iter().filter(|one| from <= one.at && one.at < to);
        Self { requests: requests.cloned().collect() }
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.requests.len()
    }

    /// The share of each version among the requests that a pod answered, in percent.
    pub fn shares(&self) -> BTreeMap<String, f64> {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        for version in self.requests.iter().filter_map(|one| one.version.as_ref()) {
            *counts.entry(version.clone()).or_default() += 1.0;
        }
        let all: f64 = counts.values().sum();
        counts.into_iter().map(|(version, count)| (version, 100.0 * count / all)).collect()
    }

    /// The share of one version, in percent; 0 when it served nothing.
    pub fn share_of(&self, version: &str) -> f64 {
        self.shares().get(version).copied().unwrap_or_default()
    }

    /// Everything that did not end well, the application's own errors included.
    pub fn failures(&self) -> Vec<&Request> {
        self.requests.iter().filter(|one| one.outcome != Outcome::Good).collect()
    }

    /// Requests that no pod answered: what an operation must never cause.
    pub fn lost(&self) -> Vec<&Request> {
        self.requests.iter().filter(|one| matches!(one.outcome, Outcome::Lost(_))).collect()
    }

    /// When a version answered last.
    pub fn last_of(&self, version: &str) -> Option<Timestamp> {
        self.requests.iter().rev().find(|one| one.version.as_deref() == Some(version)).map(|one| one.at)
    }

    /// The time within which a share (0..1) of the requests was answered.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut times: Vec<Duration> = self.requests.iter().map(|one| one.took).collect();
        times.sort_unstable();
        let index = (share.clamp(0.0, 1.0) * times.len().saturating_sub(1) as f64).round() as usize;
        times.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} failed, {} lost;",
            self.total(),
            self.failures().len(),
            self.lost().len()
        )?;
        for (version, share) in self.shares() {
            write!(f, " {version} {share:.1} %")?;
        }
        if let Some(first) = self.lost().first() {
            write!(f, "; first lost at {}: {:?}", first.at, first.outcome)?;
        }
        Ok(())
    }
}
