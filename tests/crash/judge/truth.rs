//! P29: the status says what was read back: a weight that the gateway had accepted, a generation that there was, and health only where
//! the route is accepted.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use palier::apiserver::Kind;
use serde_json::Value;

use super::{Broken, Look, Monitor, broke};

/// A status may be this late: stores lag by up to 20 s, and a write waits for others. Evidence of lag, not of lies.
const LATE: SignedDuration = SignedDuration::from_secs(90);

/// What was true of each component, and until when.
#[derive(Default)]
pub struct Truth {
    /// By component: weights that were accepted, each with the last time at which it was.
    accepted: BTreeMap<String, BTreeMap<i64, Timestamp>>,
    /// The weight that is accepted now.
    present: BTreeMap<String, i64>,
}

impl Monitor for Truth {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        if !matches!(change.key.kind, Kind::HttpRoute | Kind::GrpcRoute | Kind::Rollout) {
            return;
        }
        for part in look.scene.parts() {
            let name = format!("{}/{}/{}", part.namespace, part.rollout, part.component);
            if let Some(before) = self.present.get(&name) {
                self.accepted.entry(name.clone()).or_default().insert(*before, change.at);
            }
            let weight = look.scene.weight(&part);
            match weight.filter(|_| look.scene.is_accepted(&part)) {
                Some(weight) => {
                    self.accepted.entry(name.clone()).or_default().insert(weight, change.at);
                    self.present.insert(name, weight);
                }
                // A gateway that takes its word back goes on with what it had: the weight that it had accepted.
                None if weight.is_some() && weight.as_ref() == self.present.get(&name) => {}
                None => drop(self.present.remove(&name)),
            }
        }
        if change.key.kind == Kind::Rollout && look.is_ours {
            let status = &change.after["status"];
            if change.before.as_deref().map(|it| &it["status"]) != Some(status) {
                self.check(look, status, broken);
            }
        }
    }
}

impl Truth {
    fn check(&self, look: &Look<'_>, status: &Value, broken: &mut Vec<Broken>) {
        let change = look.change;
        if status["observedGeneration"].as_i64() > change.after["metadata"]["generation"].as_i64() {
            let what = format!("it has observed generation {}", status["observedGeneration"]);
            broken.push(broke(look, "P29", what));
        }
        for part in look.scene.parts().iter().filter(|part| part.rollout == change.key.name) {
            let found = status["components"].as_array().into_iter().flatten();
            let Some(component) = found.into_iter().find(|it| it["name"] == part.component.as_str()) else {
                continue;
            };
            let said = component["weight"].as_i64().unwrap_or(0);
            let name = format!("{}/{}/{}", part.namespace, part.rollout, part.component);
            let seen = self.accepted.get(&name).and_then(|all| all.get(&said));
            let is_true = seen.is_some_and(|at| change.at.duration_since(*at) <= LATE);
            // At the adoption the route goes back while all callers stay on the canary.
            let is_adopting = matches!(component["stage"].as_str(), Some("Adopting" | "Adopted" | "Idle"));
            if said > 0 && !is_true && !is_adopting {
                let what = format!("it says {said} % of {}, which no gateway had accepted", part.component);
                broken.push(broke(look, "P29", what));
            }
        }
    }
}
