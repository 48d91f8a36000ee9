//! The Deployment controller: what a Deployment does with its ReplicaSets.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>

mod rolling;
mod scaling;
mod sets;
mod status;

use std::sync::Arc;

use serde_json::{Value, json};

use super::fields::{is_deleting, is_over, number, uid};
use super::hand::{Hand, Outcome, reference};
use crate::api::names::{DESIRED_REPLICAS, MAX_REPLICAS, POD_TEMPLATE_HASH};
use crate::apiserver::{Key, Kind, Part, Refusal};
use sets::{Deployment, REVISION, Set, Sets, claim, hash_of, is_same_template, name_of, note_sizes};
pub(super) use sets::{disown, own};

/// Former numbers of a ReplicaSet in the history of its Deployment.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotations of a Deployment that its ReplicaSets do not get.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// Does for one Deployment what is to do.
pub(super) fn sync(hand: &mut Hand<'_>, key: &Key) -> Outcome {
    let Some(object) = hand.get(key) else { return Ok(None) };
    let mut deployment = Deployment { key: key.clone(), object };
    let sets = claim(hand, &deployment)?;
    let mut sets = Sets::of(&deployment, sets);
    if is_deleting(&deployment.object) {
        mark(hand, &mut deployment, &mut sets)?;
        return status::store(hand, &deployment, &sets);
    }
    status::note_pause(hand, &mut deployment)?;
    mark(hand, &mut deployment, &mut sets)?;
    if deployment.is_paused() || is_resized(&deployment, &sets) {
        scaling::scale(hand, &deployment, &mut sets)?;
        if deployment.is_paused() {
            forget(hand, &deployment, &sets)?;
        }
        return status::store(hand, &deployment, &sets);
    }
    if deployment.is_recreated() {
        return recreate(hand, &mut deployment, &mut sets);
    }
    if sets.newest.is_none() && !create(hand, &mut deployment, &mut sets)? {
        return Ok(Some(hand.at()));
    }
    if !rolling::roll(hand, &deployment, &mut sets)? && status::is_complete(&deployment) {
        forget(hand, &deployment, &sets)?;
    }
    status::store_progress(hand, &deployment, &sets)
}

/// Whether the Deployment's size changed since its ReplicaSets were given theirs.
fn is_resized(deployment: &Deployment, sets: &Sets) -> bool {
    let noted = sets.all().filter(|set| set.is_active()).filter_map(|set| set.noted(DESIRED_REPLICAS));
    noted.into_iter().any(|desired| desired != deployment.replicas())
}

/// Makes the ReplicaSet of the template the last one in the history, and gives it the annotations of the Deployment.
fn mark(hand: &mut Hand<'_>, deployment: &mut Deployment, sets: &mut Sets) -> Result<(), Refusal> {
    let revision = sets.old.iter().map(Set::revision).max().unwrap_or(0) + 1;
    let Some(newest) = &mut sets.newest else { return Ok(()) };
    let mut marked = Value::clone(&newest.object);
    annotate(deployment, &mut marked, revision);
    let seconds = number(&deployment.object, "/spec/minReadySeconds").unwrap_or(0);
    if number(&marked, "/spec/minReadySeconds").unwrap_or(0) != seconds {
        marked["spec"]["minReadySeconds"] = json!(seconds);
    }
    if marked != *newest.object {
        newest.edit(hand, |object| *object = marked)?;
    }
    let revision = newest.revision();
    let mut status = deployment.object["status"].clone();
    if deployment.deadline().is_some() && super::fields::condition(&status, "Progressing").is_none() {
        let message = format!("Found new replica set \"{}\"", newest.key.name);
        status::set(&mut status, hand.at(), ["Progressing", "True", "FoundNewReplicaSet", &message]);
    }
    note(hand, deployment, revision, status)
}

/// Stores the status of a Deployment, and the number of its newest ReplicaSet with it.
fn note(
    hand: &mut Hand<'_>,
    deployment: &mut Deployment,
    revision: i64,
    status: Value,
) -> Result<(), Refusal> {
    deployment.object = hand.edit(&deployment.key, Part::Status, |object| {
        object["metadata"]["annotations"][REVISION] = json!(revision.to_string());
        if !status.is_null() {
            object["status"] = status;
        }
    })?;
    Ok(())
}

/// What a ReplicaSet that is or becomes the newest has in its annotations.
fn annotate(deployment: &Deployment, set: &mut Value, revision: i64) {
    let annotations = &mut set["metadata"]["annotations"];
    if !annotations.is_object() {
        *annotations = json!({});
    }
    let copied = deployment.object["metadata"]["annotations"].as_object().into_iter().flatten();
    for (name, value) in copied.filter(|(name, _)| !NOT_COPIED.contains(&name.as_str())) {
        annotations[name] = value.clone();
    }
    let before = annotations[REVISION].as_str().map(str::to_owned);
    let number = before.as_deref().map_or(Some(0), |text| text.parse::<i64>().ok());
    if number.is_none_or(|number| number >= revision) {
        return;
    }
    annotations[REVISION] = json!(revision.to_string());
    if let Some(before) = before {
        let history = annotations[HISTORY].as_str().filter(|it| !it.is_empty());
        annotations[HISTORY] = json!(history.map_or_else(|| before.clone(), |it| format!("{it},{before}")));
    }
}

