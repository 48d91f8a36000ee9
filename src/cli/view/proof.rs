//! How far a component is in its proof: its phase, its bake, what its gates say.

use jiff::Timestamp;

use crate::api::{
    ComponentStatus, DegradedState, HEALTH, OnFailure, OnUnhealthy, Phase, RolloutSpec, RunIntent, RunStatus,
    Span, Stage, Verdict,
};

use super::{gates_of, time};

/// The phase a component is in, with its index in `spec.phases`.
pub(super) fn phase_of<'a>(spec: &'a RolloutSpec, component: &ComponentStatus) -> Option<(usize, &'a Phase)> {
    let index = usize::try_from(component.phase_index?).ok()?;
    Some((index, spec.phases.get(index)?))
}

/// Whether a component leaves the phase out.
pub(super) fn is_skipped(spec: &RolloutSpec, component: &str, phase: &str) -> bool {
    let own = spec.components.iter().filter(|c| c.name == component).flat_map(|c| &c.phases);
    let is_last = spec.phases.last().is_some_and(|last| last.name == phase);
    !is_last && own.into_iter().any(|it| it.name == phase && it.skip)
}

/// A bake in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bake {
    /// What is to be proven.
    pub wanted: i64,
    /// What is proven.
    pub earned: i64,
    /// Whether its clock stands.
    pub is_still: bool,
}

/// The bake under way, with what this component wants of the phase. It is stored now and then; while its clock runs, the
/// time since is added, up to what is wanted.
pub(super) fn bake_of(spec: &RolloutSpec, component: &ComponentStatus, now: Timestamp) -> Option<Bake> {
    let bake = component.bake.as_ref().filter(|_| component.stage == Stage::Baking)?;
    let (_, phase) = phase_of(spec, component)?;
    let own = spec.components.iter().filter(|c| c.name == component.name).flat_map(|c| &c.phases);
    let own = own.into_iter().find(|it| it.name == phase.name).and_then(|it| it.bake_time);
    let seconds = |span: Span| span.as_millis() / 1_000;
    let wanted = seconds(own.unwrap_or(phase.bake_time));
    let since = bake.counted_until.map_or(0, |at| time::seconds_between(at, now).max(0));
    let earned = (seconds(bake.earned) + since).min(wanted);
    Some(Bake { wanted, earned, is_still: bake.counted_until.is_none() && earned < wanted })
}

/// Whether the component is on its way to its canary revision.
pub(super) const fn goes_forward(stage: Stage) -> bool {
    matches!(stage, Stage::Waiting | Stage::Preparing | Stage::Raising | Stage::Baking | Stage::Baked)
}

/// The first gate that keeps a component where it is, in words; those that only notify keep nobody.
pub(super) fn held_by(spec: &RolloutSpec, component: &ComponentStatus) -> Option<String> {
    if !goes_forward(component.stage) {
        return None;
    }
    let gates = gates_of(spec, &component.name);
    let is_mute = |name: &str| match gates.get(name) {
        Some(gate) => gate.on_failure == Some(OnFailure::Notify),
        None => name == HEALTH && spec.health.on_failure == OnUnhealthy::Notify,
    };
    let holds = |verdict, tripped| tripped || !matches!(verdict, Verdict::Pass | Verdict::Wait);
    let all = component.all_gates();
    let gate = all.iter().find(|g| holds(g.verdict, g.tripped) && !is_mute(&g.name))?;
    let what = match gate.verdict {
        Verdict::NoData => "has no data",
        Verdict::Error => "cannot be asked",
        _ => "fails",
    };
    Some(format!("gate {} {what}", gate.name))
}

/// Whether a degraded mode is under way because a gate of this component asked for it.
pub(super) fn is_degraded(run: Option<&RunStatus>, component: &ComponentStatus) -> bool {
    let mut modes = run.filter(|run| run.ended_at.is_none()).into_iter().flat_map(|run| &run.degraded);
    modes.any(|mode| mode.component == component.name && mode.state != DegradedState::Left)
}

/// The component because of which another one goes back: the engine words it `it depends on api: …`.
pub(super) fn goes_with(component: &ComponentStatus) -> Option<&str> {
    component.failure.strip_prefix("it depends on ").and_then(|rest| rest.split(':').next())
}

/// Whether a component went back by itself, and not only because of one that it depends on.
pub(super) fn has_own_failure(component: &ComponentStatus) -> bool {
    let has_tripped = component.all_gates().iter().any(|gate| gate.tripped);
    has_tripped || !(component.failure.is_empty() || goes_with(component).is_some())
}

/// Whether somebody should look at more of the component than its line.
pub(super) fn needs_attention(
    spec: &RolloutSpec,
    run: Option<&RunStatus>,
    component: &ComponentStatus,
) -> bool {
    let is_full_rollback = run.is_some_and(|run| run.intent == RunIntent::RollBack && run.ended_at.is_none());
    match component.stage {
        // In a full rollback all go back; those that are back already need nobody.
        Stage::RollingBack => !is_full_rollback || component.weight > 0 || has_own_failure(component),
        Stage::TakenBack | Stage::RolledBack => has_own_failure(component),
        Stage::Idle => !component.message.is_empty(),
        Stage::Adopting | Stage::Adopted => false,
        stage => {
            let is_halted = component.bake.as_ref().is_some_and(|bake| bake.halted_since.is_some());
            let steps_back = component.step_backs > 0 && stage != Stage::Baked;
            let has_mode = is_degraded(run, component);
            is_halted || steps_back || has_mode || held_by(spec, component).is_some()
        }
    }
}
