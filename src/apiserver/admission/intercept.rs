//! `palier-intercept`: the write that changes the template of a Deployment under a Rollout also pauses it.

use serde_json::{Value, json};

use super::{any, has_label};
use crate::api::names::{INTERCEPTED, RESTARTED_AT, ROLLOUT_LABEL};
use crate::apiserver::kinds::Kind;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::store::{Part, Review};

/// Pauses it, and notes that it was not a person who did.
///
/// # Errors
/// None.
pub fn pause(review: &Review<'_>, after: &mut Value) -> Result<(), Refusal> {
    let Some(before) = review.before else { return Ok(()) };
    let is_meant = review.key.kind == Kind::Deployment && review.part == Part::Main;
    if !is_meant || !any(review, after, |object| has_label(object, ROLLOUT_LABEL)) {
        return Ok(());
    }
    if !is_new_version(&before["spec"]["template"], &after["spec"]["template"]) {
        return Ok(());
    }
    after["spec"]["paused"] = json!(true);
    if before["spec"]["paused"] != true {
        after["metadata"]["annotations"][INTERCEPTED] = json!("true");
    }
    Ok(())
}

/// Whether a template differs in more than the time of a restart.
fn is_new_version(before: &Value, after: &Value) -> bool {
    let of_metadata = ["labels", "name", "finalizers", "ownerReferences"];
    let same_metadata =
        of_metadata.iter().all(|field| before["metadata"].get(*field) == after["metadata"].get(*field));
    let annotations = |template: &Value| {
        let mut all = template["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        all.remove(RESTARTED_AT);
        all
    };
    before.get("spec") != after.get("spec") || !same_metadata || annotations(before) != annotations(after)
}
