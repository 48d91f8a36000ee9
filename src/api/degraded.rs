//! Degraded modes: feature switches that are set while a gate fails, and set back when it passes again.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// A way to keep the service up with some features off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DegradedMode {
    /// Name, unique in the Rollout; a gate with `onFailure: DegradedMode` names it.
    #[x_kube(validation = ("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "not a name of a degraded mode: lower-case letters, digits and '-'"))]
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// What is set while the mode is on.
    #[schemars(length(min = 1, max = 16))]
    pub switches: Vec<Switch>,
    /// How long the gates that asked for the mode must pass before the switches are set back.
    #[serde(default = "default_recover_after")]
    pub recover_after: Span,
    /// How long the mode may be on before the run gives up.
    #[serde(default = "default_deadline")]
    #[x_kube(validation = ("self.matches('[1-9]')", "deadline must be longer than zero"))]
    pub deadline: Span,
    /// What happens then.
    #[serde(default)]
    pub then: DegradedThen,
}

fn default_recover_after() -> Span {
    Span::seconds(300)
}
fn default_deadline() -> Span {
    Span::seconds(3_600)
}

/// One feature switch: a key of a ConfigMap, or a place in the JSON document that a key holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.value) != has(self.json)", "give either value (a text) or json (a JSON value for the pointer)"))]
#[x_kube(validation = ("!has(self.json) || has(self.pointer)", "json needs a pointer: without one the whole key is set, by value"))]
pub struct Switch {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub config_map: String,
    /// Its key.
    #[x_kube(validation = ("self.matches('^[-._a-zA-Z0-9]+$')", "not a key of a ConfigMap: letters, digits, '-', '_' and '.'"))]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// A JSON pointer (RFC 6901) into the JSON document that the key holds, such as `/flags/search/state`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = ("self.startsWith('/')", "a JSON pointer begins with '/'"))]
    pub pointer: Option<String>,
    /// The text to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// The JSON value to set, such as `false` or `{"on": false}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub json: Option<String>,
}

/// What happens when a degraded mode was on for longer than its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DegradedThen {
    /// The component whose gate asked for the mode goes back, with all that depends on it.
    #[default]
    PartialRollback,
    /// Every component goes back to its stable revision.
    FullRollback,
}

/// A degraded mode that a run has entered: stored before the first switch is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DegradedStatus {
    /// Name of the mode.
    #[schemars(length(max = 40))]
    pub mode: String,
    /// The component whose gate asked for it.
    #[schemars(length(max = 40))]
    pub component: String,
    /// Where it is.
    pub state: DegradedState,
    /// When that began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it gets no further.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub message: String,
    /// When it was entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered_at: Option<Timestamp>,
    /// Since when the gates that asked for it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passing_since: Option<Timestamp>,
    /// What was set, with what was there before.
    #[schemars(length(max = 16))]
    pub switches: Vec<SwitchStatus>,
}

/// Where a degraded mode is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DegradedState {
    /// The switches are being set.
    #[default]
    Entering,
    /// All are set.
    On,
    /// They are being set back.
    Leaving,
    /// All are as they were found, or as somebody else has made them since.
    Left,
}

/// One switch that was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwitchStatus {
    /// Name of the ConfigMap.
    #[schemars(length(max = 253))]
    pub config_map: String,
    /// Uid of the ConfigMap: another one of that name is another one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Its key.
    #[schemars(length(max = 253))]
    pub key: String,
    /// The JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub pointer: Option<String>,
    /// What is set: the text of the key, or JSON for the pointer.
    #[schemars(length(max = 4096))]
    pub set: String,
    /// What was there before, in the same form; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub found: Option<String>,
    /// How far it is.
    pub state: SwitchState,
}

/// How far a switch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SwitchState {
    /// What was there is recorded; the value is to be set.
    #[default]
    Recorded,
    /// The value was seen in place.
    Set,
    /// What was there before is there again.
    Restored,
    /// Somebody else has changed it since: it is left as it is.
    Foreign,
    /// It could not be set back in time: a person has to.
    Stuck,
}
