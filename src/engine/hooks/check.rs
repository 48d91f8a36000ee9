//! Hooks against the cluster, before a run.

use crate::api::{Hook, HookPoint, RolloutSpec};

use super::HOOKS_MAX;
use crate::engine::judges::steps;
use crate::engine::plan::Inquiry;
use crate::engine::turn::Turn;
use crate::engine::world::Look;

/// What is wrong with the hooks of the spec: the field below `spec`, and the cure in words; or what has to be looked at
/// first.
pub(in crate::engine) enum Flaw {
    /// Something has to be looked at.
    Look(Inquiry),
    /// Field and words.
    Problem(String, String),
}

/// Checks the hooks of the spec.
pub(in crate::engine) fn check(turn: &Turn<'_>) -> Result<(), Flaw> {
    let spec = &turn.world.rollout.spec;
    if spec.hooks.is_empty() {
        return Ok(());
    }
    if !turn.world.hooks.enabled {
        let says =
            "this controller does not run hooks: set hooks.enabled in the chart, or take the hooks out";
        return Err(Flaw::Problem("hooks".to_owned(), says.to_owned()));
    }
    for hook in &spec.hooks {
        check_names(spec, hook)?;
        check_cron_job(turn, hook)?;
    }
    let (most, max) = (spec.hooks.iter().map(|hook| times(spec, hook)).sum::<usize>(), HOOKS_MAX);
    if most > max {
        let says = format!(
            "a run would start them {most} times, and {max} times is the limit: name fewer phases or components"
        );
        return Err(Flaw::Problem("hooks".to_owned(), says));
    }
    Ok(())
}

fn check_names(spec: &RolloutSpec, hook: &Hook) -> Result<(), Flaw> {
    let unknown_phase = hook.phases.iter().find(|name| !spec.phases.iter().any(|it| it.name == **name));
    let unknown_component =
        hook.components.iter().find(|name| !spec.components.iter().any(|it| it.name == **name));
    let (field, what, name) = match (unknown_phase, unknown_component) {
        (Some(name), _) => ("phases", "phase", name),
        (None, Some(name)) => ("components", "component", name),
        (None, None) => return Ok(()),
    };
    let field = format!("hooks[{}].{field}", hook.name);
    Err(Flaw::Problem(field, format!("there is no {what} {name}: correct the name or take it out")))
}

fn check_cron_job(turn: &Turn<'_>, hook: &Hook) -> Result<(), Flaw> {
    let name = &hook.cron_job_ref.name;
    let field = || format!("hooks[{}].cronJobRef.name", hook.name);
    match turn.world.hooks.cron_jobs.get(name) {
        None | Some(Look::Unknown) => Err(Flaw::Look(Inquiry::CronJob(name.clone()))),
        Some(Look::Missing) => {
            let namespace = &turn.world.rollout.namespace;
            let says = format!(
                "there is no CronJob {name} in the namespace {namespace}: create it with spec.suspend: true, or correct the \
                 name"
            );
            Err(Flaw::Problem(field(), says))
        }
        Some(Look::Found(found)) if !found.suspended => {
            let says = format!(
                "the CronJob {name} is not suspended, so that its schedule runs it too: set spec.suspend: true"
            );
            Err(Flaw::Problem(field(), says))
        }
        Some(Look::Found(_)) => Ok(()),
    }
}

/// How often a run starts a hook at most.
fn times(spec: &RolloutSpec, hook: &Hook) -> usize {
    let is_named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|it| it == name);
    let components = spec.components.iter().filter(|c| is_named(&hook.components, &c.name));
    match hook.at {
        HookPoint::BeforeRun | HookPoint::OnFullRollback | HookPoint::AfterRun => 1,
        HookPoint::OnPartialRollback => components.count(),
        HookPoint::BeforePhase | HookPoint::AfterPhase => components
            .map(|c| steps(spec, &c.name).iter().filter(|it| is_named(&hook.phases, &it.phase.name)).count())
            .sum(),
    }
}
