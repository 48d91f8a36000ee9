//! What a run borrows, kept as the run needs it: the pin of the Service, the canary's Service, its ReplicaSet, the
//! weights of the routes. Each function compares what is wanted with what is seen, plans the write that is missing, and
//! says how far things are. None assumes that a write it plans succeeds.

use crate::api::names::POD_TEMPLATE_HASH;
use crate::api::{ComponentStatus, Revision, Span};

use super::Weight;
use super::flaw::{self, Flaw};
use super::plan::{Inquiry, Write};
use super::room;
use super::route::Backends;
use super::scaling::{canary_size, canary_size_by_pods, share_of_pods};
use super::turn::{Part, Turn, after, between};
use super::world::{Acceptance, DeploymentSeen, Look, ReplicaSetSeen, RouteKind, RouteSeen};

/// How far the canary's ReplicaSet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SetState {
    /// It is being created or resized.
    Changing,
    /// So many of its pods are available, fewer than wanted.
    Starting(i32),
    /// All pods that were wanted are available and behind the canary's Service.
    Ready,
    /// More pods are wanted than `spec.maxExtraPods` leaves room for now, in words.
    NoRoom(String),
}

/// How far the routes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RoutesState {
    /// At least one had to be written: it did not say what it should.
    Written,
    /// They say what they should; a gateway has not accepted it yet.
    Pending,
    /// A gateway refuses one.
    Refused(String),
    /// One is not there.
    Gone(String),
    /// All say what they should and are accepted.
    InForce,
}

/// Pods that `weight` needs.
pub(super) fn size_for(part: &Part<'_>, deployment: &DeploymentSeen, weight: Weight) -> i32 {
    let size = if part.is_by_pods() { canary_size_by_pods } else { canary_size };
    size(deployment.replicas, weight)
}

/// The canary's ReplicaSet, if it is there.
pub(super) fn canary_set<'w>(component: &ComponentStatus, part: &Part<'w>) -> Option<&'w ReplicaSetSeen> {
    let canary = component.canary.as_ref()?;
    part.seen.replica_sets.iter().find(|set| set.at.name == canary.replica_set)
}

/// Makes the canary's ReplicaSet have `size` pods.
pub(super) fn ensure_set(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    size: i32,
) -> SetState {
    ensure_set_ahead(turn, component, part, (size, size))
}

/// Makes the canary's ReplicaSet have the pods that are needed now; it may have as many as `ahead`, for what comes next.
pub(super) fn ensure_set_ahead(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    (size, ahead): (i32, i32),
) -> SetState {
    let (Some(deployment), Some(canary)) = (part.seen.deployment.found(), component.canary.clone()) else {
        return SetState::Changing;
    };
    component.desired_replicas = deployment.replicas;
    let has_traffic = component.target_weight > 0;
    let fixed = canary_set(component, part)
        .filter(|_| component.stage != crate::api::Stage::Preparing && flaw::is(Flaw::SizeIsFixedAtTheRaise));
    let (size, ahead) = fixed.map_or((size, ahead), |set| (set.replicas, set.replicas));
    let wanted = size;
    let size = room::allowed(turn, part, component.stage, wanted);
    let held = canary_set(component, part).map_or(0, |set| set.replicas);
    if size < wanted && !(has_traffic && size > held) {
        // A canary without traffic grows when all that it needs fits; one with traffic takes what there is.
        return SetState::NoRoom(room::in_words(turn, wanted));
    }
    component.canary_replicas = size;
    let Some(set) = canary_set(component, part) else {
        component.canary_ready = 0;
        turn.write(Write::CreateReplicaSet {
            component: part.name.clone(),
            deployment: deployment.at.clone(),
            revision: canary.revision,
            name: canary.replica_set,
            pod_hash: canary.pod_hash,
            replicas: size,
        });
        return SetState::Changing;
    };
    component.canary_ready = set.available;
    if set.deleting || set.owner_uid.as_deref() != Some(turn.world.rollout.at.uid.as_str()) {
        // On its way out, or not ours: nothing to build on.
        return SetState::Starting(0);
    }
    let ahead = if ahead > size { room::allowed(turn, part, component.stage, ahead).max(size) } else { size };
    if set.replicas != ahead {
        let (replica_set, desired) = (set.at.clone(), deployment.replicas);
        turn.write(Write::ScaleReplicaSet { replica_set, replicas: ahead, desired });
        // Growing must be seen through before traffic follows; of a smaller set what is ready counts.
        if set.replicas < size {
            return SetState::Changing;
        }
    }
    // A size that is not seen yet costs no pod that is available as long as it is none less: growing ahead, in the middle of a
    // bake, must not look like a loss of pods.
    let is_told = set.is_observed || set.replicas >= set.available;
    let ready = if is_told { set.available.min(endpoints_of(part, set)) } else { 0 };
    if ready >= wanted { SetState::Ready } else { SetState::Starting(ready) }
}

