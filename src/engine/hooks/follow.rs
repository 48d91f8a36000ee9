//! The hooks that were started, one step further: their Jobs are created, watched, given up and tried again.

use crate::api::{Hook, HookFailure, HookState, HookStatus, Outcome, RunIntent, Span};

use super::{attempts, is_awaited, is_forward, is_held, is_over, job, restart_clock, spec_of, words};
use crate::engine::flaw::{self, Flaw};
use crate::engine::partial::{self, Failure};
use crate::engine::plan::{Inquiry, Reason, Write};
use crate::engine::turn::{Turn, after, clip};
use crate::engine::world::{CronJobSeen, JobSeen, JobState, Look};

/// The pause after the first failed attempt; it doubles with each.
const FIRST_PAUSE: Span = Span::seconds(10);
/// The longest pause, and that of a hook which has failed for good.
const LONGEST_PAUSE: Span = Span::seconds(300);
/// A hook that goes on failing is told again after this time at the earliest.
const TELL_EVERY: Span = Span::seconds(3_600);
/// Jobs of failed attempts that are kept for people to look into.
const JOBS_KEPT: i32 = 4;

/// One step of every hook of the run, before anything else is decided. Outside of any walk over the components: a hook
/// that failed may turn some of them back.
pub(in crate::engine) fn follow(turn: &mut Turn<'_>) {
    let count = turn.run_on().map_or(0, |run| run.hooks.len());
    for index in 0..count {
        let Some(mut status) = turn.run().and_then(|run| run.hooks.get(index)).cloned() else { continue };
        let failure = step(turn, &mut status);
        if let Some(kept) = turn.run_on().and_then(|run| run.hooks.get_mut(index)) {
            kept.clone_from(&status);
        }
        if is_over(&status) {
            restart_clock_of(turn, &status);
        }
        if let Some(why) = failure {
            turn_back(turn, &status, why);
        }
    }
}

/// Once, when the hook has just come to its end.
fn restart_clock_of(turn: &mut Turn<'_>, status: &HookStatus) {
    if status.since == Some(turn.now) && !status.component.is_empty() {
        restart_clock(turn, &status.component);
    }
}

/// A hook of the way forward failed for good, and its policy is to turn back.
fn turn_back(turn: &mut Turn<'_>, status: &HookStatus, why: String) {
    if turn.intent() != Some(RunIntent::Release) {
        return;
    }
    let reason = Reason::RollbackStarted;
    if status.component.is_empty() {
        turn.roll_back(Outcome::RolledBack, reason, "", &why);
    } else {
        partial::take_back(turn, &[Failure { component: status.component.clone(), reason, why }]);
    }
}

/// Gives the reason of a rollback, if there is to be one.
fn step(turn: &mut Turn<'_>, status: &mut HookStatus) -> Option<String> {
    let world = turn.world;
    let run = turn.run_number();
    let job = world.hooks.jobs.get(&status.job).filter(|job| job.run == run);
    let hook = spec_of(&world.rollout.spec.hooks, status);
    match (status.state, hook) {
        (HookState::Succeeded, _) => None,
        (HookState::Failed, _) => {
            end_job(turn, job);
            None
        }
        (_, None) => {
            settle(turn, status, HookState::Failed, "it is no longer in the spec");
            None
        }
        (HookState::Running, Some(hook)) => match job {
            Some(job) => watch(turn, status, hook, job),
            None => begin(turn, status, hook),
        },
        (HookState::Retrying, Some(hook)) => {
            try_again(turn, status, hook, job);
            None
        }
    }
}

fn settle(turn: &Turn<'_>, status: &mut HookStatus, state: HookState, message: &str) {
    status.state = state;
    status.since = Some(turn.now);
    status.message = clip(message, 256);
}

/// A Job of an attempt that was given up does not go on.
fn end_job(turn: &mut Turn<'_>, job: Option<&JobSeen>) {
    if let Some(job) = job.filter(|job| job.state == JobState::Running && !job.deleting) {
        turn.write_job(Write::DeleteJob { job: job.at.clone() });
    }
}

