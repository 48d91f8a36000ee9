//! The objects of the cluster and the writes on them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::names::{CANARY_SUFFIX, POD_TEMPLATE_HASH};
use crate::api::{RolloutActionSpec, RolloutSpec, RolloutStatus};
use crate::engine::references;
use crate::engine::revision::{revision_of, template_hash_of};
use crate::engine::route::Backends;
use crate::engine::world::{
    Acceptance, ActionSeen, Answered, ComponentSeen, DeploymentSeen, Look, ReplicaSetSeen, RolloutSeen,
    RouteKind, RouteSeen, Seen, ServiceSeen, World,
};
use crate::engine::{Inquiry, Weight, Write};

use super::deployments::{Deployment, ReplicaSet};

/// A write that the API server refuses: another version, another object, none, or one too many.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Conflict(pub String);

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Identity and version.
    pub at: Seen,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// Our label.
    pub rollout_label: Option<String>,
    /// Uid of the owner.
    pub owner_uid: Option<String>,
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Identity and version.
    pub at: Seen,
    /// `backendRefs` of each rule.
    pub backends: Vec<Vec<Value>>,
    /// What the gateway says.
    pub acceptance: Acceptance,
}

/// A cluster with one Rollout.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The virtual clock.
    pub now: Timestamp,
    /// The policy.
    pub spec: RolloutSpec,
    /// The stored status.
    pub status: RolloutStatus,
    /// Generation of the spec.
    pub generation: i64,
    /// Whether the Rollout is being deleted.
    pub deleting: bool,
    /// Whether the Rollout has our finalizer; with `deleting` and without it the Rollout is gone.
    pub has_finalizer: bool,
    /// Deployments by name.
    pub deployments: BTreeMap<String, Deployment>,
    /// ReplicaSets by name.
    pub sets: BTreeMap<String, ReplicaSet>,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// HTTPRoutes by name.
    pub routes: BTreeMap<String, Route>,
    /// Names of RolloutRuns with the stored outcome.
    pub runs: BTreeMap<String, Option<crate::api::Outcome>>,
    /// Actions.
    pub actions: Vec<ActionSeen>,
    /// Whether the admission policy is installed.
    pub policy_active: bool,
    /// Whether the gateway accepts routes.
    pub gateway_accepts: bool,
    /// Images whose pods never become ready.
    pub broken_images: BTreeSet<String>,
    /// Writes accepted so far.
    pub write_count: u64,
    version: u64,
    next_uid: u64,
}

/// Name of the Rollout.
pub const ROLLOUT: &str = "shop";
/// Uid of the Rollout.
pub const ROLLOUT_UID: &str = "uid-rollout";

impl Cluster {
    /// A cluster at `now` with nothing but the Rollout.
    #[must_use]
    pub fn new(spec: RolloutSpec, now: Timestamp) -> Self {
        Self {
            now,
            spec,
            status: RolloutStatus::default(),
            generation: 1,
            deleting: false,
            has_finalizer: false,
            deployments: BTreeMap::new(),
            sets: BTreeMap::new(),
            services: BTreeMap::new(),
            routes: BTreeMap::new(),
            runs: BTreeMap::new(),
            actions: Vec::new(),
            policy_active: true,
            gateway_accepts: true,
            broken_images: BTreeSet::new(),
            write_count: 0,
            version: 1,
            next_uid: 1,
        }
    }

    /// Adds a Deployment of `replicas` pods with a Service and an HTTPRoute of its name, serving.
    pub fn add_workload(&mut self, name: &str, image: &str, replicas: i32) {
        let at = self.fresh(name);
        self.deployments.insert(name.to_owned(), Deployment::new(at, image, replicas));
        let at = self.fresh(name);
        let selector = BTreeMap::from([("app".to_owned(), name.to_owned())]);
        self.services.insert(name.to_owned(), Service { at, selector, rollout_label: None, owner_uid: None });
        let at = self.fresh(name);
        let backends = vec![vec![json!({"name": name, "port": 80})]];
        self.routes.insert(name.to_owned(), Route { at, backends, acceptance: Acceptance::Accepted });
        self.settle();
    }

