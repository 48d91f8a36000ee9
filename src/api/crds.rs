//! The custom resource definitions, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use super::{MetricSource, Rollout, RolloutAction, RolloutRun};

/// All definitions, in the order in which they are printed and stored.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![Rollout::crd(), RolloutRun::crd(), RolloutAction::crd(), MetricSource::crd()];
    for version in all.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            refuse_null(schema);
        }
    }
    all
}

/// Takes `nullable` away, which is generated for every optional field. With it `threshold: {max: null}` would have a
/// `max` in the eyes of the rules and count as a limit; without it the API server refuses a `null`, or puts the default
/// in its place where there is one.
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting-and-nullable>
fn refuse_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        refuse_null(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        refuse_null(items);
    }
}
