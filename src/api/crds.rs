//! The custom resource definitions, generated from the types.

mod text;

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use super::gate_template::cluster_definition;
use super::{GateTemplate, MetricSource, Rollout, RolloutAction, RolloutRun};

/// All definitions, in the order in which they are printed and stored.
///
/// The API server reads them with every request for one of the kinds: what is said once is not said again.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut all = vec![
        Rollout::crd(),
        RolloutRun::crd(),
        RolloutAction::crd(),
        GateTemplate::crd(),
        cluster_definition(),
        MetricSource::crd(),
    ];
    let mut said = BTreeSet::new();
    for version in all.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            refuse_null(schema);
            say_once(schema, &mut said);
        }
    }
    all
}

/// A definition as one YAML document; the same bytes every time.
///
/// # Errors
/// When it has no JSON form.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_json::Error> {
    serde_json::to_value(crd).map(|definition| text::yaml(&definition))
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

/// Drops the descriptions of fields below a part of the schema that came before, such as the second list of hooks, or the
/// record of a component in a RolloutRun: `kubectl explain` has them at the first.
fn say_once(schema: &mut JSONSchemaProps, said: &mut BTreeSet<String>) {
    let is_repeated = schema.properties.as_ref().is_some_and(|properties| {
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        names.len() >= REPEATED_MIN && !said.insert(names.join(" "))
    });
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        if is_repeated {
            property.description = None;
        }
        say_once(property, said);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        say_once(items, said);
    }
}

/// Parts with as many fields are worth it.
const REPEATED_MIN: usize = 2;
