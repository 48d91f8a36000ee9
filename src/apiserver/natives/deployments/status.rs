//! What a Deployment says of itself.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status>

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::super::fields::{condition, list, name, number, text, time, written};
use super::super::hand::{Hand, Outcome};
use super::sets::{Deployment, Set, Sets};
use crate::apiserver::{Part, Refusal};

/// Sets a condition: type, status, reason, message. One of the same status and reason stays as it is.
pub(super) fn set(status: &mut Value, at: Timestamp, [kind, is, reason, message]: [&str; 4]) {
    let before = condition(status, kind).cloned();
    if before.as_ref().is_some_and(|before| before["status"] == is && before["reason"] == reason) {
        return;
    }
    let since = before.filter(|before| before["status"] == is);
    let since = since.map_or_else(|| json!(written(at)), |before| before["lastTransitionTime"].clone());
    let new = json!({
        "type": kind, "status": is, "reason": reason, "message": message,
        "lastUpdateTime": written(at), "lastTransitionTime": since,
    });
    unset(status, kind);
    match status.get_mut("conditions").and_then(Value::as_array_mut) {
        Some(conditions) => conditions.push(new),
        None => status["conditions"] = json!([new]),
    }
}

fn unset(status: &mut Value, kind: &str) {
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| condition["type"] != kind);
    }
}

/// Says that the Deployment is paused, or goes on: the time of a pause does not count as time without progress.
pub(super) fn note_pause(hand: &mut Hand<'_>, deployment: &mut Deployment) -> Result<(), Refusal> {
    let reason = condition(&deployment.object["status"], "Progressing").map(|it| text(it, "/reason"));
    if deployment.deadline().is_none() || reason == Some("ProgressDeadlineExceeded") {
        return Ok(());
    }
    let words = match (deployment.is_paused(), reason == Some("DeploymentPaused")) {
        (true, false) => ["DeploymentPaused", "Deployment is paused"],
        (false, true) => ["DeploymentResumed", "Deployment is resumed"],
        _ => return Ok(()),
    };
    let at = hand.at();
    deployment.object = hand.edit(&deployment.key, Part::Status, |object| {
        set(&mut object["status"], at, ["Progressing", "Unknown", words[0], words[1]]);
    })?;
    Ok(())
}

/// Whether all its pods are of its template and available, and no others are left, as its status says.
pub(super) fn is_complete(deployment: &Deployment) -> bool {
    is_complete_in(deployment, &deployment.object["status"])
}

fn is_complete_in(deployment: &Deployment, status: &Value) -> bool {
    let all = ["/updatedReplicas", "/replicas", "/availableReplicas"];
    all.iter().all(|field| number(status, field).unwrap_or(0) == deployment.replicas())
        && number(status, "/observedGeneration") >= number(&deployment.object, "/metadata/generation")
}

fn calculated(deployment: &Deployment, sets: &Sets, at: Timestamp) -> Value {
    let sum = |of: fn(&Set) -> i64| sets.all().map(of).sum::<i64>();
    let available = sum(Set::available);
    let mut status = Map::new();
    let counts = [
        ("observedGeneration", number(&deployment.object, "/metadata/generation").unwrap_or(0)),
        ("replicas", sum(Set::current)),
        ("updatedReplicas", sets.newest.as_ref().map_or(0, Set::current)),
        ("readyReplicas", sum(Set::ready)),
        ("availableReplicas", available),
        ("unavailableReplicas", (sum(Set::replicas) - available).max(0)),
    ];
    status.extend(
        counts
            .into_iter()
            .filter(|(_, count)| *count != 0)
            .map(|(name, count)| (name.to_owned(), json!(count))),
    );
    let terminating = sum(|set| number(&set.object, "/status/terminatingReplicas").unwrap_or(0));
    status.insert("terminatingReplicas".to_owned(), json!(terminating));
    for kept in ["collisionCount", "conditions"] {
        let value = deployment.object["status"].get(kept);
        status.extend(value.map(|value| (kept.to_owned(), value.clone())));
    }
    let mut status = Value::Object(status);
    let words = if available >= deployment.replicas() - deployment.unavailable() {
        ["Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."]
    } else {
        ["Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."]
    };
    set(&mut status, at, words);
    status
}

