//! A Deployment, its ReplicaSets, and which of them are its own.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::fields::{controller, is_deleting, list, name, number, selects, text, time, uid};
use super::super::hand::{Hand, reference};
use crate::api::names::{DESIRED_REPLICAS, MAX_REPLICAS, POD_TEMPLATE_HASH};
use crate::apiserver::{Key, Kind, Part, Refusal};

/// The number of a ReplicaSet in the history of its Deployment.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";

/// A Deployment as it was last written.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub key: Key,
    pub object: Arc<Value>,
}

impl Deployment {
    pub(super) fn replicas(&self) -> i64 {
        number(&self.object, "/spec/replicas").unwrap_or(1)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.object["spec"]["paused"] == true
    }

    pub(super) fn is_recreated(&self) -> bool {
        text(&self.object, "/spec/strategy/type") == "Recreate"
    }

    /// Seconds without progress until it is called stuck. The largest number stands for none.
    pub(super) fn deadline(&self) -> Option<i64> {
        let seconds = number(&self.object, "/spec/progressDeadlineSeconds").unwrap_or(600);
        Some(seconds).filter(|seconds| *seconds != i64::from(i32::MAX))
    }

    /// Old ReplicaSets that are kept.
    pub(super) fn history_limit(&self) -> usize {
        let limit = number(&self.object, "/spec/revisionHistoryLimit").unwrap_or(10);
        usize::try_from(limit).unwrap_or(0)
    }

    /// Pods that a rolling update may have above its size, and that may be missing. Both cannot be none.
    /// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment>
    fn fences(&self) -> (i64, i64) {
        if self.is_recreated() {
            return (0, 0);
        }
        let of = |name: &str| {
            let quarter = json!("25%");
            let asked = self.object.pointer("/spec/strategy/rollingUpdate").and_then(|it| it.get(name));
            let asked = asked.unwrap_or(&quarter);
            match asked.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok()) {
                Some(percent) => (self.replicas() * percent, true),
                None => (asked.as_i64().unwrap_or(0), false),
            }
        };
        let surge = match of("maxSurge") {
            (hundredths, true) => (hundredths + 99) / 100,
            (pods, false) => pods,
        };
        let unavailable = match of("maxUnavailable") {
            (hundredths, true) => hundredths / 100,
            (pods, false) => pods,
        };
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    pub(super) fn surge(&self) -> i64 {
        self.fences().0
    }

    pub(super) fn unavailable(&self) -> i64 {
        if self.replicas() == 0 { 0 } else { self.fences().1.min(self.replicas()) }
    }

    /// The most pods it may have.
    pub(super) fn most(&self) -> i64 {
        self.replicas() + self.surge()
    }
}

/// A ReplicaSet as it was last written.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub key: Key,
    pub object: Arc<Value>,
}

impl Set {
    fn new(key: &Key, object: &Arc<Value>) -> Self {
        Self { key: key.clone(), object: object.clone() }
    }

    pub(super) fn replicas(&self) -> i64 {
        number(&self.object, "/spec/replicas").unwrap_or(1)
    }

    pub(super) fn current(&self) -> i64 {
        number(&self.object, "/status/replicas").unwrap_or(0)
    }

    pub(super) fn ready(&self) -> i64 {
        number(&self.object, "/status/readyReplicas").unwrap_or(0)
    }

    pub(super) fn available(&self) -> i64 {
        number(&self.object, "/status/availableReplicas").unwrap_or(0)
    }

    pub(super) fn is_active(&self) -> bool {
        self.replicas() > 0
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.object["metadata"]["annotations"].get(name)?.as_str()
    }

    /// A number in its annotations.
    pub(super) fn noted(&self, name: &str) -> Option<i64> {
        self.annotation(name)?.parse().ok().filter(|number| *number >= 0)
    }

    pub(super) fn revision(&self) -> i64 {
        self.noted(REVISION).unwrap_or(0)
    }

    /// By age, then by name: the first is the oldest.
    fn age(&self) -> (Option<jiff::Timestamp>, String) {
        (time(&self.object, "/metadata/creationTimestamp"), self.key.name.clone())
    }

    /// Oldest first.
    pub(super) fn sort(sets: &mut [Self]) {
        sets.sort_by_key(Self::age);
    }

    /// Largest first; of equal ones the oldest first, or the newest.
    pub(super) fn sort_by_size(sets: &mut [Self], newest_first: bool) {
        Self::sort(sets);
        if newest_first {
            sets.reverse();
        }
        sets.sort_by_key(|set| -set.replicas());
    }

    pub(super) fn edit(&mut self, hand: &mut Hand<'_>, edit: impl FnOnce(&mut Value)) -> Result<(), Refusal> {
        self.object = hand.edit(&self.key, Part::Main, edit)?;
        Ok(())
    }

