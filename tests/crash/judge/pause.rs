//! P28: while a run is paused nothing rises.

use std::collections::{BTreeMap, BTreeSet};

use palier::apiserver::Kind;

use super::{Broken, Look, Monitor, broke};

/// Rollouts whose controller has obeyed a pause.
#[derive(Default)]
pub struct Pause {
    /// By namespace and name.
    paused: BTreeSet<(String, String)>,
    /// Those of which a person has lifted it, until another pause: a status that still holds it is only late.
    lifted: BTreeSet<(String, String)>,
    weights: BTreeMap<String, i64>,
}

impl Monitor for Pause {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        match change.key.kind {
            // It begins when the controller says that it has heard of it, and ends by a person's word or with the run.
            Kind::Rollout => {
                let place = (change.key.namespace.clone(), change.key.name.clone());
                if look.is_ours
                    && change.after["status"]["run"]["paused"] == true
                    && !self.lifted.contains(&place)
                {
                    self.paused.insert(place);
                } else if !change.after["status"]["run"]["endedAt"].is_null() {
                    self.paused.remove(&place);
                }
            }
            Kind::RolloutAction => {
                let rollout = change.after["spec"]["rollout"].as_str().unwrap_or_default();
                let place = (change.key.namespace.clone(), rollout.to_owned());
                if ["Resume", "Promote", "Retry"].iter().any(|word| change.after["spec"]["action"] == *word) {
                    self.paused.remove(&place);
                    self.lifted.insert(place);
                } else if change.after["spec"]["action"] == "Pause" {
                    self.lifted.remove(&place);
                }
            }
            // Another template supersedes the run, and the pause with it.
            Kind::Deployment if !look.is_ours => {
                let template = |it: &serde_json::Value| it["spec"]["template"].clone();
                if change.before.as_deref().is_some_and(|it| template(it) != template(&change.after)) {
                    self.paused.clear();
                }
            }
            Kind::HttpRoute | Kind::GrpcRoute => {
                for part in look.scene.parts() {
                    let Some(weight) = look.scene.weight(&part) else { continue };
                    let name = format!("{}/{}/{}", part.namespace, part.rollout, part.component);
                    let highest = self.weights.entry(name).or_default();
                    let is_paused = self.paused.contains(&(part.namespace.clone(), part.rollout.clone()));
                    if !is_paused {
                        *highest = weight;
                    } else if look.is_ours && weight > *highest {
                        let what =
                            format!("{} rises from {highest} to {weight} % under a pause", part.component);
                        broken.push(broke(look, "P28", what));
                    }
                }
            }
            _ => {}
        }
    }
}
