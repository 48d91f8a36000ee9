//! `palier-action-author`: an action is the word of the one who sends it, for good.

use serde_json::{Value, json};

use super::{Authorizer, Right, denied, text};
use crate::apiserver::kinds::Kind;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::store::Review;

const POLICY: &str = "palier-action-author";

/// Writes into a new action who asked for it, whatever the request said.
///
/// # Errors
/// None.
pub fn stamp(review: &Review<'_>, action: &mut Value) -> Result<(), Refusal> {
    let is_new = review.key.kind == Kind::RolloutAction && review.before.is_none();
    if is_new && action["spec"].is_object() {
        action["spec"]["requestedBy"] = json!({"user": review.caller.user, "groups": review.caller.groups});
    }
    Ok(())
}

/// Refuses changes, words of others, and what the sender may not ask for.
///
/// # Errors
/// One of these (403).
pub fn own_word(review: &Review<'_>, action: &Value, authorizer: &Authorizer) -> Result<(), Refusal> {
    if review.key.kind != Kind::RolloutAction {
        return Ok(());
    }
    let spec = &action["spec"];
    if let Some(before) = review.before {
        if before["spec"] == *spec {
            return Ok(());
        }
        return Err(denied(review, POLICY, "a RolloutAction cannot be changed: create another one"));
    }
    let (user, groups) = (&review.caller.user, &review.caller.groups);
    let by = &spec["requestedBy"];
    let said = by.get("groups").cloned().unwrap_or_else(|| json!([]));
    if text(by, "user") != user || said != json!(groups) {
        let why =
            format!("spec.requestedBy must be you: user \"{user}\" with the groups [{}]", groups.join(", "));
        return Err(denied(review, POLICY, &why));
    }
    let (verb, rollout) = (text(spec, "action").to_ascii_lowercase(), text(spec, "rollout"));
    let namespace = review.key.namespace.as_str();
    let right = Right { verb: &verb, kind: Kind::Rollout, namespace, name: rollout };
    if authorizer(review.caller, right) {
        return Ok(());
    }
    let why = format!(
        "user \"{user}\" may not {verb} the Rollout \"{rollout}\": ask for a Role with the verb \"{verb}\" on rollouts.palier.dev in the namespace \"{namespace}\""
    );
    Err(denied(review, POLICY, &why))
}
