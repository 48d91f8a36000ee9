//! Hooks: Jobs at fixed points of a run.
//!
//! ```text
//! run_at ─► Running ─► Job created ─► seen ─► Succeeded
//!              ▲            │
//!              │            └─► failed, too late, gone ─► Retrying, or Failed, or a rollback: as the policy says
//!              └─────────────────────────────────────────────┘
//! ```
//!
//! An attempt is stored before its Job is created, and the name of the Job follows from it. Whoever decides next, after a
//! crash too, finds that Job or creates the one of that name: one attempt has one Job. It carries a finalizer until it was seen
//! and the attempt is stored as started: deleted before, it is still there to be seen, and is not created once more. Only who
//! takes that finalizer off by hand in those moments can make an attempt run twice. Each hook runs once in a run for
//! each component and phase that its point has, however often that point is passed.

mod check;
mod follow;
mod job;
mod words;

use crate::api::{
    ComponentStatus, Hook, HookPoint, HookState, HookStatus, Outcome, RunIntent, RunStatus, Stage,
};

use super::flaw;
use super::plan::Write;
use super::turn::{Turn, goes_forward};

pub(super) use check::{Flaw, check};
pub(super) use follow::follow;
pub(super) use words::{held, under_way};

/// Entries of a run's list of hooks. Spec and schema allow for no more in one run; only an edit in its middle can.
const HOOKS_MAX: usize = 128;

/// How far the hooks of one point are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hooked {
    /// There are none, or all are done with.
    Done,
    /// One is under way, in words.
    Under(String),
}

/// Runs the hooks of one point, for a component and a phase where the point has them: one after the other, in the order
/// of the spec. The first call stores the attempt; [`follow`] does the rest.
pub(super) fn run_at(turn: &mut Turn<'_>, point: HookPoint, component: &str, phase: &str) -> Hooked {
    let world = turn.world;
    for hook in world.rollout.spec.hooks.iter().filter(|hook| applies(hook, point, component, phase)) {
        let is_this = |it: &&HookStatus| is_of(it, hook, component, phase);
        let known = turn.run().and_then(|run| run.hooks.iter().find(is_this)).cloned();
        match known {
            Some(status) if is_restored_again(&status) => {
                turn.run_on()
                    .iter_mut()
                    .for_each(|run| run.hooks.retain(|it| !is_of(it, hook, component, phase)));
                let again = HookStatus { attempt: 2, state: HookState::Running, started_at: None, ..status };
                let again = HookStatus { job: job::name(turn, &again), ..again };
                turn.run_on().iter_mut().for_each(|run| run.hooks.push(again.clone()));
                turn.wake(turn.now);
                return Hooked::Under(words::of(turn, &again));
            }
            Some(status) if is_over(&status) => {}
            Some(status) => return Hooked::Under(words::of(turn, &status)),
            None if is_forward(point) && turn.is_paused() => return Hooked::Under("paused".to_owned()),
            None => {
                let status = start(turn, hook, component, phase);
                return Hooked::Under(words::of(turn, &status));
            }
        }
    }
    Hooked::Done
}

/// [`flaw::Flaw::RestoreRunsTwice`].
fn is_restored_again(status: &HookStatus) -> bool {
    flaw::is(flaw::Flaw::RestoreRunsTwice)
        && status.point == HookPoint::OnFullRollback
        && status.state == HookState::Succeeded
        && status.attempt == 1
}

/// Lets go of every Job whose attempt is stored as started, or that nobody waits for any more.
pub(super) fn release_seen(turn: &mut Turn<'_>) {
    let world = turn.world;
    let run = turn.run().filter(|run| run.ended_at.is_none());
    let hooks = run.map_or(&[][..], |run| &run.hooks);
    let is_unseen = |job: &str| {
        hooks.iter().any(|it| it.job == job && it.state == HookState::Running && it.started_at.is_none())
    };
    let seen = world.hooks.jobs.iter().filter(|(name, job)| job.is_kept && !is_unseen(name));
    let writes: Vec<Write> = seen.map(|(_, job)| Write::ReleaseJob { job: job.at.clone() }).collect();
    writes.into_iter().for_each(|write| turn.write_job(write));
}

/// Notes the first attempt of a hook.
fn start(turn: &mut Turn<'_>, hook: &Hook, component: &str, phase: &str) -> HookStatus {
    let mut status = HookStatus {
        point: hook.at,
        name: hook.name.clone(),
        component: component.to_owned(),
        phase: phase.to_owned(),
        state: HookState::Running,
        attempt: 1,
        since: Some(turn.now),
        ..HookStatus::default()
    };
    status.job = job::name(turn, &status);
    turn.wake(turn.now);
    if let Some(run) = turn.run_on() {
        make_room(run);
        run.hooks.push(status.clone());
    }
    status
}

/// A full list loses the oldest entry of a phase that is over.
fn make_room(run: &mut RunStatus) {
    if run.hooks.len() < HOOKS_MAX {
        return;
    }
    let oldest = run.hooks.iter().position(|it| !it.phase.is_empty() && is_over(it));
    if let Some(oldest) = oldest.or_else(|| run.hooks.iter().position(is_over)) {
        run.hooks.remove(oldest);
    }
}

