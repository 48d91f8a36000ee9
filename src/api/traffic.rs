//! How a component receives its traffic.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The Service of a component's callers, and the routes in front of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// The Service that the component's callers use. While a run lasts it is pinned to one revision; at its end it is
    /// as it was found.
    #[x_kube(validation = ("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')", "not a Service name: lower-case letters, digits and '-', starting with a letter"))]
    #[schemars(length(min = 1, max = 56))]
    pub service: String,
    /// Gateway API routes that carry the weights.
    #[serde(rename = "gatewayAPI")]
    pub gateway_api: GatewayApi,
}

/// Routes of the Gateway API (<https://gateway-api.sigs.k8s.io/>) in the Rollout's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.httpRoutes.all(r, self.httpRoutes.exists_one(s, s.name == r.name))", "the same HTTPRoute is named twice"))]
#[x_kube(validation = ("self.grpcRoutes.all(r, self.grpcRoutes.exists_one(s, s.name == r.name))", "the same GRPCRoute is named twice"))]
#[x_kube(validation = ("self.httpRoutes.size() + self.grpcRoutes.size() >= 1", "name at least one route in httpRoutes or grpcRoutes, or leave out 'traffic' to share by number of pods"))]
pub struct GatewayApi {
    /// HTTPRoutes that name the Service as a backend.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub http_routes: Vec<RouteRef>,
    /// GRPCRoutes that name the Service as a backend.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub grpc_routes: Vec<RouteRef>,
}

/// A route by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteRef {
    /// Name of the route.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
