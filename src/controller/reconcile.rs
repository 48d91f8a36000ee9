//! Observe → decide → act, for one Rollout, until it is at rest.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::adapters::kube::call::CallError;
use crate::adapters::kube::events::Note;
use crate::adapters::kube::writes::{Effect, now, store_status};
use crate::api::RolloutStatus;
use crate::engine::flaw::{self, Flaw};
use crate::engine::{Plan, World};
use crate::server::metrics::{ReconcileResult, WriteKind, WriteVerb};

use super::act::{self, written};
use super::context::{Context, NotLeading};
use super::desk::{Unsure, Working, is_stored_alike, lock};
use super::observe::{Observed, observe};
use super::queue::{Ended, Key};
use super::{look, measure};

/// Decisions in one go. A Rollout needs a few; more than this means that two sides disagree.
const ROUNDS: usize = 32;

/// A Rollout at rest is not looked at again before this time unless something changes.
const SHORTEST_REST: Duration = Duration::from_millis(10);

/// Why the work on a Rollout stopped before it was at rest.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// Nothing may be written.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// A request failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Each decision asks for more.
    #[error("still not at rest after {ROUNDS} decisions")]
    Restless,
}

/// Works on one Rollout until there is nothing left to do now.
pub async fn reconcile(context: &Arc<Context>, key: &Key) -> Ended {
    let started = Instant::now();
    let mut has_acted = false;
    let outcome = rounds(context, key, &mut has_acted).await;
    let (ended, result) = match outcome {
        Ok(Some(due)) if has_acted => (Ended::Settled(due), ReconcileResult::Acted),
        Ok(Some(due)) => (Ended::Settled(due), ReconcileResult::Settled),
        Ok(None) => {
            context.desks.clear(key);
            (Ended::Gone, ReconcileResult::Settled)
        }
        Err(stop) => {
            let result = report(key, &stop);
            (Ended::Failed, result)
        }
    };
    context.metrics.reconciled(result, started.elapsed());
    ended
}

fn report(key: &Key, stop: &Stop) -> ReconcileResult {
    match stop {
        Stop::Call(error) if error.is_outdated_view() => {
            tracing::debug!(rollout = %key, %error, "looking again");
            ReconcileResult::Conflict
        }
        Stop::NotLeading(_) => {
            tracing::debug!(rollout = %key, "not leading");
            ReconcileResult::Failed
        }
        Stop::Call(_) | Stop::Restless => {
            tracing::warn!(rollout = %key, error = %stop, "trying again after a pause");
            ReconcileResult::Failed
        }
    }
}

/// Decides and acts until nothing is left; gives the time to decide again, or `None` if the Rollout is gone.
async fn rounds(
    context: &Arc<Context>,
    key: &Key,
    has_acted: &mut bool,
) -> Result<Option<Option<Instant>>, Stop> {
    for _ in 0..ROUNDS {
        flaw::stumble();
        let claim = context.claim()?;
        let Some(seen) = observe(context, key, claim.epoch) else { return Ok(None) };
        if may_start_a_run(&seen.world) && context.policy.is_old() {
            context.policy.refresh(&context.cluster).await;
            continue;
        }
        if has_config(&seen.world) && context.config_policy.is_old() {
            context.config_policy.refresh(&context.cluster).await;
            continue;
        }
        let now = whole_millis(context.cluster.now());
        let plan = (context.decide)(&seen.world, now);
        let is_at_rest = !plan.persist && plan.writes.is_empty() && plan.look.is_empty();
        *has_acted |= plan.persist || !plan.writes.is_empty();
        carry_out(context, key, &seen, &plan).await?;
        if is_at_rest {
            lock(&context.desks.of(key)).tidy();
            return Ok(Some(plan.wake_at.map(|at| instant_of(at, now))));
        }
        // What was most urgent about this one is done: a rollback that others wait for comes before the rest of it.
        if (plan.persist || !plan.writes.is_empty()) && context.queue.has_urgent() {
            return Ok(Some(Some(Instant::now())));
        }
    }
    Err(Stop::Restless)
}

async fn carry_out(context: &Arc<Context>, key: &Key, seen: &Observed, plan: &Plan) -> Result<(), Stop> {
    let decided = Instant::now();
    if plan.persist {
        persist(context, key, seen, plan).await?;
    }
    if !plan.writes.is_empty() {
        act::carry_out(context, key, seen, &plan.writes).await?;
    }
    if plan.persist || !plan.writes.is_empty() {
        context.metrics.decision_written(decided.elapsed());
    }
    if !plan.persist {
        keep_in_memory(context, key, seen, plan);
    }
    look::carry_out(context, key, &seen.world, &plan.look).await?;
    measure::carry_out(context, key, &plan.measure);
    Ok(())
}

/// Stores the status: the intent is on record before anything is done about it.
async fn persist(context: &Context, key: &Key, seen: &Observed, plan: &Plan) -> Result<(), Stop> {
    context.claim()?;
    let rollout = &seen.stored.seen;
    let outcome = store_status(&context.cluster, rollout, &plan.status).await;
    context.metrics.wrote(WriteKind::RolloutStatus, WriteVerb::Patch, written(&outcome));
    match outcome {
        Ok(row) => {
            context.stores.rollouts.put(row);
            let stored = context.stores.rollouts.get(&key.namespace, &key.name);
            context.names.learn(key, stored.as_deref());
        }
        Err(error) => {
            if !is_on_record(context, key, seen, plan, &error).await? {
                act::tell_refusal(context, key, rollout, &error);
                return Err(error.into());
            }
        }
    }
    let desk = context.desks.of(key);
    let mut desk = lock(&desk);
    desk.working = None;
    desk.unsure.clear();
    desk.inbox.drain(..seen.world.answers.len());
    drop(desk);
    tell(context, seen, plan);
    count_verdicts(context, &seen.world, &plan.status);
    Ok(())
}

