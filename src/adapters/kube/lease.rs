//! Who leads: one process at a time, by a Lease.
//!
//! A candidate takes the Lease when nobody holds it, or when it has not changed for as long as its holder said that a
//! claim is good for, measured by the candidate's own clock from when it saw the last change: clocks need not agree.
//! Every write of the Lease carries the version that was read, so that of two candidates one gets a 409.
//!
//! Each acquisition raises `leaseTransitions`; that number is the **epoch** which the leader writes into what it manages.
//! A leader acts only while its claim is good for longer than its write may take ([`Claim::covers`]); a process that was
//! stopped for a while finds its claim too old by the monotonic clock, which goes on while a process is stopped, or by
//! the wall clock, which goes on while the machine sleeps.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::fraction;
use super::call::{CallError, Cluster, Path};
use crate::engine::flaw::{self, Flaw};

/// The start of 2020: the terms of a Lease that was never there, or was deleted, start at the minutes since then, so that
/// a deleted Lease does not lead back to an earlier epoch.
const FIRST_EPOCH_SECONDS: i64 = 1_577_836_800;

/// The terms of the candidature.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Name of this process among the candidates.
    pub identity: String,
    /// A claim is good for this long.
    pub duration: Duration,
    /// A leader that could not renew for this long gives up.
    pub renew_deadline: Duration,
    /// Time between two attempts.
    pub retry_period: Duration,
}

/// What a leader may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The term.
    pub epoch: i64,
    until: Instant,
    until_wall: Timestamp,
}

impl Claim {
    /// A claim of term `epoch` that is good for `duration` from now, which is `now` by the clock on the wall.
    #[must_use]
    pub fn lasting(epoch: i64, duration: Duration, now: Timestamp) -> Self {
        Self { epoch, until: Instant::now() + duration, until_wall: later(now, duration) }
    }

    /// Whether the claim stays good for `time` from now, which is `now` by the clock on the wall.
    #[must_use]
    pub fn covers(&self, time: Duration, now: Timestamp) -> bool {
        Instant::now() + time <= self.until && later(now, time) <= self.until_wall
    }
}

fn later(now: Timestamp, time: Duration) -> Timestamp {
    now.saturating_add(time).unwrap_or(Timestamp::MAX)
}

/// Where this process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Another one leads, or nobody yet.
    Waiting,
    /// This one leads.
    Leading(Claim),
    /// This one led and does not any more.
    Lost,
}

/// A candidate.
pub struct Candidate {
    cluster: Cluster,
    terms: Terms,
    /// The version seen last and since when it is the same, with the time its holder asked for.
    rival: Option<(String, Instant, Duration)>,
    /// The Lease as this process wrote it, and when the request was sent.
    held: Option<(Lease, Instant)>,
}

impl Candidate {
    /// A candidate that asks `cluster`, whose deadline must be shorter than the renew deadline.
    #[must_use]
    pub const fn new(cluster: Cluster, terms: Terms) -> Self {
        Self { cluster, terms, rival: None, held: None }
    }

    /// Takes the Lease as soon as it is free and keeps it until `stop`, then releases it. Tells where this process stands;
    /// ends after [`Standing::Lost`].
    pub async fn campaign(mut self, standing: watch::Sender<Standing>, stop: CancellationToken) {
        loop {
            let (now, pause) = self.step().await;
            if now == Standing::Lost && flaw::is(Flaw::LeaderForEver) {
                return stop.cancelled().await;
            }
            standing.send_replace(now);
            if now == Standing::Lost {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.release().await;
        standing.send_replace(Standing::Lost);
    }

    /// One attempt to take or renew the Lease: where this process stands, and the time to the next attempt.
    pub async fn step(&mut self) -> (Standing, Duration) {
        let jittered = self.terms.retry_period.mul_f64(0.8 + 0.2 * fraction());
        let Some((lease, renewed)) = self.held.clone() else {
            return match self.take().await {
                Ok(Some(claim)) => (Standing::Leading(claim), self.terms.retry_period),
                Ok(None) => (Standing::Waiting, self.until_free().min(jittered)),
                Err(error) => {
                    tracing::warn!(%error, "cannot look at the Lease");
                    (Standing::Waiting, jittered)
                }
            };
        };
        match self.renew(lease.clone()).await {
            Ok(Some(claim)) => (Standing::Leading(claim), self.terms.retry_period),
            Ok(None) => (Standing::Lost, Duration::ZERO),
            Err(error) if renewed.elapsed() < self.terms.renew_deadline => {
                tracing::warn!(%error, "cannot renew the Lease");
                let claim = self.claim(&lease, renewed);
                (Standing::Leading(claim), (self.terms.retry_period / 4).min(jittered))
            }
            Err(error) => {
                tracing::error!(%error, "the Lease could not be renewed in time");
                (Standing::Lost, Duration::ZERO)
            }
        }
    }

    /// Gives the Lease back, so that the next candidate need not wait. Without effect if it is not held.
    pub async fn release(&mut self) {
        let Some((mut lease, _)) = self.held.take() else { return };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(self.cluster.now()));
        }
        if let Err(error) = self.put(&lease).await {
            tracing::warn!(%error, "the Lease was not released: the next leader waits until it expires");
        }
    }

