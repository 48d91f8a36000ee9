//! What is kept of each kind that is watched.

pub mod config_maps;
pub mod jobs;
pub mod palier;
mod refs;
pub mod routes;
pub mod services;
pub mod workloads;

use std::collections::BTreeMap;

use serde_json::Value;

pub use config_maps::ConfigMapView;
pub use jobs::{CronJobView, JobView};
pub use palier::{
    ActionView, ClusterGateTemplateView, GateTemplateView, MetricSourceView, RolloutView, RunView,
};
pub use routes::{GrpcRouteView, HttpRouteView};
pub use services::{ServiceView, SliceView};
pub use workloads::{DeploymentView, ReplicaSetView};

/// A whole number at `pointer`, or `otherwise` when there is none.
fn number(value: &Value, pointer: &str, otherwise: i64) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or(otherwise)
}

/// A whole number at `pointer` that fits a replica count, or `otherwise`.
fn count(value: &Value, pointer: &str, otherwise: i32) -> i32 {
    i32::try_from(number(value, pointer, i64::from(otherwise))).unwrap_or(otherwise)
}

/// The text values of the map at `pointer`.
fn texts(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    let Some(map) = value.pointer(pointer).and_then(Value::as_object) else { return BTreeMap::new() };
    map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// A short text at `pointer`.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
