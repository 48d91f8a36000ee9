//! What people, other tools and the outside do to a cluster, and what callers get.

use std::collections::BTreeMap;

use serde_json::json;

use crate::api::RolloutActionSpec;
use crate::api::names::CANARY_SUFFIX;
use crate::engine::Weight;
use crate::engine::route::Backends;
use crate::engine::world::ActionSeen;

use super::cluster::Cluster;
use super::deployments::Deployment;

impl Cluster {
    fn edit_deployment(&mut self, workload: &str, edit: impl FnOnce(&mut Deployment)) {
        let version = self.bump();
        if let Some(deployment) = self.deployments.get_mut(workload) {
            edit(deployment);
            deployment.at.resource_version = version;
        }
        self.settle();
    }

    /// Somebody pushes another image; the admission policy pauses the Deployment in the same write.
    pub fn push_image(&mut self, workload: &str, image: &str) {
        let policy = self.policy_active;
        self.edit_deployment(workload, |deployment| deployment.push(image, policy));
    }

    /// Somebody restarts the pods: only the restart annotation of the template changes.
    pub fn restart(&mut self, workload: &str, at: &str) {
        self.edit_deployment(workload, |deployment| deployment.restarted_at = Some(at.to_owned()));
    }

    /// A person pauses or resumes the Deployment.
    pub fn pause_by_hand(&mut self, workload: &str, paused: bool) {
        self.edit_deployment(workload, |deployment| {
            deployment.paused = paused;
            deployment.is_intercepted &= paused;
        });
    }

    /// Somebody, or an autoscaler, resizes the Deployment.
    pub fn scale(&mut self, workload: &str, replicas: i32) {
        self.edit_deployment(workload, |deployment| deployment.replicas = replicas);
    }

    /// Somebody edits the Rollout.
    pub fn edit_spec(&mut self, edit: impl FnOnce(&mut crate::api::RolloutSpec)) {
        edit(&mut self.spec);
        self.generation += 1;
        self.bump();
    }

    /// A person acts on a run.
    pub fn act(&mut self, action: RolloutActionSpec) {
        let uid = self.fresh("action").uid;
        self.actions.push(ActionSeen { uid, created_at: self.now, action });
    }

    /// Puts a route back to what it said at first, as a GitOps tool does.
    pub fn reapply_route(&mut self, name: &str) {
        self.split_route(name, 0);
    }

    /// Somebody else gives the canary a share.
    pub fn split_route(&mut self, name: &str, percent: i32) {
        let version = self.bump();
        if let Some(route) = self.routes.get_mut(name) {
            let stable = json!({"name": name, "port": 80});
            let before = route.backends.clone();
            route.backends = if percent == 0 {
                vec![vec![stable]]
            } else {
                let canary = format!("{name}{CANARY_SUFFIX}");
                vec![vec![
                    json!({"name": name, "port": 80, "weight": 100 - percent}),
                    json!({"name": canary, "port": 80, "weight": percent}),
                ]]
            };
            if before != route.backends {
                route.at.resource_version = version;
                route.change();
            }
        }
        self.settle();
    }

    /// Somebody deletes a Deployment; its ReplicaSets go with it.
    pub fn delete_deployment(&mut self, workload: &str) {
        if let Some(deployment) = self.deployments.remove(workload) {
            self.sets.retain(|_, set| set.owner_uid.as_ref() != Some(&deployment.at.uid));
        }
        self.bump();
    }

    /// Every pod of an image dies; new ones start.
    pub fn lose_pods(&mut self, image: &str) {
        let (ready_at, lag) = (self.in_a_while(self.pod_lag), self.pod_lag);
        for name in self.sets.keys().cloned().collect::<Vec<_>>() {
            let version = self.bump();
            let Some(set) = self.sets.get_mut(&name).filter(|set| set.image == image && set.available > 0)
            else {
                continue;
            };
            set.available = 0;
            set.at.resource_version = version;
            set.ready_at = (!lag.is_zero()).then_some(ready_at);
        }
    }

    /// The share of a workload's traffic on pods of each image, as data plane and Services have it: (image, per cent).
    /// `None` as image stands for requests that reach no ready pod.
    #[must_use]
    pub fn shares(&self, workload: &str) -> BTreeMap<Option<String>, f64> {
        let mut shares = BTreeMap::new();
        let Some(route) = self.routes.get(workload) else { return shares };
        let canary = format!("{workload}{CANARY_SUFFIX}");
        let backends = Backends { namespace: "shop", stable: workload, canary: &canary };
        let weight = backends.weight(&route.in_effect);
        for (service, weight) in [(workload, weight.rest()), (canary.as_str(), weight)] {
            self.add_share(&mut shares, service, weight);
        }
        shares
    }

    fn add_share(&self, shares: &mut BTreeMap<Option<String>, f64>, service: &str, weight: Weight) {
        if weight.is_zero() {
            return;
        }
        let share = f64::from(weight.percent());
        let ready = self.services.get(service).map(|service| self.ready_behind(service)).unwrap_or_default();
        let pods: i32 = ready.values().sum();
        if pods == 0 {
            *shares.entry(None).or_default() += share;
        }
        for (set, count) in ready {
            let image = self.sets.get(&set).map(|set| set.image.clone());
            *shares.entry(image).or_default() += share * f64::from(count) / f64::from(pods);
        }
    }
}
