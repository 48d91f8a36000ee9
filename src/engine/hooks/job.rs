//! The Job of one attempt: its name, and what its containers are told.

use crate::api::{HookPoint, HookState, HookStatus};

use crate::engine::ending::released;
use crate::engine::plan::Write;
use crate::engine::rest::run_name;
use crate::engine::revision::hash;
use crate::engine::turn::Turn;
use crate::engine::world::CronJobSeen;

/// What a name may have: the Job's name is a label of its pods.
const NAME_MAX: usize = 63;

/// The name of the Job of the present attempt: for people as far as it fits, then a hash of all that it stands for.
pub(super) fn name(turn: &Turn<'_>, status: &HookStatus) -> String {
    let (rollout, run) = (&turn.world.rollout.at, turn.run_number().to_string());
    let HookStatus { point, name, component, phase, attempt, .. } = status;
    let attempt = attempt.to_string();
    let whole = hash(&[&rollout.uid, &run, &format!("{point:?}"), name, component, phase, &attempt]);
    let tail = format!("-{attempt}-{whole}");
    let words = [rollout.name.as_str(), &run, name, component, phase];
    let head = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    // A Rollout's name may have dots; all parts are ASCII.
    let head: String = head.replace('.', "-").chars().take(NAME_MAX - tail.len()).collect();
    format!("{}{tail}", head.trim_end_matches('-'))
}

/// The write that creates it.
pub(super) fn create(turn: &Turn<'_>, status: &HookStatus, cron_job: &CronJobSeen) -> Option<Write> {
    let run = turn.run()?;
    Some(Write::CreateJob {
        name: status.job.clone(),
        component: status.component.clone(),
        cron_job: cron_job.at.clone(),
        environment: environment(turn, status),
        run: run_name(&turn.world.rollout.at.name, run.number),
        number: run.number,
        started_at: run.started_at,
        components: released(turn),
    })
}

/// The facts of the run. All names are always there; what does not apply is empty.
fn environment(turn: &Turn<'_>, status: &HookStatus) -> Vec<(&'static str, String)> {
    let component = turn.status.components.iter().find(|c| c.name == status.component);
    let component = component.filter(|_| !status.component.is_empty());
    let revision = |of: Option<&crate::api::Revision>| of.map(|it| it.revision.clone()).unwrap_or_default();
    let outcome = turn.run().and_then(|run| run.ends_as).filter(|_| status.point == HookPoint::AfterRun);
    vec![
        ("PALIER_ROLLOUT", turn.world.rollout.at.name.clone()),
        ("PALIER_RUN", turn.run_number().to_string()),
        ("PALIER_HOOK", status.name.clone()),
        ("PALIER_POINT", format!("{:?}", status.point)),
        ("PALIER_COMPONENT", status.component.clone()),
        ("PALIER_PHASE", status.phase.clone()),
        ("PALIER_STABLE_REVISION", revision(component.and_then(|c| c.stable.as_ref()))),
        ("PALIER_CANARY_REVISION", revision(component.and_then(|c| c.canary.as_ref()))),
        ("PALIER_BACKUP", backup(turn, status.point)),
        ("PALIER_OUTCOME", outcome.map(|outcome| format!("{outcome:?}")).unwrap_or_default()),
    ]
}

/// The Job that made the backup, for hooks that may need it.
fn backup(turn: &Turn<'_>, point: HookPoint) -> String {
    if point == HookPoint::BeforeRun {
        return String::new();
    }
    let hooks = &turn.world.rollout.spec.hooks;
    let is_backup = |it: &&HookStatus| {
        it.state == HookState::Succeeded && hooks.iter().any(|hook| hook.backup && hook.name == it.name)
    };
    let made = turn.run().and_then(|run| run.hooks.iter().rfind(is_backup));
    made.map(|status| status.job.clone()).unwrap_or_default()
}