/// Stores the status of a Deployment that does not roll.
pub(super) fn store(hand: &mut Hand<'_>, deployment: &Deployment, sets: &Sets) -> Outcome {
    let status = calculated(deployment, sets, hand.at());
    put(hand, deployment, status)?;
    Ok(None)
}

fn put(hand: &mut Hand<'_>, deployment: &Deployment, status: Value) -> Result<(), Refusal> {
    if deployment.object["status"] == status {
        return Ok(());
    }
    hand.edit(&deployment.key, Part::Status, |object| object["status"] = status).map(drop)
}

/// Stores the status of a Deployment that rolls: how far it is, and whether it is stuck.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment>
pub(super) fn store_progress(hand: &mut Hand<'_>, deployment: &Deployment, sets: &Sets) -> Outcome {
    let at = hand.at();
    let mut status = calculated(deployment, sets, at);
    match deployment.deadline() {
        Some(seconds) => progress(deployment, sets, &mut status, at, seconds),
        None => unset(&mut status, "Progressing"),
    }
    let failure = sets.newest.iter().chain(&sets.old).find_map(|set| {
        list(&set.object, "/status/conditions").iter().find(|it| it["type"] == "ReplicaFailure")
    });
    match failure {
        Some(it) => {
            let words = ["/type", "/status", "/reason", "/message"].map(|field| text(it, field));
            set(&mut status, at, words);
        }
        None => unset(&mut status, "ReplicaFailure"),
    }
    let is_over = is_complete_in(deployment, &status);
    let since = condition(&status, "Progressing").filter(|it| it["reason"] != "ProgressDeadlineExceeded");
    let since = since.and_then(|it| time(it, "/lastUpdateTime")).filter(|_| !is_over);
    // A second more: the deadline has to be over, not reached.
    let deadline = deployment.deadline().map(|seconds| SignedDuration::from_secs(seconds + 1));
    let look = since.zip(deadline).and_then(|(since, wait)| since.checked_add(wait).ok());
    put(hand, deployment, status)?;
    Ok(look.map(|look| look.max(at)).filter(|look| *look > at))
}

fn progress(deployment: &Deployment, sets: &Sets, status: &mut Value, at: Timestamp, deadline: i64) {
    let former = &deployment.object["status"];
    let current = condition(former, "Progressing");
    let reason = current.map(|it| text(it, "/reason"));
    let count = |of: &Value, field: &str| number(of, field).unwrap_or(0);
    if count(status, "/replicas") == count(status, "/updatedReplicas")
        && reason == Some("NewReplicaSetAvailable")
    {
        return;
    }
    let who = match &sets.newest {
        Some(newest) => format!("ReplicaSet \"{}\"", newest.key.name),
        None => format!("Deployment \"{}\"", name(&deployment.object)),
    };
    let old = |of: &Value| count(of, "/replicas") - count(of, "/updatedReplicas");
    let more = |field: &str| count(status, field) > count(former, field);
    let is_moving = ["/updatedReplicas", "/readyReplicas", "/availableReplicas"].into_iter().any(more)
        || old(status) < old(former);
    if is_complete_in(deployment, status) {
        let message = format!("{who} has successfully progressed.");
        set(status, at, ["Progressing", "True", "NewReplicaSetAvailable", &message]);
    } else if is_moving {
        let since = current.filter(|it| it["status"] == "True").map(|it| it["lastTransitionTime"].clone());
        unset(status, "Progressing");
        let message = format!("{who} is progressing.");
        set(status, at, ["Progressing", "True", "ReplicaSetUpdated", &message]);
        let conditions = status["conditions"].as_array_mut().and_then(|it| it.last_mut());
        if let (Some(condition), Some(since)) = (conditions, since) {
            condition["lastTransitionTime"] = since;
        }
    } else {
        let condition =
            condition(status, "Progressing").filter(|it| it["reason"] != "NewReplicaSetAvailable");
        let since = condition.and_then(|it| time(it, "/lastUpdateTime"));
        if since.is_some_and(|since| at.duration_since(since) > SignedDuration::from_secs(deadline)) {
            let message = format!("{who} has timed out progressing.");
            set(status, at, ["Progressing", "False", "ProgressDeadlineExceeded", &message]);
        }
    }
}