    /// Gives it a size, and notes the size of its Deployment. Without `always` nothing is done if it has that size.
    pub(super) fn scale(
        &mut self,
        hand: &mut Hand<'_>,
        deployment: &Deployment,
        replicas: i64,
        always: bool,
    ) -> Result<bool, Refusal> {
        let is_other = self.replicas() != replicas;
        if !is_other && !always {
            return Ok(false);
        }
        self.edit(hand, |object| {
            object["spec"]["replicas"] = json!(replicas);
            note_sizes(object, deployment);
        })?;
        Ok(is_other)
    }
}

/// What a ReplicaSet notes of the size of its Deployment.
pub(super) fn note_sizes(set: &mut Value, deployment: &Deployment) {
    let annotations = &mut set["metadata"]["annotations"];
    annotations[DESIRED_REPLICAS] = json!(deployment.replicas().to_string());
    annotations[MAX_REPLICAS] = json!(deployment.most().to_string());
}

/// The ReplicaSets of a Deployment.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    /// The one of its template; of several the oldest.
    pub newest: Option<Set>,
    /// The others, oldest first.
    pub old: Vec<Set>,
}

impl Sets {
    /// All of them, the newest last.
    pub(super) fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(&self.newest)
    }

    /// Tells the one of the template from the others.
    pub(super) fn of(deployment: &Deployment, mut sets: Vec<Set>) -> Self {
        Set::sort(&mut sets);
        let template = &deployment.object["spec"]["template"];
        let newest = sets.iter().position(|set| is_same_template(&set.object["spec"]["template"], template));
        let newest = newest.map(|index| sets.remove(index));
        Self { newest, old: sets }
    }
}

/// The ReplicaSets that a Deployment owns. Those without a controller that its selector matches are adopted; those of its own that
/// it does not match any more are let go; those of others are left alone.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions>
pub(super) fn claim(hand: &mut Hand<'_>, deployment: &Deployment) -> Result<Vec<Set>, Refusal> {
    let (object, namespace) = (&deployment.object, &deployment.key.namespace);
    let is_ending = is_deleting(object);
    let mut claimed = Vec::new();
    let sets: Vec<Set> =
        hand.store.list(Kind::ReplicaSet, Some(namespace)).map(|(key, set)| Set::new(key, set)).collect();
    for mut set in sets {
        let is_matched = selects(&object["spec"]["selector"], &set.object);
        match controller(&set.object).map(|owner| owner["uid"] == uid(object)) {
            Some(false) => {}
            Some(true) if is_matched => claimed.push(set),
            Some(true) if !is_ending => set.edit(hand, |set| disown(set, uid(object)))?,
            None if is_matched && !is_ending && !is_deleting(&set.object) => {
                set.edit(hand, |set| own(set, object))?;
                claimed.push(set);
            }
            Some(true) | None => {}
        }
    }
    Ok(claimed)
}

/// Makes `owner` the controller of an object.
pub(in super::super) fn own(object: &mut Value, owner: &Value) {
    let owners = &mut object["metadata"]["ownerReferences"];
    let mut all: Vec<Value> = owners.as_array().cloned().unwrap_or_default();
    all.retain(|it| it["uid"] != uid(owner));
    all.push(reference(owner));
    *owners = Value::Array(all);
}

/// Takes the references to an owner off an object.
pub(in super::super) fn disown(object: &mut Value, uid: &str) {
    let kept: Vec<Value> =
        list(object, "/metadata/ownerReferences").iter().filter(|it| it["uid"] != uid).cloned().collect();
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    if kept.is_empty() {
        metadata.remove("ownerReferences");
    } else {
        metadata.insert("ownerReferences".to_owned(), Value::Array(kept));
    }
}

/// Whether two pod templates are equal but for their `pod-template-hash` label.
pub(super) fn is_same_template(one: &Value, other: &Value) -> bool {
    plain(one) == plain(other)
}

/// The hash of a pod template: equal for equal ones. `collisions` is how often the name that it leads to was taken already.
pub(super) fn hash_of(template: &Value, collisions: Option<i64>) -> String {
    // FNV-1a with 32 bits, in letters that form no words; the API server's own hash is of another text.
    let mut text = plain(template).to_string();
    text.extend(collisions.map(|count| count.to_string()));
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % 27])).collect()
}

/// A template without its hash, and without what says nothing: nulls, empty lists, empty labels and annotations.
fn plain(template: &Value) -> Value {
    let mut template = pruned(template);
    let labels = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.remove(POD_TEMPLATE_HASH);
    }
    pruned(&template)
}

fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut kept = Map::new();
            for (key, value) in map {
                let value = pruned(value);
                let says_nothing = match &value {
                    Value::Null => true,
                    Value::Array(list) => list.is_empty(),
                    Value::Object(map) => {
                        map.is_empty() && ["labels", "annotations", "metadata"].contains(&key.as_str())
                    }
                    _ => false,
                };
                if !says_nothing {
                    kept.insert(key.clone(), value);
                }
            }
            Value::Object(kept)
        }
        Value::Array(list) => Value::Array(list.iter().map(pruned).collect()),
        other => other.clone(),
    }
}

/// The name of a Deployment's ReplicaSet.
pub(super) fn name_of(deployment: &Value, hash: &str) -> String {
    format!("{}-{hash}", name(deployment))
}
