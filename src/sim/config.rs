//! ConfigMaps and Secrets, their copies, and the admission policy that gives pods copies at their creation.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::RolloutStatus;
use crate::engine::Write;
use crate::engine::config::{copy_name, label_of, sources};
use crate::engine::world::{ConfigKind, ConfigSeen, Content, CopySeen, MapSeen, Seen, Strays};

use super::cluster::{Cluster, Conflict, ROLLOUT_UID};

/// An object of the cluster by its kind and name.
pub type Place = (ConfigKind, String);

/// The configuration in a cluster.
#[derive(Clone, Debug, Default)]
pub struct Configs {
    /// The users' objects: what they hold.
    pub objects: BTreeMap<Place, String>,
    /// Copies, by kind and name.
    pub copies: BTreeMap<Place, Copy>,
    /// What the admission policy reads, by name.
    pub maps: BTreeMap<String, MapSeen>,
    /// Pods by ReplicaSet: as many as the ReplicaSet has.
    pub pods: BTreeMap<String, Vec<Pod>>,
}

/// A copy.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Identity and version.
    pub at: Seen,
    /// Uid of its owner.
    pub owner_uid: String,
    /// The component in its label.
    pub component: String,
    /// What it holds.
    pub value: String,
}

/// What a pod got at its creation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The label that the admission policy gave it.
    pub label: Option<String>,
    /// The copies it mounts, by the object that its template names; what is not in here it mounts itself.
    pub copies: BTreeMap<Place, String>,
}

impl Cluster {
    /// Somebody writes a ConfigMap or Secret.
    pub fn configure(&mut self, kind: ConfigKind, name: &str, value: &str) {
        self.configs.objects.insert((kind, name.to_owned()), value.to_owned());
        self.bump();
    }

    /// What the pods of a ReplicaSet read where their template names an object; nothing for what is not there.
    #[must_use]
    pub fn reads(&self, set: &str, kind: ConfigKind, name: &str) -> BTreeSet<Option<String>> {
        let place = (kind, name.to_owned());
        let pods = self.configs.pods.get(set).into_iter().flatten();
        pods.map(|pod| match pod.copies.get(&place) {
            Some(copy) => self.configs.copies.get(&(kind, copy.clone())).map(|copy| copy.value.clone()),
            None => self.configs.objects.get(&place).cloned(),
        })
        .collect()
    }

    /// Pods of a ReplicaSet end, and others start in their place.
    pub fn replace_pods(&mut self, set: &str) {
        self.configs.pods.remove(set);
        self.settle();
    }
}

/// Gives every ReplicaSet the pods that it asks for; new ones pass the admission policy.
pub(super) fn settle(cluster: &mut Cluster) {
    let sets = &cluster.sets;
    cluster.configs.pods.retain(|name, _| sets.contains_key(name));
    for (name, set) in &cluster.sets {
        let wanted = usize::try_from(set.replicas).unwrap_or(0);
        let pod = admitted(cluster, &set.app, &set.pod_hash);
        cluster.configs.pods.entry(name.clone()).or_default().resize(wanted, pod);
    }
}

fn admitted(cluster: &Cluster, workload: &str, pod_hash: &str) -> Pod {
    let is_of = |map: &&MapSeen| map.data.get("deployment").is_some_and(|name| name == workload);
    let Some(map) = cluster.configs.maps.values().find(is_of).filter(|_| cluster.config_policy_active) else {
        return Pod::default();
    };
    let is_canary = map.data.get("canary").is_some_and(|canary| canary == pod_hash);
    let side = if is_canary { "canary" } else { "stable" };
    let copy = |(kind, name): &Place| map.data.get(&format!("{side}.{}.{name}", kind.word())).cloned();
    let places = cluster.configs.objects.keys();
    Pod {
        label: map.data.get(&format!("{side}.config")).cloned(),
        copies: places.filter_map(|place| Some((place.clone(), copy(place)?))).collect(),
    }
}

