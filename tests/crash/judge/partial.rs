//! P11: a step back lands on a share that was earned, and whoever goes back to nothing has a reason: it failed, it needs one that failed,
//! or everybody goes. Nobody else is touched.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use palier::apiserver::{Kind, Verb};
use palier::rig::Proof;
use serde_json::Value;

use super::raise::{gates_of, label_of, phases_of};
use super::scene::Part;
use super::{Broken, Case, Look, Monitor, broke};

/// After this time pods that were missing are no reason any more: the progress deadline of the stories, and a reaction.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(660);

/// Too few pods for so long are a reason.
const LONG: SignedDuration = SignedDuration::from_secs(300);

/// How far a way back may reach.
pub struct Reach<'c> {
    case: &'c Case<'c>,
    /// By component: the weight, and those that were in force, since the canary is the same.
    weights: BTreeMap<String, (String, i64, BTreeSet<i64>)>,
    /// When something happened that is a reason for everybody: a word, an edit, another version, a Job that failed.
    for_all: BTreeMap<String, Timestamp>,
    /// When a canary (by uid) that had been ready had no ready pod at all, or too few for long.
    lacking: BTreeMap<String, Timestamp>,
    /// Since when a canary (by uid) that had been ready has too few.
    lacks_since: BTreeMap<String, Option<Timestamp>>,
}

impl<'c> Reach<'c> {
    pub fn new(case: &'c Case<'c>) -> Self {
        Self {
            case,
            weights: BTreeMap::new(),
            for_all: BTreeMap::new(),
            lacking: BTreeMap::new(),
            lacks_since: BTreeMap::new(),
        }
    }

    fn note(&mut self, look: &Look<'_>) {
        let change = look.change;
        let before = change.before.as_deref().unwrap_or(&Value::Null);
        let is_reason = match change.key.kind {
            Kind::RolloutAction => ["Abort", "Retry"].iter().any(|it| change.after["spec"]["action"] == *it),
            Kind::Rollout => {
                before["spec"] != change.after["spec"]
                    || change.after["metadata"]["deletionTimestamp"].is_string()
            }
            Kind::Deployment => {
                !look.is_ours && before["spec"]["template"] != change.after["spec"]["template"]
            }
            Kind::ConfigMap | Kind::Secret | Kind::CronJob => !look.is_ours,
            Kind::Job => change.after["status"]["failed"].as_i64() > Some(0),
            _ => false,
        };
        if is_reason {
            self.for_all.insert(change.key.namespace.clone(), change.at);
        }
        if change.key.kind == Kind::ReplicaSet && change.verb != Verb::Delete {
            self.note_lack(&change.after, change.at);
        }
    }

    fn note_lack(&mut self, set: &Value, now: Timestamp) {
        let count = |value: &Value| value.as_i64().unwrap_or(0);
        let (ready, wanted) = (count(&set["status"]["readyReplicas"]), count(&set["spec"]["replicas"]));
        let uid = set["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if ready >= wanted && wanted > 0 {
            self.lacks_since.insert(uid, None);
        } else if let Some(since) = self.lacks_since.get_mut(&uid) {
            let since = *since.get_or_insert(now);
            if ready == 0 || now.duration_since(since) > LONG {
                self.lacking.insert(uid, now);
            }
        }
    }

    /// Whether there is a reason for this component to go back to nothing.
    fn has_reason(&self, look: &Look<'_>, part: &Part, set: &Value) -> bool {
        let now = look.change.at;
        let made = set["metadata"]["creationTimestamp"].as_str().and_then(|it| it.parse::<Timestamp>().ok());
        let made = made.unwrap_or(Timestamp::MIN);
        let uid = set["metadata"]["uid"].as_str().unwrap_or_default();
        let is_recent = |at: &Timestamp| now.duration_since(*at) < REMEMBERED;
        if self.for_all.get(&part.namespace).is_some_and(|at| *at >= made)
            || self.lacking.get(uid).is_some_and(is_recent)
            || !self.case.losses.is_empty()
            || self.case.has_jumped
        {
            return true;
        }
        let Some(rollout) = look.scene.get(Kind::Rollout, &part.namespace, &part.rollout) else {
            return true;
        };
        let fails = |it: &&palier::rig::Given| it.proof != Proof::Pass && it.at <= now && it.at >= made;
        self.case.given.iter().filter(fails).any(|it| {
            let about = |name: &str| it.about.get(name).map_or("", String::as_str);
            if it.proof == Proof::Nothing {
                return true;
            }
            let is_of_all = gates_of(rollout, "").iter().any(|gate| label_of(gate) == Some(about("gate")));
            is_of_all || needs(rollout, &part.component).contains(about("component"))
        })
    }
}

/// A component and all that it needs.
fn needs(rollout: &Value, component: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from([component.to_owned()]);
    let components = rollout["spec"]["components"].as_array().cloned().unwrap_or_default();
    for _ in 0..components.len() {
        let known = all.clone();
        for it in &components {
            if it["name"].as_str().is_some_and(|name| known.contains(name)) {
                let needs = it["dependsOn"].as_array().into_iter().flatten();
                all.extend(needs.filter_map(|it| it.as_str().map(str::to_owned)));
            }
        }
    }
    all
}

impl Monitor for Reach<'_> {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        self.note(look);
        if !matches!(look.change.key.kind, Kind::HttpRoute | Kind::GrpcRoute | Kind::Service) {
            return;
        }
        for part in look.scene.parts() {
            let (Some(weight), Some(set)) = (look.scene.weight(&part), look.scene.canary_set(&part)) else {
                continue;
            };
            let uid = set["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            let name = format!("{}/{}/{}", part.namespace, part.rollout, part.component);
            let known = self.weights.entry(name).or_default();
            if known.0 != uid {
                *known = (uid, 0, BTreeSet::new());
            }
            let before = known.1;
            known.1 = weight;
            if look.scene.is_accepted(&part) {
                known.2.insert(weight);
            }
            if !look.is_ours || weight >= before {
                continue;
            }
            let earned = known.2.iter().copied().filter(|it| *it < before && *it > 0).max();
            let rollout = look.scene.get(Kind::Rollout, &part.namespace, &part.rollout);
            let declares =
                |weight: i64| rollout.is_some_and(|it| phases_of(it).iter().any(|(it, _)| *it == weight));
            if weight > 0 && (earned != Some(weight) || !declares(weight)) {
                let what = format!(
                    "{} steps back from {before} to {weight} %, last earned: {earned:?}",
                    part.component
                );
                broken.push(broke(look, "P11", what));
            }
            let hash = &set["metadata"]["labels"]["pod-template-hash"];
            let service = look.scene.get(Kind::Service, &part.namespace, &part.service);
            let is_adopted = service
                .is_some_and(|it| it["spec"]["selector"]["pod-template-hash"] == *hash && !hash.is_null());
            if weight == 0 && !is_adopted && !self.has_reason(look, &part, set) {
                let what = format!("{} goes from {before} to 0 % without a reason", part.component);
                broken.push(broke(look, "P11", what));
            }
        }
    }
}
