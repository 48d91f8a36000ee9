//! P3, P4, P6, P24: every raise is to the next declared weight, and the one before was in force and good for its whole bake.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use palier::api::Span;
use palier::apiserver::Kind;
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
}

/// The raises of each component.
pub struct Raises<'g> {
    given: &'g [Given],
    has_jumped: bool,
    memory: BTreeMap<String, Memory>,
    /// Rollouts of which a person ended a phase.
    promoted: Vec<String>,
}

impl<'g> Raises<'g> {
    pub fn new(given: &'g [Given], has_jumped: bool) -> Self {
        Self { given, has_jumped, memory: BTreeMap::new(), promoted: Vec::new() }
    }
}

impl Monitor for Raises<'_> {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        if change.key.kind == Kind::RolloutAction && change.after["spec"]["action"] == "Promote" {
            let rollout = change.after["spec"]["rollout"].as_str().unwrap_or_default();
            self.promoted.push(format!("{}/{rollout}", change.key.namespace));
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
            let is_promoted = self.promoted.contains(&format!("{}/{}", part.namespace, part.rollout));
            if look.is_ours && weight > before.highest && !is_promoted {
                broken.extend(
                    self.unproven(look, &part, (&before, weight)).map(|what| broke(look, "P3/P4", what)),
                );
            }
        }
    }
}

impl Raises<'_> {
    /// What is wrong with a raise.
    fn unproven(&self, look: &Look<'_>, part: &Part, (before, weight): (&Memory, i64)) -> Option<String> {
        let rollout = look.scene.get(Kind::Rollout, &part.namespace, &part.rollout)?;
        let told = format!("{} from {} to {weight} %", part.component, before.weight);
        let canary = look.scene.canary_set(part);
        let phases: Vec<(i64, SignedDuration)> = phases_of(rollout);
        let Some(index) = phases.iter().position(|(traffic, _)| *traffic == weight) else {
            return Some(format!("{told}: not a declared weight"));
        };
        let ready = look.scene.ready(&part.namespace, &part.canary_service());
        if ready == 0 {
            return Some(format!("{told}: the canary has no ready pod"));
        }
        let (last, bake) = *phases.get(index.checked_sub(1)?)?;
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
        let set = canary?["metadata"]["name"].as_str()?.to_owned();
        for gate in rollout["spec"]["gates"].as_array().into_iter().flatten() {
            let name = gate["name"].as_str().unwrap_or_default();
            let asked = self.given.iter().filter(|it| {
                it.at >= since
                    && it.at <= look.change.at
                    && it.about.get("set") == Some(&set)
                    && it.about.get("gate").is_some_and(|it| it == name)
            });
            let proofs: Vec<Proof> = asked.map(|it| it.proof).collect();
            let passes = proofs.iter().filter(|it| **it == Proof::Pass).count();
            let least = gate["minEvaluations"].as_u64().unwrap_or(2);
            if (passes as u64) < least {
                return Some(format!("{told}: {name} passed {passes} times, not {least}"));
            }
            if proofs.contains(&Proof::Fail) && gate["failureThreshold"] == 1 {
                return Some(format!("{told}: {name} failed in the phase"));
            }
        }
        None
    }
}

fn phases_of(rollout: &Value) -> Vec<(i64, SignedDuration)> {
    let phases = rollout["spec"]["phases"].as_array().cloned().unwrap_or_default();
    let phases = phases.iter().filter_map(|phase| {
        let bake: Span = phase["bakeTime"].as_str()?.parse().ok()?;
        Some((phase["traffic"].as_i64()?, SignedDuration::from_millis(bake.as_millis())))
    });
    phases.collect()
}
