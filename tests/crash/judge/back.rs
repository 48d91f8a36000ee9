//! P8, P10: after a way back nothing rises without a new run, and pods go only when nobody is sent to them any more.

use std::collections::{BTreeMap, BTreeSet};

use palier::apiserver::{Kind, Verb};
use palier::rig::{Given, Proof};
use serde_json::Value;

use super::scene::Part;
use super::{Broken, Look, Monitor, broke};

/// The way back of each component.
pub struct WayBack<'g> {
    given: &'g [Given],
    /// Canary ReplicaSets (by uid) that a person wants back.
    aborted: BTreeSet<String>,
    /// Weight by component.
    weights: BTreeMap<String, i64>,
    /// Canary ReplicaSets (by uid) that were taken back to 0 by the controller, by component.
    back: BTreeMap<String, BTreeSet<String>>,
}

impl<'g> WayBack<'g> {
    pub fn new(given: &'g [Given]) -> Self {
        Self { given, aborted: BTreeSet::new(), weights: BTreeMap::new(), back: BTreeMap::new() }
    }

    /// Whether there is a reason to go back for good. Without one a canary that has lost its pods only lends its share to stable.
    fn has_reason(&self, look: &Look<'_>, set: &Value) -> bool {
        let failed = |it: &Given| {
            it.at <= look.change.at
                && it.proof == Proof::Fail
                && it.about.get("set").is_some_and(|name| set["metadata"]["name"] == **name)
        };
        set["metadata"]["uid"].as_str().is_some_and(|uid| self.aborted.contains(uid))
            || self.given.iter().any(failed)
    }
}

impl Monitor for WayBack<'_> {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        if change.key.kind == Kind::RolloutAction && change.after["spec"]["action"] == "Retry" {
            // A person wants it tried again.
            self.back.clear();
        }
        if change.key.kind == Kind::RolloutAction && change.after["spec"]["action"] == "Abort" {
            let parts = look.scene.parts();
            let sets = parts.iter().filter_map(|part| look.scene.canary_set(part));
            self.aborted.extend(sets.filter_map(|set| Some(set["metadata"]["uid"].as_str()?.to_owned())));
        }
        for part in look.scene.parts() {
            self.latch(look, &part, broken);
        }
        let is_less = change.key.kind == Kind::ReplicaSet
            && look.is_ours
            && (change.verb == Verb::Delete || change.after["spec"]["replicas"] == 0);
        if is_less {
            for part in look.scene.parts() {
                check_nobody_is_sent(look, &part, broken);
            }
        }
    }
}

impl WayBack<'_> {
    fn latch(&mut self, look: &Look<'_>, part: &Part, broken: &mut Vec<Broken>) {
        let Some(weight) = look.scene.weight(part) else { return };
        let name = format!("{}/{}/{}", part.namespace, part.rollout, part.component);
        let before = self.weights.insert(name.clone(), weight).unwrap_or(0);
        if !look.is_ours || weight == before {
            return;
        }
        let Some(set) = look.scene.canary_set(part) else { return };
        let uid = set["metadata"]["uid"].as_str().unwrap_or_default();
        let has_reason = self.has_reason(look, set);
        let back = self.back.entry(name).or_default();
        if weight == 0 && before > 0 && before < 100 && has_reason {
            back.insert(uid.to_owned());
        } else if weight > before && back.contains(uid) {
            let what = format!("{} rises from {before} to {weight} % after its way back", part.component);
            broken.push(broke(look, "P8", what));
        }
    }
}

/// P10, at the write that takes pods away.
fn check_nobody_is_sent(look: &Look<'_>, part: &Part, broken: &mut Vec<Broken>) {
    let change = look.change;
    let gone = change.before.as_deref().unwrap_or(&Value::Null);
    let hash = &gone["metadata"]["labels"]["pod-template-hash"];
    if hash.is_null()
        || gone["spec"]["replicas"] == 0
        || gone["status"]["readyReplicas"].as_i64().unwrap_or(0) == 0
    {
        return;
    }
    let weight = look.scene.weight(part).unwrap_or(0);
    let selects = |service: &str| {
        let service = look.scene.get(Kind::Service, &part.namespace, service);
        service.is_some_and(|service| service["spec"]["selector"]["pod-template-hash"] == *hash)
    };
    let is_of_part = change.key.name.starts_with(&part.workload);
    if !is_of_part {
        return;
    }
    if weight > 0 && selects(&part.canary_service()) {
        let what = format!("{} loses its pods while {weight} % are sent to them", change.key);
        broken.push(broke(look, "P10", what));
    }
    if weight < 100 && selects(&part.service) {
        let what = format!("{} loses its pods while callers are pinned to them", change.key);
        broken.push(broke(look, "P10", what));
    }
}
