//! Copies of a component's configuration, and the map by which the admission policy gives them to pods.
//!
//! New pods of the Deployment get stable's copies, whatever ReplicaSet makes them; pods of the canary's ReplicaSet get the
//! canary's. The map is one object, so that it changes at once; it never names a copy that was not made.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{ComponentStatus, Revision, Span, Stage};

use super::config::{self, label_of, map_name, parse, split};
use super::flaw::{self, Flaw};
use super::plan::{Inquiry, Reason, Write};
use super::turn::{Part, Turn, after, between, takes_part};
use super::world::{ConfigKind, ConfigSeen, Content, DeploymentSeen, Look};

/// The first wait before canary pods without their configuration start anew.
const RESTART_FIRST: Span = Span::seconds(1);
/// The longest wait before canary pods without their configuration start anew.
const RESTART_AFTER: Span = Span::seconds(60);
/// A lost copy is told again after this time at the earliest.
const TELL_EVERY: Span = Span::seconds(600);
/// How often the objects are looked at: no watch tells of them, because they carry no label of ours.
const LOOK_EVERY: Span = Span::seconds(30);

/// Looks at the objects when the last look is old or spoke of others.
pub(super) fn keep_looking(turn: &mut Turn<'_>, part: &Part<'_>) {
    if part.spec.is_none_or(|spec| spec.config.is_none()) || part.seen.config.is_missing() {
        return;
    }
    let due = part.seen.config.found().map(|seen| after(seen.at, LOOK_EVERY));
    let is_of_others = config::wanted(part).is_none() && config::problem(part).is_none();
    match due {
        Some(due) if due > turn.now && !is_of_others => turn.wake(due),
        _ => turn.look(Inquiry::Config(part.name.clone())),
    }
}

/// Whether the objects were looked at since there is something to release: what was written just before a template is
/// released with it. Asks for a look when not.
pub(super) fn is_fresh(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    if part.spec.is_none_or(|spec| spec.config.is_none()) {
        return true;
    }
    let since = *component.ready_since.get_or_insert(turn.now);
    let is_fresh = part.seen.config.found().is_some_and(|seen| seen.at >= since);
    if !is_fresh {
        turn.look(Inquiry::Config(part.name.clone()));
    }
    is_fresh && config::wanted(part).is_some()
}

/// What the last look found; asks for one when there was none.
fn seen_or_look<'w>(turn: &mut Turn<'_>, part: &Part<'w>) -> Option<&'w ConfigSeen> {
    match &part.seen.config {
        Look::Found(seen) => Some(seen),
        Look::Missing => None,
        Look::Unknown => {
            turn.look(Inquiry::Config(part.name.clone()));
            None
        }
    }
}

/// Keeps a component at rest: its copies, the map, and nothing else. The message says what is amiss.
pub(super) fn keep(
    turn: &mut Turn<'_>,
    component: &mut ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) {
    let Some(mut stable) = component.stable.clone() else { return };
    if part.spec.is_none_or(|spec| spec.config.is_none()) {
        let is_left = !stable.config.is_empty();
        if is_left && hand_over(turn, component, part, deployment) {
            stable.config.clear();
            component.stable = Some(stable);
        }
        return;
    }
    keep_looking(turn, part);
    if deployment.template_hash == stable.template {
        component.message.clear();
    }
    let Some(wanted) = config::wanted(part) else {
        if let Some(problem) = config::problem(part) {
            component.message = problem;
        }
        return;
    };
    if deployment.revision == stable.revision {
        stable.config.retain(|line| !was_never_made(turn, part, &stable.pod_hash, line));
        stable.config = config::aligned(&stable.config, &wanted);
        component.stable = Some(stable.clone());
    }
    if stable.config.is_empty() {
        return;
    }
    if let Some(words) = lost(turn, component, part) {
        tell_lost(turn, part, &words);
        component.message = words;
    }
    if ensure(turn, component, part, deployment, &stable) {
        tell_strays(component, part, &stable);
        collect(turn, component, part, &stable);
    }
}

