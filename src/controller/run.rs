//! Start, work, end.
//!
//! ```text
//! watches fill the stores ─► candidate for the Lease ─► leader: one task per Rollout that is ready
//! ```
//!
//! A standby keeps its stores warm and works on nothing. A leader that loses its Lease ends with an error, so that the
//! process is started again with nothing left of its term.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::kube::call::{CallError, Cluster};
use crate::adapters::kube::events;
use crate::adapters::kube::lease::{Candidate, Standing, Terms};
use crate::adapters::kube::stores::Stores;
use crate::adapters::prometheus::Sources;
use crate::api::names::{CONFIG_POLICY, INTERCEPT_POLICY};
use crate::api::{Interception, RolloutState};
use crate::engine::decide;
use crate::engine::flaw::{self, Flaw};
use crate::server::metrics::{WriteKind, WriteVerb};

use super::act::written;
use super::context::{Context, Policy};
use super::desk::Desks;
use super::names::Names;
use super::options::RunOptions;
use super::queue::{Ended, Key, Queue, Urgency};
use super::reconcile::reconcile;
use super::sources::Follower;
use super::{sources, watches};

/// The longest wait for the answer to a write.
const LONGEST_WRITE: Duration = Duration::from_secs(10);
/// How long work under way may take after the end was asked.
const DRAIN: Duration = Duration::from_secs(10);
/// Time between two signs of life and two counts of the Rollouts.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Time between two looks at whether the stores are filled.
const SYNC_POLL: Duration = Duration::from_millis(20);

/// Why the controller ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The times of the Lease do not fit each other.
    #[error("--lease-duration must be longer than --renew-deadline, and that longer than --retry-period")]
    Terms,
    /// The Lease was lost: another process may lead by now.
    #[error("the Lease {0} was lost: another process may lead by now")]
    LeaseLost(String),
    /// A task that must not end has ended.
    #[error("a task of the controller ended unexpectedly")]
    TaskEnded,
}

/// Runs until `options.shutdown` is cancelled; then work under way is finished (10 s at most) and the Lease released.
///
/// # Errors
/// When the controller cannot work or lost its Lease.
pub async fn run(options: RunOptions) -> Result<(), RunError> {
    if options.renew_deadline >= options.lease_duration || options.retry_period >= options.renew_deadline {
        return Err(RunError::Terms);
    }
    let (standing, standing_seen) = watch::channel(Standing::Waiting);
    let mut core = JoinSet::new();
    let context = Arc::new(set_up(&options, standing_seen, &mut core));
    sources::take_flag(&context, options.prometheus.as_ref());
    watches::start(&context, options.namespace.as_deref(), &mut core);
    if !fill_stores(&context, &options).await {
        return Ok(());
    }
    let has_flag = options.prometheus.is_some();
    let mut follower = Follower::new(context.clone(), options.lease_namespace.clone(), has_flag);
    follower.catch_up().await;
    core.spawn(follower.follow());
    context.policy.refresh(&context.cluster).await;
    let stop = CancellationToken::new();
    let candidate = candidate(&options);
    let campaign = tokio::spawn(candidate.campaign(standing, stop.clone()));
    let ended = work(&context, &options, &mut core).await;
    context.health.stop();
    context.metrics.set_leader(false);
    stop.cancel();
    // After a loss there is nothing to release, and the campaign has ended by itself.
    let _ = tokio::time::timeout(DRAIN, campaign).await;
    ended
}

fn set_up(options: &RunOptions, standing: watch::Receiver<Standing>, core: &mut JoinSet<()>) -> Context {
    // Past the renew deadline a leader starts no write, and each write ends before another one can lead.
    let deadline = (options.lease_duration - options.renew_deadline).min(LONGEST_WRITE);
    let cluster = Cluster::new(options.client.clone(), deadline, options.clock.clone());
    let (events, sender) = events::queue(cluster.clone(), &options.identity);
    let metrics = options.metrics.clone();
    core.spawn(sender.run(move |sent: Result<(), CallError>| {
        metrics.wrote(WriteKind::Event, WriteVerb::Create, written(&sent));
        if let Err(error) = sent {
            tracing::warn!(%error, "an Event was not sent");
        }
    }));
    Context {
        cluster,
        stores: Stores::default(),
        names: Names::default(),
        desks: Desks::default(),
        queue: Queue::default(),
        sources: Sources::reached_by(options.connect.clone()),
        source_changed: Notify::new(),
        allowed: Mutex::default(),
        config_policy: Policy::new(CONFIG_POLICY, options.namespace.is_none()),
        policy: Policy::new(
            INTERCEPT_POLICY,
            options.namespace.is_none() || options.interception == Interception::Admission,
        ),
        events,
        metrics: options.metrics.clone(),
        health: options.health.clone(),
        standing,
        interception: options.interception,
        is_namespaced: options.namespace.is_some(),
        hooks: options.hooks,
        decide,
    }
}