/// Whether the status is stored in spite of the error: its reply may be lost, and what arrives twice is refused the second
/// time. Until that is known, the answers that it rests on are not forgotten.
async fn is_on_record(
    context: &Context,
    key: &Key,
    seen: &Observed,
    plan: &Plan,
    error: &CallError,
) -> Result<bool, CallError> {
    let is_to_be_seen = error.is_outdated_view() || matches!(error, CallError::Lost { .. });
    // A server in trouble may have stored it before it said so.
    let may_be_stored = is_to_be_seen || matches!(error, CallError::Unavailable { code: 500.., .. });
    if flaw::is(Flaw::LostStatusJudgedAgain) {
        return Ok(false);
    }
    let stored = &seen.stored.seen;
    if may_be_stored {
        lock(&context.desks.of(key)).doubt(Unsure {
            version: stored.at.resource_version.clone(),
            status: plan.status.clone(),
            answers: seen.world.answers.clone(),
        });
    }
    if !is_to_be_seen {
        return Ok(false);
    }
    look_again(context, key).await?;
    let now = context.stores.rollouts.get(&key.namespace, &key.name);
    Ok(now.is_some_and(|now| {
        now.seen.at.uid == stored.at.uid && is_stored_alike(&plan.status, &now.seen.status)
    }))
}

/// What the API server holds now, after an answer that leaves that open.
async fn look_again(context: &Context, key: &Key) -> Result<(), CallError> {
    let found = now(&context.cluster, &key.namespace, &key.name).await?;
    context.stores.keep(&key.namespace, &Effect::Rollout(found));
    Ok(())
}

fn keep_in_memory(context: &Context, key: &Key, seen: &Observed, plan: &Plan) {
    let desk = context.desks.of(key);
    let mut desk = lock(&desk);
    desk.inbox.drain(..seen.world.answers.len());
    let base = &seen.stored.seen.status;
    desk.working =
        (plan.status != *base).then(|| Working { base: base.clone(), status: plan.status.clone() });
    drop(desk);
    count_verdicts(context, &seen.world, &plan.status);
}

/// Says what happened, now that it is on record.
fn tell(context: &Context, seen: &Observed, plan: &Plan) {
    let rollout = &seen.stored.seen;
    let run = plan.status.run.as_ref();
    let number = run.map_or(0, |run| run.number);
    for happening in &plan.happened {
        let reason = happening.reason;
        let (rollout_name, component) = (&rollout.at.name, happening.component.as_str());
        tracing::info!(
            namespace = rollout.namespace,
            rollout = rollout_name,
            run = number,
            component,
            reason = reason.as_str(),
            "{}",
            happening.message
        );
        let text = if component.is_empty() {
            happening.message.clone()
        } else {
            format!("{component}: {}", happening.message)
        };
        let note = Note { reason: reason.as_str(), text: &text, is_warning: reason.is_warning() };
        context.events.tell(rollout, note);
    }
    let before = rollout.status.run.as_ref().filter(|before| before.number == number);
    if let Some(outcome) = run.and_then(|run| run.outcome)
        && before.and_then(|before| before.outcome).is_none()
    {
        context.metrics.run_ended(outcome);
    }
}

fn count_verdicts(context: &Context, world: &World, status: &RolloutStatus) {
    for answer in &world.answers {
        let component = status.components.iter().find(|it| it.name == answer.component);
        let gate = component.and_then(|it| it.gates.iter().find(|gate| gate.name == answer.gate));
        if let Some(gate) = gate {
            context.metrics.evaluated(gate.verdict);
        }
    }
}

fn has_config(world: &World) -> bool {
    world.rollout.spec.components.iter().any(|component| component.config.is_some())
}

/// Whether a run may start or the spec is new: when it matters how Deployments are paused.
fn may_start_a_run(world: &World) -> bool {
    let status = &world.rollout.status;
    let is_on = status.run.as_ref().is_some_and(|run| run.ended_at.is_none());
    let is_new = status.observed_generation != world.rollout.generation;
    let has_new_template = world.components.iter().any(|(name, seen)| {
        let component = status.components.iter().find(|it| it.name == *name);
        let revision = seen.deployment.found().map(|deployment| &deployment.revision);
        let stable = component.and_then(|it| it.stable.as_ref()).map(|stable| &stable.revision);
        let rejected = component.and_then(|it| it.rejected.as_ref());
        revision.is_some() && revision != stable && revision != rejected
    });
    is_new || (!is_on && has_new_template)
}

fn whole_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

fn instant_of(at: Timestamp, now: Timestamp) -> Instant {
    let millis = at.as_millisecond().saturating_sub(now.as_millisecond());
    // A wake-up in a year is as good as one in a day.
    let pause = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let pause = pause.clamp(SHORTEST_REST, Duration::from_secs(86_400));
    Instant::now() + pause
}

#[cfg(test)]
mod tests;