    /// Somebody pushes another image; the admission policy pauses the Deployment in the same write.
    pub fn push_image(&mut self, workload: &str, image: &str) {
        let (policy, version) = (self.policy_active, self.bump());
        if let Some(deployment) = self.deployments.get_mut(workload) {
            deployment.push(image, policy);
            deployment.at.resource_version = version;
        }
        self.settle();
    }

    /// Somebody, or an autoscaler, resizes the Deployment.
    pub fn scale(&mut self, workload: &str, replicas: i32) {
        let version = self.bump();
        if let Some(deployment) = self.deployments.get_mut(workload) {
            deployment.replicas = replicas;
            deployment.at.resource_version = version;
        }
        self.settle();
    }

    /// A person acts on the present run.
    pub fn act(&mut self, action: RolloutActionSpec) {
        let uid = self.fresh("action").uid;
        self.actions.push(ActionSeen { uid, created_at: self.now, action });
    }

    /// Puts a route back to what it said at first, as a GitOps tool does.
    pub fn reapply_route(&mut self, name: &str) {
        let version = self.bump();
        if let Some(route) = self.routes.get_mut(name) {
            route.backends = vec![vec![json!({"name": name, "port": 80})]];
            route.at.resource_version = version;
            route.acceptance = Acceptance::Pending;
        }
    }

    /// Lets the controllers of the cluster come to rest: Deployments, ReplicaSets, endpoints, the gateway.
    pub fn settle(&mut self) {
        super::deployments::settle(self);
        for route in self.routes.values_mut().filter(|_| self.gateway_accepts) {
            route.acceptance = Acceptance::Accepted;
        }
    }

