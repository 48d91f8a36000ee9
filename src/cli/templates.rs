//! The templates that a Rollout's gates come from, in files and in the cluster.

use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use crate::api::names::{GROUP, VERSION};
use crate::api::{GateTemplateSpec, Rollout, TemplateKind};
use crate::engine::gate_templates::{Expansion, GateTemplates, expand, named};
use crate::engine::world::Look;

use super::error::Asked;
use super::{CliError, Cluster};

/// The Rollout with gates in the place of `gatesFrom`.
///
/// # Errors
/// The first entry that gives no gates, in words.
pub(super) fn expanded(rollout: Rollout, templates: &GateTemplates) -> Result<Rollout, String> {
    let (rollout, problem) = with_gates(rollout, templates);
    problem.map_or(Ok(rollout), Err)
}

/// The Rollout with the gates that can be known, for something that is only shown.
pub(super) fn as_far_as_known(rollout: Rollout, templates: &GateTemplates) -> Rollout {
    with_gates(rollout, templates).0
}

fn with_gates(mut rollout: Rollout, templates: &GateTemplates) -> (Rollout, Option<String>) {
    if named(&rollout.spec).is_empty() {
        return (rollout, None);
    }
    let Expansion { spec, problems, .. } = expand(&rollout.spec, &templates.seen);
    rollout.spec = spec;
    let problem = problems.first().map(|it| it.in_words(&rollout.spec));
    (rollout, problem)
}

/// The templates that a Rollout names, among the objects of its file.
pub(super) fn among(objects: &[Value], rollout: &Rollout) -> GateTemplates {
    let namespace = rollout.metadata.namespace.as_deref();
    let find = |kind: TemplateKind, name: &str| {
        objects.iter().find(|it| {
            let there = it["metadata"]["namespace"].as_str();
            let is_near = there.is_none() || namespace.is_none() || there == namespace;
            it["kind"] == kind.as_str()
                && it["metadata"]["name"] == name
                && (kind == TemplateKind::ClusterGateTemplate || is_near)
        })
    };
    let look = |(kind, name): (TemplateKind, String)| {
        let found = find(kind, &name).and_then(|it| read(&it["spec"]));
        ((kind, name), found.map_or(Look::Missing, Look::Found))
    };
    GateTemplates { seen: named(&rollout.spec).into_iter().map(look).collect(), ..GateTemplates::default() }
}

fn read(spec: &Value) -> Option<GateTemplateSpec> {
    serde_json::from_value(spec.clone()).ok()
}

/// The templates that a Rollout names, in the cluster. Those that may not be read are unknown.
///
/// # Errors
/// When the API server gives no answer.
pub(super) async fn in_the_cluster(cluster: &Cluster, rollout: &Rollout) -> Result<GateTemplates, CliError> {
    let mut templates = GateTemplates::default();
    for (kind, name) in named(&rollout.spec) {
        let gvk = GroupVersionKind::gvk(GROUP, VERSION, kind.as_str());
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
        let client = cluster.client.clone();
        let api: Api<DynamicObject> = match kind {
            TemplateKind::GateTemplate => Api::namespaced_with(client, &cluster.namespace, &resource),
            TemplateKind::ClusterGateTemplate => Api::all_with(client, &resource),
        };
        let asked = Asked {
            verb: "get",
            resource: kind.plural(),
            kind: kind.as_str(),
            name: &name,
            namespace: &cluster.namespace,
            server: &cluster.server,
        };
        let look = match cluster.ask(asked, api.get(&name)).await {
            Ok(object) => read(&object.data["spec"]).map_or(Look::Missing, Look::Found),
            Err(CliError::NotFound { .. } | CliError::NotInstalled { .. }) => Look::Missing,
            Err(CliError::Forbidden { .. }) => Look::Unknown,
            Err(error) => return Err(error),
        };
        templates.seen.insert((kind, name), look);
    }
    Ok(templates)
}