fn watch(turn: &mut Turn<'_>, status: &mut HookStatus, hook: &Hook, job: &JobSeen) -> Option<String> {
    // By our clock it was created after it was asked for, whatever the API server's clock says.
    let created_at = status.since.map_or(job.created_at, |since| since.max(job.created_at));
    let started_at = *status.started_at.get_or_insert(created_at.min(turn.now));
    match &job.state {
        JobState::Complete => {
            settle(turn, status, HookState::Succeeded, "");
            turn.happen(
                &status.component,
                Reason::HookSucceeded,
                format!("{} succeeded", words::named(status)),
            );
            None
        }
        JobState::Failed(why) if why.is_empty() => fail(turn, status, hook, "its Job failed"),
        JobState::Failed(why) => fail(turn, status, hook, why),
        JobState::Running if job.deleting => fail(turn, status, hook, "its Job was deleted"),
        JobState::Running => {
            let deadline = after(started_at, hook.timeout);
            if turn.now < deadline {
                turn.wake(deadline);
                return None;
            }
            end_job(turn, Some(job));
            fail(turn, status, hook, &format!("not done within {}", hook.timeout))
        }
    }
}

/// There is no Job of the present attempt: it is to be created, or it is gone.
fn begin(turn: &mut Turn<'_>, status: &mut HookStatus, hook: &Hook) -> Option<String> {
    let seen = &turn.world.hooks;
    if !seen.enabled {
        let why = "this controller does not run hooks: set hooks.enabled in the chart";
        return fail(turn, status, hook, why);
    }
    if status.started_at.is_some() && !flaw::is(Flaw::HookRunsAgainWhenGone) {
        return fail(turn, status, hook, "its Job is gone");
    }
    if !is_awaited(turn, status) {
        settle(turn, status, HookState::Failed, "not started: the run turned back");
        return None;
    }
    if let Some(why) = seen.refused.get(&status.job) {
        return fail(turn, status, hook, &format!("its Job was refused: {why}"));
    }
    let deadline = after(status.since.unwrap_or(turn.now), hook.timeout);
    if turn.now >= deadline {
        return fail(turn, status, hook, &format!("its Job could not be created within {}", hook.timeout));
    }
    turn.wake(deadline);
    let cron_job = &hook.cron_job_ref.name;
    match seen.cron_jobs.get(cron_job) {
        None | Some(Look::Unknown) => turn.look(Inquiry::CronJob(cron_job.clone())),
        Some(Look::Missing) => {
            return fail(turn, status, hook, &format!("there is no CronJob {cron_job}"));
        }
        Some(Look::Found(found)) => create(turn, status, found),
    }
    None
}

fn create(turn: &mut Turn<'_>, status: &HookStatus, cron_job: &CronJobSeen) {
    if let Some(write) = job::create(turn, status, cron_job) {
        turn.write_job(write);
    }
}

/// The present attempt failed.
fn fail(turn: &mut Turn<'_>, status: &mut HookStatus, hook: &Hook, why: &str) -> Option<String> {
    let what = format!("{} failed: {}", words::named(status), clip(why, 256));
    let tell = |turn: &mut Turn<'_>, then: &str| {
        turn.happen(&status.component, Reason::HookFailed, format!("{what}: {then}"));
    };
    if !is_awaited(turn, status) {
        tell(turn, "the run does not wait for it any more");
        settle(turn, status, HookState::Failed, why);
        return None;
    }
    if status.attempt < attempts(hook) || flaw::is(Flaw::HookRetriedForEver) {
        tell(turn, &format!("it is tried again, attempt {} of {} was this", status.attempt, attempts(hook)));
        settle(turn, status, HookState::Retrying, why);
        return None;
    }
    match policy(turn, hook) {
        HookFailure::Abort => {
            tell(turn, "the run turns back");
            settle(turn, status, HookState::Failed, why);
            return Some(what);
        }
        HookFailure::Continue if turn.world.rollout.deleting => {
            tell(turn, "the Rollout is being deleted and lets go without it");
            settle(turn, status, HookState::Failed, why);
        }
        HookFailure::Continue => {
            tell(turn, "the run goes on without it");
            settle(turn, status, HookState::Failed, why);
        }
        HookFailure::Hold => {
            let is_first = status.attempt == attempts(hook);
            if is_first || turn.is_news(&status.component, Reason::HookFailed, TELL_EVERY) {
                tell(
                    turn,
                    "the run waits, and the hook is tried again every 5 minutes; promote to go on without it",
                );
            }
            settle(turn, status, HookState::Retrying, why);
        }
    }
    None
}

