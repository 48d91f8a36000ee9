//! P32: what is ready can carry the load as it is split, but for what a rolling update may take.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use palier::apiserver::Kind;

use super::scene::Part;
use super::{Broken, Look, Monitor, broke};

/// Pods take a while to start, and the controller to see that they are missing.
const REACTION: SignedDuration = SignedDuration::from_secs(45);
/// After a loss of pods by somebody else's hand: until they are back.
const FORGIVEN: SignedDuration = SignedDuration::from_secs(180);

/// Since when a component has too few pods for its share.
pub struct Floor<'c> {
    losses: &'c [Timestamp],
    /// Since when, and whether it was told, by component.
    low: BTreeMap<String, (Timestamp, bool)>,
    /// Pods wanted, since when.
    wanted: BTreeMap<String, (i64, Timestamp)>,
}

impl<'c> Floor<'c> {
    pub fn new(losses: &'c [Timestamp]) -> Self {
        Self { losses, low: BTreeMap::new(), wanted: BTreeMap::new() }
    }

    /// Which backend cannot carry its share, in words.
    fn lack(look: &Look<'_>, part: &Part, wanted: i64) -> Option<String> {
        let weight = look.scene.weight(part)?;
        let ready = |service: &str| i64::try_from(look.scene.ready(&part.namespace, service)).unwrap_or(0);
        // A quarter may be missing, rounded down, as the Deployments of the stories allow.
        let least = wanted - wanted / 4;
        let sides = [(part.service.clone(), 100 - weight), (part.canary_service(), weight)];
        sides.into_iter().filter(|(_, share)| *share > 0).find_map(|(service, share)| {
            let there = ready(&service);
            let is_low = there * 100 < least * share;
            is_low.then(|| format!("{service} has {there} ready pods for {share} % of what {wanted} carry"))
        })
    }
}

impl Monitor for Floor<'_> {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let now = look.change.at;
        if !matches!(
            look.change.key.kind,
            Kind::EndpointSlice | Kind::HttpRoute | Kind::GrpcRoute | Kind::Deployment | Kind::Rollout
        ) {
            return;
        }
        for part in look.scene.parts() {
            let Some(deployment) = look.scene.get(Kind::Deployment, &part.namespace, &part.workload) else {
                continue;
            };
            let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
            let name = format!("{}/{}/{}", part.namespace, part.rollout, part.component);
            let (before, since) = self.wanted.entry(name.clone()).or_insert((wanted, now));
            if *before != wanted {
                (*before, *since) = (wanted, now);
            }
            let is_new = now.duration_since(*since) < FORGIVEN;
            let Some(lack) = Self::lack(look, &part, wanted).filter(|_| !is_new) else {
                self.low.remove(&name);
                continue;
            };
            let (since, told) = self.low.entry(name).or_insert((now, false));
            let is_forgiven =
                self.losses.iter().any(|lost| *lost <= now && now.duration_since(*lost) < FORGIVEN);
            if is_forgiven {
                *since = now;
            } else if !*told && now.duration_since(*since) > REACTION {
                *told = true;
                broken.push(broke(look, "P32", lack));
            }
        }
    }
}
