//! The objects: every version of each, in the order in which they were committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deletion::{self, Ending, Propagation};
use super::kinds::{Generation, Kind};
use super::refusal::Refusal;
use super::schema::Cause;
use super::version::{bump_generation, drop_empty, merged, metadata_of, other_uid, whole_seconds};
use super::{defaults, rules, schema};

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The place of an object.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let facts = self.kind.facts();
        let dot = if facts.group.is_empty() { "" } else { "." };
        write!(out, "{}{dot}{} \"{}\"", facts.plural, facts.group, self.name)
    }
}

/// Who asks, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User name.
    pub user: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// The pod that the token was given to, as tokens of ServiceAccounts say; empty for people.
    pub pod: String,
    /// The time of the server.
    pub at: Timestamp,
}

impl Caller {
    /// Somebody at some time.
    #[must_use]
    pub fn new(user: &str, at: Timestamp) -> Self {
        Self {
            user: user.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            pod: String::new(),
            at,
        }
    }

    /// The same from a pod.
    #[must_use]
    pub fn from_pod(self, pod: &str) -> Self {
        Self { pod: pod.to_owned(), ..self }
    }
}

/// What of an object an update may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    Main,
    /// The status.
    Status,
}

/// What a revision did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// The object is new.
    Create,
    /// It changed.
    Update,
    /// It is gone.
    Delete,
}

/// One committed change.
#[derive(Clone, Debug)]
pub struct Revision {
    /// The revision of the store, which is the object's resource version.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// The pod that it came from; empty for people.
    pub pod: String,
    /// What was done.
    pub verb: Verb,
    /// To what.
    pub key: Key,
    /// The object before, if there was one.
    pub before: Option<Arc<Value>>,
    /// The object after; for a deletion its last state with the version of the deletion.
    pub after: Arc<Value>,
}

/// What an object must still be for a write to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `metadata.resourceVersion`.
    pub version: Option<String>,
}

/// A write that admission looks at.
#[derive(Clone, Copy, Debug)]
pub struct Review<'a> {
    /// The objects as they are.
    pub store: &'a Store,
    /// Who asks.
    pub caller: &'a Caller,
    /// What is written.
    pub key: &'a Key,
    /// Which part of it.
    pub part: Part,
    /// The object as it is; `None` if the write creates it.
    pub before: Option<&'a Value>,
}

/// A plug-in of the server itself: sees each creation and each update of any caller, may change or refuse it.
pub type Admit = fn(&Store, &Caller, &Key, before: Option<&Value>, after: &mut Value) -> Result<(), Refusal>;

