//! What stable's last hours teach, once, before the first block: φ, the tolerance, and the bounds of latency to look at.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{BucketsRule, CountersRule, GateStatistics, Rule, Span};
use crate::engine::plan::Ask;
use crate::engine::query::{QueryError, Variables, is_pod_of};
use crate::engine::statistics::Arm;
use crate::engine::statistics::histogram::{self, Bucket, Side};
use crate::engine::statistics::history::{self, Dispersion};
use crate::engine::statistics::latency::{self, BOUNDS_MAX};
use crate::engine::world::{Line, Reading};

use super::{Counting, Memory, read};

/// How far back is looked for counters.
const BACK: Span = Span::seconds(6 * 3_600);
/// How far back is looked for histograms, which are many series, and for counters when the longer answer did not come.
const BACK_SHORT: Span = Span::seconds(3_600);
/// The length of the minutes that are compared.
const MINUTE: Span = Span::seconds(60);
/// After so many questions in vain the run goes on without a history.
pub(super) const TRIES_MAX: u8 = 3;

/// The question: stable's pods alone, up to the moment at which the first block begins.
pub(super) fn asked(
    counting: &Counting<'_>,
    memory: &Memory,
    variables: &Variables,
    until: Timestamp,
) -> Result<Ask, QueryError> {
    let of_stable = Variables { canary_pods: variables.stable_pods.clone(), ..variables.clone() };
    let is_short = memory.tries > 0 || matches!(counting.rule, Rule::Buckets { .. });
    let back = if is_short { BACK_SHORT } else { BACK };
    let queries = counting.queries(&of_stable)?;
    Ok(Ask::Series { queries, from: super::before(until, back), until, step: MINUTE })
}

/// The requests of each stable pod in each minute, one list for each bound (one alone for a rate).
type Minutes = Vec<BTreeMap<Timestamp, Vec<Arm>>>;

/// Takes in the answer; without one, or one that teaches nothing, what is usual is taken, and said.
pub(super) fn learned(
    counting: &Counting<'_>,
    counted: &GateStatistics,
    series: Option<&[Vec<Line>]>,
) -> GateStatistics {
    let mut after = counted.clone();
    let stable = counting.sets.1;
    let (minutes, pods) = match (series, &counting.rule) {
        (Some([bad, total, ..]), Rule::Counters { .. }) => rates(bad, total, stable),
        (Some([lines, ..]), Rule::Buckets { by, .. }) => {
            let read = read::histograms(lines);
            after.bounds = bounds(by, &read, stable);
            tails(&read, stable, &after.bounds)
        }
        _ => (Vec::new(), Vec::new()),
    };
    let phi = minutes.iter().map(phi).fold(None, widest);
    let canary_pods = counting.canary_pods.max(1);
    let spread =
        pods.iter().map(|pods| history::tolerance(pods, canary_pods, phi.unwrap_or(history::PHI_UNKNOWN)));
    after.phi = phi.unwrap_or(history::PHI_UNKNOWN);
    let own = match &counting.rule {
        Rule::Counters { by: CountersRule::Sequential(it), .. } => it.tolerance,
        Rule::Buckets { by: BucketsRule::Sequential(it), .. } => it.tolerance,
        _ => None,
    };
    let known = own.or_else(|| phi.and_then(|_| spread.map(Some).fold(None, widest)));
    after.tolerance = known.unwrap_or(history::RHO0_UNKNOWN);
    let seen = pods.first().map_or(0, |pods| pods.iter().filter(|pod| pod.total > 0.0).count());
    let length = minutes.first().map_or(0, BTreeMap::len);
    after.learned = if phi.is_some() {
        format!("{length} minutes of {seen} stable pods")
    } else if series.is_none() {
        "nothing: the metric server did not answer; usual values are taken".to_owned()
    } else {
        "nothing: stable has no history of at least two pods; usual values are taken".to_owned()
    };
    after
}

fn widest(widest: Option<f64>, next: Option<f64>) -> Option<f64> {
    match (widest, next) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// φ; `None` if no minute had two pods with traffic.
fn phi(minutes: &BTreeMap<Timestamp, Vec<Arm>>) -> Option<f64> {
    let is_telling = minutes.values().any(|pods| pods.iter().filter(|pod| pod.total > 0.0).count() >= 2);
    let sums = minutes.values().fold(Dispersion::default(), |sums, pods| history::step(&sums, pods));
    is_telling.then(|| history::phi(&sums))
}

/// The minutes and the pods' whole counts, of counters.
fn rates(bad: &[Line], total: &[Line], stable: &str) -> (Minutes, Vec<Vec<Arm>>) {
    let (mut minutes, mut pods) = (BTreeMap::<Timestamp, Vec<Arm>>::new(), Vec::new());
    for line in total.iter().filter(|line| is_pod_of(&line.pod, stable)) {
        let bad = bad.iter().find(|it| it.pod == line.pod).map(numbers).unwrap_or_default();
        let bad_at = |at: &Timestamp| bad.get(at).copied().unwrap_or(0.0);
        let all = numbers(line);
        let mut whole = Arm::default();
        for ((from, before), (at, now)) in all.iter().zip(all.iter().skip(1)) {
            // What begins anew has counted all that it says.
            let is_reset = now < before || bad_at(at) < bad_at(from);
            let arm = if is_reset {
                Arm::new(bad_at(at), *now)
            } else {
                Arm::new(bad_at(at) - bad_at(from), now - before)
            };
            whole = whole.plus(arm);
            minutes.entry(*at).or_default().push(arm);
        }
        pods.push(whole);
    }
    (vec![minutes], vec![pods])
}

/// What the counters of a service say of its traffic, before any release.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habits {
    /// Requests a second, of all pods together.
    pub per_second: f64,
    /// The share of bad ones, above 0: half a request if there was none.
    pub bad: f64,
    /// φ, as a run would learn it.
    pub phi: f64,
    /// The tolerance ρ0, as a run would learn it.
    pub tolerance: f64,
    /// Minutes with requests.
    pub minutes: usize,
    /// Pods with requests.
    pub pods: usize,
}

