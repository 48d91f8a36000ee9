//! What a changed template means for a run that is on.

use crate::api::{ComponentStatus, Outcome, Stage};

use super::plan::Reason;
use super::turn::{Part, Turn};
use super::{config, copies, rest};

/// A changed template of a component that is released ends the run: another one supersedes it, the former one withdraws
/// it.
pub(super) fn watch(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>) {
    if part.seen.deployment.is_missing() {
        let why = format!("the Deployment {} is gone", part.refs.workload);
        return turn.roll_back(Outcome::RolledBack, Reason::RollbackStarted, &part.name, &why);
    }
    if part.spec.is_none() || part.spec.is_some_and(|spec| spec.workload_ref.name != component.workload) {
        let why = format!("the component {} left the Rollout", part.name);
        return turn.roll_back(Outcome::Superseded, Reason::Superseded, &part.name, &why);
    }
    let (Some(deployment), Some(canary)) = (part.seen.deployment.found(), component.canary.as_ref()) else {
        return;
    };
    copies::watch(turn, component, part);
    if config::holds(part, deployment, canary) {
        if deployment.has_rolled() && !config::is_config_only(component) {
            let why =
                "somebody resumed the Deployment and it rolled by itself: there is no version to go back to";
            turn.roll_back(Outcome::Superseded, Reason::Superseded, &part.name, why);
        }
        return;
    }
    if component.stable.as_ref().is_some_and(|stable| config::holds(part, deployment, stable)) {
        let why = "the former template was put back";
        turn.roll_back(Outcome::Withdrawn, Reason::Withdrawn, &part.name, why);
    } else if deployment.revision == canary.revision {
        let why = "the configuration changed again";
        turn.roll_back(Outcome::Superseded, Reason::Superseded, &part.name, why);
    } else {
        let why = format!("another template came ({} instead of {})", deployment.revision, canary.revision);
        turn.roll_back(Outcome::Superseded, Reason::Superseded, &part.name, &why);
    }
}

/// A component that was not part of the run has a new template: the run ends, and the next one releases all of them
/// together. What was taken back or adopted in this run waits for its end.
pub(super) fn join(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) {
    if !matches!(component.stage, Stage::Idle | Stage::RolledBack)
        || !rest::could_start(turn, component, part)
    {
        return;
    }
    let why = format!("{} has a new template too: all are released together", part.name);
    turn.roll_back(Outcome::Superseded, Reason::Superseded, &part.name, &why);
}
