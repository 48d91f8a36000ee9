//! The garbage collector: what belonged to an object goes with it.
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::deployments::disown;
use super::fields::{is_deleting, list, text, uid};
use super::hand::{Hand, Outcome};
use crate::apiserver::store::Precondition;
use crate::apiserver::{Key, Kind, Part, Refusal};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Who belongs to whom: the objects that name an owner, by its uid.
#[derive(Clone, Debug, Default)]
pub(super) struct Family(BTreeMap<String, BTreeSet<Key>>);

impl Family {
    /// An object is as `object` says.
    pub(super) fn note(&mut self, key: &Key, object: &Value) {
        for owner in list(object, "/metadata/ownerReferences") {
            self.0.entry(text(owner, "/uid").to_owned()).or_default().insert(key.clone());
        }
    }

    /// An object is not any more what `object` says.
    pub(super) fn forget(&mut self, key: &Key, object: &Value) {
        for owner in list(object, "/metadata/ownerReferences") {
            let uid = text(owner, "/uid");
            if let Some(dependents) = self.0.get_mut(uid) {
                dependents.remove(key);
                if dependents.is_empty() {
                    self.0.remove(uid);
                }
            }
        }
    }

    /// What belongs to an object.
    pub(super) fn of(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.0.get(uid).into_iter().flatten()
    }
}

/// Whether the garbage collector has something to do with an object.
pub(super) fn concerns(object: &Value) -> bool {
    !list(object, "/metadata/ownerReferences").is_empty() || (is_deleting(object) && waits(object))
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    list(object, "/metadata/finalizers").contains(&json!(finalizer))
}

fn waits(object: &Value) -> bool {
    has_finalizer(object, FOREGROUND) || has_finalizer(object, ORPHAN)
}

/// Whether an object waits until what belongs to it is gone.
fn waits_for_dependents(object: &Value) -> bool {
    is_deleting(object) && has_finalizer(object, FOREGROUND)
}

/// Does for one object what is to do.
pub(super) fn sync(hand: &mut Hand<'_>, key: &Key, family: &Family) -> Outcome {
    let Some(object) = hand.get(key) else { return Ok(None) };
    if is_deleting(&object) {
        if has_finalizer(&object, ORPHAN) {
            orphan(hand, key, &object, family)?;
        } else if has_finalizer(&object, FOREGROUND) {
            wait(hand, key, &object, family)?;
        }
        return Ok(None);
    }
    let owners = list(&object, "/metadata/ownerReferences");
    let mut gone: Vec<&str> = Vec::new();
    let mut waiting: Vec<&str> = Vec::new();
    for owner in owners {
        match owner_of(hand, key, owner) {
            Owner::Gone => gone.push(text(owner, "/uid")),
            Owner::Waits => waiting.push(text(owner, "/uid")),
            Owner::There => {}
        }
    }
    if gone.len() + waiting.len() < owners.len() {
        if !gone.is_empty() || !waiting.is_empty() {
            hand.edit(key, Part::Main, |object| {
                gone.iter().chain(&waiting).for_each(|uid| disown(object, uid));
            })?;
        }
    } else if !owners.is_empty() {
        let has_dependents = family.of(uid(&object)).next().is_some();
        let adds = (!waiting.is_empty() && has_dependents).then_some(FOREGROUND);
        delete(hand, key, &object, adds)?;
    }
    Ok(None)
}

enum Owner {
    There,
    Waits,
    Gone,
}

fn owner_of(hand: &Hand<'_>, key: &Key, owner: &Value) -> Owner {
    // Nothing is known of other kinds, and what is not known is not deleted.
    let Some(kind) = Kind::of_manifest(text(owner, "/apiVersion"), text(owner, "/kind")) else {
        return Owner::There;
    };
    let namespace = if kind.facts().namespaced { key.namespace.as_str() } else { "" };
    match hand.store.get(kind, namespace, text(owner, "/name")) {
        Some(found) if uid(found) != text(owner, "/uid") => Owner::Gone,
        Some(found) if waits_for_dependents(found) => Owner::Waits,
        Some(_) => Owner::There,
        None => Owner::Gone,
    }
}

fn delete(hand: &mut Hand<'_>, key: &Key, object: &Value, adds: Option<&str>) -> Result<(), Refusal> {
    let precondition = Precondition { uid: Some(uid(object).to_owned()), version: None };
    let grace = (key.kind == Kind::Pod).then(|| grace_of(object));
    match hand.store.delete(&hand.caller, key, &precondition, adds, grace) {
        Err(refusal) if refusal.code != 404 => Err(refusal),
        _ => Ok(()),
    }
}

/// The time that a pod is given to end, in seconds. One without a node needs none.
fn grace_of(pod: &Value) -> i64 {
    let asked = super::fields::number(pod, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
    if text(pod, "/spec/nodeName").is_empty() { 0 } else { asked.max(1) }
}

fn orphan(hand: &mut Hand<'_>, key: &Key, object: &Value, family: &Family) -> Result<(), Refusal> {
    for dependent in family.of(uid(object)) {
        if hand.get(dependent).is_some() {
            hand.edit(dependent, Part::Main, |it| disown(it, uid(object)))?;
        }
    }
    release(hand, key, ORPHAN)
}

fn wait(hand: &mut Hand<'_>, key: &Key, object: &Value, family: &Family) -> Result<(), Refusal> {
    let mut is_blocked = false;
    for dependent in family.of(uid(object)) {
        let Some(found) = hand.get(dependent) else { continue };
        is_blocked |= list(&found, "/metadata/ownerReferences")
            .iter()
            .any(|owner| owner["uid"] == uid(object) && owner["blockOwnerDeletion"] == true);
    }
    if is_blocked { Ok(()) } else { release(hand, key, FOREGROUND) }
}

fn release(hand: &mut Hand<'_>, key: &Key, finalizer: &str) -> Result<(), Refusal> {
    let edited = hand.edit(key, Part::Main, |object| {
        if let Some(all) = object["metadata"]["finalizers"].as_array_mut() {
            all.retain(|it| it != finalizer);
        }
    });
    edited.map(drop)
}

/// Deletes everything in a namespace that is gone, or goes.
pub(super) fn empty(hand: &mut Hand<'_>, namespace: &Key) -> Outcome {
    let is_going = hand.get(namespace).is_none_or(|object| is_deleting(&object));
    if !is_going {
        return Ok(None);
    }
    for kind in Kind::ALL.into_iter().filter(|kind| kind.facts().namespaced) {
        for object in hand.list(kind, &namespace.name) {
            if !is_deleting(&object) {
                let key = Key::new(kind, &namespace.name, super::fields::name(&object));
                delete(hand, &key, &object, None)?;
            }
        }
    }
    Ok(None)
}
