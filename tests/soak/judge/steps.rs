//! Whether every share was earned, by the API server's audit log and the metric server's memory alone: a share rises to the next
//! declared one only, after its bake, after an answer that is good and after none that is bad.
//!
//! A write whose answer nobody heard may be done or not: from there on both are possible, until a write that is known to be done.

use jiff::{SignedDuration, Timestamp};

/// One write of a route.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// When the API server was asked.
    pub at: Timestamp,
    /// The share that it gives to the canary, in per cent.
    pub share: i64,
    /// Whether it is known to be done.
    pub is_sure: bool,
}

/// An answer of the metric server: when, and the value.
pub type Answer = (Timestamp, f64);

/// What earns a raise.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'r> {
    /// The shares of the phases, rising.
    pub shares: &'r [i64],
    /// The bake of each phase.
    pub bake: SignedDuration,
    /// Values above it are bad.
    pub limit: f64,
}

/// A write that was decided before an answer came may be asked for so much later.
const UNDER_WAY: SignedDuration = SignedDuration::from_secs(2);

/// A share that the route may have, and since when.
type Possible = (i64, Timestamp);

/// Every write that nothing allows. `writes` are in the order in which they were done, `answers` in that of time.
pub fn wrong(rule: &Rule<'_>, writes: &[Write], answers: &[Answer]) -> Vec<String> {
    let mut possible: Vec<Possible> = vec![(0, Timestamp::UNIX_EPOCH)];
    let mut wrong = Vec::new();
    for write in writes {
        let reasons: Vec<Option<String>> =
            possible.iter().map(|from| refusal(rule, *from, write, answers)).collect();
        if let Some(reasons) = reasons.into_iter().collect::<Option<Vec<_>>>() {
            wrong.push(format!("{} % at {}: {}", write.share, write.at, reasons.join("; or ")));
        }
        let since = possible.iter().find(|one| one.0 == write.share).map_or(write.at, |one| one.1);
        if write.is_sure {
            possible.clear();
        } else {
            possible.retain(|one| one.0 != write.share);
        }
        possible.push((write.share, since));
    }
    wrong
}

/// Why a write may not follow a share; `None` when it may.
fn refusal(rule: &Rule<'_>, (from, since): Possible, write: &Write, answers: &[Answer]) -> Option<String> {
    if write.share == 0 || write.share == from {
        return None;
    }
    let next = rule.shares.iter().copied().find(|share| *share > from);
    if next != Some(write.share) {
        return Some(format!(
            "after {from} % comes {}",
            next.map_or("nothing".to_owned(), |it| it.to_string())
        ));
    }
    if from == 0 {
        return None;
    }
    let baked = write.at.duration_since(since);
    if baked < rule.bake {
        return Some(format!("{from} % baked for {:.1} s", baked.as_secs_f64()));
    }
    let first = answers.partition_point(|one| one.0 < since);
    let meanwhile = answers[first..].iter().take_while(|one| one.0 <= write.at);
    let (good, bad): (Vec<&Answer>, Vec<&Answer>) = meanwhile.partition(|one| one.1 <= rule.limit);
    if let Some(bad) = bad.iter().find(|one| one.0 < write.at - UNDER_WAY) {
        return Some(format!("a bad answer at {from} %, at {}", bad.0));
    }
    good.is_empty().then(|| format!("no good answer at {from} %"))
}