/// What the last failed attempt asks for here. Nothing is left to abort on the way back and at the end of a run; a Rollout
/// that is being deleted does not wait for ever.
fn policy(turn: &Turn<'_>, hook: &Hook) -> HookFailure {
    let can_abort = is_forward(hook.at) && turn.intent() == Some(RunIntent::Release);
    match hook.on_failure {
        _ if turn.world.rollout.deleting => HookFailure::Continue,
        HookFailure::Abort if !can_abort => HookFailure::Hold,
        policy => policy,
    }
}

/// After its pause a failed attempt is followed by the next one, once nothing of it is left that could interfere.
fn try_again(turn: &mut Turn<'_>, status: &mut HookStatus, hook: &Hook, job: Option<&JobSeen>) {
    end_job(turn, job);
    if !is_awaited(turn, status) {
        return settle(turn, status, HookState::Failed, &status.message.clone());
    }
    if turn.world.rollout.deleting && is_held(hook, status) {
        let why =
            format!("{} failed: the Rollout is being deleted and lets go without it", words::named(status));
        turn.happen(&status.component, Reason::HookFailed, why);
        return settle(turn, status, HookState::Failed, &status.message.clone());
    }
    let since = status.since.unwrap_or(turn.now);
    let due = after(since, pause(status, hook));
    if turn.now < due {
        return turn.wake(due);
    }
    if is_forward(status.point) && turn.is_paused() {
        return;
    }
    let is_left = job.is_some_and(|job| job.state == JobState::Running);
    // Pods on a node that is lost may never be known to have ended.
    let patience = after(due, hook.timeout);
    if is_left && turn.now < patience {
        return turn.wake(patience);
    }
    status.attempt = status.attempt.saturating_add(1);
    settle(turn, status, HookState::Running, &status.message.clone());
    status.started_at = None;
    status.job = job::name(turn, status);
    forget_old(turn, status);
    turn.wake(turn.now);
}

/// A hook that is tried for days leaves few Jobs behind.
fn forget_old(turn: &mut Turn<'_>, status: &HookStatus) {
    let old = HookStatus { attempt: status.attempt - JOBS_KEPT, ..status.clone() };
    let old = turn.world.hooks.jobs.get(&job::name(turn, &old)).filter(|job| !job.deleting);
    if let Some(job) = old.filter(|_| status.attempt > JOBS_KEPT) {
        turn.write_job(Write::DeleteJob { job: job.at.clone() });
    }
}

/// The pause before the next attempt: 10 s, doubling up to 5 minutes; up to a tenth longer, so that hooks which fail
/// together do not come back together.
fn pause(status: &HookStatus, hook: &Hook) -> Span {
    let doubled = FIRST_PAUSE.as_millis() << status.attempt.clamp(1, 10).saturating_sub(1);
    let base = if is_held(hook, status) { LONGEST_PAUSE } else { LONGEST_PAUSE.min(Span::millis(doubled)) };
    let letter = status.job.bytes().last().map_or(0, i64::from) % 11;
    Span::millis(base.as_millis() + base.as_millis() * letter / 100)
}
