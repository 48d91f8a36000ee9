//! Configuration that is released, and goes back, with the code.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// ConfigMaps and Secrets that are a part of a component's revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.configMaps) || has(self.secrets) || (has(self.fromTemplate) && self.fromTemplate)", "config names nothing: give configMaps, secrets or fromTemplate"))]
pub struct Config {
    /// Names of ConfigMaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 242), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))
    )]
    pub config_maps: Vec<String>,
    /// Names of Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 242), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))
    )]
    pub secrets: Vec<String>,
    /// All that the pod template refers to, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_template: bool,
}