/// An admission policy: sees the same and more.
pub type Policy = Arc<dyn Fn(&Review<'_>, &mut Value) -> Result<(), Refusal> + Send + Sync>;

/// The store.
#[derive(Clone, Default)]
pub struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    log: Vec<Revision>,
    /// Revisions up to this one are not in the log any more.
    compacted: u64,
    revision: u64,
    uids: u64,
    admission: Vec<Admit>,
    /// Policies that change what is written, and policies that refuse it.
    policies: (Vec<Policy>, Vec<Policy>),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { objects, revision, compacted, .. } = self;
        out.debug_struct("Store")
            .field("objects", &objects.len())
            .field("revision", revision)
            .field("compacted", compacted)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// A store without objects; `admission` is asked about each write in this order.
    #[must_use]
    pub fn new(admission: Vec<Admit>) -> Self {
        Self { admission, revision: 1, ..Self::default() }
    }

    /// The same store with admission policies: first `changing` ones, then the server's own rules, then `refusing` ones.
    #[must_use]
    pub fn with_policies(self, changing: Vec<Policy>, refusing: Vec<Policy>) -> Self {
        Self { policies: (changing, refusing), ..self }
    }

    /// The revision of the last change.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision up to which changes are forgotten.
    #[must_use]
    pub const fn compacted(&self) -> u64 {
        self.compacted
    }

    /// The revision of the last change that was committed at `time` or before.
    #[must_use]
    pub fn revision_at(&self, time: Timestamp) -> u64 {
        let committed = self.log.partition_point(|change| change.at <= time);
        committed.checked_sub(1).map_or(self.compacted.max(1), |last| self.log[last].number)
    }

    /// One object.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&Key::new(kind, namespace, name))
    }

    /// The objects of a kind in a namespace, or in all of them, by namespace and name.
    pub fn list<'s>(
        &'s self,
        kind: Kind,
        namespace: Option<&'s str>,
    ) -> impl Iterator<Item = (&'s Key, &'s Arc<Value>)> {
        let from = Key::new(kind, namespace.unwrap_or_default(), "");
        let within =
            move |key: &Key| key.kind == kind && namespace.is_none_or(|within| key.namespace == within);
        self.objects.range(from..).take_while(move |(key, _)| within(key))
    }

    /// The changes after `revision`, oldest first; `None` if some of them are not kept any more.
    #[must_use]
    pub fn since(&self, revision: u64) -> Option<&[Revision]> {
        if revision < self.compacted {
            return None;
        }
        let from = self.log.partition_point(|change| change.number <= revision);
        Some(&self.log[from..])
    }

    /// The objects of a kind as they were at `revision`, by namespace and name; `None` if that is not known any more.
    #[must_use]
    pub fn list_at(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        revision: u64,
    ) -> Option<BTreeMap<Key, Arc<Value>>> {
        let mut then: BTreeMap<Key, Arc<Value>> =
            self.list(kind, namespace).map(|(key, object)| (key.clone(), object.clone())).collect();
        for change in self.since(revision)?.iter().rev() {
            if change.key.kind != kind || namespace.is_some_and(|within| change.key.namespace != within) {
                continue;
            }
            match &change.before {
                Some(before) => drop(then.insert(change.key.clone(), before.clone())),
                None => drop(then.remove(&change.key)),
            }
        }
        Some(then)
    }

    /// Does something and takes it back.
    pub fn try_out<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let (objects, revision, changes) = (self.objects.clone(), self.revision, self.log.len());
        let done = work(self);
        (self.objects, self.revision) = (objects, revision);
        self.log.truncate(changes);
        done
    }

    /// Every change that is kept, oldest first.
    #[must_use]
    pub fn log(&self) -> &[Revision] {
        &self.log
    }

    /// Forgets the changes up to `revision`.
    pub fn compact(&mut self, revision: u64) {
        self.compacted = self.compacted.max(revision.min(self.revision));
        self.log.retain(|change| change.number > self.compacted);
    }

    /// Creates an object.
    ///
    /// # Errors
    /// The name is missing (422) or taken (409), or admission refuses it.
    pub fn create(
        &mut self,
        caller: &Caller,
        kind: Kind,
        namespace: &str,
        mut object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        let facts = kind.facts();
        if facts.status
            && let Some(object) = object.as_object_mut()
        {
            object.remove("status");
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = Key::new(kind, if facts.namespaced { namespace } else { "" }, &name);
        if name.is_empty() {
            let missing = Cause::new(
                "metadata.name",
                "FieldValueRequired",
                "Required value: name or generateName is required",
            );
            return Err(schema::refusal(&key, &[missing]));
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(facts.name);
        self.uids += 1;
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.uids);
        let metadata = metadata_of(&mut object);
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("creationTimestamp".to_owned(), json!(whole_seconds(caller.at)));
        for server_owned in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            metadata.remove(server_owned);
        }
        if facts.namespaced {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        if facts.generation != Generation::None {
            metadata.insert("generation".to_owned(), json!(1));
        }
        drop_empty(metadata);
        defaults::at_creation(kind, &mut object);
        self.admit((caller, &key, Part::Main), None, &mut object, Vec::new())?;
        if let Some(there) = self.objects.get(&key) {
            let is_going = there["metadata"]["deletionTimestamp"].is_string();
            let going = if is_going { "object is being deleted: " } else { "" };
            return Err(Refusal::exists(&format!("{going}{key}")).about(&key));
        }
        Ok(self.commit(caller, Verb::Create, key, None, object))
    }

    /// Changes one part of an object: `change` gets a copy of what is stored and says what it should be. Nothing is committed if
    /// nothing changes. An object that waits for its deletion goes with its last finalizer.
    ///
    /// # Errors
    /// It is not there (404), the preconditions do not hold (409), `change` refuses, or admission does.
    pub fn update(
        &mut self,
        caller: &Caller,
        key: &Key,
        part: Part,
        change: impl FnOnce(Value) -> Result<Value, Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        self.change((caller, key, part), true, change)
    }

    /// The same, as a patch does it: another uid is not another object but a field that must not change (422).
    ///
    /// # Errors
    /// As for `update`.
    pub fn patch(
        &mut self,
        caller: &Caller,
        key: &Key,
        part: Part,
        change: impl FnOnce(Value) -> Result<Value, Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        self.change((caller, key, part), false, change)
    }

    fn change(
        &mut self,
        (caller, key, part): (&Caller, &Key, Part),
        checks_uid: bool,
        change: impl FnOnce(Value) -> Result<Value, Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        let Some(before) = self.objects.get(key).cloned() else {
            return Err(Refusal::not_found(&key.to_string()).about(key));
        };
        let asked = change(Value::clone(&before))?;
        let mut precondition = Precondition::of(&asked);
        let uid = if checks_uid { None } else { precondition.uid.take() };
        // The metadata of a custom resource are not looked at when its status is written.
        let uid = uid.filter(|_| part == Part::Main || !key.kind.is_custom());
        check(key, &before, &precondition)?;
        let mut mistakes = Vec::new();
        if let Some(uid) = uid.filter(|uid| before["metadata"]["uid"] != *uid.as_str()) {
            mistakes.push(Cause::invalid("metadata.uid", &json!(uid), "field is immutable"));
        }
        let mut after = merged(key.kind, &before, asked, part);
        self.admit((caller, key, part), Some(&before), &mut after, mistakes)?;
        if after == *before {
            return Ok(before);
        }
        if part == Part::Main {
            bump_generation(key.kind, &before, &mut after);
        }
        let metadata = &after["metadata"];
        let finalizers = metadata["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        // What has time to end goes when whoever ends it says so.
        let has_time = metadata["deletionGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds > 0);
        let is_last = metadata["deletionTimestamp"].is_string() && !finalizers && !has_time;
        if !is_last {
            return Ok(self.commit(caller, Verb::Update, key.clone(), Some(before), after));
        }
        // Watches are told what was stored last, with the version of the deletion; who asked for it is told what they wrote, with
        // the version before.
        let (last, gone) = (after, Value::clone(&before));
        self.commit(caller, Verb::Delete, key.clone(), Some(before), gone);
        Ok(Arc::new(last))
    }

    /// Deletes an object, or marks it if something has to be done first: it has finalizers, `adds_finalizer` names one more
    /// (`foregroundDeletion` or `orphan`), or it is a pod that has to end. Says whether it is gone.
    ///
    /// # Errors
    /// It is not there (404), or the preconditions do not hold (409).
    pub fn delete(
        &mut self,
        caller: &Caller,
        key: &Key,
        precondition: &Precondition,
        adds_finalizer: Option<&str>,
        grace_seconds: Option<i64>,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let propagation = match adds_finalizer {
            Some("orphan") => Propagation::Orphan,
            Some(_) => Propagation::Foreground,
            None => Propagation::Background,
        };
        let Some(before) = self.objects.get(key).cloned() else {
            return Err(Refusal::not_found(&key.to_string()).about(key));
        };
        deletion::check(key, &before, precondition)?;
        let ending = deletion::ending(key.kind, &before, Some(propagation), grace_seconds, caller.at);
        Ok(self.end(caller, key, before, ending))
    }

    /// Deletes an object as a `DELETE` request does; says whether it is gone.
    ///
    /// # Errors
    /// It is not there (404), or the preconditions do not hold (409).
    pub fn delete_as_asked(
        &mut self,
        caller: &Caller,
        key: &Key,
        asked: &deletion::Options,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let Some(before) = self.objects.get(key).cloned() else {
            return Err(Refusal::not_found(&key.to_string()).about(key));
        };
        deletion::check(key, &before, &asked.precondition)?;
        let ending = deletion::ending(key.kind, &before, asked.propagation, asked.grace_seconds, caller.at);
        Ok(self.end(caller, key, before, ending))
    }

    fn end(&mut self, caller: &Caller, key: &Key, before: Arc<Value>, ending: Ending) -> (Arc<Value>, bool) {
        match ending {
            Ending::Now(last) => (self.commit(caller, Verb::Delete, key.clone(), Some(before), last), true),
            Ending::Later(marked) if marked == *before => (before, false),
            Ending::Later(marked) => {
                (self.commit(caller, Verb::Update, key.clone(), Some(before), marked), false)
            }
        }
    }

    /// Defaults, admission and the server's own rules, in the order of the real server.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#admission-control-phases>
    fn admit(
        &self,
        (caller, key, part): (&Caller, &Key, Part),
        before: Option<&Value>,
        after: &mut Value,
        mut mistakes: Vec<Cause>,
    ) -> Result<(), Refusal> {
        let review = Review { store: self, caller, key, part, before };
        schema::fit(key.kind, after);
        self.admission.iter().try_for_each(|admit| admit(self, caller, key, before, after))?;
        self.policies.0.iter().try_for_each(|policy| policy(&review, after))?;
        schema::fit(key.kind, after);
        if let Some(before) = before {
            *after = merged(key.kind, before, std::mem::take(after), part);
        }
        mistakes.extend(rules::mistakes(key.kind, before, after));
        mistakes.extend(schema::mistakes(key.kind, before, after));
        if !mistakes.is_empty() {
            return Err(schema::refusal(key, &mistakes));
        }
        self.policies.1.iter().try_for_each(|policy| policy(&review, after))
    }

    fn commit(
        &mut self,
        caller: &Caller,
        verb: Verb,
        key: Key,
        before: Option<Arc<Value>>,
        mut after: Value,
    ) -> Arc<Value> {
        self.revision += 1;
        let number = self.revision;
        metadata_of(&mut after).insert("resourceVersion".to_owned(), json!(number.to_string()));
        let after = Arc::new(after);
        if verb == Verb::Delete {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key.clone(), after.clone());
        }
        let (at, by, pod) = (caller.at, caller.user.clone(), caller.pod.clone());
        self.log.push(Revision { number, at, by, pod, verb, key, before, after: after.clone() });
        after
    }
}

impl Precondition {
    /// What the metadata of an object ask for.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let field = |name: &str| {
            let text = object["metadata"][name].as_str().unwrap_or_default();
            Some(text.to_owned()).filter(|text| !text.is_empty())
        };
        Self { uid: field("uid"), version: field("resourceVersion") }
    }
}

fn check(key: &Key, stored: &Value, asked: &Precondition) -> Result<(), Refusal> {
    let found = Precondition::of(stored);
    if asked.uid.is_some() && asked.uid != found.uid {
        let (asked, found) = (asked.uid.clone().unwrap_or_default(), found.uid.unwrap_or_default());
        let why = other_uid(key, &asked, &found);
        return Err(Refusal::conflict(&key.to_string(), &why).about(key));
    }
    if asked.version.is_some() && asked.version != found.version {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Refusal::conflict(&key.to_string(), why).about(key));
    }
    Ok(())
}
