//! The objects of the cluster and the writes on them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::names::{CANARY_SUFFIX, POD_TEMPLATE_HASH};
use crate::api::{GateTemplateSpec, RolloutSpec, RolloutStatus, Span, TemplateKind};
use crate::engine::gate_templates::{self, GateTemplates};
use crate::engine::references;
use crate::engine::world::{
    Acceptance, ActionSeen, Answered, ComponentSeen, ConfigMapSeen, DeploymentSeen, Look, ReplicaSetSeen,
    RolloutSeen, RouteKind, RouteSeen, Seen, ServiceSeen, World,
};
use crate::engine::{Inquiry, Write};

use super::deployments::{Deployment, ReplicaSet};
use super::jobs::Jobs;

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
    /// When the gateway last had to look at it.
    pub changed_at: Option<Timestamp>,
    /// The backends by which the data plane sends requests now.
    pub in_effect: Vec<Vec<Value>>,
}

impl Route {
    /// It says something new: the gateway has to look at it.
    pub(super) fn change(&mut self) {
        self.acceptance = Acceptance::Pending;
        self.changed_at = None;
    }
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
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, ConfigMapSeen>,
    /// ConfigMaps of which the API server refuses a read, with its words.
    pub refused_reads: BTreeMap<String, String>,
    /// ConfigMaps of which the API server refuses a write, with its words.
    pub refused_writes: BTreeMap<String, String>,
    /// Names of RolloutRuns with the stored outcome.
    pub runs: BTreeMap<String, Option<crate::api::Outcome>>,
    /// Actions.
    pub actions: Vec<ActionSeen>,
    /// Whether the admission policy is installed.
    pub policy_active: bool,
    /// Whether the admission policy that gives pods their configuration is installed.
    pub config_policy_active: bool,
    /// ConfigMaps, Secrets and what pods got of them.
    pub configs: super::config::Configs,
    /// Whether the gateway accepts routes.
    pub gateway_accepts: bool,
    /// Images whose pods never become ready.
    pub broken_images: BTreeSet<String>,
    /// Images of whose pods some are not well.
    pub ailing: BTreeMap<String, super::pods::Ailing>,
    /// The API server's words while it refuses to list pods.
    pub refused_pods: Option<String>,
    /// The gateway's words while it refuses routes that name a canary Service.
    pub gateway_refuses: Option<String>,
    /// How long a pod takes to become ready, or to end.
    pub pod_lag: Span,
    /// How long a gateway takes to accept a route, and again to act by it.
    pub gateway_lag: Span,
    /// Other Rollouts that name a component's Deployment, by component.
    pub claimed_by: BTreeMap<String, String>,
    /// Pods of other workloads that a component's Service selects, by component.
    pub foreign_pods: BTreeMap<String, String>,
    /// Metric sources that may be asked.
    pub metric_sources: BTreeSet<String>,
    /// Gate templates.
    pub gate_templates: BTreeMap<(TemplateKind, String), GateTemplateSpec>,
    /// CronJobs and Jobs.
    pub jobs: Jobs,
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
            config_maps: BTreeMap::new(),
            refused_reads: BTreeMap::new(),
            refused_writes: BTreeMap::new(),
            runs: BTreeMap::new(),
            actions: Vec::new(),
            policy_active: true,
            config_policy_active: true,
            configs: super::config::Configs::default(),
            gateway_accepts: true,
            broken_images: BTreeSet::new(),
            ailing: BTreeMap::new(),
            refused_pods: None,
            gateway_refuses: None,
            pod_lag: Span::ZERO,
            gateway_lag: Span::ZERO,
            claimed_by: BTreeMap::new(),
            foreign_pods: BTreeMap::new(),
            metric_sources: BTreeSet::from(["default".to_owned()]),
            gate_templates: BTreeMap::new(),
            jobs: Jobs::default(),
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
        let in_effect = backends.clone();
        let route =
            Route { at, backends, acceptance: Acceptance::Accepted, changed_at: Some(self.now), in_effect };
        self.routes.insert(name.to_owned(), route);
        let lag = std::mem::take(&mut self.pod_lag);
        self.settle();
        self.pod_lag = lag;
    }

    /// Lets the controllers of the cluster do what is due: Deployments, ReplicaSets, endpoints, the gateway.
    pub fn settle(&mut self) {
        super::deployments::settle(self);
        super::jobs::settle(self);
        super::config::settle(self);
        let (now, accepts, refuses) = (self.now, self.gateway_accepts, self.gateway_refuses.clone());
        let (accept_at, act_at) =
            (self.gateway_lag, self.gateway_lag.as_signed() + self.gateway_lag.as_signed());
        for route in self.routes.values_mut().filter(|_| accepts) {
            let since = *route.changed_at.get_or_insert(now);
            let waited = now.duration_since(since);
            if waited < accept_at.as_signed() && waited >= jiff::SignedDuration::ZERO {
                continue;
            }
            let names_canary = route
                .backends
                .iter()
                .flatten()
                .any(|b| b["name"].as_str().is_some_and(|n| n.ends_with(CANARY_SUFFIX)));
            if let Some(why) = refuses.clone().filter(|_| names_canary) {
                route.acceptance = Acceptance::Refused(why);
                continue;
            }
            route.acceptance = Acceptance::Accepted;
            if waited >= act_at || waited < jiff::SignedDuration::ZERO {
                route.in_effect.clone_from(&route.backends);
            }
        }
    }

    /// When something happens by itself next: pods become ready or end, a gateway looks at a route or acts by it.
    #[must_use]
    pub fn next_change(&self) -> Option<Timestamp> {
        let pods = self.sets.values().flat_map(|set| [set.ready_at, set.gone_at]).flatten();
        let later = |at: Timestamp, times: i32| at.checked_add(self.gateway_lag.as_signed() * times).ok();
        let routes =
            self.routes.values().filter(|route| self.gateway_accepts && route.in_effect != route.backends);
        let routes =
            routes.filter_map(|route| route.changed_at).flat_map(|at| [later(at, 1), later(at, 2)]).flatten();
        pods.chain(routes).chain(self.jobs.next_changes()).filter(|at| *at > self.now).min()
    }

    /// Now and `span` more.
    pub(super) fn in_a_while(&self, span: Span) -> Timestamp {
        self.now.checked_add(span.as_signed()).unwrap_or(self.now)
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

    /// Stores a status, unless another one was stored since the one that `seen` grew from.
    pub fn store_status(&mut self, seen: &RolloutStatus, status: RolloutStatus) -> Result<(), Conflict> {
        let is_latest =
            seen.checkpointed_at == self.status.checkpointed_at && seen.epoch == self.status.epoch;
        if !is_latest || (self.deleting && !self.has_finalizer) {
            return Err(Conflict("the Rollout is another version".to_owned()));
        }
        self.write_count += 1;
        self.bump();
        self.status = status;
        Ok(())
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
                claimed_by: self.claimed_by.get(&name).cloned(),
                replica_sets: sets.map(ReplicaSet::seen).collect::<Vec<ReplicaSetSeen>>(),
                replica_sets_complete: all_sets,
                service: service(refs.service.as_ref(), Inquiry::Service(name.clone())),
                canary_service: service(refs.canary_service().as_ref(), Inquiry::CanaryService(name.clone())),
                foreign_pod: look(
                    looked.contains(&Inquiry::ForeignPod(name.clone())),
                    self.foreign_pods.get(&name).cloned(),
                ),
                routes: refs
                    .routes
                    .iter()
                    .map(|(kind, route)| (*kind, route.clone(), self.route_seen(route)))
                    .collect(),
                config: if looked.contains(&Inquiry::Config(name.clone())) {
                    Look::Found(super::config::look(self, status, &name, &refs.workload))
                } else {
                    Look::Unknown
                },
                ..ComponentSeen::default()
            };
            (name, seen)
        });
        World {
            hooks: self.jobs.seen(looked.iter().filter_map(cron_job_of)),
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
            config_maps: self.config_maps_seen(looked),
            refusals: BTreeMap::new(),
            refused: String::new(),
            actions: self.actions.clone(),
            answers,
            asking: BTreeSet::new(),
            epoch,
            metric_sources: self.metric_sources.clone(),
            gate_templates: self.gate_templates_seen(),
            policy_active: self.policy_active,
            config_policy_active: self.config_policy_active,
        }
    }

    fn gate_templates_seen(&self) -> GateTemplates {
        let look = |at: (TemplateKind, String)| {
            let found = self.gate_templates.get(&at).cloned().map_or(Look::Missing, Look::Found);
            (at, found)
        };
        let seen = gate_templates::named(&self.spec).into_iter().map(look).collect();
        GateTemplates { seen, ..GateTemplates::default() }
    }

    fn route_seen(&self, name: &str) -> Look<RouteSeen> {
        self.routes.get(name).map_or(Look::Missing, |route| {
            let (at, backends, acceptance) =
                (route.at.clone(), route.backends.clone(), route.acceptance.clone());
            Look::Found(RouteSeen { at, deleting: false, acceptance, backends })
        })
    }

    pub(super) fn deployment_seen(&self, deployment: &Deployment) -> DeploymentSeen {
        let owned = || self.sets.values().filter(|set| set.owner_uid.as_ref() == Some(&deployment.at.uid));
        let (revision, template_hash) = deployment.identity();
        DeploymentSeen {
            at: deployment.at.clone(),
            rollout_label: deployment.rollout_label.clone(),
            paused: deployment.paused,
            is_intercepted: deployment.is_intercepted,
            recreates: deployment.recreates,
            replicas: deployment.replicas,
            selector: BTreeMap::from([("app".to_owned(), deployment.at.name.clone())]),
            template_labels: BTreeMap::from([("app".to_owned(), deployment.at.name.clone())]),
            revision,
            config_refs: self.configs.objects.keys().cloned().collect(),
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

    /// Carries out one write, if its preconditions hold.
    pub fn apply(&mut self, write: &Write) -> Result<(), Conflict> {
        super::writes::apply(self, write)?;
        self.write_count += 1;
        Ok(())
    }
}

fn cron_job_of(inquiry: &Inquiry) -> Option<&String> {
    match inquiry {
        Inquiry::CronJob(name) => Some(name),
        _ => None,
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
