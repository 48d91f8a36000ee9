//! The ReplicaSet controller: as many pods as are asked for.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/>

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::deployments::{disown, own};
use super::dice::Dice;
use super::fields::{
    condition, controller, is_active, is_deleting, is_over, is_ready, name, number, selects, text, time, uid,
    written,
};
use super::hand::{Hand, Outcome, reference};
use crate::apiserver::{Key, Kind, Part, Refusal};

/// The most pods that are created or deleted at a time.
const BURST: usize = 500;
/// What a pod costs to delete; cheaper ones go first.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost>
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Does for one ReplicaSet what is to do.
pub(super) fn sync(hand: &mut Hand<'_>, key: &Key, dice: &mut Dice, quota: Option<usize>) -> Outcome {
    let Some(set) = hand.get(key) else { return Ok(None) };
    let (active, ending) = claim(hand, &set)?;
    let managed = if is_deleting(&set) { Ok(()) } else { manage(hand, &set, &active, dice, quota) };
    let wait = store(hand, key, &active, ending, managed.as_ref().err())?;
    managed.map(|()| wait)
}

/// The pods of a ReplicaSet: those that count, and how many are ending. Pods without a controller that it matches are adopted.
fn claim(hand: &mut Hand<'_>, set: &Arc<Value>) -> Result<(Vec<Arc<Value>>, usize), Refusal> {
    let namespace = text(set, "/metadata/namespace").to_owned();
    let (mut active, mut ending) = (Vec::new(), 0);
    for pod in hand.list(Kind::Pod, &namespace) {
        let is_matched = selects(&set["spec"]["selector"], &pod);
        let is_ours = controller(&pod).map(|owner| owner["uid"] == uid(set));
        let key = Key::new(Kind::Pod, &namespace, name(&pod));
        match is_ours {
            Some(true) if is_matched && is_active(&pod) => active.push(pod),
            Some(true) if is_matched && is_deleting(&pod) && !is_over(&pod) => ending += 1,
            Some(true) if !is_matched && is_active(&pod) && !is_deleting(set) => {
                hand.edit(&key, Part::Main, |pod| disown(pod, uid(set)))?;
            }
            None if is_matched && is_active(&pod) && !is_deleting(set) => {
                active.push(hand.edit(&key, Part::Main, |pod| own(pod, set))?);
            }
            _ => {}
        }
    }
    Ok((active, ending))
}

