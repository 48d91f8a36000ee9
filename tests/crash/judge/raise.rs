//! P3, P4, P5, P6, P24, P26: every raise is to the next declared weight, and the one before was in force and good for its whole bake by the
//! true time, whatever clocks said; so was the last one before the adoption. What was asked before a gate changed counts for nothing.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use palier::api::Span;
use palier::apiserver::{Key, Kind, Verb};
use palier::rig::{Given, Proof};
use serde_json::Value;

use super::scene::Part;
use super::{Broken, Look, Monitor, broke};

#[derive(Clone, Debug, Default)]
struct Memory {
    /// Uid of the canary's ReplicaSet.
    set: String,
    weight: i64,
    highest: i64,
    /// When each weight was first accepted by the gateway.
    in_force: BTreeMap<i64, Timestamp>,
    /// Words of persons that this component has used: each ends one phase.
    used: usize,
}

/// A person's word that ends a phase.
#[derive(Clone, Debug)]
struct Word {
    rollout: String,
    run: i64,
    full: bool,
}

/// The raises of each component.
pub struct Raises<'g> {
    given: &'g [Given],
    has_jumped: bool,
    memory: BTreeMap<String, Memory>,
    /// Words of persons, oldest first.
    promoted: Vec<Word>,
    /// The gates of each Rollout, each with the time since when it is as it is.
    gates: BTreeMap<String, BTreeMap<String, (Value, Timestamp)>>,
}

impl<'g> Raises<'g> {
    pub fn new(given: &'g [Given], has_jumped: bool) -> Self {
        Self { given, has_jumped, memory: BTreeMap::new(), promoted: Vec::new(), gates: BTreeMap::new() }
    }
}

impl Monitor for Raises<'_> {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        if change.key.kind == Kind::RolloutAction
            && change.verb == Verb::Create
            && change.after["spec"]["action"] == "Promote"
        {
            let rollout = change.after["spec"]["rollout"].as_str().unwrap_or_default();
            self.promoted.push(Word {
                rollout: format!("{}/{rollout}", change.key.namespace),
                run: change.after["spec"]["run"].as_i64().unwrap_or(0),
                full: change.after["spec"]["full"] == true,
            });
        }
        if change.key.kind == Kind::Rollout {
            self.learn_gates(look);
        }
        if look.is_ours && change.key.kind == Kind::ReplicaSet && change.verb == Verb::Update {
            self.adoption(look, broken);
        }
        for part in look.scene.parts() {
            let Some(weight) = look.scene.weight(&part) else { continue };
            let name = format!("{}/{}/{}", part.namespace, part.rollout, part.component);
            let canary = look.scene.canary_set(&part);
            let uid = canary.and_then(|set| set["metadata"]["uid"].as_str()).unwrap_or_default().to_owned();
            let memory = self.memory.entry(name.clone()).or_default();
            if !uid.is_empty() && uid != memory.set {
                if weight > 0 && look.is_ours {
                    let what = format!("{name} has {weight} % on a canary that is new");
                    broken.push(broke(look, "P24", what));
                }
                *memory = Memory { set: uid, weight, ..Memory::default() };
            }
            let before = memory.clone();
            memory.weight = weight;
            memory.highest = memory.highest.max(weight);
            if weight > 0 && look.scene.is_accepted(&part) {
                memory.in_force.entry(weight).or_insert(change.at);
            }
            if !look.is_ours || weight <= before.highest {
                continue;
            }
            let unproven = self.unproven(look, &part, (&before, weight));
            if unproven.is_some() && self.is_promoted(look, &part, &name) {
                continue;
            }
            broken.extend(unproven.map(|what| broke(look, "P3/P4", what)));
        }
    }
}

