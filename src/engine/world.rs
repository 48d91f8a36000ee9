//! Everything observed about one Rollout at one time, as plain values in a fixed order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::gate_templates::GateTemplates;
use super::statistics::histogram::Bucket;
use crate::api::{RolloutActionSpec, RolloutSpec, RolloutStatus};

/// One observation. Equal worlds give equal plans, byte for byte.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// The Rollout with the latest status: the stored one, or the one kept since in memory.
    pub rollout: RolloutSeen,
    /// What each component of the spec names, by component.
    pub components: BTreeMap<String, ComponentSeen>,
    /// ConfigMaps that were looked at, by name.
    pub config_maps: BTreeMap<String, Look<ConfigMapSeen>>,
    /// What the API server last said to a read or a write of a ConfigMap that it refused, by name. Such a word is good for
    /// as long as a look is; then it is tried again.
    pub refusals: BTreeMap<String, String>,
    /// What the API server last said to a write that it refused, if none was accepted since.
    pub refused: String,
    /// Actions that name this Rollout, oldest first (by creation, then by uid).
    pub actions: Vec<ActionSeen>,
    /// Answers to measurements that arrived since the last decision, in order of arrival.
    pub answers: Vec<Answered>,
    /// Measurements asked and not answered yet, as (component, gate).
    pub asking: BTreeSet<(String, String)>,
    /// Term of this leader.
    pub epoch: i64,
    /// Names of the metric sources that the Rollout's namespace may ask.
    pub metric_sources: BTreeSet<String>,
    /// The templates that the Rollout's gates come from.
    pub gate_templates: GateTemplates,
    /// Whether the admission policy that pauses changed Deployments is served and bound.
    pub policy_active: bool,
    /// Whether the admission policy that gives pods copies of their configuration is served and bound.
    pub config_policy_active: bool,
    /// What hooks are made of.
    pub hooks: HooksSeen,
}

/// What hooks are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HooksSeen {
    /// Whether this controller runs hooks at all; without, it sees no Jobs.
    pub enabled: bool,
    /// CronJobs that were looked at, by name.
    pub cron_jobs: BTreeMap<String, Look<CronJobSeen>>,
    /// Jobs that carry our label with this Rollout's name, by name.
    pub jobs: BTreeMap<String, JobSeen>,
    /// Jobs that the API server refused to create, by name, with its words.
    pub refused: BTreeMap<String, String>,
}

/// A CronJob.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CronJobSeen {
    /// Identity and version.
    pub at: Seen,
    /// `spec.suspend`.
    pub suspended: bool,
}

/// A Job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSeen {
    /// Identity and version.
    pub at: Seen,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether our finalizer is on it: it cannot vanish unseen.
    pub is_kept: bool,
    /// Value of the label `palier.dev/run`; 0 if it has none.
    pub run: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// What its conditions say.
    pub state: JobState,
}

/// How far a Job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Neither of the others; its pods may not have started either.
    Running,
    /// The condition `Complete`.
    Complete,
    /// The condition `Failed`, with its message.
    Failed(String),
}

/// The Rollout itself.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutSeen {
    /// Its namespace.
    pub namespace: String,
    /// Identity and version.
    pub at: Seen,
    /// Generation of the spec.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it carries our finalizer.
    pub has_finalizer: bool,
    /// The policy.
    pub spec: RolloutSpec,
    /// The memory.
    pub status: RolloutStatus,
}

/// Identity and version of an object: the precondition of every write on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its uid: a same-named object with another uid is another object.
    pub uid: String,
    /// The version that was looked at.
    pub resource_version: String,
}

/// Something that may not have been looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Look<T> {
    /// Not looked at; nothing may be concluded.
    #[default]
    Unknown,
    /// Looked at: it is not there.
    Missing,
    /// Looked at: there it is.
    Found(T),
}

impl<T> Look<T> {
    /// The thing, if it was found.
    pub fn found(&self) -> Option<&T> {
        match self {
            Look::Found(thing) => Some(thing),
            Look::Unknown | Look::Missing => None,
        }
    }

    /// Whether it is known not to be there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Look::Missing)
    }
}

/// What one component names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ComponentSeen {
    /// The Deployment.
    pub deployment: Look<DeploymentSeen>,
    /// Another Rollout that names the same Deployment and came first.
    pub claimed_by: Option<String>,
    /// ReplicaSets known: every labelled one, and those of the Deployment when they were asked for. By name.
    pub replica_sets: Vec<ReplicaSetSeen>,
    /// Whether `replica_sets` holds all ReplicaSets that the Deployment's selector matches.
    pub replica_sets_complete: bool,
    /// The Service of the component's callers.
    pub service: Look<ServiceSeen>,
    /// The Service of the canary.
    pub canary_service: Look<ServiceSeen>,
    /// A pod that the Service selects and the Deployment does not.
    pub foreign_pod: Look<String>,
    /// The routes of the spec, in its order: HTTPRoutes, then GRPCRoutes.
    pub routes: Vec<(RouteKind, String, Look<RouteSeen>)>,
    /// Its configuration; missing if Palier may not look at it.
    pub config: Look<ConfigSeen>,
    /// Pods of the canary's ReplicaSet.
    pub canary_pods: Look<PodsSeen>,
    /// Pods of stable's ReplicaSet.
    pub stable_pods: Look<PodsSeen>,
}

