//! Which Rollouts name which objects: what a change of an object without our label wakes, and who came first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::adapters::kube::views::RolloutView;
use crate::api::TemplateKind;
use crate::engine::gate_templates::named as templates;
use crate::engine::references;
use crate::engine::world::RouteKind;

use super::desk::lock;
use super::queue::Key;

/// An object that a Rollout names, in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// A Deployment.
    Deployment(String),
    /// A route.
    Route(RouteKind, String),
    /// A gate template of the namespace or of the cluster.
    GateTemplate(TemplateKind, String),
}

/// The index.
#[derive(Debug, Default)]
pub struct Names {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    named: BTreeMap<Key, BTreeSet<Named>>,
    naming: BTreeMap<(String, Named), BTreeSet<Key>>,
}

impl Names {
    /// Takes what a Rollout names now (`None`: it is gone). Gives the other Rollouts that name one of the same
    /// Deployments as it named before or names now.
    pub fn learn(&self, key: &Key, rollout: Option<&RolloutView>) -> BTreeSet<Key> {
        let named = rollout.map(named_by).unwrap_or_default();
        let mut inner = lock(&self.inner);
        let before = inner.named.get(key).cloned().unwrap_or_default();
        if before == named {
            return BTreeSet::new();
        }
        let namespace = key.namespace.to_string();
        let mut others = BTreeSet::new();
        for thing in before.union(&named) {
            let place = (namespace.clone(), thing.clone());
            let keys = inner.naming.entry(place.clone()).or_default();
            if named.contains(thing) {
                keys.insert(key.clone());
            } else {
                keys.remove(key);
            }
            if matches!(thing, Named::Deployment(_)) {
                others.extend(keys.iter().filter(|it| *it != key).cloned());
            }
            if keys.is_empty() {
                inner.naming.remove(&place);
            }
        }
        if named.is_empty() {
            inner.named.remove(key);
        } else {
            inner.named.insert(key.clone(), named);
        }
        others
    }

    /// The Rollouts of all namespaces that name an object of the cluster.
    #[must_use]
    pub fn naming_anywhere(&self, thing: &Named) -> BTreeSet<Key> {
        let inner = lock(&self.inner);
        let places = inner.naming.iter().filter(|((_, named), _)| named == thing);
        places.flat_map(|(_, keys)| keys.iter().cloned()).collect()
    }

    /// The Rollouts that name an object.
    #[must_use]
    pub fn naming(&self, namespace: &str, thing: Named) -> BTreeSet<Key> {
        lock(&self.inner).naming.get(&(namespace.to_owned(), thing)).cloned().unwrap_or_default()
    }
}

fn named_by(rollout: &RolloutView) -> BTreeSet<Named> {
    // What the spec says now and what a run has borrowed: both matter while they differ.
    let spec = &rollout.seen.spec;
    let wanted = references(spec, &crate::api::RolloutStatus::default());
    let borrowed = references(spec, &rollout.seen.status);
    let mut named = BTreeSet::new();
    for references in wanted.into_values().chain(borrowed.into_values()) {
        named.insert(Named::Deployment(references.workload));
        named.extend(references.routes.into_iter().map(|(kind, name)| Named::Route(kind, name)));
    }
    named.extend(templates(spec).into_iter().map(|(kind, name)| Named::GateTemplate(kind, name)));
    named
}
