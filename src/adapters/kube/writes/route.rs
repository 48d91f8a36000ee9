//! Writes on routes: the backends of some rules, nothing else ever.

use serde_json::{Value, json};

use super::{Effect, Now, Subject};
use crate::adapters::kube::call::{CallError, Cluster, Patch, Path};
use crate::adapters::kube::views::{GrpcRouteView, HttpRouteView};
use crate::engine::world::{RouteKind, Seen};

pub(super) async fn set_backends(
    cluster: &Cluster,
    subject: Subject<'_>,
    kind: RouteKind,
    route: &Seen,
    rules: &[(usize, Vec<Value>)],
) -> Result<Effect, CallError> {
    let replace = |(index, backends): &(usize, Vec<Value>)| json!({"op": "replace", "path": format!("/spec/rules/{index}/backendRefs"), "value": backends});
    let patch = Patch::json(route, rules.iter().map(replace).collect());
    let namespace = subject.namespace();
    match kind {
        RouteKind::Http => {
            let path = Path::of::<HttpRouteView>(namespace, &route.name);
            Ok(Effect::HttpRoute(Now::Is(cluster.patch(&path, "", &patch).await?)))
        }
        RouteKind::Grpc => {
            let path = Path::of::<GrpcRouteView>(namespace, &route.name);
            Ok(Effect::GrpcRoute(Now::Is(cluster.patch(&path, "", &patch).await?)))
        }
    }
}