/// A Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentSeen {
    /// Identity and version.
    pub at: Seen,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Value of the label `palier.dev/rollout`.
    pub rollout_label: Option<String>,
    /// `spec.paused`.
    pub paused: bool,
    /// Whether the pause is ours: it carries the annotation `palier.dev/intercepted`.
    pub is_intercepted: bool,
    /// `spec.replicas`.
    pub replicas: i32,
    /// Whether `spec.strategy.type` is `Recreate`.
    pub recreates: bool,
    /// `spec.selector.matchLabels`.
    pub selector: BTreeMap<String, String>,
    /// Labels of the pod template.
    pub template_labels: BTreeMap<String, String>,
    /// Hash of the template without the restart annotation.
    pub revision: String,
    /// Hash of the template with everything in it.
    pub template_hash: String,
    /// ConfigMaps and Secrets that the template refers to.
    pub config_refs: BTreeSet<(ConfigKind, String)>,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// `status.replicas`: pods of all its ReplicaSets.
    pub total_replicas: i32,
    /// `status.updatedReplicas`: pods of the ReplicaSet that matches the template.
    pub updated_replicas: i32,
    /// `status.availableReplicas`.
    pub available_replicas: i32,
}

impl DeploymentSeen {
    /// Whether every pod of the Deployment's own is of the present template: there is no other version left. A status
    /// that speaks of the template before says nothing about it.
    #[must_use]
    pub fn has_rolled(&self) -> bool {
        self.observed_generation >= self.generation
            && self.updated_replicas > 0
            && self.updated_replicas == self.total_replicas
    }

    /// Whether the Deployment controller has finished: all pods are of the present template and available.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.observed_generation >= self.generation
            && self.updated_replicas == self.replicas
            && self.total_replicas == self.replicas
            && self.available_replicas == self.replicas
    }
}

/// A ReplicaSet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplicaSetSeen {
    /// Identity and version.
    pub at: Seen,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it carries our label with this Rollout's name.
    pub is_labelled: bool,
    /// Uid of the controlling owner.
    pub owner_uid: Option<String>,
    /// Whether its template carries our mark.
    pub is_retired: bool,
    /// Value of its `pod-template-hash` label.
    pub pod_hash: String,
    /// Hash of its template without the restart annotation and the `pod-template-hash` label.
    pub revision: String,
    /// Hash of its template without the `pod-template-hash` label.
    pub template_hash: String,
    /// `spec.replicas`.
    pub replicas: i32,
    /// The annotation `deployment.kubernetes.io/desired-replicas`.
    pub desired_annotation: Option<i32>,
    /// The annotation `deployment.kubernetes.io/revision`; 0 if none.
    pub history_revision: i64,
    /// Whether `status` speaks of the present spec.
    pub is_observed: bool,
    /// `status.replicas`: pods that exist and are not being deleted.
    pub current: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// `status.availableReplicas`.
    pub available: i32,
}

/// A Service with the endpoints behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceSeen {
    /// Identity and version.
    pub at: Seen,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Uid of the controlling owner.
    pub owner_uid: Option<String>,
    /// Value of the label `palier.dev/rollout`.
    pub rollout_label: Option<String>,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// Ready endpoints by the name of the ReplicaSet whose pods they are; `Unknown` while its slices are not watched.
    pub ready: Look<BTreeMap<String, i32>>,
}

/// A ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMapSeen {
    /// Identity and version.
    pub at: Seen,
    /// Whether it cannot be changed any more.
    pub is_immutable: bool,
    /// Its texts by key.
    pub data: BTreeMap<String, String>,
}

/// The kind of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// `gateway.networking.k8s.io/v1` HTTPRoute.
    Http,
    /// `gateway.networking.k8s.io/v1` GRPCRoute.
    Grpc,
}

impl RouteKind {
    /// The kind as the API server writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RouteKind::Http => "HTTPRoute",
            RouteKind::Grpc => "GRPCRoute",
        }
    }
}

/// A route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSeen {
    /// Identity and version.
    pub at: Seen,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What its gateways say of its present generation.
    pub acceptance: Acceptance,
    /// `backendRefs` of each of `spec.rules`, as stored.
    pub backends: Vec<Vec<Value>>,
}

