//! All stores, and what a write or a read of our own brings into them.

use std::sync::Arc;

use super::row::{Row, View};
use super::store::{Change, Store};
use super::views::{
    ActionView, ClusterGateTemplateView, DeploymentView, GateTemplateView, GrpcRouteView, HttpRouteView,
    JobView, MetricSourceView, ReplicaSetView, RolloutView, ServiceView, SliceView,
};
use super::writes::{Effect, Now};

/// What is known of the cluster.
#[derive(Debug, Default)]
pub struct Stores {
    /// All Rollouts.
    pub rollouts: Arc<Store<RolloutView>>,
    /// All actions.
    pub actions: Arc<Store<ActionView>>,
    /// All metric sources.
    pub sources: Arc<Store<MetricSourceView>>,
    /// All gate templates of namespaces.
    pub gate_templates: Arc<Store<GateTemplateView>>,
    /// All gate templates of the cluster.
    pub cluster_gate_templates: Arc<Store<ClusterGateTemplateView>>,
    /// Deployments with our label.
    pub deployments: Arc<Store<DeploymentView>>,
    /// ReplicaSets with our label.
    pub replica_sets: Arc<Store<ReplicaSetView>>,
    /// Services with our label.
    pub services: Arc<Store<ServiceView>>,
    /// EndpointSlices with our label.
    pub slices: Arc<Store<SliceView>>,
    /// Jobs with our label.
    pub jobs: Arc<Store<JobView>>,
    /// All HTTPRoutes.
    pub http_routes: Arc<Store<HttpRouteView>>,
    /// All GRPCRoutes.
    pub grpc_routes: Arc<Store<GrpcRouteView>>,
}

impl Stores {
    /// Whether absence means something in every store.
    #[must_use]
    pub fn are_synced(&self) -> bool {
        self.rollouts.is_synced()
            && self.actions.is_synced()
            && self.gate_templates.is_synced()
            && self.cluster_gate_templates.is_synced()
            && self.deployments.is_synced()
            && self.replica_sets.is_synced()
            && self.services.is_synced()
            && self.slices.is_synced()
            && self.jobs.is_synced()
            && self.http_routes.is_synced()
            && self.grpc_routes.is_synced()
    }

    /// Takes what a write did or a read found. What is not watched stays out, or leaves.
    pub fn keep(&self, namespace: &str, effect: &Effect) -> Option<Change> {
        match effect {
            Effect::Rollout(now) => take(&self.rollouts, namespace, now),
            Effect::Deployment(now) => take(&self.deployments, namespace, now),
            Effect::ReplicaSet(now) => take(&self.replica_sets, namespace, now),
            Effect::Service(now) => take(&self.services, namespace, now),
            Effect::HttpRoute(now) => take(&self.http_routes, namespace, now),
            Effect::GrpcRoute(now) => take(&self.grpc_routes, namespace, now),
            Effect::Job(now) => take(&self.jobs, namespace, now),
            Effect::ConfigMap(_)
            | Effect::Run(_)
            | Effect::Config(_)
            | Effect::CronJob(_)
            | Effect::JobRefused { .. } => None,
        }
    }
}

fn take<V: View>(store: &Store<V>, namespace: &str, now: &Now<V>) -> Option<Change> {
    match now {
        Now::Is(row) => store.put(Row::clone(row)),
        Now::Gone { name, uid } => store.forget(namespace, name, uid.as_deref()),
    }
}
