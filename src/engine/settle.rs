//! When a new status is worth a write.
//!
//! What must survive a crash, and what a person wants to see at once, is stored when it changes. Counters that grow with
//! every evaluation are stored now and then: a restarted controller measures again what was not stored.

use jiff::Timestamp;

use crate::api::{GateStatistics, RolloutStatus, Span, Stage};

use super::health;
use super::turn::after;
use super::world::World;

/// The shortest time between two checkpoints of counters.
const CHECKPOINT_MIN: Span = Span::seconds(60);

/// Whether `after` differs from `before` in what must be stored now, or its counters are due to be.
pub(super) fn must_store(world: &World, after: &RolloutStatus, now: Timestamp) -> bool {
    let before = &world.rollout.status;
    if before == after {
        return false;
    }
    if lasting(before) != lasting(after) {
        return true;
    }
    let is_due = checkpoint_due(world, before, after).is_some_and(|due| due <= now);
    is_due && without_clock(before) != without_clock(after)
}

/// When the counters of a bake under way are to be stored next, `last` being the status that was stored last: every
/// minute, or sixty times in a bake that is longer than an hour.
pub(super) fn checkpoint_due(
    world: &World,
    last: &RolloutStatus,
    status: &RolloutStatus,
) -> Option<Timestamp> {
    let phases = &world.rollout.spec.phases;
    let bake_time = |index: i32| Some(phases.get(usize::try_from(index).ok()?)?.bake_time);
    let baking = status.components.iter().filter(|c| c.stage == Stage::Baking);
    let step = baking
        .map(|c| c.phase_index.and_then(bake_time).unwrap_or_default())
        .map(|bake| CHECKPOINT_MIN.max(Span::millis(bake.as_millis() / 60)))
        .min()?;
    Some(after(last.checkpointed_at?, step))
}

fn without_clock(status: &RolloutStatus) -> RolloutStatus {
    RolloutStatus { checkpointed_at: None, epoch: 0, ..status.clone() }
}

/// The status without what changes from one evaluation or one pod to the next.
fn lasting(status: &RolloutStatus) -> RolloutStatus {
    let mut status = without_clock(status);
    // Both are words for what is compared below.
    status.traffic.clear();
    status.gates.clear();
    if let Some(run) = status.run.as_mut() {
        run.recorded = false;
    }
    for component in &mut status.components {
        component.canary_ready = 0;
        component.canary_replicas = 0;
        component.desired_replicas = 0;
        component.drain_until = None;
        component.ready_since = None;
        component.route_mended_at = None;
        component.message.clear();
        if component.stage == Stage::Raising {
            // Stored with the bake, which begins when the weight is in force and the pin has followed it.
            component.weight = 0;
        }
        if let Some(bake) = component.bake.as_mut() {
            bake.earned = Span::ZERO;
            bake.counted_until = bake.counted_until.map(|_| Timestamp::UNIX_EPOCH);
        }
        health::lasting(component);
        for gate in &mut component.gates {
            gate.value.clear();
            gate.message.clear();
            gate.evaluated_at = None;
            gate.sampled_at = None;
            gate.passes = 0;
            if gate.tripped {
                // It has failed often enough; how often since then changes nothing.
                gate.consecutive_failures = 0;
            }
            gate.recent.clear();
        }
        for counted in &mut component.statistics {
            // What was learned and shown is kept at once; what was counted can be counted again.
            *counted = GateStatistics {
                name: std::mem::take(&mut counted.name),
                key: std::mem::take(&mut counted.key),
                safe: counted.safe,
                phi: counted.phi,
                tolerance: counted.tolerance,
                learned: std::mem::take(&mut counted.learned),
                bounds: std::mem::take(&mut counted.bounds),
                ..GateStatistics::default()
            };
        }
    }
    status
}
