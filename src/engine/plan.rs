//! What is to be done: few writes in a proven order, each with its precondition.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::{Preset, ReleasedComponent, RolloutRunStatus, RolloutStatus, Span};

use super::Weight;
use super::world::{ConfigKind, RouteKind, Seen};

/// The outcome of one decision.
///
/// The edge acts in this order: the status when `persist` is set (the write-ahead intent; if that write fails nothing
/// else is done), then `writes` one after the other (the first failure stops), then `happened` as Events, then
/// `measure`. After any write it observes and decides again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The new status. It becomes the status of the next World when it was stored (`persist`), or, kept in memory
    /// only, when every write of the plan succeeded: what it says about those writes would be untrue otherwise.
    pub status: RolloutStatus,
    /// Whether the status must be stored now.
    pub persist: bool,
    /// Writes, in order.
    pub writes: Vec<Write>,
    /// Queries that are due.
    pub measure: Vec<Measurement>,
    /// What the engine has to see before it can go on: the edge looks (one live read each) and decides again. A look
    /// stays good for 30 seconds or until the next write on what was looked at; a Rollout at rest asks for none.
    pub look: Vec<Inquiry>,
    /// When to decide again if nothing changes before.
    pub wake_at: Option<Timestamp>,
    /// What happened, for Events, the log and metrics; only ever set together with `persist`.
    pub happened: Vec<Happening>,
}

