//! How a controller writes.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fields::{name, uid};
use crate::apiserver::store::Precondition;
use crate::apiserver::{Caller, Key, Kind, Part, Refusal, Store};

/// When a controller wants to look again, if nothing happens before; or why it could not do what it wanted.
pub(super) type Outcome = Result<Option<Timestamp>, Refusal>;

/// A controller at some time.
#[derive(Debug)]
pub(super) struct Hand<'s> {
    /// Everything there is.
    pub store: &'s mut Store,
    /// Who it is.
    pub caller: Caller,
}

impl Hand<'_> {
    /// Now.
    pub(super) const fn at(&self) -> Timestamp {
        self.caller.at
    }

    /// An object as it is.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.store.get(key.kind, &key.namespace, &key.name).cloned()
    }

    /// The objects of a kind in a namespace, by name.
    pub(super) fn list(&self, kind: Kind, namespace: &str) -> Vec<Arc<Value>> {
        self.store.list(kind, Some(namespace)).map(|(_, object)| object.clone()).collect()
    }

    /// Changes an object.
    pub(super) fn edit(
        &mut self,
        key: &Key,
        part: Part,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, Refusal> {
        self.store.update(&self.caller, key, part, |mut object| {
            edit(&mut object);
            Ok(object)
        })
    }

    /// Creates an object.
    pub(super) fn create(
        &mut self,
        kind: Kind,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.store.create(&self.caller, kind, namespace, object)
    }

    /// Deletes the object of this uid, in the background; a pod is given time to end. One that is gone is deleted already.
    pub(super) fn delete(&mut self, key: &Key, uid: &str, grace_seconds: Option<i64>) -> Result<(), Refusal> {
        let precondition = Precondition { uid: Some(uid.to_owned()), version: None };
        match self.store.delete(&self.caller, key, &precondition, None, grace_seconds) {
            Err(refusal) if refusal.code != 404 => Err(refusal),
            _ => Ok(()),
        }
    }
}

/// The reference that makes `owner` the controller of an object.
pub(super) fn reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}
