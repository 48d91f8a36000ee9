//! `palier-status-writer`: what a status says is evidence, only the controller writes it.

use super::denied;
use crate::apiserver::kinds::Kind;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::store::{Part, Review};

/// Refuses the writes of others on the status of Rollouts and on records.
///
/// # Errors
/// Somebody else writes one (403).
pub fn only_the_controller(review: &Review<'_>, controller: &str) -> Result<(), Refusal> {
    let is_meant = match (review.key.kind, review.part) {
        (Kind::Rollout | Kind::RolloutRun, Part::Status) => true,
        (Kind::RolloutRun, Part::Main) => review.before.is_none(),
        _ => false,
    };
    if !is_meant || review.caller.user == controller {
        return Ok(());
    }
    let status = if review.part == Part::Status { "/status" } else { "" };
    let why = format!(
        "only the Palier controller ({controller}) may write {}{status}: to steer a run, create a RolloutAction (palier abort, promote, pause, resume, retry)",
        review.key.kind.facts().plural
    );
    Err(denied(review, "palier-status-writer", &why))
}