/// One conditional write. Each is refused by the API server unless the object is still the one that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Put our finalizer on the Rollout.
    AddFinalizer,
    /// Take our finalizer off the Rollout.
    RemoveFinalizer,
    /// Set or remove (`None`) the label `palier.dev/rollout` of a Deployment.
    LabelDeployment {
        /// The Deployment.
        deployment: Seen,
        /// The label's value.
        rollout: Option<String>,
    },
    /// Set `spec.paused` of a Deployment, and with it the annotation `palier.dev/intercepted`.
    PauseDeployment {
        /// The Deployment.
        deployment: Seen,
    },
    /// Take our pause off a Deployment, with its annotation. Its spec must still be the one that was looked at; that its
    /// status changes all the time does not matter.
    ResumeDeployment {
        /// The Deployment.
        deployment: Seen,
        /// Its `metadata.generation`.
        generation: i64,
    },
    /// Create the canary ReplicaSet from the template that is in the Deployment now, owned by the Rollout.
    CreateReplicaSet {
        /// Name of the component, for the label.
        component: String,
        /// The Deployment; its uid must still be this one.
        deployment: Seen,
        /// The template's revision hash: it must still be this one.
        revision: String,
        /// Name of the ReplicaSet.
        name: String,
        /// Value of the `pod-template-hash` label.
        pod_hash: String,
        /// `spec.replicas`.
        replicas: i32,
    },
    /// Set the size of a ReplicaSet, and `desired-replicas` to the Deployment's size.
    ScaleReplicaSet {
        /// The ReplicaSet.
        replica_set: Seen,
        /// `spec.replicas`.
        replicas: i32,
        /// The annotation `deployment.kubernetes.io/desired-replicas`.
        desired: i32,
    },
    /// Remove our owner reference, so that the Deployment controller adopts the ReplicaSet. In the same write its
    /// `desired-replicas` annotation is set: with it the controller finds the ReplicaSet saturated and scales no
    /// canary pod.
    ReleaseReplicaSet {
        /// The ReplicaSet.
        replica_set: Seen,
        /// The annotation `deployment.kubernetes.io/desired-replicas`.
        desired: i32,
    },
    /// Delete a ReplicaSet; it goes when its pods are gone (foreground propagation), so that its absence means that no
    /// pod of it is left.
    DeleteReplicaSet {
        /// The ReplicaSet.
        replica_set: Seen,
    },
    /// Put a mark on the template of a ReplicaSet, or take it off: with it no Deployment's template is equal to it. Its
    /// pods stay as they are.
    RetireReplicaSet {
        /// The ReplicaSet.
        replica_set: Seen,
        /// Whether it is to be marked.
        retired: bool,
    },
    /// Remove our labels from a ReplicaSet that is the Deployment's own by now.
    UnlabelReplicaSet {
        /// The ReplicaSet.
        replica_set: Seen,
    },
    /// Create the canary's Service: a copy of the component's Service that selects `pod_hash`, owned by the Rollout.
    CreateCanaryService {
        /// Name of the component, for the label.
        component: String,
        /// The component's Service.
        service: Seen,
        /// Name of the new Service.
        name: String,
        /// Value of the `pod-template-hash` selector key.
        pod_hash: String,
    },
    /// Add `pod-template-hash` to the Service's selector and our label to the Service, or remove both (`None`).
    PinService {
        /// The Service.
        service: Seen,
        /// The value of the selector key.
        pod_hash: Option<String>,
    },
    /// Delete a Service.
    DeleteService {
        /// The Service.
        service: Seen,
    },
    /// Replace the `backendRefs` of some rules of a route; nothing else of it.
    SetBackends {
        /// Its kind.
        kind: RouteKind,
        /// The route.
        route: Seen,
        /// Rule index and the new list, in ascending order.
        rules: Vec<(usize, Vec<Value>)>,
        /// The weight that the canary gets by it.
        weight: Weight,
    },
    /// Set or remove (`None`) keys of a ConfigMap; nothing else of it.
    SetConfigMap {
        /// The ConfigMap.
        config_map: Seen,
        /// Whether it holds no key yet.
        is_empty: bool,
        /// Key and new text, in ascending order.
        changes: Vec<(String, Option<String>)>,
    },
    /// Create an immutable copy of a ConfigMap or Secret, owned by the Rollout.
    CreateCopy {
        /// Name of the component, for the label.
        component: String,
        /// Kind of both.
        kind: ConfigKind,
        /// Name of the user's object.
        source: String,
        /// Name of the copy; the object must still hold what it is named after.
        name: String,
    },
    /// Create or change the ConfigMap that tells the admission policy which pods get which copies.
    PutConfigMap {
        /// Name of the component.
        component: String,
        /// Its name.
        name: String,
        /// The one that was looked at; `None` creates one.
        seen: Option<Seen>,
        /// All that it is to say.
        data: BTreeMap<String, String>,
    },
    /// Delete a copy, or the admission policy's map.
    DeleteConfig {
        /// Name of the component.
        component: String,
        /// Its kind.
        kind: ConfigKind,
        /// The object.
        object: Seen,
    },
    /// Give a copy, or the admission policy's map, to the Deployment: it stays for as long as the Deployment does.
    HandConfig {
        /// Name of the component.
        component: String,
        /// Its kind.
        kind: ConfigKind,
        /// The object.
        object: Seen,
        /// The Deployment.
        deployment: Seen,
    },
    /// Create the record of a run.
    CreateRun {
        /// Its name.
        name: String,
        /// Number of the run.
        number: i64,
        /// When it started.
        started_at: Timestamp,
        /// What is released.
        components: Vec<ReleasedComponent>,
    },
    /// Store how a run went; the record is created first if it is not there.
    RecordRun {
        /// Its name.
        name: String,
        /// Number of the run.
        number: i64,
        /// When it started.
        started_at: Timestamp,
        /// What was released.
        components: Vec<ReleasedComponent>,
        /// How it went.
        status: Box<RolloutRunStatus>,
    },
    /// Create the Job of one attempt of a hook from the template of its CronJob, owned by the record of the run (which is
    /// created first if it is not there). One that the API server refuses appears in the World as refused.
    CreateJob {
        /// Its name.
        name: String,
        /// The component; empty for the whole run.
        component: String,
        /// The CronJob; its uid must still be this one.
        cron_job: Seen,
        /// What every container gets as environment.
        environment: Vec<(&'static str, String)>,
        /// Name of the record of the run.
        run: String,
        /// Number of the run.
        number: i64,
        /// When the run started.
        started_at: Timestamp,
        /// What is released.
        components: Vec<ReleasedComponent>,
    },
    /// Take our finalizer off a Job whose attempt is stored as started.
    ReleaseJob {
        /// The Job.
        job: Seen,
    },
    /// Delete a Job; it goes when its pods are gone (foreground propagation).
    DeleteJob {
        /// The Job.
        job: Seen,
    },
    /// Delete the record of an old run.
    DeleteRun {
        /// Its name.
        name: String,
    },
}