/// Keeps copies and map while a run is on.
pub(super) fn watch(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>) {
    keep_looking(turn, part);
    let Some(stable) = component.stable.as_ref().filter(|_| has_config(component)) else { return };
    if let Some(deployment) = part.seen.deployment.found()
        && part.seen.config.found().is_some()
        && component.stage != Stage::Adopting
    {
        if let Some(words) = lost(turn, component, part) {
            tell_lost(turn, part, &words);
        }
        let flawed = component.canary.as_ref().filter(|_| flaw::is(Flaw::StableGetsNewConfig));
        ensure(turn, component, part, deployment, flawed.unwrap_or(stable));
    }
}

fn has_config(component: &ComponentStatus) -> bool {
    let has = |revision: &Option<Revision>| revision.as_ref().is_some_and(|it| !it.config.is_empty());
    has(&component.stable) || has(&component.canary)
}

/// Whether canary pods that start now get the canary's configuration.
pub(super) fn is_in_place(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>) -> bool {
    if !has_config(component) {
        return true;
    }
    let (Some(stable), Some(canary)) = (&component.stable, &component.canary) else { return true };
    let (Some(deployment), Some(seen)) = (part.seen.deployment.found(), seen_or_look(turn, part)) else {
        return false;
    };
    let is_copied = canary.config.iter().all(|line| is_there(turn, seen, line));
    let said = data(component, deployment, stable);
    is_copied && seen.map.as_ref().is_some_and(|map| map.data == said)
}

/// Whether every pod of the canary has its configuration. One that was made before the API server knew the map is not
/// given traffic: its ReplicaSet starts anew.
pub(super) fn are_pods_bound(turn: &mut Turn<'_>, component: &mut ComponentStatus, part: &Part<'_>) -> bool {
    let Some(canary) = component.canary.clone().filter(|_| has_config(component)) else { return true };
    let since = *component.ready_since.get_or_insert(turn.now);
    let Some(seen) = seen_or_look(turn, part) else { return false };
    if seen.at < since {
        turn.look(Inquiry::Config(part.name.clone()));
        return false;
    }
    let Some(pod) =
        seen.strays.get(&canary.pod_hash).and_then(|it| it.unbound.as_ref().or(it.other.as_ref()))
    else {
        return true;
    };
    component.message = format!("the canary pod {pod} was started without its configuration");
    // What keeps them from it may last: each try waits half as long again as all before it took.
    let spent = component.since.map_or(Span::ZERO, |begun| between(begun, since));
    let again = after(since, Span::millis(spent.as_millis() / 2).clamp(RESTART_FIRST, RESTART_AFTER));
    if turn.now < again {
        turn.wake(again);
        return false;
    }
    let set = super::borrow::canary_set(component, part).filter(|set| !set.deleting);
    if let Some(set) = set.filter(|_| component.target_weight == 0) {
        turn.write(Write::DeleteReplicaSet { replica_set: set.at.clone() });
    }
    false
}

/// A copy of stable's configuration that somebody deleted, and that cannot be made again because its object holds something
/// else by now. Pods of stable that start without it wait: they are never given the new value.
pub(super) fn lost(turn: &Turn<'_>, component: &ComponentStatus, part: &Part<'_>) -> Option<String> {
    let (seen, stable) = (part.seen.config.found()?, component.stable.as_ref()?);
    let is_lost =
        |line: &&String| is_gone(turn, seen, line) && !was_never_made(turn, part, &stable.pod_hash, line);
    let (key, copy) = split(stable.config.iter().find(is_lost)?);
    let (kind, name) = parse(key)?;
    let kind = kind.as_str();
    Some(format!(
        "the {kind} {copy} is gone, which pods of the stable version mount: none that starts now can run. Put the former \
         content back into the {kind} {name}, and it is made again; or promote a run in full to go on without a way back"
    ))
}

/// Whether a copy is not there and its object cannot give another one.
fn is_gone(turn: &Turn<'_>, seen: &ConfigSeen, line: &str) -> bool {
    let (key, copy) = split(line);
    let Some((kind, source)) = parse(key) else { return false };
    !is_there(turn, seen, line)
        && seen
            .sources
            .get(&(kind, source.to_owned()))
            .is_some_and(|it| *it != Content::Copy(copy.to_owned()))
}

