//! What the controllers did to each component, by the API server's audit log: nothing of it is Palier's own word. A write whose
//! controller was killed before the answer stands there as failed, and may have been carried out: it counts.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use palier::api::names::COMPONENT_LABEL;

use super::phases::IN_FORCE;
use super::scene::Scene;
use super::share::share;
use crate::lab::audit::{Entries, Entry};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The canary's ReplicaSet was created.
    Began,
    /// The route gave the canary this share in per cent; 0 when it does not name it any more.
    Weight(i64),
    /// The canary's ReplicaSet was given to the Deployment.
    Adopted,
    /// The canary's ReplicaSet was deleted.
    Ended,
}

/// One deed.
#[derive(Clone, Debug)]
pub struct Step {
    /// When the API server was asked.
    pub at: Timestamp,
    /// When it had answered.
    pub done: Timestamp,
    /// The component: in these scenarios its workload, Service and route have its name.
    pub component: String,
    /// What was done.
    pub deed: Deed,
}

/// All deeds in a scene, in their order.
#[derive(Clone, Debug)]
pub struct Trail(pub Vec<Step>);

impl Trail {
    /// What the controllers did in a scene so far.
    pub fn of(scene: &Scene) -> Result<Self> {
        Ok(Self::from_entries(&scene.requests_of_palier()?))
    }

    /// What these requests did.
    pub fn from_entries(entries: &Entries) -> Self {
        let mut canaries: BTreeMap<&str, String> = BTreeMap::new();
        let mut steps = Vec::new();
        for entry in entries.0.iter().filter(|entry| entry.may_be_done()) {
            if (&*entry.verb, &*entry.resource) == ("create", "replicasets") {
                let component = entry.body["metadata"]["labels"][COMPONENT_LABEL].as_str();
                canaries.insert(&entry.name, component.unwrap_or_default().to_owned());
            }
            let owner = canaries.get(&*entry.name).cloned();
            if let Some((component, deed)) = deed_of(entry, owner) {
                steps.push(Step { at: entry.at, done: entry.done, component, deed });
            }
        }
        Self(steps)
    }

    /// What was done from a time on.
    pub fn since(&self, from: Timestamp) -> Self {
        Self(self.0.iter().filter(|step| step.at >= from).cloned().collect())
    }

    /// What was done to a component.
    pub fn component<'t>(&'t self, name: &'t str) -> impl Iterator<Item = &'t Step> {
        self.0.iter().filter(move |step| step.component == name)
    }

    /// When a deed was done first to a component.
    pub fn first(&self, name: &str, deed: Deed) -> Result<&Step> {
        let mut its = self.0.iter().filter(|step| step.component == name);
        its.find(|step| step.deed == deed).with_context(|| format!("{name}: never {deed:?}"))
    }

    /// The shares that the canary of a component was given, one after the other.
    pub fn weights(&self, name: &str) -> Vec<i64> {
        let weight = |step: &Step| if let Deed::Weight(share) = step.deed { Some(share) } else { None };
        let mut weights: Vec<i64> = self.component(name).filter_map(weight).collect();
        weights.dedup();
        weights
    }

    /// When the canary of a component first had a share: from the time at which the gateway has it to the next write.
    pub fn stretch(&self, name: &str, traffic: i64) -> Result<(Timestamp, Timestamp)> {
        let from = self.first(name, Deed::Weight(traffic))?.done;
        let is_next = |step: &&Step| step.at >= from && matches!(step.deed, Deed::Weight(_));
        let to = self.component(name).find(is_next).map_or_else(Timestamp::now, |step| step.at);
        ensure!(to > from + IN_FORCE, "{name} had {traffic} % from {from} to {to} only");
        Ok((from + IN_FORCE, to))
    }
}

fn deed_of(entry: &Entry, owner: Option<String>) -> Option<(String, Deed)> {
    match (&*entry.verb, &*entry.resource) {
        ("create", "replicasets") => Some((owner?, Deed::Began)),
        ("delete", "replicasets") => Some((owner?, Deed::Ended)),
        ("patch", "replicasets") => {
            let owners = entry.body["metadata"]["ownerReferences"].as_array()?;
            owners.iter().any(|one| one["$patch"] == "delete").then_some((owner?, Deed::Adopted))
        }
        ("patch", "httproutes") => Some((entry.name.clone(), Deed::Weight(share(&entry.body)?))),
        _ => None,
    }
}
