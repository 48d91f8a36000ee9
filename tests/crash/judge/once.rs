//! P5: one answer, one judgement. A gate has passed no more often than the metric server has said so.

use palier::apiserver::Kind;
use palier::rig::{Given, Proof};

use super::{Broken, Look, Monitor, broke};

/// The passes that are on record.
pub struct Once<'g> {
    given: &'g [Given],
}

impl<'g> Once<'g> {
    pub fn new(given: &'g [Given]) -> Self {
        Self { given }
    }
}

impl Monitor for Once<'_> {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        if change.key.kind != Kind::Rollout || !look.is_ours {
            return;
        }
        for component in change.after["status"]["components"].as_array().into_iter().flatten() {
            let Some(set) = component["canary"]["replicaSet"].as_str() else { continue };
            for gate in component["gates"].as_array().into_iter().flatten() {
                let (name, passes) = (gate["name"].as_str(), gate["passes"].as_u64().unwrap_or(0));
                let is_about = |it: &&Given| {
                    let of = |label: &str| it.about.get(label).map(String::as_str);
                    of("set") == Some(set) && of("gate") == name
                };
                let given = self.given.iter().filter(|it| it.at <= change.at && it.proof == Proof::Pass);
                let given = given.filter(is_about).count() as u64;
                if passes > given {
                    let name = name.unwrap_or_default();
                    let what = format!("{name} passed {passes} times on {given} answers about {set}");
                    broken.push(broke(look, "P5", what));
                }
            }
        }
    }
}
