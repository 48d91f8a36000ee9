//! Pods one by one, as a list of them shows them.

use std::collections::BTreeMap;

use crate::engine::Inquiry;
use crate::engine::world::{ContainerSeen, Look, PodSeen, PodsSeen, World};

use super::cluster::Cluster;
use super::deployments::ReplicaSet;

/// Pods of an image that are not well.
#[derive(Clone, Debug)]
pub struct Ailing {
    /// How many of each ReplicaSet.
    pub pods: i32,
    /// What is said of each.
    pub says: PodSeen,
}

impl Ailing {
    /// `pods` whose container waits for `waiting`, was started again `restarts` times and ended as `ended` last.
    #[must_use]
    pub fn container(pods: i32, waiting: &str, restarts: i32, ended: Option<(&str, i32)>) -> Self {
        let container = ContainerSeen {
            name: "app".to_owned(),
            restarts,
            waiting: waiting.to_owned(),
            ended: ended.map(|(reason, code)| (reason.to_owned(), code)),
            ..ContainerSeen::default()
        };
        Self { pods, says: PodSeen { containers: vec![container], ..PodSeen::default() } }
    }
}

impl Cluster {
    /// The pods of a ReplicaSet now.
    #[must_use]
    pub fn pods_in(&self, replica_set: &str) -> Vec<PodSeen> {
        let Some(set) = self.sets.get(replica_set) else { return Vec::new() };
        let ailing = self.ailing_in(set);
        let pod = |at: i32| {
            let name = format!("{replica_set}-{at:05}");
            let is_ready = at < set.available;
            let kind = self.ailing.get(&set.image).filter(|_| !is_ready && at >= set.replicas - ailing);
            let container = || ContainerSeen { name: "app".to_owned(), is_ready, ..ContainerSeen::default() };
            match kind {
                Some(kind) => PodSeen { name, is_ready, ..kind.says.clone() },
                None => PodSeen { name, is_ready, containers: vec![container()], ..PodSeen::default() },
            }
        };
        (0..set.replicas).map(pod).collect()
    }

    /// Pods of a ReplicaSet that are not well.
    pub(super) fn ailing_in(&self, set: &ReplicaSet) -> i32 {
        self.ailing.get(&set.image).map_or(0, |ailing| ailing.pods.min(set.replicas))
    }
}

/// The component and the ReplicaSet that an inquiry is about, if it is about pods.
fn asked_about<'i>(cluster: &Cluster, inquiry: &'i Inquiry) -> Option<(&'i String, String)> {
    let (component, is_canary) = match inquiry {
        Inquiry::CanaryPods(component) => (component, true),
        Inquiry::StablePods(component) => (component, false),
        _ => return None,
    };
    let status = cluster.status.components.iter().find(|it| it.name == *component)?;
    let revision = if is_canary { &status.canary } else { &status.stable };
    Some((component, revision.as_ref()?.replica_set.clone()))
}

/// Lists the pods that an inquiry asks for; `None` if it asks for something else.
pub(super) fn list(cluster: &Cluster, inquiry: &Inquiry) -> Option<PodsSeen> {
    let (_, set) = asked_about(cluster, inquiry)?;
    let pods = match &cluster.refused_pods {
        Some(why) => Err(why.clone()),
        None => Ok(cluster.pods_in(&set)),
    };
    Some(PodsSeen { at: cluster.now, pods })
}

/// Puts what was listed into the World.
pub(super) fn show(world: &mut World, listed: &BTreeMap<Inquiry, PodsSeen>) {
    for (inquiry, seen) in listed {
        let (Inquiry::CanaryPods(name) | Inquiry::StablePods(name)) = inquiry else { continue };
        let Some(component) = world.components.get_mut(name) else { continue };
        let place = match inquiry {
            Inquiry::CanaryPods(_) => &mut component.canary_pods,
            _ => &mut component.stable_pods,
        };
        *place = Look::Found(seen.clone());
    }
}