/// Empties ReplicaSets of the Deployment that hold the template which is in it now. They come to be when somebody resumes
/// the Deployment for a moment: pods that nobody earned. True when there is none with pods; stable then gets its size
/// back from the Deployment controller.
pub(super) fn empty_native_twins(turn: &mut Turn<'_>, part: &Part<'_>, deployment: &DeploymentSeen) -> bool {
    if deployment.updated_replicas == 0 && deployment.total_replicas == deployment.replicas {
        return true;
    }
    if deployment.observed_generation < deployment.generation {
        // Its status speaks of the template before.
        return false;
    }
    // The only ReplicaSet with pods would be brought back by the Deployment controller.
    if deployment.has_rolled() || !deployment.paused {
        return deployment.updated_replicas == 0;
    }
    if !part.seen.replica_sets_complete {
        turn.look(Inquiry::ReplicaSets(part.name.clone()));
        return false;
    }
    let is_active =
        |set: &&ReplicaSetSeen| set.owner_uid.as_ref() == Some(&deployment.at.uid) && set.replicas > 0;
    let active = part.seen.replica_sets.iter().filter(is_active);
    // By revision: a restart since then has changed the template, not what these pods are.
    let (twins, others): (Vec<_>, Vec<_>) = active.partition(|set| set.revision == deployment.revision);
    let mut twins: Vec<_> = twins.into_iter().map(|set| set.at.clone()).collect();
    twins.sort();
    if twins.is_empty() || others.is_empty() {
        return deployment.updated_replicas == 0;
    }
    for replica_set in twins {
        turn.write(Write::ScaleReplicaSet { replica_set, replicas: 0, desired: deployment.replicas });
    }
    false
}

/// Whether the canary has the ready pods that `weight` needs.
pub(super) fn has_pods_for(component: &ComponentStatus, part: &Part<'_>, weight: Weight) -> bool {
    let (Some(set), Some(deployment)) = (canary_set(component, part), part.seen.deployment.found()) else {
        return false;
    };
    set.is_observed && set.available.min(endpoints_of(part, set)) >= size_for(part, deployment, weight)
}

/// Ready endpoints that the canary's Service has of `set`; as many as are available where no Service tells.
fn endpoints_of(part: &Part<'_>, set: &ReplicaSetSeen) -> i32 {
    if part.is_by_pods() {
        return set.available;
    }
    let ready = part.seen.canary_service.found().and_then(|service| service.ready.found());
    ready.and_then(|ready| ready.get(&set.at.name)).copied().unwrap_or(0)
}

