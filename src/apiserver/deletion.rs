//! What a deletion does: at once, or in time.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::kinds::{Generation, Kind};
use super::refusal::Refusal;
use super::store::{Key, Precondition};
use super::version::{metadata_of, whole_seconds};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What becomes of the objects that the deleted one owns.
/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#cascading-deletion>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    Background,
    /// It goes after them.
    Foreground,
    /// They stay.
    Orphan,
}

/// What a deletion is asked with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What the object must still be.
    pub precondition: Precondition,
    /// What becomes of what it owns; `None` leaves it to the kind and to what was asked before.
    pub propagation: Option<Propagation>,
    /// Seconds that a pod is given to end; `None` leaves it to the pod.
    pub grace_seconds: Option<i64>,
}

/// What becomes of an object that is to be deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ending {
    /// It is gone, with this as its last state.
    Now(Value),
    /// It is marked like this.
    Later(Value),
}

/// Refuses a deletion whose preconditions do not hold.
pub(super) fn check(key: &Key, stored: &Value, asked: &Precondition) -> Result<(), Refusal> {
    let found = Precondition::of(stored);
    // Here the server names the kind, not its plural.
    let facts = key.kind.facts();
    let dot = if facts.group.is_empty() { "" } else { "." };
    let what = format!("{}{dot}{} \"{}\"", facts.name, facts.group, key.name);
    let words = |name: &str, asked: &str, found: &Option<String>, why: &str| {
        let found = found.clone().unwrap_or_default();
        let mut refusal = Refusal::conflict(
            &what,
            &format!("the {name} in the precondition ({asked}) does not match the {name} in record ({found}). The object might have been {why}"),
        )
        .about(key);
        refusal.details["kind"] = facts.name.into();
        refusal
    };
    match (&asked.uid, &asked.version) {
        (Some(uid), _) if asked.uid != found.uid => {
            Err(words("UID", uid, &found.uid, "deleted and then recreated"))
        }
        (_, Some(version)) if asked.version != found.version => {
            Err(words("ResourceVersion", version, &found.version, "modified"))
        }
        _ => Ok(()),
    }
}

/// What becomes of `before` when its deletion is asked at `now`.
pub(super) fn ending(
    kind: Kind,
    before: &Value,
    propagation: Option<Propagation>,
    grace_seconds: Option<i64>,
    now: Timestamp,
) -> Ending {
    let mut after = before.clone();
    let finalizers = finalizers_of(kind, before, propagation);
    let waits = before["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
    let metadata = metadata_of(&mut after);
    let is_marked = metadata.contains_key("deletionTimestamp");
    let grace = if kind == Kind::Pod { grace_of(before, grace_seconds) } else { 0 };
    if kind == Kind::Pod && is_marked {
        let left = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
        // A deletion that is under way can be made shorter.
        if grace_seconds.is_none() || grace >= left {
            return if left == 0 && !waits { Ending::Now(after) } else { Ending::Later(after) };
        }
    }
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), json!(finalizers));
    }
    let ends_now = finalizers.is_empty() && grace == 0;
    if ends_now && kind != Kind::Pod {
        return Ending::Now(after);
    }
    if !is_marked || kind == Kind::Pod {
        let at = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
        metadata.insert("deletionTimestamp".to_owned(), json!(whole_seconds(at)));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    }
    if !is_marked && kind.facts().generation != Generation::None {
        let next = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0) + 1;
        metadata.insert("generation".to_owned(), json!(next));
    }
    if ends_now { Ending::Now(after) } else { Ending::Later(after) }
}

/// The finalizers that it has then: what is asked now takes the place of what was asked before.
fn finalizers_of(kind: Kind, before: &Value, propagation: Option<Propagation>) -> Vec<Value> {
    let mut all = before["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let has = |name: &str| all.contains(&json!(name));
    let propagation = match propagation {
        Some(propagation) => propagation,
        None if has(ORPHAN) => Propagation::Orphan,
        None if has(FOREGROUND) => Propagation::Foreground,
        // Jobs have always left their pods behind unless told otherwise.
        None if kind == Kind::Job => Propagation::Orphan,
        None => Propagation::Background,
    };
    all.retain(|name| *name != ORPHAN && *name != FOREGROUND);
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => all.push(json!(FOREGROUND)),
        Propagation::Orphan => all.push(json!(ORPHAN)),
    }
    all
}

/// Seconds that a pod has to end. One that never got a node, or has ended, needs none.
fn grace_of(pod: &Value, asked: Option<i64>) -> i64 {
    let has_node = pod["spec"]["nodeName"].as_str().is_some_and(|name| !name.is_empty());
    let has_ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !has_node || has_ended {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    let seconds = asked.or(own).unwrap_or(0);
    if seconds < 0 { 1 } else { seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_000).unwrap()
    }

    #[test]
    fn what_waits_is_marked() {
        let map = json!({"metadata": {"name": "a", "finalizers": ["a/b"]}});
        let Ending::Later(marked) = ending(Kind::ConfigMap, &map, None, None, now()) else { panic!("gone") };
        assert_eq!(marked["metadata"]["deletionTimestamp"], "1970-01-01T00:16:40Z");
        assert_eq!(ending(Kind::ConfigMap, &marked, None, None, now()), Ending::Later(marked.clone()));
        let free = json!({"metadata": {"name": "a"}});
        assert!(matches!(ending(Kind::ConfigMap, &free, None, None, now()), Ending::Now(_)));
    }

    #[test]
    fn the_last_word_about_what_is_owned_counts() {
        let set = json!({"metadata": {"name": "a", "generation": 3}});
        let foreground = Some(Propagation::Foreground);
        let Ending::Later(marked) = ending(Kind::ReplicaSet, &set, foreground, None, now()) else {
            panic!("gone")
        };
        assert_eq!(marked["metadata"]["finalizers"], json!([FOREGROUND]));
        assert_eq!(marked["metadata"]["generation"], 4);
        let background = Some(Propagation::Background);
        assert!(matches!(ending(Kind::ReplicaSet, &marked, background, None, now()), Ending::Now(_)));
        assert!(matches!(ending(Kind::Job, &set, None, None, now()), Ending::Later(_)));
    }

    #[test]
    fn pods_are_given_time() {
        let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}});
        let Ending::Later(marked) = ending(Kind::Pod, &pod, None, None, now()) else { panic!("gone") };
        assert_eq!(marked["metadata"]["deletionTimestamp"], "1970-01-01T00:17:10Z");
        assert_eq!(ending(Kind::Pod, &marked, None, None, now()), Ending::Later(marked.clone()));
        assert!(matches!(ending(Kind::Pod, &marked, None, Some(0), now()), Ending::Now(_)));
        assert!(matches!(ending(Kind::Pod, &json!({"metadata": {}}), None, None, now()), Ending::Now(_)));
    }
}
