//! Jobs, and the CronJobs that they are made from.

use jiff::Timestamp;
use serde_json::Value;

use crate::adapters::kube::row::{View, Whole};
use crate::api::names::{JOB_FINALIZER, ROLLOUT_LABEL, RUN_LABEL};
use crate::engine::world::{CronJobSeen, JobSeen, JobState, Seen};

use super::text;

/// What is kept of a Job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// Value of the label `palier.dev/rollout`.
    pub rollout: Option<String>,
    /// The rest.
    pub seen: JobSeen,
}

impl View for JobView {
    const GROUP: &'static str = "batch";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Job";
    const PLURAL: &'static str = "jobs";

    fn of(whole: Whole) -> Result<Self, String> {
        let Whole { metadata, status, .. } = whole;
        let run = metadata.labels.get(RUN_LABEL).and_then(|run| run.parse().ok());
        Ok(Self {
            rollout: metadata.labels.get(ROLLOUT_LABEL).cloned(),
            seen: JobSeen {
                at: metadata.seen(),
                deleting: metadata.is_deleting(),
                is_kept: metadata.finalizers.iter().any(|it| it == JOB_FINALIZER),
                run: run.unwrap_or(0),
                created_at: metadata.creation_timestamp.unwrap_or(Timestamp::UNIX_EPOCH),
                state: state_of(&status.json("status")?),
            },
        })
    }

    fn at(&self) -> &Seen {
        &self.seen.at
    }

    fn rollout(&self) -> Option<&str> {
        self.rollout.as_deref()
    }
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions>
fn state_of(status: &Value) -> JobState {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let holds = |kind: &str| {
        let is_it = |it: &&Value| text(it, "/type") == Some(kind) && text(it, "/status") == Some("True");
        conditions.into_iter().flatten().find(is_it)
    };
    match (holds("Complete"), holds("Failed")) {
        (Some(_), _) => JobState::Complete,
        (None, Some(failed)) => {
            let words = text(failed, "/message").or_else(|| text(failed, "/reason"));
            JobState::Failed(words.unwrap_or_default().to_owned())
        }
        (None, None) => JobState::Running,
    }
}

/// What is kept of a CronJob. CronJobs are read and never watched.
#[derive(Clone, Debug, PartialEq)]
pub struct CronJobView(pub CronJobSeen);

impl View for CronJobView {
    const GROUP: &'static str = "batch";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "CronJob";
    const PLURAL: &'static str = "cronjobs";

    fn of(whole: Whole) -> Result<Self, String> {
        let suspended = whole.spec.json("spec")?.get("suspend").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self(CronJobSeen { at: whole.metadata.seen(), suspended }))
    }

    fn at(&self) -> &Seen {
        &self.0.at
    }

    fn rollout(&self) -> Option<&str> {
        None
    }
}
