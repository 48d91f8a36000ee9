//! The share of a canary, as a write of its route says it.

use palier::api::names::CANARY_SUFFIX;
use serde_json::Value;

/// The share that a JSON Patch of a route gives to the canary, in per cent; 0 when it does not name it any more.
pub fn share(patch: &Value) -> Option<i64> {
    let is_rule = |op: &&Value| op["path"].as_str().is_some_and(|path| path.ends_with("/backendRefs"));
    let backends = patch.as_array()?.iter().find(is_rule)?["value"].as_array()?;
    let is_canary = |one: &&Value| one["name"].as_str().is_some_and(|name| name.ends_with(CANARY_SUFFIX));
    backends.iter().find(is_canary).map_or(Some(0), |canary| canary["weight"].as_i64())
}