/// Whether an object changed in the moment between the first look at it and its copy: pods read it themselves, and no pod was
/// ever given that copy.
fn was_never_made(turn: &Turn<'_>, part: &Part<'_>, pod_hash: &str, line: &str) -> bool {
    let Some(seen) = part.seen.config.found() else { return false };
    let (key, copy) = split(line);
    let named =
        seen.map.as_ref().and_then(|map| map.data.get(&format!("stable.{}", key.replacen('/', ".", 1))));
    let has_unbound = seen.strays.get(pod_hash).is_some_and(|strays| strays.unbound.is_some());
    is_gone(turn, seen, line) && has_unbound && named.is_none_or(|named| named != copy)
}

/// Once, and again after a while.
fn tell_lost(turn: &mut Turn<'_>, part: &Part<'_>, words: &str) {
    let before = turn.world.rollout.status.components.iter().find(|c| c.name == part.name);
    let is_said = before.is_some_and(|c| c.message == words);
    if !is_said && turn.is_news(&part.name, Reason::ForeignChange, TELL_EVERY) {
        turn.happen(&part.name, Reason::ForeignChange, words.to_owned());
    }
}

/// Makes copies and map as they have to be; `default` is what pods get that are not the canary's. True when they are.
pub(super) fn ensure(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
    default: &Revision,
) -> bool {
    let Some(seen) = seen_or_look(turn, part) else { return false };
    let mut is_complete = true;
    for line in needed(component, default) {
        let (key, copy) = split(&line);
        let Some((kind, source)) = parse(key).filter(|_| !is_there(turn, seen, &line)) else { continue };
        // One that is lost and whose object holds something else by now cannot be made again.
        if seen.sources.get(&(kind, source.to_owned())) == Some(&Content::Copy(copy.to_owned())) {
            is_complete = false;
            turn.write(Write::CreateCopy {
                component: part.name.clone(),
                kind,
                source: source.to_owned(),
                name: copy.to_owned(),
            });
        }
    }
    if !is_complete || foreign_map(turn, part).is_some() {
        return false;
    }
    let data = data(component, deployment, default);
    if seen.map.as_ref().is_some_and(|map| map.data == data && is_ours(turn, map)) {
        return true;
    }
    turn.write(Write::PutConfigMap {
        component: part.name.clone(),
        name: map_name(&deployment.at.name),
        seen: seen.map.as_ref().map(|map| map.at.clone()),
        data,
    });
    false
}

/// A ConfigMap of the map's name that is neither ours nor left to the Deployment by a former Rollout.
pub(super) fn foreign_map(turn: &Turn<'_>, part: &Part<'_>) -> Option<String> {
    let map = part.seen.config.found()?.map.as_ref()?;
    let deployment = &part.seen.deployment.found()?.at.uid;
    let is_known = map.owner_uids.contains(deployment) || is_ours(turn, map);
    (!is_known).then(|| map.at.name.clone())
}

fn is_ours(turn: &Turn<'_>, map: &super::world::MapSeen) -> bool {
    map.owner_uids.contains(&turn.world.rollout.at.uid)
}

/// Lines of all copies that somebody needs.
fn needed(component: &ComponentStatus, default: &Revision) -> BTreeSet<String> {
    let stable = component.stable.iter().chain([default]);
    let canary = component.canary.iter().filter(|_| takes_part(component));
    stable.chain(canary).flat_map(|revision| revision.config.iter().cloned()).collect()
}

fn is_there(turn: &Turn<'_>, seen: &ConfigSeen, line: &str) -> bool {
    let (key, copy) = split(line);
    let uid = Some(turn.world.rollout.at.uid.as_str());
    parse(key).is_some_and(|(kind, _)| {
        seen.copies.iter().any(|it| it.kind == kind && it.at.name == copy && it.owner_uid.as_deref() == uid)
    })
}

/// What the map has to say.
fn data(
    component: &ComponentStatus,
    deployment: &DeploymentSeen,
    default: &Revision,
) -> BTreeMap<String, String> {
    let mut data = BTreeMap::from([("deployment".to_owned(), deployment.at.name.clone())]);
    let mut tell = |side: &str, revision: &Revision| {
        data.insert(format!("{side}.config"), label_of(&revision.config));
        for line in &revision.config {
            let (key, copy) = split(line);
            // Also when it is lost: a pod that waits for it is better than one that reads what was not earned.
            data.insert(format!("{side}.{}", key.replacen('/', ".", 1)), copy.to_owned());
        }
    };
    tell("stable", default);
    if let Some(canary) = component.canary.as_ref().filter(|_| takes_part(component)) {
        tell("canary", canary);
        data.insert("canary".to_owned(), canary.pod_hash.clone());
    }
    data
}

