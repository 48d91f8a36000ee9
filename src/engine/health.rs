//! The gate that every release has: what becomes of the canary's pods.
//!
//! Nothing is asked while all pods are ready. The status of the canary's ReplicaSet, which is watched anyway, tells when some are
//! not: at once when there were more before, after a while when they are still starting. Only then the pods are listed, once
//! every [`LOOK_EVERY`] for as long as it lasts. Pods that only take long are left to the progress deadline, with their words.

mod pods;

use jiff::Timestamp;

use crate::api::{ComponentStatus, Health, HealthStatus, OnFailure, Span, Verdict};

use super::borrow;
use super::evidence::Trip;
use super::plan::{Inquiry, Reason};
use super::turn::{Part, Turn, after, clip};
use super::world::{PodsSeen, ReplicaSetSeen};
use pods::{Fault, Findings};

/// The shortest time between two looks at the pods.
const LOOK_EVERY: Span = Span::seconds(10);
/// How long pods may take to become ready before they are looked at, at most.
const PATIENCE_MAX: Span = Span::seconds(30);
/// How long containers may fail to start for a reason that can pass, at most: a registry, or a ConfigMap that comes late.
const STUCK_MAX: Span = Span::seconds(60);
/// How the words for pods that recovered begin, ...
const AGAIN: &str = "all are ready again; ";
/// ... and what was wrong with them.
const BEFORE: &str = "before: ";

