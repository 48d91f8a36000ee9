//! When a run was in which phase, and what its visitors got then.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use palier::api::{RolloutStatus, RunIntent};

use super::figures::quantile;
use super::given::image;
use super::history::Sight;
use super::scene::Scene;
use super::shop::{Shop, is_baking};
use crate::lab::Report;
use crate::lab::audit::Entry;

/// How long single steps may take on a busy machine.
pub const IN_A_MOMENT: Duration = super::shop::SOON;
/// How long the gateway may take until new weights are in force for every connection.
pub const IN_FORCE: Duration = Duration::from_millis(500);

/// When a run baked at a share: from the moment at which the gateway has it to the last status that said so.
pub fn stretch(scene: &Scene, shop: &Shop, run: i64, traffic: i32) -> Result<(Timestamp, Timestamp)> {
    let seen = scene.record.rollouts.of(&shop.name);
    let statuses = seen.iter().filter_map(|sight| Some((sight.at, sight.object.status.as_ref()?)));
    let mut from = None;
    for (at, status) in statuses {
        let is_run =
            status.run.as_ref().is_some_and(|present| present.number == run && present.ended_at.is_none());
        let bakes = is_run && status.components.iter().any(|component| is_baking(component, traffic));
        match from {
            None if bakes => from = Some(at + IN_FORCE),
            Some(from) if !bakes => return Ok((from, at)),
            _ => {}
        }
    }
    let from = from.with_context(|| format!("run {run} never baked at {traffic} %"))?;
    Ok((from, Timestamp::now()))
}

/// Fails unless a version got its share of what was asked while a phase baked. Notes the share.
pub fn share_is(scene: &Scene, shop: &Shop, report: &Report, tag: &str, wanted: (i32, usize)) -> Result<()> {
    let (traffic, at_least) = wanted;
    let (from, to) = stretch(scene, shop, 1, traffic)?;
    let asked = report.between(from, to);
    let share = asked.share_of(tag);
    let measured = format!("{share:.2} % of {}", asked.total());
    scene.measured(&format!("share at {traffic} %"), &measured, &format!("±3 points, ≥ {at_least} requests"));
    ensure!((share - f64::from(traffic)).abs() <= 3.0, "not {traffic} %: {asked}");
    ensure!(asked.total() >= at_least, "only {} requests at {traffic} %", asked.total());
    Ok(())
}

/// Fails when one request was lost, or answered with an error. Notes the number.
pub fn nobody_noticed(scene: &Scene, report: &Report) -> Result<()> {
    let failed = report.failures().len();
    scene.measured("failed requests", &format!("{failed} of {}", report.total()), "0");
    ensure!(report.total() > 0, "nobody came");
    ensure!(failed == 0, "{report}");
    Ok(())
}

/// Fails when the operation lost a request; a bad version's own errors do not count. Notes the number.
pub fn nobody_was_lost(scene: &Scene, report: &Report) -> Result<()> {
    let lost = report.lost().len();
    scene.measured("lost requests", &format!("{lost} of {}", report.total()), "0");
    ensure!(report.total() > 0, "nobody came");
    ensure!(lost == 0, "{report}");
    Ok(())
}

/// Fails when a pod of a version was replaced, was deleted or restarted: there were as many as there are to be, ever.
pub fn pods_are_the_first_ones(scene: &Scene, tag: &str, size: usize) -> Result<()> {
    are_the_first_ones(scene.record.pods.all().into_iter().filter(|pod| is_of(pod, tag)), tag, size)
}

/// The same of one workload.
pub fn pods_of_are_the_first_ones(scene: &Scene, workload: &str, tag: &str, size: usize) -> Result<()> {
    let is_its = |pod: &Sight<Pod>| {
        pod.object.labels().get("app").map(String::as_str) == Some(workload) && is_of(pod, tag)
    };
    are_the_first_ones(scene.record.pods.all().into_iter().filter(is_its), &format!("{workload} {tag}"), size)
}