/// Creates the ReplicaSet of the template. If its name is taken by another one, the next try has another name.
fn create(hand: &mut Hand<'_>, deployment: &mut Deployment, sets: &mut Sets) -> Result<bool, Refusal> {
    let spec = &deployment.object["spec"];
    let collisions = number(&deployment.object, "/status/collisionCount");
    let hash = hash_of(&spec["template"], collisions);
    let mut template = spec["template"].clone();
    template["metadata"]["labels"][POD_TEMPLATE_HASH] = json!(hash);
    let mut selector = spec["selector"].clone();
    selector["matchLabels"][POD_TEMPLATE_HASH] = json!(hash);
    let count = rolling::size_of_newest(deployment, sets);
    let revision = sets.old.iter().map(Set::revision).max().unwrap_or(0) + 1;
    let mut object = json!({
        "metadata": {
            "name": name_of(&deployment.object, &hash),
            "labels": template["metadata"]["labels"],
            "ownerReferences": [reference(&deployment.object)],
        },
        "spec": {"replicas": count, "selector": selector, "template": template},
    });
    if let Some(seconds) = number(spec, "/minReadySeconds") {
        object["spec"]["minReadySeconds"] = json!(seconds);
    }
    annotate(deployment, &mut object, revision);
    note_sizes(&mut object, deployment);
    let key = Key::new(Kind::ReplicaSet, &deployment.key.namespace, &name_of(&deployment.object, &hash));
    let created = match hand.create(Kind::ReplicaSet, &key.namespace, object) {
        Err(refusal) if refusal.reason == "AlreadyExists" => return collided(hand, deployment, &key),
        Err(refusal) => return Err(failed(hand, deployment, &key, refusal)),
        Ok(created) => created,
    };
    let mut status = deployment.object["status"].clone();
    if deployment.deadline().is_some() {
        let message = format!("Created new replica set \"{}\"", key.name);
        status::set(&mut status, hand.at(), ["Progressing", "True", "NewReplicaSetCreated", &message]);
    }
    note(hand, deployment, revision, status)?;
    sets.newest = Some(Set { key, object: created });
    Ok(true)
}

/// The name of the ReplicaSet is taken by one that is not ours, or not of this template.
fn collided(hand: &mut Hand<'_>, deployment: &mut Deployment, key: &Key) -> Result<bool, Refusal> {
    let is_ours = |set: &Arc<Value>| {
        let owner = super::fields::controller(set).map(|owner| owner["uid"] == uid(&deployment.object));
        owner == Some(true)
            && is_same_template(&set["spec"]["template"], &deployment.object["spec"]["template"])
    };
    if hand.get(key).is_some_and(|set| is_ours(&set)) {
        return Ok(false);
    }
    deployment.object = hand.edit(&deployment.key, Part::Status, |object| {
        let count = number(object, "/status/collisionCount").unwrap_or(0);
        object["status"]["collisionCount"] = json!(count + 1);
    })?;
    Ok(false)
}

/// Says in the status why there is no ReplicaSet.
fn failed(hand: &mut Hand<'_>, deployment: &Deployment, key: &Key, refusal: Refusal) -> Refusal {
    if deployment.deadline().is_some() {
        let message = format!("Failed to create new replica set \"{}\": {}", key.name, refusal.message);
        let at = hand.at();
        let edited = hand.edit(&deployment.key, Part::Status, |object| {
            let words = ["Progressing", "False", "ReplicaSetCreateError", &message];
            status::set(&mut object["status"], at, words);
        });
        return edited.err().unwrap_or(refusal);
    }
    refusal
}

/// Deletes the oldest ReplicaSets without pods beyond those that are kept.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#clean-up-policy>
fn forget(hand: &mut Hand<'_>, deployment: &Deployment, sets: &Sets) -> Result<(), Refusal> {
    let mut old: Vec<&Set> = sets.old.iter().filter(|set| !is_deleting(&set.object)).collect();
    old.sort_by_key(|set| set.revision());
    let surplus = old.len().saturating_sub(deployment.history_limit());
    for set in old.into_iter().take(surplus) {
        let is_seen = number(&set.object, "/status/observedGeneration").unwrap_or(0)
            >= number(&set.object, "/metadata/generation").unwrap_or(0);
        if set.current() == 0 && set.replicas() == 0 && is_seen {
            hand.delete(&set.key, uid(&set.object), None)?;
        }
    }
    Ok(())
}

/// All old pods end before the first new one starts.
fn recreate(hand: &mut Hand<'_>, deployment: &mut Deployment, sets: &mut Sets) -> Outcome {
    let mut is_scaled = false;
    for set in sets.old.iter_mut().filter(|set| set.is_active()) {
        is_scaled |= set.scale(hand, deployment, 0, false)?;
    }
    let old: Vec<&str> = sets.old.iter().map(|set| uid(&set.object)).collect();
    let is_old = |pod: &Arc<Value>| {
        let owner = super::fields::controller(pod).and_then(|owner| owner["uid"].as_str());
        !is_over(pod) && owner.is_some_and(|owner| old.contains(&owner))
    };
    let are_there = sets.old.iter().any(|set| set.current() > 0)
        || hand.list(Kind::Pod, &deployment.key.namespace).iter().any(is_old);
    if is_scaled || are_there {
        return status::store_progress(hand, deployment, sets);
    }
    if sets.newest.is_none() && !create(hand, deployment, sets)? {
        return Ok(Some(hand.at()));
    }
    if let Some(newest) = &mut sets.newest {
        newest.scale(hand, deployment, deployment.replicas(), false)?;
    }
    if status::is_complete(deployment) {
        forget(hand, deployment, sets)?;
    }
    status::store_progress(hand, deployment, sets)
}