/// Says which pods are outside of all this. They are not touched: a restart brings them in.
fn tell_strays(component: &mut ComponentStatus, part: &Part<'_>, stable: &Revision) {
    let strays = part.seen.config.found().and_then(|seen| seen.strays.get(&stable.pod_hash));
    let Some(pod) = strays.and_then(|it| it.unbound.as_ref().or(it.other.as_ref())) else { return };
    if component.message.is_empty() {
        component.message = format!(
            "pods such as {pod} were started before and read the objects themselves: a run or `kubectl rollout restart` \
             gives them copies"
        );
    }
}

/// Deletes copies that nobody needs any more, once every pod of stable has what the map says.
fn collect(turn: &mut Turn<'_>, component: &ComponentStatus, part: &Part<'_>, stable: &Revision) {
    let Some(seen) = part.seen.config.found() else { return };
    let is_mounted = |pod_hash: &String| seen.strays.get(pod_hash).is_some_and(|it| it.other.is_some());
    if is_mounted(&stable.pod_hash) {
        return;
    }
    if flaw::is(Flaw::CopiesStay) {
        return;
    }
    let needed = needed(component, stable);
    let needed: BTreeSet<(ConfigKind, &str)> = needed
        .iter()
        .filter_map(|line| parse(split(line).0).map(|(kind, _)| (kind, split(line).1)))
        .collect();
    let uid = Some(turn.world.rollout.at.uid.as_str());
    for copy in &seen.copies {
        if copy.owner_uid.as_deref() == uid && !needed.contains(&(copy.kind, copy.at.name.as_str())) {
            let (component, kind, object) = (part.name.clone(), copy.kind, copy.at.clone());
            turn.write(Write::DeleteConfig { component, kind, object });
        }
    }
}

/// Gives everything to the Deployment: running pods mount the copies until they are replaced. The map goes when the
/// objects hold what stable has, or when the spec does not want it any more: new pods then read the objects themselves.
/// True when nothing is ours any more.
pub(super) fn hand_over(
    turn: &mut Turn<'_>,
    component: &ComponentStatus,
    part: &Part<'_>,
    deployment: &DeploymentSeen,
) -> bool {
    if !has_config(component) {
        return true;
    }
    if part.seen.config.is_missing() {
        return true;
    }
    let Some(seen) = seen_or_look(turn, part) else { return false };
    let uid = turn.world.rollout.at.uid.clone();
    let hand = |turn: &mut Turn<'_>, kind: ConfigKind, object: &super::world::Seen| {
        turn.write(Write::HandConfig {
            component: part.name.clone(),
            kind,
            object: object.clone(),
            deployment: deployment.at.clone(),
        });
    };
    let mut is_free = true;
    for copy in seen.copies.iter().filter(|copy| copy.owner_uid.as_ref() == Some(&uid)) {
        is_free = false;
        hand(turn, copy.kind, &copy.at);
    }
    if let Some(map) = seen.map.as_ref().filter(|map| map.owner_uids.contains(&uid)) {
        is_free = false;
        if component.stable.as_ref().is_some_and(|stable| config::is_served_by_objects(part, stable)) {
            turn.write(Write::DeleteConfig {
                component: part.name.clone(),
                kind: ConfigKind::ConfigMap,
                object: map.at.clone(),
            });
        } else {
            tell_stays(turn, part, &map.at.name);
            hand(turn, ConfigKind::ConfigMap, &map.at);
        }
    }
    is_free
}

/// Once: the configuration in the objects was not earned.
fn tell_stays(turn: &mut Turn<'_>, part: &Part<'_>, map: &str) {
    let message = format!(
        "the configuration that the ConfigMaps and Secrets of the Deployment {} hold was not earned: new pods go on with the \
         copies of what serves, until you delete the ConfigMap {map}",
        part.refs.workload
    );
    if turn.is_news(&part.name, Reason::HandedBack, Span::seconds(60)) {
        turn.happen(&part.name, Reason::HandedBack, message);
    }
}