    /// A new version for an object that changes.
    pub fn bump(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    pub(super) fn fresh(&mut self, name: &str) -> Seen {
        self.next_uid += 1;
        let uid = format!("uid-{}", self.next_uid);
        Seen { name: name.to_owned(), uid, resource_version: self.bump() }
    }

    /// Stores a status if the Rollout is there.
    pub fn store_status(&mut self, status: RolloutStatus) {
        self.write_count += 1;
        self.bump();
        self.status = status;
    }

    /// What the controller sees. `looked` says which live reads were made; what is labelled is seen without.
    #[must_use]
    pub fn observe(
        &self,
        status: &RolloutStatus,
        looked: &BTreeSet<Inquiry>,
        answers: Vec<Answered>,
        epoch: i64,
    ) -> World {
        let components = references(&self.spec, status).into_iter().map(|(name, refs)| {
            let deployment = self.deployments.get(&refs.workload);
            let is_seen = deployment.is_some_and(|d| d.rollout_label.as_deref() == Some(ROLLOUT));
            let look_deployment = is_seen || looked.contains(&Inquiry::Deployment(name.clone()));
            let all_sets = looked.contains(&Inquiry::ReplicaSets(name.clone()));
            let sets =
                self.sets.values().filter(|set| set.app == refs.workload && (all_sets || set.is_labelled));
            let service = |service: Option<&String>, inquiry: Inquiry| {
                let Some(found) = service.and_then(|name| self.services.get(name)) else {
                    return if looked.contains(&inquiry) { Look::Missing } else { Look::Unknown };
                };
                let is_seen = found.rollout_label.is_some() || looked.contains(&inquiry);
                if is_seen { Look::Found(self.service_seen(found)) } else { Look::Unknown }
            };
            let seen = ComponentSeen {
                deployment: look(
                    look_deployment,
                    deployment.map(|deployment| self.deployment_seen(deployment)),
                ),
                claimed_by: None,
                replica_sets: sets.map(ReplicaSet::seen).collect::<Vec<ReplicaSetSeen>>(),
                replica_sets_complete: all_sets,
                service: service(refs.service.as_ref(), Inquiry::Service(name.clone())),
                canary_service: service(refs.canary_service().as_ref(), Inquiry::CanaryService(name.clone())),
                foreign_pod: if looked.contains(&Inquiry::ForeignPod(name.clone())) {
                    Look::Missing
                } else {
                    Look::Unknown
                },
                routes: refs
                    .routes
                    .iter()
                    .map(|(kind, route)| (*kind, route.clone(), self.route_seen(route)))
                    .collect(),
            };
            (name, seen)
        });
        World {
            rollout: RolloutSeen {
                namespace: "shop".to_owned(),
                at: Seen {
                    name: ROLLOUT.to_owned(),
                    uid: ROLLOUT_UID.to_owned(),
                    resource_version: "1".to_owned(),
                },
                generation: self.generation,
                deleting: self.deleting,
                has_finalizer: self.has_finalizer,
                spec: self.spec.clone(),
                status: status.clone(),
            },
            components: components.collect(),
            actions: self.actions.clone(),
            answers,
            asking: BTreeSet::new(),
            epoch,
            metric_sources: BTreeSet::from(["default".to_owned()]),
            policy_active: self.policy_active,
        }
    }

    fn route_seen(&self, name: &str) -> Look<RouteSeen> {
        self.routes.get(name).map_or(Look::Missing, |route| {
            let (at, backends, acceptance) =
                (route.at.clone(), route.backends.clone(), route.acceptance.clone());
            Look::Found(RouteSeen { at, deleting: false, acceptance, backends })
        })
    }

    fn deployment_seen(&self, deployment: &Deployment) -> DeploymentSeen {
        let owned = || self.sets.values().filter(|set| set.owner_uid.as_ref() == Some(&deployment.at.uid));
        let template_hash = template_hash_of(&deployment.template());
        DeploymentSeen {
            at: deployment.at.clone(),
            rollout_label: deployment.rollout_label.clone(),
            paused: deployment.paused,
            is_intercepted: deployment.is_intercepted,
            replicas: deployment.replicas,
            selector: BTreeMap::from([("app".to_owned(), deployment.at.name.clone())]),
            template_labels: BTreeMap::from([("app".to_owned(), deployment.at.name.clone())]),
            revision: revision_of(&deployment.template()),
            generation: 1,
            observed_generation: 1,
            total_replicas: owned().map(|set| set.current()).sum(),
            updated_replicas: owned()
                .filter(|s| s.template_hash == template_hash)
                .map(|set| set.current())
                .sum(),
            available_replicas: owned().map(|set| set.available).sum(),
            template_hash,
            ..DeploymentSeen::default()
        }
    }

    fn service_seen(&self, service: &Service) -> ServiceSeen {
        ServiceSeen {
            at: service.at.clone(),
            deleting: false,
            owner_uid: service.owner_uid.clone(),
            rollout_label: service.rollout_label.clone(),
            selector: service.selector.clone(),
            ready: Look::Found(self.ready_behind(service)),
        }
    }

    /// Ready pods that a Service selects, by ReplicaSet.
    #[must_use]
    pub fn ready_behind(&self, service: &Service) -> BTreeMap<String, i32> {
        let app = service.selector.get("app");
        let hash = service.selector.get(POD_TEMPLATE_HASH);
        let is_selected =
            |set: &&ReplicaSet| Some(&set.app) == app && hash.is_none_or(|hash| *hash == set.pod_hash);
        let ready = self.sets.values().filter(is_selected).map(|set| (set.at.name.clone(), set.available));
        ready.filter(|(_, available)| *available > 0).collect()
    }

    /// The share of a workload's traffic on pods of each image, as route and Services say: (image, per cent).
    /// `None` as image stands for requests that reach no ready pod.
    #[must_use]
    pub fn shares(&self, workload: &str) -> BTreeMap<Option<String>, f64> {
        let mut shares = BTreeMap::new();
        let Some(route) = self.routes.get(workload) else { return shares };
        let canary = format!("{workload}{CANARY_SUFFIX}");
        let backends = Backends { namespace: "shop", stable: workload, canary: &canary };
        let weight = backends.weight(&route.backends);
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

    /// Carries out one write, if its preconditions hold.
    pub fn apply(&mut self, write: &Write) -> Result<(), Conflict> {
        super::drive::apply(self, write)?;
        self.write_count += 1;
        Ok(())
    }
}

fn look<T>(is_seen: bool, thing: Option<T>) -> Look<T> {
    match (is_seen, thing) {
        (false, _) => Look::Unknown,
        (true, None) => Look::Missing,
        (true, Some(thing)) => Look::Found(thing),
    }
}

/// The kind of all routes here.
pub const ROUTE_KIND: RouteKind = RouteKind::Http;