/// What the gateways say of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Not all of them have spoken of the present generation.
    Pending,
    /// All accept it, and resolve its references.
    Accepted,
    /// One refuses it, with its words.
    Refused(String),
}

/// The kind of an object that holds configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigKind {
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret.
    Secret,
}

impl ConfigKind {
    /// The kind as the API server writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ConfigKind::ConfigMap => "ConfigMap",
            ConfigKind::Secret => "Secret",
        }
    }

    /// The kind as a key of a status and of the admission policy's map.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ConfigKind::ConfigMap => "configMap",
            ConfigKind::Secret => "secret",
        }
    }
}

/// The configuration of a component, as one look found it. No value is in here, only hashes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigSeen {
    /// When the look began.
    pub at: Timestamp,
    /// The objects that [`super::config::sources`] names.
    pub sources: BTreeMap<(ConfigKind, String), Content>,
    /// Copies that carry the labels of this component.
    pub copies: Vec<CopySeen>,
    /// What the admission policy reads.
    pub map: Option<MapSeen>,
    /// Pods of the stable and the canary revision with another configuration than the revision's, by pod hash.
    pub strays: BTreeMap<String, Strays>,
}

/// What an object of the user holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// It is not there.
    Missing,
    /// It cannot be copied, for this reason.
    Refused(String),
    /// Something; a copy of it has this name.
    Copy(String),
}

/// A copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySeen {
    /// Its kind.
    pub kind: ConfigKind,
    /// Identity and version.
    pub at: Seen,
    /// Uid of the controlling owner.
    pub owner_uid: Option<String>,
}

/// The ConfigMap that tells the admission policy which pods get which copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSeen {
    /// Identity and version.
    pub at: Seen,
    /// Uids of its owners.
    pub owner_uids: BTreeSet<String>,
    /// What it says.
    pub data: BTreeMap<String, String>,
}

/// Pods of one revision that have another configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// One that mounts the user's own objects.
    pub unbound: Option<String>,
    /// One that mounts copies of another configuration.
    pub other: Option<String>,
}

/// A person's action.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionSeen {
    /// Its uid.
    pub uid: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it asks.
    pub action: RolloutActionSpec,
}

/// An answer to a [`super::Measurement`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The component of the measurement.
    pub component: String,
    /// The gate of the measurement.
    pub gate: String,
    /// The evidence key of the measurement.
    pub key: String,
    /// When the answer arrived.
    pub at: Timestamp,
    /// The answer.
    pub answer: Answer,
}

/// What a metric server said.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One number (which may be NaN or infinite), and the time it is a sample of.
    Sample {
        /// The number.
        value: f64,
        /// The time of the sample by the server's clock.
        sampled_at: Timestamp,
    },
    /// Series, for each query of the question in its order.
    Series(Vec<Vec<Line>>),
    /// A good answer with nothing in it.
    Empty,
    /// More than one series.
    ManySeries(usize),
    /// An answer of another type, such as a matrix or a string.
    WrongType(String),
    /// An answer with warnings: it may be partial.
    Warnings(String),
    /// No proper answer: refused, timed out, too large, not JSON, an error status. In words that hold no answer text.
    Failed(String),
}

/// One series of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Value of the label `pod`; empty without one.
    pub pod: String,
    /// Value of the label `le`: the upper bound of a bucket of a classic histogram.
    pub upper: Option<f64>,
    /// What was read, the oldest first. A moment at which there was nothing is not in it.
    pub points: Vec<(Timestamp, Reading)>,
}

/// What a series says at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A number.
    Number(f64),
    /// The buckets of a native histogram, sorted by their lower bounds.
    Buckets(Vec<Bucket>),
}

/// Pods of one revision of a component, as one look found them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodsSeen {
    /// When the look began.
    pub at: Timestamp,
    /// The pods, 500 at most, or why they cannot be listed.
    pub pods: Result<Vec<PodSeen>, String>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Whether its condition `Ready` is true.
    pub is_ready: bool,
    /// Whether it is being deleted.
    pub is_leaving: bool,
    /// Why the cluster has taken it away (evicted, preempted, its node is lost); empty if it has not.
    pub taken: String,
    /// Why it has no node; empty if it has one.
    pub unscheduled: String,
    /// Its containers, those that start before the others first.
    pub containers: Vec<ContainerSeen>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSeen {
    /// Its name.
    pub name: String,
    /// Whether it is ready, or has ended well before the others start.
    pub is_ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// The kubelet's word for what it waits for; empty while it does not wait.
    pub waiting: String,
    /// The kubelet's sentence to that.
    pub says: String,
    /// How it ended last: the kubelet's word, and the exit code.
    pub ended: Option<(String, i32)>,
}
