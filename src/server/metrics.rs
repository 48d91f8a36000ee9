//! What Prometheus reads of the operator itself. Every label takes its values from an enum, so that the number of
//! series has a bound whatever the cluster holds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::api::{Outcome, RolloutState, Verdict};
use crate::engine::Answer;

/// A handle on the operator's own metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    rollouts: Family<StateLabel, Gauge<i64, AtomicI64>>,
    reconciles: Family<ResultLabel, Counter>,
    reconcile_seconds: Histogram,
    writes: Family<WriteLabels, Counter>,
    gate_evaluations: Family<VerdictLabel, Counter>,
    metric_requests: Family<OutcomeLabel, Counter>,
    metric_request_seconds: Histogram,
    runs: Family<OutcomeLabel, Counter>,
    decision_to_write_seconds: Histogram,
    leader: Gauge<i64, AtomicI64>,
    panics: Counter,
    events_dropped: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    verb: &'static str,
    result: &'static str,
}

/// How one turn of the control loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Nothing was left to write.
    Settled,
    /// Something was written; it will be looked at again.
    Acted,
    /// A write met a newer object.
    Conflict,
    /// Something could not be read or written.
    Failed,
}

/// The kind of a written object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// A Rollout's metadata.
    Rollout,
    /// A Rollout's status.
    RolloutStatus,
    /// A RolloutRun or its status.
    RolloutRun,
    /// A Deployment.
    Deployment,
    /// A ReplicaSet.
    ReplicaSet,
    /// A Service.
    Service,
    /// An HTTPRoute.
    HttpRoute,
    /// A GRPCRoute.
    GrpcRoute,
    /// A Job.
    Job,
    /// A ConfigMap with switches, a copy of one, or the admission policy's map.
    ConfigMap,
    /// A copy of a Secret.
    Secret,
    /// An Event.
    Event,
    /// The Lease of the leader.
    Lease,
}

/// The verb of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteVerb {
    /// `create`
    Create,
    /// `update`
    Update,
    /// `patch`
    Patch,
    /// `delete`
    Delete,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// It is stored.
    Done,
    /// The object had changed (409), or was gone.
    Conflict,
    /// The API server refused it (403, 422 and the like).
    Refused,
    /// No proper answer: it may be stored or not.
    Failed,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut shared = Shared {
            registry: Registry::with_prefix("palier"),
            rollouts: Family::default(),
            reconciles: Family::default(),
            // 0.5 ms to 8 s
            reconcile_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 15)),
            writes: Family::default(),
            gate_evaluations: Family::default(),
            metric_requests: Family::default(),
            // 2 ms to 16 s: the longest timeout by default is 10 s
            metric_request_seconds: Histogram::new(exponential_buckets(0.002, 2.0, 14)),
            runs: Family::default(),
            // 1 ms to 8 s
            decision_to_write_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            leader: Gauge::default(),
            panics: Counter::default(),
            events_dropped: Counter::default(),
        };
        shared.register();
        let metrics = Self { shared: Arc::new(shared) };
        metrics.set_rollouts(&BTreeMap::new());
        metrics
    }

    /// Stores how many Rollouts are in each state; a state that is left out has none.
    pub fn set_rollouts(&self, counts: &BTreeMap<RolloutState, i64>) {
        for state in STATES {
            let label = StateLabel { state: state_word(state) };
            self.shared.rollouts.get_or_create(&label).set(counts.get(&state).copied().unwrap_or(0));
        }
    }

    /// Counts one turn of the control loop.
    pub fn reconciled(&self, result: ReconcileResult, took: Duration) {
        let result = match result {
            ReconcileResult::Settled => "settled",
            ReconcileResult::Acted => "acted",
            ReconcileResult::Conflict => "conflict",
            ReconcileResult::Failed => "failed",
        };
        self.shared.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.shared.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// Counts one write.
    pub fn wrote(&self, kind: WriteKind, verb: WriteVerb, result: WriteResult) {
        let labels = WriteLabels { kind: kind.word(), verb: verb.word(), result: result.word() };
        self.shared.writes.get_or_create(&labels).inc();
    }

    /// Counts one verdict of a gate.
    pub fn evaluated(&self, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Wait => "wait",
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::NoData => "no_data",
            Verdict::Error => "error",
        };
        self.shared.gate_evaluations.get_or_create(&VerdictLabel { verdict }).inc();
    }

    /// Counts one request to a metric server.
    pub fn asked(&self, answer: &Answer, took: Duration) {
        let outcome = match answer {
            Answer::Sample { .. } => "sample",
            Answer::Series(_) => "series",
            Answer::Empty => "empty",
            Answer::ManySeries(_) => "many_series",
            Answer::WrongType(_) => "wrong_type",
            Answer::Warnings(_) => "warnings",
            Answer::Failed(_) => "failed",
        };
        self.shared.metric_requests.get_or_create(&OutcomeLabel { outcome }).inc();
        self.shared.metric_request_seconds.observe(took.as_secs_f64());
    }

    /// Counts one run that ended.
    pub fn run_ended(&self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Completed => "completed",
            Outcome::PartiallyCompleted => "partially_completed",
            Outcome::RolledBack => "rolled_back",
            Outcome::Superseded => "superseded",
            Outcome::Withdrawn => "withdrawn",
        };
        self.shared.runs.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Stores the time from a decision to the answer of the API server to its last write.
    pub fn decision_written(&self, took: Duration) {
        self.shared.decision_to_write_seconds.observe(took.as_secs_f64());
    }

    /// Says whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.shared.leader.set(i64::from(leads));
    }

    /// Counts one panic that was caught.
    pub fn panicked(&self) {
        self.shared.panics.inc();
    }

    /// Counts Events that were not sent because too many were waiting.
    pub fn events_dropped(&self, count: u64) {
        self.shared.events_dropped.inc_by(count);
    }

    /// The OpenMetrics text.
    ///
    /// # Errors
    /// When a metric cannot be written as text; this does not happen with the metrics above.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::with_capacity(8 * 1024);
        text::encode(&mut out, &self.shared.registry)?;
        Ok(out)
    }
}