impl Raises<'_> {
    fn learn_gates(&mut self, look: &Look<'_>) {
        let change = look.change;
        let known = self.gates.entry(change.key.to_string()).or_default();
        for component in std::iter::once("").chain(components_of(&change.after)) {
            for gate in gates_of(&change.after, component) {
                let name = gate["name"].as_str().unwrap_or_default().to_owned();
                let entry = known.entry(name).or_insert_with(|| (gate.clone(), change.at));
                if entry.0 != gate {
                    *entry = (gate, change.at);
                }
            }
        }
    }

    /// Whether a person's word about this run is left for the component; it is used up.
    fn is_promoted(&mut self, look: &Look<'_>, part: &Part, name: &str) -> bool {
        let rollout = format!("{}/{}", part.namespace, part.rollout);
        let run = look.scene.run_of(&part.namespace, &part.rollout);
        let words: Vec<&Word> =
            self.promoted.iter().filter(|it| it.rollout == rollout && it.run == run).collect();
        let Some(memory) = self.memory.get_mut(name) else { return false };
        if words.iter().any(|word| word.full) {
            return true;
        }
        memory.used += 1;
        memory.used <= words.len()
    }

    /// The canary becomes the Deployment's own: its last phase must have been earned.
    fn adoption(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let owned = |set: &Value| {
            let owners = set["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            owners.iter().any(|owner| owner["kind"] == "Rollout")
        };
        let is_let_go = look.change.before.as_deref().is_some_and(owned) && !owned(&look.change.after);
        for part in look.scene.parts().into_iter().filter(|_| is_let_go) {
            let name = format!("{}/{}/{}", part.namespace, part.rollout, part.component);
            let Some(memory) = self.memory.get(&name).cloned() else { continue };
            let rollout = look.scene.get(Kind::Rollout, &part.namespace, &part.rollout);
            let is_going = rollout.is_none_or(|it| it["metadata"]["deletionTimestamp"].is_string());
            if is_going || look.change.after["metadata"]["uid"] != *memory.set {
                continue;
            }
            let unproven = self.unproven_phase(look, &part, (&memory, usize::MAX), "its adoption");
            if unproven.is_some() && !self.is_promoted(look, &part, &name) {
                broken.extend(unproven.map(|what| broke(look, "P3/P4", what)));
            }
        }
    }

    /// What is wrong with a raise.
    fn unproven(&self, look: &Look<'_>, part: &Part, (before, weight): (&Memory, i64)) -> Option<String> {
        let rollout = look.scene.get(Kind::Rollout, &part.namespace, &part.rollout)?;
        let told = format!("{} from {} to {weight} %", part.component, before.weight);
        let Some(index) = phases_of(rollout).iter().position(|(traffic, _)| *traffic == weight) else {
            return Some(format!("{told}: not a declared weight"));
        };
        let ready = look.scene.ready(&part.namespace, &part.canary_service());
        if ready == 0 {
            return Some(format!("{told}: the canary has no ready pod"));
        }
        self.unproven_phase(look, part, (before, index), &told)
    }

    /// What is wrong with the proof of the phase before the one of this index.
    fn unproven_phase(
        &self,
        look: &Look<'_>,
        part: &Part,
        (before, index): (&Memory, usize),
        told: &str,
    ) -> Option<String> {
        let rollout = look.scene.get(Kind::Rollout, &part.namespace, &part.rollout)?;
        let phases: Vec<(i64, SignedDuration)> = phases_of(rollout);
        let (last, bake) = *phases.get(index.min(phases.len()).checked_sub(1)?)?;
        let Some(since) = before.in_force.get(&last).copied() else {
            return Some(format!("{told}: {last} % were never in force"));
        };
        if self.has_jumped {
            return None;
        }
        let lasted = look.change.at.duration_since(since);
        // Status times have whole seconds.
        if lasted + SignedDuration::from_secs(1) < bake {
            return Some(format!("{told}: {last} % were in force for {lasted:#} of {bake:#}"));
        }
        let set = look.scene.list(Kind::ReplicaSet, &part.namespace);
        let set = set.into_iter().find(|set| set["metadata"]["uid"] == *before.set)?;
        let set = set["metadata"]["name"].as_str()?.to_owned();
        let known = self.gates.get(&Key::new(Kind::Rollout, &part.namespace, &part.rollout).to_string());
        for gate in gates_of(rollout, &part.component) {
            let name = gate["name"].as_str().unwrap_or_default();
            // Counters and histograms are not what this metric server answers.
            let Some(label) = label_of(&gate) else { continue };
            let changed_at = known.and_then(|known| known.get(name)).map_or(since, |(_, at)| *at);
            let asked = self.given.iter().filter(|it| {
                it.at >= since.max(changed_at)
                    && it.at <= look.change.at
                    && it.about.get("set") == Some(&set)
                    && it.about.get("gate").is_some_and(|it| it == label)
            });
            let proofs: Vec<Proof> = asked.map(|it| it.proof).collect();
            let passes = proofs.iter().filter(|it| **it == Proof::Pass).count();
            let least = gate["minEvaluations"].as_u64().unwrap_or(2);
            if (passes as u64) < least {
                return Some(format!("{told}: {name} passed {passes} times since {since}, not {least}"));
            }
            let turns_back =
                !matches!(gate["onFailure"].as_str(), Some("StepBack" | "DegradedMode" | "Hold" | "Notify"));
            if turns_back && proofs.contains(&Proof::Fail) && gate["failureThreshold"] == 1 {
                return Some(format!("{told}: {name} failed in the phase"));
            }
        }
        None
    }
}

fn components_of(rollout: &Value) -> impl Iterator<Item = &str> {
    rollout["spec"]["components"].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str())
}

/// The name under which the metric server is asked for a gate: it need not be the gate's.
pub fn label_of(gate: &Value) -> Option<&str> {
    let query = gate["prometheus"]["query"].as_str()?;
    query.split_once("gate=\"")?.1.split('"').next()
}

/// The gates by which a component is judged; those of the Rollout alone if none is named.
pub fn gates_of(rollout: &Value, component: &str) -> Vec<Value> {
    let of_all = rollout["spec"]["gates"].as_array().into_iter().flatten();
    let components = rollout["spec"]["components"].as_array().into_iter().flatten();
    let own = components
        .filter(|it| it["name"] == component)
        .flat_map(|it| it["gates"].as_array().into_iter().flatten());
    of_all.chain(own).cloned().collect()
}

/// The share and the bake of each phase.
pub fn phases_of(rollout: &Value) -> Vec<(i64, SignedDuration)> {
    let phases = rollout["spec"]["phases"].as_array().cloned().unwrap_or_default();
    let phases = phases.iter().filter_map(|phase| {
        let bake: Span = phase["bakeTime"].as_str()?.parse().ok()?;
        Some((phase["traffic"].as_i64()?, SignedDuration::from_millis(bake.as_millis())))
    });
    phases.collect()
}
