//! P3, P4 where the share is the share of pods: the canary grows only to the size of a declared phase, after the one before was good for
//! its whole bake.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use palier::apiserver::{Kind, Verb};
use palier::engine::Weight;
use palier::engine::scaling::canary_size_by_pods;
use palier::rig::{Given, Proof};
use serde_json::Value;

use super::raise::phases_of;
use super::{Broken, Look, Monitor, broke};

/// Since when each canary has the pods that were asked for, by uid: that number, and the time.
pub struct Shares<'g> {
    given: &'g [Given],
    full: BTreeMap<String, (i64, Timestamp)>,
}

impl<'g> Shares<'g> {
    pub fn new(given: &'g [Given]) -> Self {
        Self { given, full: BTreeMap::new() }
    }
}

impl Monitor for Shares<'_> {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        if change.key.kind != Kind::ReplicaSet || change.verb == Verb::Delete {
            return;
        }
        let set = &*change.after;
        let size = |set: &Value| set["spec"]["replicas"].as_i64().unwrap_or(0);
        let uid = set["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let before = change.before.as_deref().map(size);
        if look.is_ours && before.is_none_or(|before| size(set) > before) {
            broken.extend(self.unproven(look, before).map(|what| broke(look, "P3/P4", what)));
        }
        if set["status"]["readyReplicas"].as_i64().unwrap_or(0) >= size(set) {
            let (known, since) = self.full.entry(uid).or_insert((size(set), change.at));
            if *known != size(set) {
                (*known, *since) = (size(set), change.at);
            }
        }
    }
}

impl Shares<'_> {
    /// What is wrong with a canary that grows.
    fn unproven(&self, look: &Look<'_>, before: Option<i64>) -> Option<String> {
        let (change, set) = (look.change, &*look.change.after);
        let label = |name: &str| set["metadata"]["labels"][name].as_str().unwrap_or_default();
        let rollout = look.scene.get(Kind::Rollout, &change.key.namespace, label("palier.dev/rollout"))?;
        let components = rollout["spec"]["components"].as_array()?;
        let name = label("palier.dev/component");
        let component = components.iter().find(|it| it["name"] == name && it["traffic"].is_null())?;
        let workload = component["workloadRef"]["name"].as_str()?;
        let desired = look.scene.get(Kind::Deployment, &change.key.namespace, workload)?["spec"]["replicas"]
            .as_i64()?;
        let size = set["spec"]["replicas"].as_i64()?;
        let phases = phases_of(rollout);
        let size_of = |traffic: i64| {
            let [desired, traffic] = [desired, traffic].map(|it| i32::try_from(it).unwrap_or(i32::MAX));
            i64::from(canary_size_by_pods(desired, Weight::clamped(traffic)))
        };
        let told = format!("{} from {before:?} to {size} of {desired} pods", change.key);
        let index = phases.iter().position(|(traffic, _)| size_of(*traffic) == size);
        let Some(index) = index else { return Some(format!("{told}: the size of no phase")) };
        // The first phase is earned by nothing.
        let (former, bake) = *phases.get(index.checked_sub(1)?)?;
        let Some((known, since)) = self.full.get(set["metadata"]["uid"].as_str()?).copied() else {
            return Some(format!("{told}: its pods were never ready"));
        };
        if known != size_of(former) {
            return Some(format!("{told}: it had {known} pods, not those of {former} %"));
        }
        let lasted = change.at.duration_since(since);
        if lasted + SignedDuration::from_secs(1) < bake {
            return Some(format!("{told}: {former} % were in force for {lasted:#} of {bake:#}"));
        }
        let passes = self.given.iter().filter(|it| {
            let is_about = it.about.get("set").is_some_and(|it| set["metadata"]["name"] == **it);
            is_about && it.at >= since && it.at <= change.at && it.proof == Proof::Pass
        });
        let passes = passes.count();
        (passes < 2).then(|| format!("{told}: {passes} evaluations passed"))
    }
}
