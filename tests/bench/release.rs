//! What it costs to release a new image on every Rollout at once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use palier::api::{Outcome, RolloutStatus};

use crate::Bench;
use crate::fleet::{Fleet, run_of};
use crate::subject::Subject;

/// Three bakes of ten seconds.
const IDEAL: f64 = 30.0;
/// Late Events, and the API server's log of them.
const AFTERMATH: Duration = Duration::from_secs(3);

/// What was measured.
pub struct Release {
    /// Seconds beyond the ideal from the first changed image until the last run was complete.
    pub completed: f64,
    /// The same until every phase of the last one was earned, all traffic being with the new version.
    pub earned: f64,
    /// Median seconds of one run from its start to its end, beyond the ideal.
    pub run: f64,
    /// Requests per Rollout without Events, and Events per Rollout.
    pub requests: (f64, f64),
    /// The same by verb and resource.
    pub by_kind: Vec<(String, f64)>,
    /// Requests per Rollout that were refused because the object had changed.
    pub conflicts: f64,
    /// Queries per Rollout.
    pub queries: f64,
    /// Processor milliseconds per Rollout.
    pub cpu: f64,
    /// The most resident memory until now, in bytes.
    pub peak: u64,
    /// Decisions per Rollout, by their result.
    pub reconciles: Vec<(String, f64)>,
}

/// Releases and measures.
pub async fn measure(bench: &Bench, fleet: &mut Fleet<'_>, subject: &Subject<'_>) -> Result<Release> {
    bench.stub.set_usual(0.0);
    let size = fleet.names().len();
    let numbers: BTreeMap<String, i64> =
        fleet.names().iter().map(|name| (name.clone(), run_of(&bench.sights, name) + 1)).collect();
    let (mark, before) = (bench.lab.audit().mark(), subject.usage()?);
    let (queries, page) = (bench.stub.queries(), subject.page().await?);
    let begun = fleet.push().await?;
    let within = Duration::from_secs(120 + size as u64 / 2);
    let has_ended = |name: &str, status: &RolloutStatus| {
        status.run.as_ref().is_some_and(|run| run.number >= numbers[name] && run.ended_at.is_some())
    };
    let ended = bench.sights.until_all("all promoted", fleet.names(), within, has_ended).await?;
    tokio::time::sleep(AFTERMATH).await;
    let after = subject.usage()?;
    let requests = subject.requests(&mark)?;
    let per_rollout = |count: usize| count as f64 / size as f64;
    let mut by_kind = BTreeMap::<String, usize>::new();
    for entry in &requests.0 {
        *by_kind.entry(format!("{} {}", entry.verb, entry.resource)).or_default() += 1;
    }
    let events = requests.only(|entry| entry.resource == "events").0.len();
    let watches = requests.only(|entry| entry.verb == "watch").0.len();
    let runs = numbers.iter().map(|(name, number)| times_of(bench, name, *number, begun));
    let mut runs = runs.collect::<Result<Vec<_>>>()?;
    runs.sort_by(|a, b| a.1.total_cmp(&b.1));
    let last = ended.values().max().copied().unwrap_or(begun);
    Ok(Release {
        completed: seconds(begun, last) - IDEAL,
        earned: runs.iter().map(|run| run.0).fold(0.0, f64::max) - IDEAL,
        run: runs[runs.len() / 2].1 - IDEAL,
        requests: (per_rollout(requests.0.len() - events - watches), per_rollout(events)),
        by_kind: by_kind.into_iter().map(|(kind, count)| (kind, per_rollout(count))).collect(),
        conflicts: per_rollout(requests.only(|entry| entry.code == 409).0.len()),
        queries: per_rollout(bench.stub.queries() - queries),
        cpu: (after.cpu - before.cpu).as_secs_f64() * 1000.0 / size as f64,
        peak: after.peak,
        reconciles: reconciles(&page, &subject.page().await?, size),
    })
}

/// Seconds from `begun` until every phase was earned, and from the start of the run to its end.
fn times_of(bench: &Bench, name: &str, number: i64, begun: Timestamp) -> Result<(f64, f64)> {
    let status = bench.sights.of(name).map(|(_, status)| status).unwrap_or_default();
    let run =
        status.run.as_ref().filter(|run| run.number == number && run.outcome == Some(Outcome::Completed));
    let said = serde_json::to_string(&status.run)?;
    ensure!(run.is_some(), "{name}: run {number} was to be complete: {said}");
    Ok(run.map_or((0.0, 0.0), |run| {
        let promoting = run.timeline.iter().find(|entry| entry.reason == "Promoting");
        let earned = seconds(begun, promoting.map_or(begun, |entry| entry.at));
        (earned, seconds(run.started_at, run.ended_at.unwrap_or(run.started_at)))
    }))
}

fn reconciles(before: &str, after: &str, size: usize) -> Vec<(String, f64)> {
    const NAME: &str = "palier_reconciles_total{";
    let read = |page: &str| -> BTreeMap<String, f64> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(NAME)?.split_once("} "));
        lines.filter_map(|(labels, count)| Some((labels.to_owned(), count.parse().ok()?))).collect()
    };
    let before = read(before);
    let grown = |(labels, count): (String, f64)| {
        let old = before.get(&labels).copied().unwrap_or_default();
        (labels, (count - old) / size as f64)
    };
    read(after).into_iter().map(grown).collect()
}

/// Seconds between two times.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