/// What a look at the configuration of a component finds.
pub(super) fn look(cluster: &Cluster, status: &RolloutStatus, component: &str, workload: &str) -> ConfigSeen {
    let configs = &cluster.configs;
    let spec = cluster.spec.components.iter().find(|it| it.name == component);
    let deployment = cluster.deployments.get(workload).map(|it| cluster.deployment_seen(it));
    let wanted = spec.zip(deployment).map(|(spec, deployment)| sources(spec, &deployment));
    let content = |place: &Place| match configs.objects.get(place) {
        Some(value) => {
            Content::Copy(copy_name(ROLLOUT_UID, component, place.0, &place.1, &value.clone().into()))
        }
        None => Content::Missing,
    };
    let copies = configs.copies.iter().filter(|(_, copy)| copy.component == component);
    let status = status.components.iter().find(|it| it.name == component);
    let revisions = status.into_iter().flat_map(|it| it.stable.iter().chain(&it.canary));
    ConfigSeen {
        at: cluster.now,
        sources: wanted.into_iter().flatten().map(|place| (place.clone(), content(&place))).collect(),
        copies: copies
            .map(|((kind, _), copy)| CopySeen {
                kind: *kind,
                at: copy.at.clone(),
                owner_uid: Some(copy.owner_uid.clone()),
            })
            .collect(),
        map: configs
            .maps
            .values()
            .find(|map| map.data.get("deployment").is_some_and(|it| it == workload))
            .cloned(),
        strays: revisions
            .map(|revision| {
                let pods = configs.pods.get(&revision.replica_set).into_iter().flatten();
                (revision.pod_hash.clone(), strays_of(pods, &label_of(&revision.config)))
            })
            .collect(),
    }
}

fn strays_of<'p>(pods: impl Iterator<Item = &'p Pod>, label: &str) -> Strays {
    let mut strays = Strays::default();
    for pod in pods {
        match &pod.label {
            None => strays.unbound = Some("a-pod".to_owned()),
            Some(other) if other != label => strays.other = Some("a-pod".to_owned()),
            Some(_) => {}
        }
    }
    strays
}

fn conflict<T>(what: &str) -> Result<T, Conflict> {
    Err(Conflict(what.to_owned()))
}

/// Carries out a write on copies and maps.
pub(super) fn apply(cluster: &mut Cluster, write: &Write) -> Result<(), Conflict> {
    match write {
        Write::CreateCopy { component, kind, source, name } => {
            let Some(value) = cluster.configs.objects.get(&(*kind, source.clone())).cloned() else {
                return conflict("no such object");
            };
            let is_same = copy_name(ROLLOUT_UID, component, *kind, source, &value.clone().into()) == *name;
            if !is_same || cluster.configs.copies.contains_key(&(*kind, name.clone())) {
                return conflict("it holds something else, or the name is taken");
            }
            let (at, owner_uid, component) = (cluster.fresh(name), ROLLOUT_UID.to_owned(), component.clone());
            cluster.configs.copies.insert((*kind, name.clone()), Copy { at, owner_uid, component, value });
        }
        Write::PutConfigMap { name, seen, data, .. } => {
            let known = cluster.configs.maps.get(name).map(|map| map.at.clone());
            if known.as_ref() != seen.as_ref() {
                return conflict("the map is another version");
            }
            let mut at = cluster.fresh(name);
            at.uid = known.map_or(at.uid, |known| known.uid);
            let owner_uids = BTreeSet::from([ROLLOUT_UID.to_owned()]);
            cluster.configs.maps.insert(name.clone(), MapSeen { at, owner_uids, data: data.clone() });
        }
        Write::DeleteConfig { kind, object, .. } => {
            let place = (*kind, object.name.clone());
            if cluster.configs.maps.get(&object.name).is_some_and(|map| map.at == *object) {
                cluster.configs.maps.remove(&object.name);
            } else if cluster.configs.copies.get(&place).is_some_and(|copy| copy.at == *object) {
                cluster.configs.copies.remove(&place);
            } else {
                return conflict("another version");
            }
        }
        Write::HandConfig { kind, object, deployment, .. } => {
            let place = (*kind, object.name.clone());
            if let Some(map) = cluster.configs.maps.get_mut(&object.name).filter(|map| map.at == *object) {
                map.owner_uids = BTreeSet::from([deployment.uid.clone()]);
            } else if let Some(copy) = cluster.configs.copies.get_mut(&place).filter(|it| it.at == *object) {
                copy.owner_uid.clone_from(&deployment.uid);
            } else {
                return conflict("another version");
            }
        }
        _ => {}
    }
    Ok(())
}