fn candidate(options: &RunOptions) -> Candidate {
    // An attempt ends before the next one is due, and well before the claim does.
    let deadline = (options.renew_deadline / 2).min(options.retry_period * 2);
    let terms = Terms {
        namespace: options.lease_namespace.clone(),
        name: options.lease_name.clone(),
        identity: options.identity.clone(),
        duration: options.lease_duration,
        renew_deadline: options.renew_deadline,
        retry_period: options.retry_period,
    };
    Candidate::new(Cluster::new(options.client.clone(), deadline, options.clock.clone()), terms)
}

/// Waits until the stores hold what the API server holds; `false` if the end was asked before.
async fn fill_stores(context: &Context, options: &RunOptions) -> bool {
    let knows_sources = || options.namespace.is_some() || context.stores.sources.is_synced();
    while !context.stores.are_synced() || !knows_sources() {
        context.health.beat();
        tokio::select! {
            () = options.shutdown.cancelled() => return false,
            () = tokio::time::sleep(SYNC_POLL) => {}
        }
    }
    context.health.set_synced(true);
    true
}

/// Works while this process leads, until the end is asked or the Lease is lost.
async fn work(context: &Arc<Context>, options: &RunOptions, core: &mut JoinSet<()>) -> Result<(), RunError> {
    let mut standing = context.standing.clone();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    let places = Arc::new(Semaphore::new(options.concurrency.max(1)));
    let running = TaskTracker::new();
    let mut leads = false;
    let ended = loop {
        tokio::select! {
            biased;
            () = options.shutdown.cancelled() => break Ok(()),
            changed = standing.changed() => {
                let now = *standing.borrow_and_update();
                match now {
                    Standing::Lost => break Err(lost(options)),
                    _ if changed.is_err() => break Err(lost(options)),
                    Standing::Waiting => {}
                    Standing::Leading(claim) if !leads => {
                        leads = true;
                        tracing::info!(epoch = claim.epoch, "leading");
                        context.metrics.set_leader(true);
                        wake_all(context);
                    }
                    Standing::Leading(_) => {}
                }
            }
            _ = core.join_next() => break Err(RunError::TaskEnded),
            _ = heartbeat.tick() => beat(context),
            (key, place) = next(context, &places), if leads => {
                let context = context.clone();
                running.spawn(async move {
                    work_on(&context, &key).await;
                    drop(place);
                });
            }
        }
    };
    running.close();
    if ended.is_ok() && tokio::time::timeout(DRAIN, running.wait()).await.is_err() {
        tracing::warn!("work was still under way when the controller stopped");
    }
    ended
}

fn lost(options: &RunOptions) -> RunError {
    RunError::LeaseLost(format!("{}/{}", options.lease_namespace, options.lease_name))
}

/// The next Rollout and a place to work on it. The place comes first, so that a Rollout which is dropped by `select!` never
/// was taken from the queue.
async fn next(
    context: &Context,
    places: &Arc<Semaphore>,
) -> (Key, Option<tokio::sync::OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let place = places.clone().acquire_owned().await.ok();
    (context.queue.next().await, place)
}

/// Works on one Rollout. A panic is this Rollout's own.
async fn work_on(context: &Arc<Context>, key: &Key) {
    if flaw::is(Flaw::PanicIsTheEnd) {
        return context.queue.finish(key, reconcile(context, key).await);
    }
    let ended = AssertUnwindSafe(reconcile(context, key)).catch_unwind().await.unwrap_or_else(|_| {
        context.metrics.panicked();
        tracing::error!(rollout = %key, "a panic: this is a bug; the Rollout is tried again after a pause");
        Ended::Failed
    });
    context.queue.finish(key, ended);
}

fn wake_all(context: &Context) {
    for (namespace, name) in context.stores.rollouts.keys() {
        context.queue.push(&Key::new(&namespace, &name), Urgency::Ordinary);
    }
}

fn beat(context: &Context) {
    context.health.beat();
    context.metrics.events_dropped(context.events.take_dropped());
    let mut counts: BTreeMap<RolloutState, i64> = BTreeMap::new();
    context.stores.rollouts.for_each(|rollout| *counts.entry(rollout.seen.status.state).or_default() += 1);
    context.metrics.set_rollouts(&counts);
}