    async fn take(&mut self) -> Result<Option<Claim>, CallError> {
        let now = Instant::now();
        let found: Lease = match self.cluster.get(&self.path()).await {
            Ok(lease) => lease,
            Err(CallError::NotFound(_)) => return self.create().await,
            Err(error) => return Err(error),
        };
        let spec = found.spec.clone().unwrap_or_default();
        let is_free = spec.holder_identity.as_deref().unwrap_or_default().is_empty();
        if !is_free && !self.has_expired(&found, &spec, now) {
            return Ok(None);
        }
        let epoch = i64::from(spec.lease_transitions.unwrap_or(0)) + 1;
        let taken = Lease { spec: Some(self.spec(epoch)), ..found };
        match self.put(&taken).await {
            Ok(lease) => Ok(Some(self.hold(lease, now))),
            Err(CallError::Conflict(_) | CallError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(&mut self) -> Result<Option<Claim>, CallError> {
        let now = Instant::now();
        let epoch = (self.cluster.now().as_second() - FIRST_EPOCH_SECONDS).max(60) / 60;
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.terms.name.clone()),
                namespace: Some(self.terms.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.spec(epoch)),
        };
        let body = serde_json::to_value(&lease).unwrap_or_default();
        match self.cluster.create(&self.path(), &body).await {
            Ok(lease) => Ok(Some(self.hold(lease, now))),
            Err(CallError::AlreadyExists(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews the claim; `None` if another process has the Lease.
    async fn renew(&mut self, lease: Lease) -> Result<Option<Claim>, CallError> {
        let now = Instant::now();
        let mut renewed = lease.clone();
        if let Some(spec) = &mut renewed.spec {
            spec.renew_time = Some(MicroTime(self.cluster.now()));
        }
        match self.put(&renewed).await {
            Ok(lease) => return Ok(Some(self.hold(lease, now))),
            Err(CallError::NotFound(_)) => return Ok(None),
            Err(CallError::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
        // Either another one has it, or an answer to our own renewal was lost, or somebody touched its metadata.
        let now = Instant::now();
        let found: Lease = match self.cluster.get(&self.path()).await {
            Ok(lease) => lease,
            Err(CallError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let term = |lease: &Lease| {
            let spec = lease.spec.as_ref()?;
            Some((spec.holder_identity.clone()?, spec.lease_transitions?))
        };
        if term(&found) != term(&lease) {
            return Ok(None);
        }
        let mut again = found;
        if let Some(spec) = &mut again.spec {
            spec.renew_time = Some(MicroTime(self.cluster.now()));
        }
        match self.put(&again).await {
            Ok(lease) => Ok(Some(self.hold(lease, now))),
            Err(CallError::NotFound(_) | CallError::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hold(&mut self, lease: Lease, sent: Instant) -> Claim {
        let claim = self.claim(&lease, sent);
        self.held = Some((lease, sent));
        claim
    }

    fn claim(&self, lease: &Lease, sent: Instant) -> Claim {
        let epoch = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
        let left = self.terms.duration.saturating_sub(sent.elapsed());
        Claim {
            epoch: i64::from(epoch),
            until: sent + self.terms.duration,
            until_wall: later(self.cluster.now(), left),
        }
    }

    fn has_expired(&mut self, lease: &Lease, spec: &LeaseSpec, now: Instant) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
        let duration = seconds.map_or(self.terms.duration, Duration::from_secs);
        match &self.rival {
            Some((seen, since, _)) if *seen == version => now.duration_since(*since) >= duration,
            _ => {
                self.rival = Some((version, now, duration));
                false
            }
        }
    }

    /// Time until the rival's claim is too old, if it does not renew it.
    fn until_free(&self) -> Duration {
        let left = self.rival.as_ref().map(|(_, since, duration)| duration.saturating_sub(since.elapsed()));
        left.unwrap_or(self.terms.retry_period).max(Duration::from_millis(50))
    }

    fn spec(&self, epoch: i64) -> LeaseSpec {
        let now = MicroTime(self.cluster.now());
        LeaseSpec {
            holder_identity: Some(self.terms.identity.clone()),
            lease_duration_seconds: i32::try_from(self.terms.duration.as_secs()).ok(),
            lease_transitions: i32::try_from(epoch).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    async fn put(&self, lease: &Lease) -> Result<Lease, CallError> {
        let body = serde_json::to_value(lease).unwrap_or_default();
        self.cluster.replace(&self.path(), &body).await
    }

    fn path(&self) -> Path {
        let kind = ("coordination.k8s.io", "v1", "leases", "Lease");
        Path::new(kind, &self.terms.namespace, &self.terms.name)
    }
}

#[cfg(test)]
mod tests;
