//! `MetricSource`: a Prometheus-compatible server. Only administrators name addresses.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// A metric server that gates may ask, and the namespaces that may use it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "palier.dev",
    version = "v1alpha1",
    kind = "MetricSource",
    doc = "A metric server that gates may ask.",
    shortname = "rms",
    category = "palier",
    printcolumn(json_path = ".spec.prometheus.url", name = "URL", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
pub struct MetricSourceSpec {
    /// The server.
    pub prometheus: PrometheusServer,
    /// Namespaces whose Rollouts may use this source; `*` stands for all.
    #[serde(default = "default_namespaces")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
}

fn default_namespaces() -> Vec<String> {
    vec!["*".to_owned()]
}

/// A server that speaks the Prometheus HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!(has(self.bearerTokenRef) && has(self.basicAuthRef))", "give bearerTokenRef or basicAuthRef, not both"))]
pub struct PrometheusServer {
    /// Base address, `http://` or `https://`, without user, query or fragment.
    #[x_kube(validation = ("self.matches('^https?://[^/?#@\\\\s]+(/[^?#\\\\s]*)?$')", "not an address: write it like https://prometheus.monitoring:9090, without user, query or fragment"))]
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// The longest time for one answer.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = ("self.matches('[1-9]')", "timeout must be longer than zero"))]
    pub timeout: Span,
    /// The largest answer in bytes that is read.
    #[serde(default = "default_max_bytes")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub max_bytes: i64,
    /// A Secret key with the PEM bundle of the certificate authorities to trust, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<SecretKey>,
    /// A Secret key with a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_ref: Option<SecretKey>,
    /// A Secret with the keys `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth_ref: Option<SecretName>,
}

fn default_timeout() -> Span {
    Span::seconds(10)
}
const fn default_max_bytes() -> i64 {
    1 << 20
}

/// A key of a Secret in the namespace where Palier runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A Secret in the namespace where Palier runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