/// What is to be done when the run goes back, once `is_back` says that stable serves alone: first everything that is under
/// way comes to its end, then the data follow the code.
pub(super) fn after_rollback(turn: &mut Turn<'_>, is_back: bool) -> Hooked {
    if let Some(words) = under_way(turn) {
        return Hooked::Under(words);
    }
    let Some(outcome) = turn.run().and_then(|run| run.ends_as) else { return Hooked::Done };
    if !matches!(outcome, Outcome::RolledBack | Outcome::PartiallyCompleted) {
        return Hooked::Done;
    }
    let is_partly =
        turn.status.components.iter().any(|c| matches!(c.stage, Stage::Adopting | Stage::Adopted));
    if !is_partly && !has_begun(turn) {
        return Hooked::Done;
    }
    if !is_back {
        return Hooked::Under("stable does not serve alone yet".to_owned());
    }
    if !is_partly {
        return run_at(turn, HookPoint::OnFullRollback, "", "");
    }
    // The components that were given up to their Deployments stay: what goes back is a part.
    let back = turn.status.components.iter().filter(|c| has_come_back(c));
    for name in back.map(|c| c.name.clone()).collect::<Vec<_>>() {
        let hooked = run_at(turn, HookPoint::OnPartialRollback, &name, "");
        if hooked != Hooked::Done {
            return hooked;
        }
    }
    Hooked::Done
}

/// Whether there is anything to put back: canary pods, or a hook of the way forward that did more than a
/// backup.
fn has_begun(turn: &Turn<'_>) -> bool {
    let Some(run) = turn.run() else { return false };
    let spec = &turn.world.rollout.spec;
    let has_done = |it: &HookStatus| {
        let is_backup = spec.hooks.iter().any(|hook| hook.name == it.name && hook.backup);
        is_forward(it.point) && it.started_at.is_some() && !is_backup
    };
    turn.status.components.iter().any(|c| c.canary_replicas > 0) || run.hooks.iter().any(has_done)
}

/// Whether a component is back on stable, or on its way there, after it had canary pods.
pub(super) fn has_come_back(component: &ComponentStatus) -> bool {
    matches!(component.stage, Stage::RollingBack | Stage::TakenBack) && component.canary_replicas > 0
}

/// Whether a hook keeps this component waiting: its deadline does not run meanwhile.
pub(super) fn keep_waiting(turn: &Turn<'_>, component: &str) -> bool {
    let is_its = |it: &HookStatus| it.component == component && !is_over(it);
    turn.run().is_some_and(|run| run.hooks.iter().any(is_its))
}

/// Sets aside every hook that has failed for good and is tried again all the same: a person goes on without it. False if
/// there is none.
pub(super) fn set_aside(turn: &mut Turn<'_>) -> bool {
    let world = turn.world;
    let now = turn.now;
    let mut waiting = Vec::new();
    for status in turn.status.run.iter_mut().flat_map(|run| &mut run.hooks) {
        if spec_of(&world.rollout.spec.hooks, status).is_some_and(|hook| is_held(hook, status)) {
            (status.state, status.since) = (HookState::Failed, Some(now));
            "set aside by a person".clone_into(&mut status.message);
            waiting.push(status.component.clone());
        }
    }
    for component in &waiting {
        restart_clock(turn, component);
    }
    !waiting.is_empty()
}

/// The time that a component spent waiting for a hook is not its own.
fn restart_clock(turn: &mut Turn<'_>, component: &str) {
    let now = turn.now;
    let waits = |c: &&mut ComponentStatus| c.name == component && c.stage == Stage::Preparing;
    for component in turn.status.components.iter_mut().filter(waits) {
        component.since = Some(now);
    }
}

fn applies(hook: &Hook, point: HookPoint, component: &str, phase: &str) -> bool {
    let is_named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|it| it == name);
    hook.at == point && is_named(&hook.components, component) && is_named(&hook.phases, phase)
}

fn is_of(status: &HookStatus, hook: &Hook, component: &str, phase: &str) -> bool {
    status.point == hook.at
        && status.name == hook.name
        && status.component == component
        && status.phase == phase
}

fn spec_of<'h>(hooks: &'h [Hook], status: &HookStatus) -> Option<&'h Hook> {
    hooks.iter().find(|hook| hook.name == status.name && hook.at == status.point)
}

const fn is_over(status: &HookStatus) -> bool {
    matches!(status.state, HookState::Succeeded | HookState::Failed)
}

/// Whether the point is on the way to the canary revisions.
const fn is_forward(point: HookPoint) -> bool {
    matches!(point, HookPoint::BeforeRun | HookPoint::BeforePhase | HookPoint::AfterPhase)
}

/// Attempts of a hook before its policy speaks.
const fn attempts(hook: &Hook) -> i32 {
    hook.retries.saturating_add(1)
}

/// Whether the hook has used up its attempts and is tried again all the same.
const fn is_held(hook: &Hook, status: &HookStatus) -> bool {
    let is_last = status.attempt == attempts(hook) && matches!(status.state, HookState::Retrying);
    !is_over(status) && (is_last || status.attempt > attempts(hook))
}

/// Whether the run still waits for this hook. On the way back nothing of the way forward is started any more.
fn is_awaited(turn: &Turn<'_>, status: &HookStatus) -> bool {
    if !is_forward(status.point) {
        return true;
    }
    let is_its = |c: &ComponentStatus| c.name == status.component && goes_forward(c);
    turn.intent() == Some(RunIntent::Release)
        && (status.component.is_empty() || turn.status.components.iter().any(is_its))
}
