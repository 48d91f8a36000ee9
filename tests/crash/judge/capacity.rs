//! P2: nobody is sent to a Service without ready pods for longer than a reaction takes, unless there are none anywhere.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use palier::apiserver::Kind;

use super::{Broken, Look, Monitor, broke};

/// How long the controller has to react.
const REACTION: SignedDuration = SignedDuration::from_secs(20);
/// After a loss of pods by somebody else's hand: until they are back.
const FORGIVEN: SignedDuration = SignedDuration::from_secs(120);

/// Since when callers of a component are sent into the void.
pub struct Callers<'c> {
    losses: &'c [Timestamp],
    /// Since when, and whether it was told, by component.
    void: BTreeMap<String, (Timestamp, bool)>,
    /// Components that served once.
    served: BTreeMap<String, bool>,
}

impl<'c> Callers<'c> {
    pub fn new(losses: &'c [Timestamp]) -> Self {
        Self { losses, void: BTreeMap::new(), served: BTreeMap::new() }
    }
}

impl Monitor for Callers<'_> {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let now = look.change.at;
        for part in look.scene.parts() {
            let Some(weight) = look.scene.weight(&part) else { continue };
            let name = format!("{}/{}/{}", part.namespace, part.rollout, part.component);
            let ready = |service: &str| look.scene.ready(&part.namespace, service);
            let (stable, canary) = (ready(&part.service), ready(&part.canary_service()));
            let is_void = (weight < 100 && stable == 0) || (weight > 0 && canary == 0);
            if stable > 0 {
                self.served.insert(name.clone(), true);
            }
            let has_any = look
                .scene
                .list(Kind::Pod, &part.namespace)
                .any(|pod| pod["metadata"]["labels"]["app"] == part.workload && super::scene::is_ready(pod));
            if !is_void || !has_any || !self.served.contains_key(&name) {
                self.void.remove(&name);
                continue;
            }
            let (since, told) = self.void.entry(name).or_insert((now, false));
            let is_forgiven =
                self.losses.iter().any(|lost| *lost <= now && now.duration_since(*lost) < FORGIVEN);
            if !*told && !is_forgiven && now.duration_since(*since) > REACTION {
                *told = true;
                let what = format!(
                    "{weight} % of {} and nobody there: {stable} stable, {canary} canary",
                    part.component
                );
                broken.push(broke(look, "P2", what));
            }
        }
    }
}
