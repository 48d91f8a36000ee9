//! `Rollout`: the policy of a release and its live status.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, DegradedMode, Gate, GatesFrom, Health, Hook, RolloutStatus, Span, Traffic};

/// How new versions of some workloads reach their users. Lives in Git, outlives releases.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "palier.dev",
    version = "v1alpha1",
    kind = "Rollout",
    doc = "How new versions of some workloads reach their users, and how far the present one is.",
    namespaced,
    status = "RolloutStatus",
    shortname = "ro",
    category = "all",
    category = "palier",
    printcolumn(json_path = ".status.state", name = "State", type_ = "string"),
    printcolumn(json_path = ".status.phase", name = "Phase", type_ = "string"),
    printcolumn(json_path = ".status.traffic", name = "Traffic", type_ = "string"),
    printcolumn(json_path = ".status.gates", name = "Gates", type_ = "string"),
    printcolumn(json_path = ".status.nextAction.what", name = "Next", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    validation = Rule::new("self.metadata.name.size() <= 52").message("metadata.name can have 52 characters at most: the runs of a Rollout are named after it"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.components.all(c, self.components.exists_one(d, d.name == c.name))", "two components have the same name"))]
#[x_kube(validation = ("self.components.all(c, self.components.exists_one(d, d.workloadRef.name == c.workloadRef.name))", "two components name the same Deployment"))]
#[x_kube(validation = ("self.components.all(c, !has(c.traffic) || self.components.exists_one(d, has(d.traffic) && d.traffic.service == c.traffic.service))", "two components name the same Service: each needs a Service of its own"))]
#[x_kube(validation = ("!has(self.gates) || self.components.all(c, !has(c.gates) || c.gates.all(g, !self.gates.exists(h, h.name == g.name)))", "a gate of a component has the name of a gate of the Rollout: give it another name"))]
#[x_kube(validation = ("!has(self.phases) || self.phases.all(p, self.phases.exists_one(q, q.name == p.name))", "two phases have the same name"))]
#[x_kube(validation = ("!has(self.phases) || self.phases.all(p, self.phases.exists_one(q, q.traffic == p.traffic))", "two phases have the same traffic: each phase must raise it"))]
#[x_kube(validation = ("!has(self.phases) || self.phases.map(p, p.traffic).isSorted()", "phases must rise: order them by traffic, lowest first"))]
#[x_kube(validation = ("!has(self.phases) || self.phases[self.phases.size() - 1].traffic >= 100", "the last phase must reach traffic: 100"))]
#[x_kube(validation = ("!has(self.gates) || self.gates.all(g, self.gates.exists_one(h, h.name == g.name))", "two gates have the same name"))]
#[x_kube(validation = ("self.components.all(c, !has(c.dependsOn) || c.dependsOn.all(d, self.components.exists(o, o.name == d)))", "dependsOn names a component that is not in the list"))]
#[x_kube(validation = ("!has(self.phases) || self.components.all(c, !has(c.phases) || c.phases.all(o, self.phases.exists(p, p.name == o.name)))", "phases of a component name a phase that spec.phases does not have"))]
#[x_kube(validation = ("!has(self.phases) || self.components.all(c, !has(c.phases) || c.phases.all(o, !has(o.skip) || !o.skip || o.name != self.phases[self.phases.size() - 1].name))", "a component cannot skip the last phase"))]
#[x_kube(validation = ("!has(self.hooks) || self.hooks.all(h, self.hooks.exists_one(i, i.name == h.name))", "two hooks have the same name"))]
#[x_kube(validation = ("!has(self.degradedModes) || self.degradedModes.all(m, self.degradedModes.exists_one(n, n.name == m.name))", "two degraded modes have the same name"))]
#[x_kube(validation = ("!has(self.gates) || self.gates.all(g, !has(g.degradedMode) || (has(self.degradedModes) && self.degradedModes.exists(m, m.name == g.degradedMode)))", "a gate names a degraded mode that spec.degradedModes does not have"))]
#[x_kube(validation = ("self.components.all(c, !has(c.gates) || c.gates.all(g, !has(g.degradedMode) || (has(self.degradedModes) && self.degradedModes.exists(m, m.name == g.degradedMode))))", "a gate of a component names a degraded mode that spec.degradedModes does not have"))]
pub struct RolloutSpec {
    /// The workloads of the release.
    #[schemars(length(min = 1, max = 16))]
    pub components: Vec<Component>,
    /// The steps by which traffic is raised; the last one reaches 100.
    #[serde(default = "default_phases")]
    #[schemars(length(min = 1, max = 20))]
    pub phases: Vec<Phase>,
    /// Gates judged for every component in every phase.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub gates: Vec<Gate>,
    /// Gates of templates, judged as those of `gates`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub gates_from: Vec<GatesFrom>,
    /// How canary pods are judged by what becomes of them; every release has this gate.
    #[serde(default)]
    pub health: Health,
    /// The chance that gates which count requests roll back a release that is no worse than stable, over the whole run and all
    /// of them together.
    #[serde(default = "default_alpha")]
    #[schemars(range(min = 0.000_001, max = 0.5))]
    pub alpha: f64,
    /// How often a component may step back in one run before a gate that asks for it takes the component back.
    #[serde(default = "default_max_step_backs")]
    #[schemars(range(min = 0, max = 10))]
    pub max_step_backs: i32,
    /// Ways to keep the service up with some features off; gates with `onFailure: DegradedMode` name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub degraded_modes: Vec<DegradedMode>,
    /// Jobs that run at fixed points of a run, such as a backup before it and a restore after a full rollback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub hooks: Vec<Hook>,
    /// How long the old version of a component stays warm.
    #[serde(default)]
    pub retain: Retain,
    /// How many pods the canaries of all components may have together, at most. A component waits for room before it
    /// grows; stable keeps its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_extra_pods: Option<i32>,
    /// How a changed Deployment is kept from rolling by itself.
    #[serde(default)]
    pub interception: Interception,
    /// What happens to an unfinished run when the Rollout is deleted.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// How long canary pods may take to become ready in a phase before the run is rolled back.
    #[serde(default = "default_progress_deadline")]
    #[x_kube(validation = ("self.matches('[1-9]')", "progressDeadline must be longer than zero"))]
    pub progress_deadline: Span,
    /// How long a version keeps its pods after its traffic was taken away, for requests under way.
    #[serde(default = "default_drain_time")]
    pub drain_time: Span,
    /// How many ended runs are kept as RolloutRun objects.
    #[serde(default = "default_run_history_limit")]
    #[schemars(range(min = 1, max = 100))]
    pub run_history_limit: i32,
}

fn default_phases() -> Vec<Phase> {
    let phase = |name: &str, traffic| Phase {
        name: name.to_owned(),
        traffic,
        bake_time: default_bake_time(),
        min_bake_time: None,
    };
    vec![phase("pilot", 10), phase("half", 50), phase("everyone", 100)]
}
fn default_bake_time() -> Span {
    Span::seconds(600)
}
fn default_progress_deadline() -> Span {
    Span::seconds(600)
}
fn default_drain_time() -> Span {
    Span::seconds(10)
}
const fn default_alpha() -> f64 {
    0.01
}
const fn default_max_step_backs() -> i32 {
    2
}
const fn default_run_history_limit() -> i32 {
    10
}

/// One workload of the release, with its own traffic and gates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.gates) || self.gates.all(g, self.gates.exists_one(h, h.name == g.name))", "two gates of this component have the same name"))]
#[x_kube(validation = ("!has(self.dependsOn) || !(self.name in self.dependsOn)", "a component cannot depend on itself"))]
#[x_kube(validation = ("!has(self.phases) || self.phases.all(p, self.phases.exists_one(q, q.name == p.name))", "two entries of this component's phases have the same name"))]
pub struct Component {
    /// Name, unique in the Rollout.
    #[x_kube(validation = ("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "not a component name: lower-case letters, digits and '-'"))]
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// The Deployment that is released.
    pub workload_ref: WorkloadRef,
    /// Components that have to bake in their last phase before this one starts its first. Those whose template did not
    /// change count as done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 15), inner(length(max = 40)))]
    pub depends_on: Vec<String>,
    /// Phases that are different for this component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub phases: Vec<PhaseOverride>,
    /// How the component receives its traffic; without it the share is the share of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// Configuration that is released, and goes back, with the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Config>,
    /// Gates judged for this component in every phase, besides those of the Rollout.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub gates: Vec<Gate>,
    /// Gates of templates, judged as those of `gates`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub gates_from: Vec<GatesFrom>,
}

/// What is different in one phase for one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseOverride {
    /// Name of the phase in `spec.phases`.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Whether the component goes on without it. The last phase cannot be skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
    /// How long this component bakes in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_time: Option<Span>,
}

/// A Deployment in the Rollout's namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.apiVersion == 'apps/v1' && self.kind == 'Deployment'", "only apps/v1 Deployments can be released"))]
pub struct WorkloadRef {
    /// `apps/v1`.
    #[serde(default = "default_api_version")]
    #[schemars(length(max = 64))]
    pub api_version: String,
    /// `Deployment`.
    #[serde(default = "default_kind")]
    #[schemars(length(max = 64))]
    pub kind: String,
    /// Name of the Deployment.
    #[schemars(length(min = 1, max = 52))]
    pub name: String,
}

fn default_api_version() -> String {
    "apps/v1".to_owned()
}
fn default_kind() -> String {
    "Deployment".to_owned()
}

/// A share of traffic to reach and a time to prove it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Name, unique in the Rollout.
    #[x_kube(validation = ("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "not a phase name: lower-case letters, digits and '-'"))]
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Share of the traffic in per cent, 1 to 100.
    #[x_kube(validation = ("self >= 1 && self <= 100", "traffic is a share in per cent: 1 to 100"))]
    pub traffic: i32,
    /// How long every gate must be satisfied at this share.
    #[serde(default = "default_bake_time")]
    pub bake_time: Span,
    /// The phase may end after this time already, once every gate that compares with stable has shown the canary to be safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_bake_time: Option<Span>,
}

/// How long the old version of a component stays warm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Retain {
    /// Until every component of the run has baked at 100 %: a rollback is instant for all.
    #[default]
    UntilRunEnds,
    /// Until the component itself has baked at 100 %: its canary is adopted then, its pods are no extra pods any more, and
    /// this run cannot take it back.
    UntilBaked,
}

/// How a changed Deployment is kept from rolling by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Interception {
    /// `Admission` where the policy is served and installed, else `AtRest`.
    #[default]
    Auto,
    /// The API server pauses the Deployment in the same write that changes its template.
    Admission,
    /// The Deployment stays paused between runs too.
    AtRest,
}

/// How a deleted Rollout lets go of an unfinished run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// Go back to the stable revision.
    #[default]
    Rollback,
    /// Take the canary revision to the end.
    Promote,
}