/// Judges the canary's pods. A component whose pods are all ready has nothing to be judged.
pub(super) fn judge(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> Option<Trip> {
    let policy = turn.world.rollout.spec.health;
    if !policy.enabled {
        component.health = None;
        return None;
    }
    let set = borrow::canary_set(component, part).filter(|set| !set.deleting && set.is_observed)?;
    let before = component.health.as_ref().map_or(Verdict::Wait, |health| health.verdict);
    if set.ready >= set.replicas {
        recover(component);
    } else {
        watch(turn, component, part, (&policy, set));
    }
    let health = component.health.as_ref()?;
    let is_new = health.verdict != before;
    let (verdict, message) = (health.verdict, health.message.clone());
    if verdict == Verdict::NoData && is_new {
        turn.happen(
            &part.name,
            Reason::EvidenceMissing,
            format!("gate health cannot judge, the run holds: {message}"),
        );
    }
    if verdict != Verdict::Fail {
        return None;
    }
    let trip = Trip { asks: policy.on_failure.into(), why: format!("gate health failed: {message}") };
    if is_new && trip.asks < OnFailure::DegradedMode {
        turn.happen(&part.name, Reason::GateFailed, trip.why.clone());
    }
    Some(trip)
}

/// All pods are ready. What was wrong with them stays readable.
fn recover(component: &mut ComponentStatus) {
    let Some(health) = component.health.as_mut() else { return };
    if health.message.is_empty() {
        component.health = None;
    } else if health.since.is_some() {
        let before = health.message.strip_prefix(BEFORE).unwrap_or(&health.message);
        let message = clip(&format!("{AGAIN}{BEFORE}{before}"), 256);
        let looked_at = health.looked_at;
        *health = HealthStatus { verdict: Verdict::Pass, message, looked_at, ..HealthStatus::default() };
    }
}

/// Some pods are not ready: looks at them when it is time to, and judges what was seen.
fn watch(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    (policy, set): (&Health, &ReplicaSetSeen),
) {
    let (now, deadline) = (turn.now, turn.world.rollout.spec.progress_deadline);
    let has_lost = set.ready < component.canary_ready.min(set.replicas);
    let health = component.health.get_or_insert_default();
    if health.since.is_none() {
        let message = health.message.strip_prefix(AGAIN).unwrap_or_default().to_owned();
        let looked_at = health.looked_at;
        *health = HealthStatus { message, since: Some(now), looked_at, ..HealthStatus::default() };
    }
    let (patience, stuck_for) = (at_most(PATIENCE_MAX, deadline, 4), at_most(STUCK_MAX, deadline, 2));
    let since = health.since.unwrap_or(now);
    // One from after now was made before a clock was set back.
    let is_news =
        |seen: &&PodsSeen| (since..=now).contains(&seen.at) && health.looked_at.is_none_or(|at| seen.at > at);
    if let Some(seen) = part.seen.canary_pods.found().filter(is_news) {
        if conclude(health, (policy, set), seen, (now, stuck_for), part).is_none() {
            return turn.look(Inquiry::StablePods(part.name.clone()));
        }
        health.looked_at = Some(seen.at);
        health.look_at = Some(after(seen.at, LOOK_EVERY));
    }
    let first = if has_lost { now } else { health.look_at.unwrap_or_else(|| after(now, patience)) };
    let allowed = health.looked_at.map_or(now, |at| after(at, LOOK_EVERY));
    // A clock that was set back must not make the wait longer than it is.
    let look_at = first.max(allowed).min(after(now, patience.max(LOOK_EVERY)));
    health.look_at = Some(look_at);
    if look_at <= now {
        turn.look(Inquiry::CanaryPods(part.name.clone()));
    } else {
        turn.wake(look_at);
    }
}

/// A part of the progress deadline, `most` at most.
fn at_most(most: Span, deadline: Span, part: i64) -> Span {
    most.min(Span::millis(deadline.as_millis() / part))
}

/// What the pods say. `None` if stable's have to be looked at before.
fn conclude(
    health: &mut HealthStatus,
    (policy, set): (&Health, &ReplicaSetSeen),
    seen: &PodsSeen,
    (now, stuck_for): (Timestamp, Span),
    part: &Part<'_>,
) -> Option<()> {
    let say = |health: &mut HealthStatus, verdict, message: &str| {
        health.verdict = verdict;
        health.message = clip(message, 256);
    };
    let list = match &seen.pods {
        Ok(list) => list,
        Err(why) => {
            say(health, Verdict::Error, &format!("the pods cannot be looked at: {why}"));
            return Some(());
        }
    };
    let found = Findings::of(list, set.replicas, policy.max_restarts);
    health.stuck_since = found.is_stuck().then(|| health.stuck_since.unwrap_or(now).min(now));
    let is_over = health.stuck_since.is_some_and(|since| after(since, stuck_for) <= now);
    let Some(fault) = found.fault(is_over) else {
        say(health, Verdict::Wait, &found.in_words());
        return Some(());
    };
    match stables_alike(part, seen, fault)? {
        Some(words) => say(health, Verdict::NoData, &format!("{}; {words}", found.in_words())),
        None => say(health, Verdict::Fail, &found.in_words()),
    }
    Some(())
}

/// Whether stable's pods fail in the same way now: then it is the node, the registry or the network, and the canary is not to
/// blame. The outer `None`: they have to be looked at first.
fn stables_alike(part: &Part<'_>, seen: &PodsSeen, fault: Fault) -> Option<Option<String>> {
    let deployment = part.seen.deployment.found();
    if deployment.is_none_or(|it| it.available_replicas >= it.replicas) {
        return Some(None);
    }
    let stable = part.seen.stable_pods.found().filter(|it| it.at >= seen.at)?;
    let list = stable.pods.as_ref().map_or(&[][..], Vec::as_slice);
    let alike = pods::alike(list, fault);
    let words = format!("{alike} of stable's pods fail in the same way, so it is not the release");
    Some((alike > 0).then_some(words))
}

/// What is known of pods that are not ready, to go behind a sentence; nothing if nothing is.
pub(super) fn in_words(component: &ComponentStatus) -> String {
    let health = component.health.as_ref().filter(|health| health.since.is_some());
    health
        .filter(|health| !health.message.is_empty())
        .map(|it| format!("; {}", it.message))
        .unwrap_or_default()
}

/// Whether the pods keep the run where it is, in words.
pub(super) fn holds(turn: &Turn<'_>, component: &ComponentStatus) -> Option<String> {
    let health = component.health.as_ref()?;
    let is_mute = OnFailure::from(turn.world.rollout.spec.health.on_failure) == OnFailure::Notify;
    match health.verdict {
        Verdict::Fail if !is_mute => Some("gate health fails".to_owned()),
        Verdict::NoData => Some(format!("gate health cannot judge: {}", health.message)),
        _ => None,
    }
}

/// No time that was noted lies ahead of us: see [`Turn`].
pub(super) fn heal_clock(component: &mut ComponentStatus, now: Timestamp) {
    let Some(health) = component.health.as_mut() else { return };
    for time in [&mut health.since, &mut health.stuck_since, &mut health.looked_at] {
        *time = time.map(|time| time.min(now));
    }
}

/// What of it has to be stored at once.
pub(super) fn lasting(component: &mut ComponentStatus) {
    let verdict = component.health.take().map_or(Verdict::Wait, |health| health.verdict);
    component.health = matches!(verdict, Verdict::Fail | Verdict::NoData)
        .then(|| HealthStatus { verdict, ..HealthStatus::default() });
}
