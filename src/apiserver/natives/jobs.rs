//! The Job controller, as far as the Jobs of hooks need it: one pod after the other, until one succeeds or too many failed.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/>

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::fields::{condition, controller, is_deleting, is_ready, name, number, text, time, uid, written};
use super::hand::{Hand, Outcome};
use super::replica_sets::{check_quota, pod_of};
use crate::apiserver::{Key, Kind, Part, Refusal};

/// How long the next pod waits after the first that failed: doubled each time, up to ten minutes.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy>
const BACK_OFF_SECONDS: i64 = 10;
const BACK_OFF_SECONDS_MAX: i64 = 600;

/// The pods of a Job.
struct Pods {
    active: Vec<Arc<Value>>,
    succeeded: usize,
    failed: usize,
    /// When the last of them failed.
    failed_at: Option<Timestamp>,
}

/// Does for one Job what is to do.
pub(super) fn sync(hand: &mut Hand<'_>, key: &Key, dice: &mut Dice, quota: Option<usize>) -> Outcome {
    let Some(job) = hand.get(key) else { return Ok(None) };
    let is_over = ["Complete", "Failed"].iter().any(|kind| condition(&job["status"], kind).is_some());
    if is_over || is_deleting(&job) || job["spec"]["suspend"] == true {
        return Ok(None);
    }
    let at = hand.at();
    let pods = pods_of(hand, key, &job);
    let started = time(&job, "/status/startTime").unwrap_or(at);
    let deadline = number(&job, "/spec/activeDeadlineSeconds");
    let deadline = deadline.and_then(|it| started.checked_add(SignedDuration::from_secs(it)).ok());
    let limit = usize::try_from(number(&job, "/spec/backoffLimit").unwrap_or(6)).unwrap_or(0);
    if pods.succeeded > 0 {
        let words = ["CompletionsReached", "Reached expected number of succeeded pods"];
        store(hand, key, &pods, started, Some((true, words)))?;
        return Ok(None);
    }
    let failure = if pods.failed > limit {
        Some(["BackoffLimitExceeded", "Job has reached the specified backoff limit"])
    } else if deadline.is_some_and(|deadline| deadline <= at) {
        Some(["DeadlineExceeded", "Job was active longer than specified deadline"])
    } else {
        None
    };
    if let Some(words) = failure {
        end(hand, &pods)?;
        let pods = Pods { active: Vec::new(), failed: pods.failed + pods.active.len(), ..pods };
        store(hand, key, &pods, started, Some((false, words)))?;
        return Ok(None);
    }
    let next = next_start(&pods).filter(|_| pods.active.is_empty());
    if pods.active.is_empty() && next.is_none_or(|next| next <= at) {
        start(hand, key, &job, dice, quota)?;
    }
    let pods = pods_of(hand, key, &job);
    store(hand, key, &pods, started, None)?;
    Ok(next.into_iter().chain(deadline).filter(|later| *later > at).min())
}

fn pods_of(hand: &Hand<'_>, key: &Key, job: &Value) -> Pods {
    let mut pods = Pods { active: Vec::new(), succeeded: 0, failed: 0, failed_at: None };
    let is_ours = |pod: &Arc<Value>| controller(pod).is_some_and(|owner| owner["uid"] == uid(job));
    for pod in hand.list(Kind::Pod, &key.namespace).into_iter().filter(is_ours) {
        match text(&pod, "/status/phase") {
            "Succeeded" => pods.succeeded += 1,
            "Failed" => {
                pods.failed += 1;
                let ended = time(&pod, "/status/containerStatuses/0/state/terminated/finishedAt");
                pods.failed_at = pods.failed_at.max(ended);
            }
            _ if is_deleting(&pod) => {}
            _ => pods.active.push(pod),
        }
    }
    pods
}

/// When the next pod may start, after others that failed.
fn next_start(pods: &Pods) -> Option<Timestamp> {
    let failed_at = pods.failed_at.filter(|_| pods.failed > 0)?;
    let doubled = BACK_OFF_SECONDS << (pods.failed - 1).min(6);
    failed_at.checked_add(SignedDuration::from_secs(doubled.min(BACK_OFF_SECONDS_MAX))).ok()
}

fn start(
    hand: &mut Hand<'_>,
    key: &Key,
    job: &Value,
    dice: &mut Dice,
    quota: Option<usize>,
) -> Result<(), Refusal> {
    let mut pod = pod_of(job, &dice.suffix());
    let labels = &mut pod["metadata"]["labels"];
    for prefix in ["", "batch.kubernetes.io/"] {
        labels[format!("{prefix}controller-uid")] = json!(uid(job));
        labels[format!("{prefix}job-name")] = json!(name(job));
    }
    check_quota(hand, &key.namespace, name(&pod), quota)?;
    hand.create(Kind::Pod, &key.namespace, pod).map(drop)
}

/// Ends the pods that still run.
fn end(hand: &mut Hand<'_>, pods: &Pods) -> Result<(), Refusal> {
    for pod in &pods.active {
        hand.delete(&super::pods::key_of(pod), uid(pod), Some(1))?;
    }
    Ok(())
}

fn store(
    hand: &mut Hand<'_>,
    key: &Key,
    pods: &Pods,
    started: Timestamp,
    ended: Option<(bool, [&str; 2])>,
) -> Result<(), Refusal> {
    let at = written(hand.at());
    let mut status = Map::new();
    status.insert("startTime".to_owned(), json!(written(started)));
    let counts = [("active", pods.active.len()), ("succeeded", pods.succeeded), ("failed", pods.failed)];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    status.extend(counts.map(|(field, count)| (field.to_owned(), json!(count))));
    let ready = pods.active.iter().filter(|pod| is_ready(pod)).count();
    status.insert("ready".to_owned(), json!(ready));
    status.insert("terminating".to_owned(), json!(0));
    status.insert("uncountedTerminatedPods".to_owned(), json!({}));
    if let Some((well, [reason, message])) = ended {
        let kinds = if well { ["SuccessCriteriaMet", "Complete"] } else { ["FailureTarget", "Failed"] };
        let conditions = kinds.map(|kind| {
            json!({
                "type": kind, "status": "True", "reason": reason, "message": message,
                "lastProbeTime": at, "lastTransitionTime": at,
            })
        });
        status.insert("conditions".to_owned(), json!(conditions));
        if well {
            status.insert("completionTime".to_owned(), json!(at));
        }
    }
    hand.edit(key, Part::Status, |job| job["status"] = Value::Object(status)).map(drop)
}
