//! ConfigMaps. None is watched: each is read by name, when it is asked for.

use serde_json::Value;

use crate::adapters::kube::row::{View, Whole};
use crate::engine::world::{ConfigMapSeen, Seen};

use super::texts;

/// What is kept of a ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigMapView(pub ConfigMapSeen);

impl View for ConfigMapView {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "ConfigMap";
    const PLURAL: &'static str = "configmaps";

    fn of(whole: Whole) -> Result<Self, String> {
        let Whole { metadata, data, immutable, .. } = whole;
        Ok(Self(ConfigMapSeen {
            at: metadata.seen(),
            is_immutable: immutable.json("immutable")? == Value::Bool(true),
            data: texts(&data.json("data")?, ""),
        }))
    }

    fn at(&self) -> &Seen {
        &self.0.at
    }

    fn rollout(&self) -> Option<&str> {
        None
    }
}