impl Write {
    /// The uid of the object that is written, if it exists already.
    #[must_use]
    pub fn object_uid(&self) -> Option<&str> {
        let seen = match self {
            Write::LabelDeployment { deployment, .. }
            | Write::PauseDeployment { deployment }
            | Write::ResumeDeployment { deployment, .. } => deployment,
            Write::ScaleReplicaSet { replica_set, .. }
            | Write::ReleaseReplicaSet { replica_set, .. }
            | Write::DeleteReplicaSet { replica_set }
            | Write::RetireReplicaSet { replica_set, .. }
            | Write::UnlabelReplicaSet { replica_set } => replica_set,
            Write::PinService { service, .. } | Write::DeleteService { service } => service,
            Write::SetBackends { route, .. } => route,
            Write::DeleteJob { job } | Write::ReleaseJob { job } => job,
            Write::SetConfigMap { config_map, .. } => config_map,
            Write::PutConfigMap { seen: Some(seen), .. } => seen,
            Write::DeleteConfig { object, .. } | Write::HandConfig { object, .. } => object,
            Write::AddFinalizer
            | Write::RemoveFinalizer
            | Write::CreateReplicaSet { .. }
            | Write::CreateCanaryService { .. }
            | Write::CreateCopy { .. }
            | Write::PutConfigMap { seen: None, .. }
            | Write::CreateRun { .. }
            | Write::RecordRun { .. }
            | Write::CreateJob { .. }
            | Write::DeleteRun { .. } => return None,
        };
        Some(&seen.uid)
    }
}

/// A live read that the engine asks for because the World says [`super::world::Look::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inquiry {
    /// `GET` the Deployment of a component.
    Deployment(String),
    /// `LIST` the ReplicaSets that the selector of the component's Deployment matches.
    ReplicaSets(String),
    /// `GET` the Service of the component's callers.
    Service(String),
    /// `GET` the Service of the component's canary.
    CanaryService(String),
    /// `LIST` the pods that the component's Service selects, and name one that the Deployment does not select.
    ForeignPod(String),
    /// `GET` the CronJob of this name.
    CronJob(String),
    /// `GET` the ConfigMap of this name.
    ConfigMap(String),
    /// `GET` the objects that hold the component's configuration and the admission policy's map, `LIST` its copies and
    /// pods with another configuration.
    Config(String),
    /// `LIST` the pods of the component's canary.
    CanaryPods(String),
    /// `LIST` the pods of the component's stable revision.
    StablePods(String),
}

/// A query that is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measurement {
    /// The component it is for.
    pub component: String,
    /// The gate it is for.
    pub gate: String,
    /// What the answer will be evidence for.
    pub key: String,
    /// Name of the MetricSource.
    pub source: String,
    /// What is asked.
    pub ask: Ask,
}

/// What a metric server is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// One number, now: PromQL with its variables replaced.
    Number(String),
    /// Which of these presets have series at `at`: for each PromQL with its variables replaced.
    Which {
        /// The presets.
        presets: Vec<Preset>,
        /// Their queries, in the same order.
        queries: Vec<String>,
        /// The moment.
        at: Timestamp,
    },
    /// Series of counters or histograms: their values at `from`, and from there every `step` until `until`.
    Series {
        /// PromQL with its variables replaced.
        queries: Vec<String>,
        /// The first moment.
        from: Timestamp,
        /// The last moment.
        until: Timestamp,
        /// From one moment to the next.
        step: Span,
    },
}

