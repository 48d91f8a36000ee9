//! P5: one answer, one judgement. A gate has passed no more often than the metric server has said so, and meets no answer again.

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
                let given: Vec<Proof> = self
                    .given
                    .iter()
                    .filter(|it| it.at <= change.at)
                    .filter(is_about)
                    .map(|it| it.proof)
                    .collect();
                let passed = given.iter().filter(|it| **it == Proof::Pass).count() as u64;
                let name = name.unwrap_or_default();
                if passes > passed {
                    let what = format!("{name} passed {passes} times on {passed} answers about {set}");
                    broken.push(broke(look, "P5", what));
                }
                // Every answer of this server has a time of its own, but for those that prove nothing.
                let is_again = gate["message"].as_str().is_some_and(|message| message.contains("no newer"));
                if is_again && !given.contains(&Proof::Nothing) {
                    broken.push(broke(
                        look,
                        "P5",
                        format!("{name} is judged twice on one answer about {set}"),
                    ));
                }
            }
        }
    }
}