/// What a run would learn from counters by minute, if the ReplicaSet `stable` were stable; `None` without a request.
/// `canary_share` is the traffic of the canary in per cent, by which it has pods.
#[must_use]
pub fn habits(bad: &[Line], total: &[Line], stable: &str, canary_share: i32) -> Option<Habits> {
    let (minutes, pods) = rates(bad, total, stable);
    let (minutes, pods) = (minutes.first()?, pods.first()?);
    let whole = pods.iter().fold(Arm::default(), |sum, pod| sum.plus(*pod));
    if whole.total <= 0.0 {
        return None;
    }
    let phi = phi(minutes);
    let canary_pods = pods.len() * usize::try_from(canary_share.clamp(1, 100)).unwrap_or(100);
    let spread = history::tolerance(pods, canary_pods.div_ceil(100), phi.unwrap_or(history::PHI_UNKNOWN));
    let seconds = minutes.len() as f64 * MINUTE.as_std().as_secs_f64();
    Some(Habits {
        per_second: whole.total / seconds,
        bad: (whole.bad.max(0.5) / whole.total).min(1.0),
        phi: phi.unwrap_or(history::PHI_UNKNOWN),
        tolerance: phi.map_or(history::RHO0_UNKNOWN, |_| spread),
        minutes: minutes.len(),
        pods: pods.iter().filter(|pod| pod.total > 0.0).count(),
    })
}

/// The requests of the ReplicaSet `stable`, all pods together, in one `window` after the other, from counters by minute. A window is a
/// minute at least; those without a request are left out.
#[must_use]
pub fn windows(bad: &[Line], total: &[Line], stable: &str, window: Span) -> Vec<Arm> {
    let (minutes, _) = rates(bad, total, stable);
    let Some(minutes) = minutes.first() else { return Vec::new() };
    let Some(first) = minutes.keys().next() else { return Vec::new() };
    let long = window.max(MINUTE).as_millis();
    let mut all: BTreeMap<i64, Arm> = BTreeMap::new();
    for (at, pods) in minutes {
        let index = (at.as_millisecond() - first.as_millisecond()) / long;
        let seen = all.entry(index).or_default();
        *seen = pods.iter().fold(*seen, |sum, pod| sum.plus(*pod));
    }
    all.into_values().filter(|it| it.total > 0.0).collect()
}

fn numbers(line: &Line) -> BTreeMap<Timestamp, f64> {
    let number = |(at, reading): &(Timestamp, Reading)| match reading {
        Reading::Number(number) if number.is_finite() && *number >= 0.0 => Some((*at, *number)),
        _ => None,
    };
    line.points.iter().filter_map(number).collect()
}

/// The minutes and the pods' whole counts of requests above each bound.
fn tails(read: &read::ByPod<'_, Vec<Bucket>>, stable: &str, bounds: &[f64]) -> (Minutes, Vec<Vec<Arm>>) {
    let mut minutes: Minutes = vec![BTreeMap::new(); bounds.len()];
    let mut pods: Vec<Vec<Arm>> = vec![Vec::new(); bounds.len()];
    for (_, moments) in read.iter().filter(|(pod, _)| is_pod_of(pod, stable)) {
        let mut whole = vec![Arm::default(); bounds.len()];
        for ((_, before), (at, now)) in moments.iter().zip(moments.iter().skip(1)) {
            let Some(grown) = histogram::added(before, now) else { continue };
            let (slow, all) = super::above(&grown, bounds);
            for (index, slow) in slow.iter().enumerate() {
                let arm = Arm::new(*slow, all);
                whole[index] = whole[index].plus(arm);
                minutes[index].entry(*at).or_default().push(arm);
            }
        }
        for (pods, whole) in pods.iter_mut().zip(whole) {
            pods.push(whole);
        }
    }
    (minutes, pods)
}

/// The bounds to look at: as the gate says, or where stable's tail tells most.
fn bounds(by: &BucketsRule<'_>, read: &read::ByPod<'_, Vec<Bucket>>, stable: &str) -> Vec<f64> {
    match by {
        BucketsRule::Quantile(it) => return vec![it.max],
        BucketsRule::Sequential(it) if !it.bounds.is_empty() => {
            let mut bounds = it.bounds.clone();
            bounds.truncate(BOUNDS_MAX);
            return bounds;
        }
        BucketsRule::Sequential(_) => {}
    }
    // What each stable pod has counted since it started is history enough for this.
    let last: Vec<&Vec<Bucket>> = read
        .iter()
        .filter(|(pod, _)| is_pod_of(pod, stable))
        .filter_map(|(_, moments)| moments.values().next_back())
        .collect();
    let mut uppers: Vec<f64> = last.iter().flat_map(|buckets| buckets.iter().map(|it| it.upper)).collect();
    uppers.retain(|upper| upper.is_finite());
    uppers.sort_by(f64::total_cmp);
    uppers.dedup();
    let tail = |bound: f64| {
        let slow = last.iter().map(|buckets| histogram::above(buckets, bound, Side::Surely)).sum();
        (bound, Arm::new(slow, last.iter().map(|buckets| histogram::total(buckets)).sum()))
    };
    latency::chosen_bounds(&uppers.into_iter().map(tail).collect::<Vec<_>>())
}