/// Makes sure that the canary has a Service of its own. True when it is there.
pub(super) fn ensure_canary_service(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
) -> bool {
    let (Some(name), Some(canary)) = (part.refs.canary_service(), component.canary.as_ref()) else {
        return true;
    };
    match &part.seen.canary_service {
        Look::Found(service) => {
            let is_ours = service.owner_uid.as_deref() == Some(turn.world.rollout.at.uid.as_str());
            let is_fit = service.selector.get(POD_TEMPLATE_HASH) == Some(&canary.pod_hash)
                && !flaw::is(Flaw::EndlessCreates);
            if is_ours && !is_fit && !service.deleting {
                // It selects other pods than this canary's; a new one takes its place.
                turn.write(Write::DeleteService { service: service.at.clone() });
            }
            is_ours && is_fit && !service.deleting
        }
        // One of ours would be seen: not seen means not there, or somebody else's, which the API server tells.
        Look::Unknown | Look::Missing => {
            if let Some(service) = service_or_look(turn, part) {
                let (component, pod_hash) = (part.name.clone(), canary.pod_hash.clone());
                turn.write(Write::CreateCanaryService {
                    component,
                    service: service.at.clone(),
                    name,
                    pod_hash,
                });
            }
            false
        }
    }
}

/// The revision to which callers of the Service are pinned.
pub(super) enum Pin<'r> {
    /// To this one.
    To(&'r Revision),
    /// To none: the Service is as it was found.
    Free,
}

/// Makes the Service select as `pin` says. True when it does, or when there is no Service to pin.
pub(super) fn ensure_pin(turn: &mut Turn<'_>, part: &Part<'_>, pin: &Pin<'_>) -> bool {
    if part.is_by_pods() || part.seen.service.is_missing() {
        return true;
    }
    let Some(service) = service_or_look(turn, part) else { return false };
    let wanted = match pin {
        Pin::To(revision) => Some(revision.pod_hash.clone()),
        Pin::Free => None,
    };
    let is_labelled = service.rollout_label.as_deref() == Some(turn.world.rollout.at.name.as_str());
    let is_pinned = service.selector.get(POD_TEMPLATE_HASH) == wanted.as_ref();
    if is_pinned && is_labelled == wanted.is_some() {
        return true;
    }
    turn.write(Write::PinService { service: service.at.clone(), pod_hash: wanted });
    false
}

/// How much later than we a gateway may learn that endpoints are ready: a backend that gets its first weight earlier
/// answers 503 (seen with Traefik within 0.2 s of readiness).
const DATA_PLANE_LAG: Span = Span::seconds(1);

/// Whether what is in place now has been in place for long enough that the data plane knows it too.
pub(super) fn has_settled(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    if part.is_by_pods() {
        return true;
    }
    let since = *component.ready_since.get_or_insert(turn.now);
    // A clock that was set back must not make the wait longer than it is.
    let has = between(since, turn.now) >= DATA_PLANE_LAG || since > turn.now;
    if !has {
        turn.wake(after(since, DATA_PLANE_LAG));
    }
    has
}

/// Whether only pods of `revision` are behind the Service, at least `count` of them.
pub(super) fn serves_only(part: &Part<'_>, revision: &Revision, count: i32) -> bool {
    let Some(service) = part.seen.service.found() else { return true };
    let Some(ready) = service.ready.found() else { return false };
    ready.iter().all(|(set, pods)| set == &revision.replica_set || *pods == 0)
        && ready.get(&revision.replica_set).copied().unwrap_or(0) >= count
}

fn service_or_look<'w>(turn: &mut Turn<'_>, part: &Part<'w>) -> Option<&'w super::world::ServiceSeen> {
    match &part.seen.service {
        Look::Found(service) => Some(service),
        Look::Missing => None,
        Look::Unknown => {
            turn.look(Inquiry::Service(part.name.clone()));
            None
        }
    }
}

/// Makes the routes give the canary `weight`; with zero they are as they were found.
pub(super) fn ensure_routes(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    weight: Weight,
) -> RoutesState {
    let mut state = RoutesState::InForce;
    for (kind, name, look) in &part.seen.routes {
        let Look::Found(route) = look else {
            state = worse(state, RoutesState::Gone(format!("{} {name}", kind.as_str())));
            continue;
        };
        let changes = wanted_backends(turn, component, part, (*kind, route), weight);
        if changes.is_empty() {
            state = worse(state, acceptance_of(*kind, name, route));
        } else {
            turn.write(Write::SetBackends { kind: *kind, route: route.at.clone(), rules: changes, weight });
            state = worse(state, RoutesState::Written);
        }
    }
    state
}

