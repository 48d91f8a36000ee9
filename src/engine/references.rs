//! Which objects each component of a Rollout speaks of: what has to be observed.

use std::collections::BTreeMap;

use crate::api::names::CANARY_SUFFIX;
use crate::api::{Component, ComponentStatus, RolloutSpec, RolloutStatus, Stage};

use super::world::RouteKind;

/// The objects of one component, all in the Rollout's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Name of the Deployment.
    pub workload: String,
    /// Name of the Service of its callers; `None` shares by number of pods.
    pub service: Option<String>,
    /// Its routes: HTTPRoutes, then GRPCRoutes, in the order of the spec.
    pub routes: Vec<(RouteKind, String)>,
}

impl References {
    /// Name of the canary's Service.
    #[must_use]
    pub fn canary_service(&self) -> Option<String> {
        self.service.as_ref().map(|service| format!("{service}{CANARY_SUFFIX}"))
    }

    fn of_spec(component: &Component) -> Self {
        let mut references = References { workload: component.workload_ref.name.clone(), ..Self::default() };
        if let Some(traffic) = &component.traffic {
            references.service = Some(traffic.service.clone());
            let http = traffic.gateway_api.http_routes.iter().map(|r| (RouteKind::Http, r.name.clone()));
            let grpc = traffic.gateway_api.grpc_routes.iter().map(|r| (RouteKind::Grpc, r.name.clone()));
            references.routes = http.chain(grpc).collect();
        }
        references
    }

    fn of_status(component: &ComponentStatus) -> Self {
        let kind =
            |kind: &str| if kind == RouteKind::Grpc.as_str() { RouteKind::Grpc } else { RouteKind::Http };
        References {
            workload: component.workload.clone(),
            service: (!component.service.is_empty()).then(|| component.service.clone()),
            routes: component.found.iter().map(|route| (kind(&route.kind), route.name.clone())).collect(),
        }
    }
}

/// What to observe for each component, by name.
///
/// What a run has borrowed (recorded in the status) comes before what the spec says now: an edit of the spec never makes
/// Palier forget a Deployment, a Service or a route that it has to hand back first.
#[must_use]
pub fn references(spec: &RolloutSpec, status: &RolloutStatus) -> BTreeMap<String, References> {
    let mut all: BTreeMap<String, References> =
        spec.components.iter().map(|c| (c.name.clone(), References::of_spec(c))).collect();
    for component in &status.components {
        let wanted = all.get(&component.name);
        if wanted.is_none_or(|wanted| holds_on(component, wanted)) {
            all.insert(component.name.clone(), References::of_status(component));
        }
    }
    all
}

/// Whether what the status has borrowed must be handed back before `wanted` is looked at.
fn holds_on(component: &ComponentStatus, wanted: &References) -> bool {
    if component.workload.is_empty() {
        return false;
    }
    let is_borrowing = !matches!(component.stage, Stage::Idle | Stage::RolledBack);
    component.workload != wanted.workload || is_borrowing
}
