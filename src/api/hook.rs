//! Hooks: Jobs that run at fixed points of a run, such as a backup before it and a restore after a full rollback.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// A Job made from a CronJob, as `kubectl create job --from` does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.backup) || !self.backup || self.at == 'BeforeRun'", "backup goes with at: BeforeRun"))]
#[x_kube(validation = ("!has(self.phases) || self.at == 'BeforePhase' || self.at == 'AfterPhase'", "phases goes with at: BeforePhase or AfterPhase"))]
#[x_kube(validation = ("!has(self.components) || self.at == 'BeforePhase' || self.at == 'AfterPhase' || self.at == 'OnPartialRollback'", "components goes with hooks that run for a component: BeforePhase, AfterPhase, OnPartialRollback"))]
pub struct Hook {
    /// Name, unique in the Rollout.
    #[x_kube(validation = ("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "not a hook name: lower-case letters, digits and '-'"))]
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// The point of a run at which it is started. Hooks of one point run one after the other, in the order of the list.
    pub at: HookPoint,
    /// The suspended CronJob whose Job template is run.
    pub cron_job_ref: CronJobRef,
    /// How long one attempt may take, from the creation of its Job.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = ("self.matches('[1-9]')", "timeout must be longer than zero"))]
    pub timeout: Span,
    /// How often a failed attempt is tried again, each with a new Job.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub retries: i32,
    /// What happens when the last attempt has failed.
    #[serde(default)]
    pub on_failure: HookFailure,
    /// At `BeforeRun`: the hook makes the backup whose name the rollback hooks receive as `PALIER_BACKUP`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backup: bool,
    /// At `BeforePhase` and `AfterPhase`: only for these phases; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 40)))]
    pub phases: Vec<String>,
    /// At `BeforePhase`, `AfterPhase` and `OnPartialRollback`: only for these; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 40)))]
    pub components: Vec<String>,
}

fn default_timeout() -> Span {
    Span::seconds(600)
}

/// A CronJob in the Rollout's namespace. It has to be suspended: its schedule is not what runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CronJobRef {
    /// Name of the CronJob.
    #[schemars(length(min = 1, max = 52))]
    pub name: String,
}

/// What a hook that failed for good asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HookFailure {
    /// A run on its way forward is rolled back: in full at `BeforeRun`, else the component with all that depends on it.
    /// In a rollback and at `AfterRun` it is the same as `Hold`.
    #[default]
    Abort,
    /// The run stays where it is and the hook is tried again every five minutes, until it succeeds or a person promotes.
    Hold,
    /// Say it, go on.
    Continue,
}

/// A point of a run at which hooks are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum HookPoint {
    /// Once, before any canary pod is started.
    #[default]
    BeforeRun,
    /// For each component, before its traffic is raised to a phase.
    BeforePhase,
    /// For each component, when it has earned a phase, before the next one.
    AfterPhase,
    /// For each component that was taken back after it had begun, while others went on, when stable serves again.
    OnPartialRollback,
    /// Once, when a full rollback has brought all traffic back to stable and the drain time is over. Not when another
    /// template superseded the run or the former one was put back, nor when only the backup had been made.
    OnFullRollback,
    /// Once, at the end of the run, however it ended.
    AfterRun,
}

/// How far a hook is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HookState {
    /// Its Job is to be created, or runs.
    #[default]
    Running,
    /// The present attempt failed; another one follows.
    Retrying,
    /// It succeeded.
    Succeeded,
    /// It failed for good.
    Failed,
}

/// One hook of a run: stored before its Job is created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookStatus {
    /// Where in the run.
    pub point: HookPoint,
    /// Name of the hook.
    #[schemars(length(max = 40))]
    pub name: String,
    /// The component it is for; absent for the whole run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 40))]
    pub component: String,
    /// The phase it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 40))]
    pub phase: String,
    /// How far it is.
    pub state: HookState,
    /// The present attempt, from 1.
    pub attempt: i32,
    /// Name of the Job of the present attempt.
    #[schemars(length(max = 63))]
    pub job: String,
    /// When the present state began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When the Job of the present attempt was created; absent until it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Why it failed, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub message: String,
}