fn is_of(pod: &Sight<Pod>, tag: &str) -> bool {
    let containers = pod.object.spec.as_ref().map(|spec| &spec.containers);
    containers.and_then(|all| all.first()).and_then(|one| one.image.as_deref()) == Some(&*image(tag))
}

fn are_the_first_ones(pods: impl Iterator<Item = Sight<Pod>>, what: &str, size: usize) -> Result<()> {
    let seen: Vec<Sight<Pod>> = pods.collect();
    let uids: std::collections::BTreeSet<String> =
        seen.iter().filter_map(|sight| sight.object.uid()).collect();
    ensure!(uids.len() == size, "{} pods of {what} there were, instead of {size}", uids.len());
    for Sight { object, is_gone, .. } in seen {
        let name = object.name_any();
        ensure!(!is_gone && object.metadata.deletion_timestamp.is_none(), "pod {name} was deleted");
        let statuses = object.status.as_ref().and_then(|status| status.container_statuses.clone());
        let restarts: i32 = statuses.unwrap_or_default().iter().map(|one| one.restart_count).sum();
        ensure!(restarts == 0, "pod {name} was restarted");
    }
    Ok(())
}

/// Fails when a ReplicaSet had fewer available pods than it needs, at some time between two.
pub fn capacity_was_kept(
    scene: &Scene,
    set: &str,
    least: i32,
    (from, to): (Timestamp, Timestamp),
) -> Result<()> {
    let seen = scene.record.sets.of(set);
    ensure!(!seen.is_empty(), "there was no ReplicaSet {set}");
    // What was true at `from` was seen before it.
    let first = seen.iter().rposition(|sight| sight.at <= from).unwrap_or(0);
    for sight in seen.iter().skip(first).take_while(|sight| sight.at < to) {
        let available = available(&sight.object);
        ensure!(
            available >= least && !sight.is_gone,
            "{set} had {available} of {least} pods at {}",
            sight.at
        );
    }
    Ok(())
}

/// Available pods of a ReplicaSet.
pub fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default()
}

/// The last status of a run while it went back because of a gate, with the time at which the deciding answer arrived.
pub fn deciding_answer(scene: &Scene, shop: &Shop, run: i64) -> Result<(Timestamp, RolloutStatus)> {
    for sight in scene.record.rollouts.of(&shop.name) {
        let Some(status) = sight.object.status.as_ref() else { continue };
        let present = status.run.as_ref().filter(|present| present.number == run);
        if present.is_none_or(|present| present.intent != RunIntent::RollBack) {
            continue;
        }
        let gates = status.components.iter().flat_map(|component| &component.gates);
        let at = gates.filter(|gate| gate.tripped).filter_map(|gate| gate.evaluated_at).max();
        return Ok((at.context("the run went back, but no gate has tripped")?, status.clone()));
    }
    anyhow::bail!("run {run} never went back")
}

/// The first write of the controllers to a route after a time, by the audit log.
pub fn first_write_to_route(scene: &Scene, route: &str, after: Timestamp) -> Result<Entry> {
    let writes = scene.requests_of_palier()?.mutations();
    let is_it = |entry: &&Entry| {
        entry.resource == "httproutes" && entry.name == route && entry.done >= after && entry.code < 300
    };
    writes
        .0
        .iter()
        .find(is_it)
        .cloned()
        .with_context(|| format!("no write to the route {route} after {after}"))
}

/// The time between two times; zero when they are in the other order.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Notes how long something took, many times, and fails when the 99th percentile is over the limit.
pub fn p99_within(scene: &Scene, what: &str, took: &[Duration], limit: Duration) -> Result<()> {
    let (p50, p99) = (quantile(took, 0.5), quantile(took, 0.99));
    let measured = format!("p50 {} ms, p99 {} ms, {} times", p50.as_millis(), p99.as_millis(), took.len());
    scene.measured(what, &measured, &format!("p99 ≤ {} ms", limit.as_millis()));
    ensure!(p99 <= limit, "{what}: {measured}");
    Ok(())
}
