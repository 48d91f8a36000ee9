//! Identity of a pod template.
//!
//! A revision is a hash of the template *as the API server stores it*, read as JSON with its keys sorted, not of a Rust
//! type: a new field in a later Kubernetes or a later Palier never makes an old template a new revision.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::names::{POD_TEMPLATE_HASH, RESTARTED_AT};

use super::flaw::{self, Flaw};

/// Letters that cannot form words, as Kubernetes uses for generated names.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Length of a hash: 27^10 is about 2^47 values.
const LENGTH: usize = 10;

/// Revision and template hash of a pod template. They are equal unless somebody asked for a restart.
#[must_use]
pub fn identity_of(template: &Value) -> (String, String) {
    let template_hash = template_hash_of(template);
    let annotations = template.pointer("/metadata/annotations");
    let was_restarted = annotations.is_some_and(|it| it.get(RESTARTED_AT).is_some());
    let revision = if was_restarted { revision_of(template) } else { template_hash.clone() };
    (revision, template_hash)
}

/// The revision of a pod template: without the `pod-template-hash` label, which the Deployment controller adds, and
/// without the restart annotation, which asks for new pods and not for a new version.
#[must_use]
pub fn revision_of(template: &Value) -> String {
    let mut template = bare(template);
    if !flaw::is(Flaw::RestartIsARelease) {
        remove(&mut template, &["metadata", "annotations"], RESTARTED_AT);
    }
    hash(&[&template.to_string()])
}

/// The hash of a pod template with everything but the `pod-template-hash` label. Two templates with this hash equal
/// are equal to the Deployment controller.
#[must_use]
pub fn template_hash_of(template: &Value) -> String {
    hash(&[&bare(template).to_string()])
}

/// The `pod-template-hash` label of the canary of one run: never that of another ReplicaSet, so that an old
/// ReplicaSet of an equal template is no obstacle.
#[must_use]
pub fn pod_hash_of(rollout_uid: &str, run: i64, component: &str, revision: &str) -> String {
    hash(&[rollout_uid, &run.to_string(), component, revision])
}

/// A short hash of some texts, in letters that fit names and labels.
#[must_use]
pub fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    digest.iter().take(LENGTH).map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}

fn bare(template: &Value) -> Value {
    let mut template = template.clone();
    remove(&mut template, &["metadata", "labels"], POD_TEMPLATE_HASH);
    // Written as null by typed clients and left out by others; it says nothing.
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        if metadata.get("creationTimestamp").is_some_and(Value::is_null) {
            metadata.remove("creationTimestamp");
        }
        if metadata.get("annotations").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
            metadata.remove("annotations");
        }
    }
    template
}

/// Removes `key` from the map at `path`, and the map itself when that leaves it empty.
fn remove(value: &mut Value, path: &[&str], key: &str) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut parent = value;
    for step in parents {
        match parent.get_mut(*step) {
            Some(next) => parent = next,
            None => return,
        }
    }
    let Some(parent) = parent.as_object_mut() else { return };
    if let Some(map) = parent.get_mut(*last).and_then(Value::as_object_mut) {
        map.remove(key);
        if map.is_empty() {
            parent.remove(*last);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_restart_is_not_a_new_revision_but_another_template() {
        let before =
            json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"image": "app:v1"}]}});
        let after = json!({"metadata": {"labels": {"app": "shop"}, "annotations": {RESTARTED_AT: "now"}}, "spec": {"containers": [{"image": "app:v1"}]}});
        assert_eq!(revision_of(&before), revision_of(&after));
        assert_ne!(template_hash_of(&before), template_hash_of(&after));
    }

    #[test]
    fn the_identity_is_both_hashes() {
        let metadata = [
            json!({}),
            json!({"labels": {"app": "shop"}}),
            json!({"labels": {POD_TEMPLATE_HASH: "1"}, "annotations": {}, "creationTimestamp": null}),
            json!({"annotations": {"team": "a"}}),
            json!({"annotations": {RESTARTED_AT: "now"}}),
            json!({"annotations": {RESTARTED_AT: "now", "team": "a"}}),
            json!({"annotations": null}),
            Value::Null,
        ];
        for metadata in metadata {
            let template = json!({"metadata": metadata, "spec": {"containers": [{"image": "app:v1"}]}});
            let both = (revision_of(&template), template_hash_of(&template));
            assert_eq!(identity_of(&template), both, "{template}");
        }
    }

    #[test]
    fn the_pod_hash_label_and_key_order_do_not_matter() {
        let a: Value =
            serde_json::from_str(r#"{"spec":{"a":1,"b":2},"metadata":{"labels":{"app":"x"}}}"#).unwrap();
        let b: Value =
            serde_json::from_str(r#"{"metadata":{"creationTimestamp":null,"labels":{"pod-template-hash":"1","app":"x"}},"spec":{"b":2,"a":1}}"#)
                .unwrap();
        assert_eq!(template_hash_of(&a), template_hash_of(&b));
    }

    #[test]
    fn hashes_are_stable_for_ever() {
        // Stored in statuses: a change of this value would start a run of every workload at an upgrade.
        assert_eq!(revision_of(&json!({"spec": {"containers": [{"image": "app:v1"}]}})), "2qbwlqvcfq");
    }
}
