//! How long it takes from a bad answer, or a person's abort, until the canary has weight 0 on the route.
//!
//! The stub remembers when it gave the answer, the API server's audit log says when the write of the route was done.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use palier::api::{RolloutStatus, Stage};

use crate::Bench;
use crate::fleet::{Fleet, run_of};
use crate::lab::audit::Mark;
use crate::release::seconds;
use crate::subject;

/// A value that no gate lets pass.
const BAD: f64 = 1.0;
/// The audit log is written a moment after the answer.
const AUDIT_LAG: Duration = Duration::from_millis(300);

/// Seconds, sorted.
#[derive(Clone, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    /// The value below which `share` (0 to 1) of the values are.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What was measured of a bad metric.
#[derive(Default)]
pub struct Bad {
    /// From the answer that decided.
    pub from_answer: Spread,
    /// From the time at which the metric turned bad.
    pub from_flip: Spread,
}

/// One Rollout many times, or many Rollouts once.
fn rounds(bench: &Bench, fleet: &Fleet<'_>) -> usize {
    if fleet.names().len() == 1 { bench.runs } else { 1 }
}

/// Starts a run on all and waits until every one bakes in the first phase.
async fn all_bake(bench: &Bench, fleet: &mut Fleet<'_>) -> Result<()> {
    bench.stub.set_usual(0.0);
    fleet.names().iter().for_each(|name| bench.stub.set(name, 0.0));
    let before: BTreeMap<String, i64> =
        fleet.names().iter().map(|name| (name.clone(), run_of(&bench.sights, name))).collect();
    fleet.push().await?;
    let is_baking = |name: &str, status: &RolloutStatus| {
        let is_on =
            status.run.as_ref().is_some_and(|run| run.number > before[name] && run.ended_at.is_none());
        is_on && status.components.iter().all(|one| one.stage == Stage::Baking && one.weight > 0)
    };
    let within = Duration::from_secs(30 + fleet.names().len() as u64 / 8);
    bench.sights.until_all("the canary bakes", fleet.names(), within, is_baking).await?;
    Ok(())
}

/// Waits until every run has ended.
async fn all_end(bench: &Bench, fleet: &Fleet<'_>) -> Result<()> {
    let has_ended =
        |_: &str, status: &RolloutStatus| status.run.as_ref().is_some_and(|run| run.ended_at.is_some());
    let within = Duration::from_secs(30 + fleet.names().len() as u64 / 8);
    bench.sights.until_all("the run has ended", fleet.names(), within, has_ended).await?;
    tokio::time::sleep(AUDIT_LAG).await;
    Ok(())
}

/// When Palier's first write of each route after its time in `from` was done.
fn first_writes(
    bench: &Bench,
    mark: &Mark,
    from: &BTreeMap<String, Timestamp>,
) -> Result<BTreeMap<String, Timestamp>> {
    let mut done = BTreeMap::new();
    for entry in subject::requests(&bench.lab, mark)?.mutations().0 {
        let is_due = from.get(&entry.name).is_some_and(|from| *from <= entry.at);
        if entry.resource == "httproutes" && entry.code == 200 && is_due {
            done.entry(entry.name).or_insert(entry.done);
        }
    }
    ensure!(done.len() == from.len(), "{} of {} routes were written", done.len(), from.len());
    Ok(done)
}

/// The metric of every Rollout turns bad at once, while it bakes.
pub async fn to_bad_metrics(bench: &Bench, fleet: &mut Fleet<'_>) -> Result<Bad> {
    let (mut from_answer, mut from_flip) = (Vec::new(), Vec::new());
    for round in 0..rounds(bench, fleet) {
        all_bake(bench, fleet).await?;
        // At another moment of the gate's interval each time.
        tokio::time::sleep(Duration::from_millis(500 + round as u64 * 1000 / bench.runs.max(1) as u64)).await;
        let mark = bench.lab.audit().mark();
        let flip = Timestamp::now();
        fleet.names().iter().for_each(|name| bench.stub.set(name, BAD));
        all_end(bench, fleet).await?;
        let mut decided = BTreeMap::new();
        for name in fleet.names() {
            let answers = bench.stub.answers(name);
            let first = answers.iter().find(|(at, value)| *at >= flip && *value == BAD);
            decided.insert(name.clone(), first.with_context(|| format!("{name} was not asked"))?.0);
        }
        for (name, done) in first_writes(bench, &mark, &decided)? {
            from_answer.push(seconds(decided[&name], done));
            from_flip.push(seconds(flip, done));
        }
    }
    Ok(Bad { from_answer: Spread::of(from_answer), from_flip: Spread::of(from_flip) })
}

/// Somebody aborts every run at once, while it bakes.
pub async fn to_aborts(bench: &Bench, fleet: &mut Fleet<'_>) -> Result<Spread> {
    let mut all = Vec::new();
    for _ in 0..rounds(bench, fleet) {
        all_bake(bench, fleet).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mark = bench.lab.audit().mark();
        let sent =
            fleet.each(fleet.names(), async |name| Ok((name.to_owned(), fleet.abort(name).await?))).await?;
        let sent: BTreeMap<String, Timestamp> = sent.into_iter().collect();
        all_end(bench, fleet).await?;
        all.extend(first_writes(bench, &mark, &sent)?.iter().map(|(name, done)| seconds(sent[name], *done)));
    }
    Ok(Spread::of(all))
}
