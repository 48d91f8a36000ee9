//! What must hold on every committed state of a release of several parts.

use std::collections::BTreeSet;

use palier::api::{ComponentStatus, Outcome, Stage};
use palier::sim::Cluster;
use palier::sim::cluster::ROLLOUT_UID;

use crate::monitors::weight_of;

/// What is remembered from one look to the next.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    run: i64,
    /// Components whose canary has had a ReplicaSet in this run.
    begun: BTreeSet<String>,
    /// Whether the end of this run was looked at.
    is_ended: bool,
    /// How many runs ended in part.
    pub partly: u32,
}

fn is_part(component: &ComponentStatus) -> bool {
    !matches!(component.stage, Stage::Idle | Stage::RolledBack)
}

impl Parts {
    /// Looks at one committed state.
    pub fn look(&mut self, cluster: &Cluster) {
        let Some(run) = cluster.status.run.as_ref() else { return };
        if run.number != self.run {
            *self = Parts { run: run.number, partly: self.partly, ..Parts::default() };
        }
        self.look_at_room(cluster);
        for component in cluster.status.components.iter().filter(|c| is_part(c)) {
            self.look_at_order(cluster, component);
            look_at_adoption(cluster, component);
        }
        if run.ended_at.is_some() && !self.is_ended {
            self.is_ended = true;
            if run.outcome == Some(Outcome::PartiallyCompleted) {
                self.partly += 1;
                look_at_closure(cluster);
            }
        }
    }

    /// The canaries never have more pods than there is room for.
    fn look_at_room(&self, cluster: &Cluster) {
        let Some(max) = cluster.spec.max_extra_pods else { return };
        let ours = cluster.sets.values().filter(|set| set.owner_uid.as_deref() == Some(ROLLOUT_UID));
        let extra: i32 = ours.map(|set| set.replicas.max(set.current())).sum();
        assert!(extra <= max, "{extra} extra pods, {max} are allowed at {}", cluster.now);
    }

    /// No component begins before all that it depends on, and that is released too, serves everybody.
    fn look_at_order(&mut self, cluster: &Cluster, component: &ComponentStatus) {
        let set = component.canary.as_ref().and_then(|canary| cluster.sets.get(&canary.replica_set));
        let is_ours = set.is_some_and(|set| set.owner_uid.as_deref() == Some(ROLLOUT_UID));
        if !is_ours || !self.begun.insert(component.name.clone()) {
            return;
        }
        let spec = cluster.spec.components.iter().find(|c| c.name == component.name).expect("a component");
        for name in &spec.depends_on {
            let on = cluster.status.components.iter().find(|c| c.name == *name).expect("a component");
            let is_adopted = matches!(on.stage, Stage::Adopting | Stage::Adopted);
            assert!(
                !is_part(on) || is_adopted || weight_of(cluster, &on.workload).0 == 100,
                "{} begins at {} while {name} is {:?}",
                component.name,
                cluster.now,
                on.stage
            );
        }
    }
}

/// What is adopted does not go back in the same run.
fn look_at_adoption(cluster: &Cluster, component: &ComponentStatus) {
    let set = component.canary.as_ref().and_then(|canary| cluster.sets.get(&canary.replica_set));
    let own = cluster.deployments.get(&component.workload).map(|deployment| &deployment.at.uid);
    let is_adopted = set.is_some_and(|set| set.owner_uid.as_ref() == own);
    let goes_back = matches!(component.stage, Stage::RollingBack | Stage::TakenBack);
    assert!(!(is_adopted && goes_back), "{} was adopted and goes back", component.name);
}

/// What was taken back is one failing component or more with all that depends on them, and nothing else.
fn look_at_closure(cluster: &Cluster) {
    let of = |name: &str| cluster.status.components.iter().find(|c| c.name == name);
    let is_back = |name: &str| of(name).is_some_and(|c| c.rejected.is_some() && !c.failure.is_empty());
    for component in &cluster.spec.components {
        let name = component.name.as_str();
        let on_back = component.depends_on.iter().any(|on| is_back(on));
        let failure = of(name).map(|c| c.failure.clone()).unwrap_or_default();
        if is_back(name) {
            let is_own = !failure.starts_with("it depends on");
            assert!(is_own || on_back, "{name} went back without a cause: {failure}");
        } else if on_back {
            let holds_new = cluster.deployments[&component.workload_ref.name].image != "app:v1";
            let serves_new = cluster.sets.values().any(|set| {
                set.app == component.workload_ref.name && set.available > 0 && set.image != "app:v1"
            });
            assert!(!(holds_new && serves_new), "{name} stays on what was proven with a part that went back");
        }
    }
}