/// Whether a route says something else than `weight`.
pub(super) fn routes_differ(
    turn: &Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    weight: Weight,
) -> bool {
    part.seen.routes.iter().any(|(kind, _, look)| {
        look.found()
            .is_some_and(|route| !wanted_backends(turn, component, part, (*kind, route), weight).is_empty())
    })
}

fn wanted_backends(
    turn: &Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    (kind, route): (RouteKind, &RouteSeen),
    weight: Weight,
) -> Vec<(usize, Vec<serde_json::Value>)> {
    let (Some(stable), Some(canary)) = (part.refs.service.as_deref(), part.refs.canary_service()) else {
        return Vec::new();
    };
    let backends = Backends { namespace: &turn.world.rollout.namespace, stable, canary: &canary };
    if !weight.is_zero() {
        return backends.with_weight(&route.backends, weight);
    }
    let found = component.found.iter().find(|f| f.kind == kind.as_str() && f.name == route.at.name);
    // Without a canary backend the route is as found, or as somebody has made it since: not ours to change.
    if backends.names_canary(&route.backends) {
        backends.as_found(&route.backends, found.map_or(&[], |f| &f.weights))
    } else {
        Vec::new()
    }
}

fn acceptance_of(kind: RouteKind, name: &str, route: &RouteSeen) -> RoutesState {
    match &route.acceptance {
        Acceptance::Accepted => RoutesState::InForce,
        Acceptance::Pending => RoutesState::Pending,
        Acceptance::Refused(why) => RoutesState::Refused(format!("{} {name}: {why}", kind.as_str())),
    }
}

/// Whether a gateway has had the progress deadline, from the start of the stage, to take a route on the way out of a
/// run. One that never speaks (it is gone, or refuses everything) must not keep a run or a Rollout from its end.
pub(super) fn is_overdue(turn: &mut Turn<'_>, component: &ComponentStatus) -> bool {
    let Some(since) = component.since else { return false };
    let deadline = after(since, turn.world.rollout.spec.progress_deadline);
    if turn.now < deadline {
        turn.wake(deadline);
    }
    turn.now >= deadline
}

/// The state that needs more attention.
fn worse(a: RoutesState, b: RoutesState) -> RoutesState {
    let rank = |state: &RoutesState| match state {
        RoutesState::InForce => 0,
        RoutesState::Pending => 1,
        RoutesState::Written => 2,
        RoutesState::Refused(_) => 3,
        RoutesState::Gone(_) => 4,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// The canary's share as it is in force: read back from accepted routes, or from the pods. `None` while a gateway has
/// not said.
pub(super) fn weight_in_force(
    turn: &Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
) -> Option<Weight> {
    if part.is_by_pods() {
        let canary = canary_set(component, part).map_or(0, |set| set.available);
        let stable = part.seen.deployment.found().map_or(0, |deployment| deployment.available_replicas);
        return Some(share_of_pods(canary, stable));
    }
    let is_accepted = |route: &RouteSeen| route.acceptance == Acceptance::Accepted;
    let accepted = part.seen.routes.iter().filter_map(|(_, _, look)| look.found()).all(is_accepted);
    accepted.then(|| weight_said(turn, part))
}

/// The canary's share as the routes say it, accepted or not: the greatest among them.
pub(super) fn weight_said(turn: &Turn<'_>, part: &Part<'_>) -> Weight {
    let (Some(stable), Some(canary)) = (part.refs.service.as_deref(), part.refs.canary_service()) else {
        return Weight::ZERO;
    };
    let backends = Backends { namespace: &turn.world.rollout.namespace, stable, canary: &canary };
    let found = part.seen.routes.iter().filter_map(|(_, _, look)| look.found());
    found.map(|route| backends.weight(&route.backends)).max().unwrap_or_default()
}