impl Shared {
    fn register(&mut self) {
        let r = &mut self.registry;
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The version of the operator", build);
        r.register("rollouts", "Rollouts by state", self.rollouts.clone());
        r.register("reconciles", "Turns of the control loop", self.reconciles.clone());
        r.register_with_unit(
            "reconcile",
            "Time of one turn of the control loop",
            Unit::Seconds,
            self.reconcile_seconds.clone(),
        );
        r.register("writes", "Writes to the API server", self.writes.clone());
        r.register("gate_evaluations", "Verdicts of gates", self.gate_evaluations.clone());
        r.register("metric_requests", "Requests to metric servers", self.metric_requests.clone());
        r.register_with_unit(
            "metric_request",
            "Time of one request to a metric server",
            Unit::Seconds,
            self.metric_request_seconds.clone(),
        );
        r.register("runs", "Runs that ended", self.runs.clone());
        r.register_with_unit(
            "decision_to_write",
            "Time from a decision to the answer to its last write",
            Unit::Seconds,
            self.decision_to_write_seconds.clone(),
        );
        r.register("leader", "1 where this process leads", self.leader.clone());
        r.register("panics", "Panics that were caught", self.panics.clone());
        r.register("events_dropped", "Events that were not sent", self.events_dropped.clone());
    }
}

const STATES: [RolloutState; 11] = [
    RolloutState::Idle,
    RolloutState::Progressing,
    RolloutState::Baking,
    RolloutState::Held,
    RolloutState::Paused,
    RolloutState::DegradedMode,
    RolloutState::RollingBack,
    RolloutState::RolledBack,
    RolloutState::Promoting,
    RolloutState::Completed,
    RolloutState::Stalled,
];

const fn state_word(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Idle => "idle",
        RolloutState::Progressing => "progressing",
        RolloutState::Baking => "baking",
        RolloutState::Held => "held",
        RolloutState::Paused => "paused",
        RolloutState::DegradedMode => "degraded_mode",
        RolloutState::RollingBack => "rolling_back",
        RolloutState::RolledBack => "rolled_back",
        RolloutState::Promoting => "promoting",
        RolloutState::Completed => "completed",
        RolloutState::Stalled => "stalled",
    }
}

impl WriteKind {
    const fn word(self) -> &'static str {
        match self {
            WriteKind::Rollout => "rollout",
            WriteKind::RolloutStatus => "rollout_status",
            WriteKind::RolloutRun => "rollout_run",
            WriteKind::Deployment => "deployment",
            WriteKind::ReplicaSet => "replica_set",
            WriteKind::Service => "service",
            WriteKind::HttpRoute => "http_route",
            WriteKind::GrpcRoute => "grpc_route",
            WriteKind::Job => "job",
            WriteKind::ConfigMap => "config_map",
            WriteKind::Secret => "secret",
            WriteKind::Event => "event",
            WriteKind::Lease => "lease",
        }
    }
}

impl WriteVerb {
    const fn word(self) -> &'static str {
        match self {
            WriteVerb::Create => "create",
            WriteVerb::Update => "update",
            WriteVerb::Patch => "patch",
            WriteVerb::Delete => "delete",
        }
    }
}

impl WriteResult {
    const fn word(self) -> &'static str {
        match self {
            WriteResult::Done => "done",
            WriteResult::Conflict => "conflict",
            WriteResult::Refused => "refused",
            WriteResult::Failed => "failed",
        }
    }
}