impl Ask {
    /// The queries.
    #[must_use]
    pub fn queries(&self) -> &[String] {
        match self {
            Self::Number(query) => std::slice::from_ref(query),
            Self::Which { queries, .. } | Self::Series { queries, .. } => queries,
        }
    }
}

/// Something that happened: becomes an Event, a log line, a timeline entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The component; empty for the whole Rollout.
    pub component: String,
    /// One word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
}

/// The closed set of Event reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A run started.
    RunStarted,
    /// A weight is in force and its bake began.
    PhaseReached,
    /// A phase was earned.
    PhaseEarned,
    /// A gate tripped.
    GateFailed,
    /// There is no evidence; the run holds.
    EvidenceMissing,
    /// Evidence is back.
    EvidenceBack,
    /// A component went one phase back.
    SteppedBack,
    /// A rollback began.
    RollbackStarted,
    /// The rollback ended.
    RolledBack,
    /// A component that only went back with another is released with its next template.
    ReleasedAgain,
    /// The canary revisions are being adopted.
    Promoting,
    /// The run reached its end.
    Completed,
    /// The run reached its end without some of its components.
    PartiallyCompleted,
    /// Another template came.
    Superseded,
    /// The former template was put back.
    Withdrawn,
    /// A person's action was obeyed.
    ActionTaken,
    /// A person's action was refused.
    ActionRefused,
    /// The switches of a degraded mode are being set.
    DegradedModeEntered,
    /// They are back as they were, or as somebody else has made them since.
    DegradedModeLeft,
    /// Somebody else changed a route, a Service or a switch of ours.
    ForeignChange,
    /// A changed Deployment rolls by itself.
    NotIntercepted,
    /// The spec or the cluster does not allow a run.
    Stalled,
    /// That is mended.
    Recovered,
    /// Canary pods were not ready in time.
    ProgressDeadlineExceeded,
    /// The Rollout let go of its workloads.
    HandedBack,
    /// A hook has done its work.
    HookSucceeded,
    /// An attempt of a hook failed.
    HookFailed,
}

impl Reason {
    /// The word of the Event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::RunStarted => "RunStarted",
            Reason::PhaseReached => "PhaseReached",
            Reason::PhaseEarned => "PhaseEarned",
            Reason::GateFailed => "GateFailed",
            Reason::EvidenceMissing => "EvidenceMissing",
            Reason::EvidenceBack => "EvidenceBack",
            Reason::SteppedBack => "SteppedBack",
            Reason::RollbackStarted => "RollbackStarted",
            Reason::RolledBack => "RolledBack",
            Reason::ReleasedAgain => "ReleasedAgain",
            Reason::Promoting => "Promoting",
            Reason::Completed => "Completed",
            Reason::PartiallyCompleted => "PartiallyCompleted",
            Reason::Superseded => "Superseded",
            Reason::Withdrawn => "Withdrawn",
            Reason::ActionTaken => "ActionTaken",
            Reason::ActionRefused => "ActionRefused",
            Reason::DegradedModeEntered => "DegradedModeEntered",
            Reason::DegradedModeLeft => "DegradedModeLeft",
            Reason::ForeignChange => "ForeignChange",
            Reason::NotIntercepted => "NotIntercepted",
            Reason::Stalled => "Stalled",
            Reason::Recovered => "Recovered",
            Reason::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
            Reason::HandedBack => "HandedBack",
            Reason::HookSucceeded => "HookSucceeded",
            Reason::HookFailed => "HookFailed",
        }
    }

    /// Whether the Event is of type `Warning`.
    #[must_use]
    pub const fn is_warning(self) -> bool {
        matches!(
            self,
            Reason::GateFailed
                | Reason::EvidenceMissing
                | Reason::SteppedBack
                | Reason::RollbackStarted
                | Reason::PartiallyCompleted
                | Reason::RolledBack
                | Reason::ActionRefused
                | Reason::DegradedModeEntered
                | Reason::ForeignChange
                | Reason::NotIntercepted
                | Reason::Stalled
                | Reason::ProgressDeadlineExceeded
                | Reason::HookFailed
        )
    }
}
