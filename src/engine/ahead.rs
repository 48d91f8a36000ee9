//! Canary pods of the next phase start while the bake of the present one comes to its end, so that the raise does not wait
//! for them.

use crate::api::{ComponentStatus, Phase, Span, Stage};

use super::judges::steps;
use super::turn::{Part, Turn, after, between};
use super::world::DeploymentSeen;
use super::{Weight, borrow, degraded, evidence};

/// They start this long before the end of a bake, or in its second half if that is shorter.
const AHEAD_MAX: Span = Span::seconds(30);

/// The canary's size in the next phase once the present one is nearly earned, else 0. Where the share is the share of
/// pods, more of them would be a raise.
pub(super) fn size(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    phase: &Phase,
) -> i32 {
    let is_baking = component.stage == Stage::Baking && !part.is_by_pods();
    let steps = steps(&turn.world.rollout.spec, &part.name);
    let next = steps.iter().find(|step| step.phase.traffic > component.target_weight);
    let (Some(bake), Some(next)) = (component.bake.as_ref().filter(|_| is_baking), next) else { return 0 };
    let size = borrow::size_for(part, deployment, Weight::clamped(next.phase.traffic));
    if borrow::canary_set(component, part).is_some_and(|set| set.replicas == size) {
        // Once they are there they stay: an interruption of the bake, or another leader, must not send them away and
        // call for them again.
        return size;
    }
    if !evidence::lets_raise(turn, component, part) || turn.is_paused() || degraded::is_on(turn) {
        return 0;
    }
    let Some(until) = bake.counted_until else { return 0 };
    // It is earned at this time if all goes well.
    let earned_at = after(until, evidence::remaining(component, bake, phase));
    let window = AHEAD_MAX.min(Span::millis(phase.bake_time.as_millis() / 2));
    let left = between(turn.now, earned_at);
    if left > window {
        turn.wake_after(Span::millis(left.as_millis() - window.as_millis()));
        return 0;
    }
    size
}
