//! The custom resource definitions, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{MetricSource, Rollout, RolloutAction, RolloutRun};

/// All definitions, in the order in which they are printed and stored.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![Rollout::crd(), RolloutRun::crd(), RolloutAction::crd(), MetricSource::crd()]
}