fn manage(
    hand: &mut Hand<'_>,
    set: &Arc<Value>,
    active: &[Arc<Value>],
    dice: &mut Dice,
    quota: Option<usize>,
) -> Result<(), Refusal> {
    let namespace = text(set, "/metadata/namespace").to_owned();
    let wanted = usize::try_from(number(set, "/spec/replicas").unwrap_or(1)).unwrap_or(0);
    for _ in 0..wanted.saturating_sub(active.len()).min(BURST) {
        let pod = pod_of(set, &dice.suffix());
        check_quota(hand, &namespace, name(&pod), quota)?;
        hand.create(Kind::Pod, &namespace, pod)?;
    }
    let surplus = active.len().saturating_sub(wanted).min(BURST);
    if surplus == 0 {
        return Ok(());
    }
    let mut pods = active.to_vec();
    let crowd = crowd_of(hand, set);
    pods.sort_by_key(|pod| precedence(pod, &crowd));
    for pod in pods.iter().take(surplus) {
        let grace = number(pod, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
        hand.delete(&Key::new(Kind::Pod, &namespace, name(pod)), uid(pod), Some(grace.max(1)))?;
    }
    Ok(())
}

/// A pod from a template.
pub(super) fn pod_of(owner: &Value, suffix: &str) -> Value {
    let template = &owner["spec"]["template"];
    let prefix = format!("{}-", name(owner));
    let mut metadata = Map::new();
    for field in ["labels", "annotations", "finalizers"] {
        let value = template["metadata"].get(field).filter(|value| !value.is_null());
        metadata.extend(value.map(|value| (field.to_owned(), value.clone())));
    }
    metadata.insert("name".to_owned(), json!(format!("{prefix}{suffix}")));
    metadata.insert("generateName".to_owned(), json!(prefix));
    metadata.insert("ownerReferences".to_owned(), json!([reference(owner)]));
    json!({"metadata": metadata, "spec": template["spec"]})
}

/// What the API server says when a namespace has all the pods that it may have.
/// <https://kubernetes.io/docs/concepts/policy/resource-quotas/>
pub(super) fn check_quota(
    hand: &Hand<'_>,
    namespace: &str,
    pod: &str,
    quota: Option<usize>,
) -> Result<(), Refusal> {
    let Some(most) = quota else { return Ok(()) };
    let used = hand.store.list(Kind::Pod, Some(namespace)).filter(|(_, pod)| !is_over(pod)).count();
    if used < most {
        return Ok(());
    }
    let why = format!("exceeded quota: pods, requested: pods=1, used: pods={used}, limited: pods={most}");
    Err(Refusal::forbidden(format!("pods \"{pod}\" is forbidden: {why}")))
}

/// Pods on each node that belong to the same Deployment.
fn crowd_of(hand: &Hand<'_>, set: &Arc<Value>) -> BTreeMap<String, usize> {
    let namespace = text(set, "/metadata/namespace");
    let owner = controller(set).map(|owner| &owner["uid"]);
    let is_sibling = |other: &Arc<Value>| {
        uid(other) == uid(set) || (owner.is_some() && controller(other).map(|it| &it["uid"]) == owner)
    };
    let siblings: Vec<Arc<Value>> =
        hand.list(Kind::ReplicaSet, namespace).into_iter().filter(is_sibling).collect();
    let mut crowd = BTreeMap::new();
    for pod in hand.list(Kind::Pod, namespace).iter().filter(|pod| is_active(pod)) {
        if siblings.iter().any(|set| selects(&set["spec"]["selector"], pod)) {
            *crowd.entry(text(pod, "/spec/nodeName").to_owned()).or_default() += 1;
        }
    }
    crowd
}

/// Which pods go first: those that serve least, then those that have company on their node, then the youngest.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset>
fn precedence(pod: &Value, crowd: &BTreeMap<String, usize>) -> impl Ord + use<> {
    let node = text(pod, "/spec/nodeName").to_owned();
    let phase = match text(pod, "/status/phase") {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = pod["metadata"]["annotations"].get(DELETION_COST).and_then(Value::as_str);
    let cost: i64 = cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
    let company = crowd.get(&node).copied().unwrap_or(0);
    let restarts = number(pod, "/status/containerStatuses/0/restartCount").unwrap_or(0);
    (
        (!node.is_empty(), phase, is_ready(pod), cost),
        (Reverse(company), Reverse(ready_since(pod)), Reverse(restarts)),
        (Reverse(time(pod, "/metadata/creationTimestamp")), uid(pod).to_owned()),
    )
}

fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = condition(&pod["status"], "Ready").filter(|ready| ready["status"] == "True");
    ready.and_then(|ready| time(ready, "/lastTransitionTime"))
}

/// Stores the status; when it changes by the mere passing of time.
fn store(
    hand: &mut Hand<'_>,
    key: &Key,
    active: &[Arc<Value>],
    ending: usize,
    failure: Option<&Refusal>,
) -> Outcome {
    let Some(set) = hand.get(key) else { return Ok(None) };
    let at = hand.at();
    let seconds = SignedDuration::from_secs(number(&set, "/spec/minReadySeconds").unwrap_or(0));
    let ready: Vec<&Arc<Value>> = active.iter().filter(|pod| is_ready(pod)).collect();
    let available_at = |pod: &&Arc<Value>| match ready_since(pod) {
        Some(since) => since.checked_add(seconds).unwrap_or(at),
        None => at,
    };
    let template = set.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    let is_full = |pod: &&Arc<Value>| template.is_none_or(|labels| super::fields::has_labels(pod, labels));
    let available = ready.iter().filter(|pod| seconds.is_zero() || available_at(pod) <= at).count();
    let mut status = json!({"replicas": active.len(), "terminatingReplicas": ending});
    let counts = [
        ("fullyLabeledReplicas", json!(active.iter().filter(is_full).count())),
        ("readyReplicas", json!(ready.len())),
        ("availableReplicas", json!(available)),
        ("observedGeneration", set["metadata"]["generation"].clone()),
    ];
    for (field, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
        status[field] = count;
    }
    if let Some(refusal) = failure {
        let former = condition(&set["status"], "ReplicaFailure").cloned();
        status["conditions"] = json!([former.unwrap_or_else(|| failure_of(&set, active.len(), refusal, at))]);
    }
    if set["status"] != status {
        hand.edit(key, Part::Status, |object| object["status"] = status)?;
    }
    Ok(ready.iter().map(available_at).filter(|later| *later > at && !seconds.is_zero()).min())
}

fn failure_of(set: &Value, active: usize, refusal: &Refusal, at: Timestamp) -> Value {
    let wanted = usize::try_from(number(set, "/spec/replicas").unwrap_or(1)).unwrap_or(0);
    let reason = if active < wanted { "FailedCreate" } else { "FailedDelete" };
    json!({
        "type": "ReplicaFailure", "status": "True", "reason": reason, "message": refusal.message,
        "lastTransitionTime": written(at),
    })
}
