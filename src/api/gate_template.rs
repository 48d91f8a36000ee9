//! `GateTemplate` and `ClusterGateTemplate`: gates to share, with parameters.
//!
//! The two kinds differ in their scope alone. What a template holds are gates as a Rollout has them, in which `$name` stands for a
//! parameter: their form is checked once the parameters are known, with the schema and the rules of a Rollout's gates.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Gates that Rollouts share, and what may be different for each of them.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "palier.dev",
    version = "v1alpha1",
    kind = "GateTemplate",
    doc = "Gates to share, with parameters. A Rollout names it under gatesFrom.",
    namespaced,
    shortname = "gt",
    category = "palier",
    printcolumn(json_path = ".spec.description", name = "Description", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.parameters) || self.parameters.all(p, self.parameters.exists_one(q, q.name == p.name))", "two parameters have the same name"))]
#[x_kube(validation = ("self.gates.all(g, self.gates.exists_one(h, h.name == g.name))", "two gates have the same name"))]
pub struct GateTemplateSpec {
    /// What the gates are good for, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub description: String,
    /// What may be different for each Rollout: `$name` in a gate stands for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub parameters: Vec<GateParameter>,
    /// Gates as a Rollout has them. Where one has a value, `$name` may stand; in PromQL as the variables do.
    #[schemars(length(min = 1, max = 20))]
    pub gates: Vec<GateBody>,
}

/// A parameter of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(has(self.values) ? self.values : has(self.default) ? [self.default] : []).all(v, self.type == 'String' || v.matches(self.type == 'Number' ? '^-?(0|[1-9][0-9]{0,14})([.][0-9]{1,17})?(e-?[0-9]{1,2})?$' : self.type == 'Integer' ? '^-?(0|[1-9][0-9]{0,14})$' : self.type == 'Metric' ? '^[a-zA-Z_:][a-zA-Z0-9_:]*$' : '^(0|([0-9]y)?([0-9]{1,3}w)?([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,9}ms)?)$') && v != '')", "default and values have to be of the type: Number like 0.01, Integer like 3, Duration like 90s, Metric like http_requests_total"))]
#[x_kube(validation = ("!has(self.default) || !has(self.values) || self.default in self.values", "default is not one of values"))]
#[x_kube(validation = ("!(has(self.minimum) || has(self.maximum)) || self.type == 'Number' || self.type == 'Integer'", "minimum and maximum are for Number and Integer: give values for the other types"))]
#[x_kube(validation = ("!has(self.default) || !self.default.matches('^-?[0-9.]+(e-?[0-9]+)?$') || (!has(self.minimum) || double(self.default) >= self.minimum) && (!has(self.maximum) || double(self.default) <= self.maximum)", "default is not within minimum and maximum"))]
pub struct GateParameter {
    /// Name, without `$`.
    #[x_kube(validation = ("self.matches('^[a-z][a-zA-Z0-9_]*$')", "not a parameter name: letters, digits and '_', a lower-case letter first"))]
    #[x_kube(validation = ("!(self in ['namespace', 'rollout', 'component', 'phase', 'window', 'pods', 'canary_pods', 'stable_pods', 'canary_revision', 'stable_revision', 'canary_set', 'stable_set', 'service', 'route'])", "a variable of every query has this name: choose another one"))]
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// Its value where a Rollout gives none. Without it, every Rollout has to give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub default: Option<String>,
    /// The least that a Number or an Integer may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The most that it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// All values that may be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 256)))]
    pub values: Option<Vec<String>>,
    /// What it is good for, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub description: String,
}

/// What the values of a parameter are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ParameterType {
    /// A text: in PromQL within a string only.
    String,
    /// A number, such as 0.01.
    Number,
    /// A whole number, such as 3.
    Integer,
    /// A Prometheus duration, such as 90s.
    Duration,
    /// The name of a metric or a label: the one text that may stand bare in PromQL.
    Metric,
}

impl ParameterType {
    /// What a value looks like; a text can be anything. The same patterns are in the rule of [`GateParameter`].
    #[must_use]
    pub const fn pattern(self) -> Option<&'static str> {
        match self {
            Self::String => None,
            Self::Number => Some("^-?(0|[1-9][0-9]{0,14})([.][0-9]{1,17})?(e-?[0-9]{1,2})?$"),
            Self::Integer => Some("^-?(0|[1-9][0-9]{0,14})$"),
            Self::Metric => Some("^[a-zA-Z_:][a-zA-Z0-9_:]*$"),
            Self::Duration => Some(
                "^(0|([0-9]y)?([0-9]{1,3}w)?([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,9}ms)?)$",
            ),
        }
    }

    /// The type with an example, for people.
    #[must_use]
    pub const fn like(self) -> &'static str {
        match self {
            Self::String => "a String",
            Self::Number => "a Number like 0.01",
            Self::Integer => "an Integer like 3",
            Self::Duration => "a Duration like 90s",
            Self::Metric => "a Metric like http_requests_total",
        }
    }
}

/// A gate whose parameters are not filled in yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GateBody(pub Map<String, Value>);

impl JsonSchema for GateBody {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GateBody".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": ["name", "prometheus"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 40},
                "prometheus": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            },
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }
}

/// Gates of a template, for a Rollout or a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatesFrom {
    /// `GateTemplate` of the Rollout's namespace, or `ClusterGateTemplate`.
    #[serde(default)]
    pub kind: TemplateKind,
    /// Name of the template.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Put before the name of each gate, such as `web-`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 20), regex(pattern = "^([a-z0-9][-a-z0-9]*)?$"))]
    pub prefix: String,
    /// Values of its parameters, as texts: a number too stands between quotes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "parameters_schema")]
    pub parameters: BTreeMap<String, String>,
}

fn parameters_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 256},
        "x-kubernetes-validations": [{
            "rule": "self.all(name, name.size() <= 40)",
            "message": "the name of a parameter has 40 characters at most",
        }],
    })
}

/// Where a template lives.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum TemplateKind {
    /// In the Rollout's namespace.
    #[default]
    GateTemplate,
    /// In the cluster, for all namespaces.
    ClusterGateTemplate,
}

impl TemplateKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::GateTemplate, Self::ClusterGateTemplate];

    /// The kind as the API server writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GateTemplate => "GateTemplate",
            Self::ClusterGateTemplate => "ClusterGateTemplate",
        }
    }

    /// The resource, as in paths.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::GateTemplate => "gatetemplates",
            Self::ClusterGateTemplate => "clustergatetemplates",
        }
    }
}

/// The definition of `ClusterGateTemplate`: that of `GateTemplate` for the whole cluster.
#[must_use]
pub fn cluster_definition() -> CustomResourceDefinition {
    let mut definition = GateTemplate::crd();
    let kind = TemplateKind::ClusterGateTemplate;
    let names = &mut definition.spec.names;
    names.kind = kind.as_str().to_owned();
    names.plural = kind.plural().to_owned();
    names.singular = Some(kind.as_str().to_lowercase());
    names.short_names = Some(vec!["cgt".to_owned()]);
    definition.spec.scope = "Cluster".to_owned();
    let schemas = definition.spec.versions.iter_mut().filter_map(|it| it.schema.as_mut());
    for schema in schemas.filter_map(|it| it.open_api_v3_schema.as_mut()) {
        schema.title = Some(kind.as_str().to_owned());
    }
    definition.metadata.name = Some(format!("{}.{}", kind.plural(), definition.spec.group));
    definition
}
