//! What a fleet at rest costs.

use std::time::Duration;

use anyhow::Result;

use crate::Bench;
use crate::subject::Subject;

/// Between the start of the controller and the window that is measured.
const SETTLING: Duration = Duration::from_secs(5);

/// What was measured.
pub struct Rest {
    /// Requests per Rollout and minute.
    pub requests: f64,
    /// The same as (verb and resource, number).
    pub by_kind: Vec<(String, usize)>,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Processor seconds per minute.
    pub cpu: f64,
}

/// Lets a controller that was just started rest, and measures.
pub async fn measure(bench: &Bench, subject: &Subject<'_>, size: usize) -> Result<Rest> {
    tokio::time::sleep(SETTLING).await;
    let (mark, before) = (bench.lab.audit().mark(), subject.usage()?);
    tokio::time::sleep(bench.rest).await;
    let (requests, after) = (subject.requests(&mark)?, subject.usage()?);
    let minutes = bench.rest.as_secs_f64() / 60.0;
    let mut by_kind = std::collections::BTreeMap::<String, usize>::new();
    for entry in &requests.0 {
        *by_kind.entry(format!("{} {}", entry.verb, entry.resource)).or_default() += 1;
    }
    Ok(Rest {
        // A watch that ends after its time and begins anew is none of an object's.
        requests: requests.only(|entry| entry.verb != "watch").0.len() as f64 / size as f64 / minutes,
        by_kind: by_kind.into_iter().collect(),
        resident: after.resident,
        cpu: (after.cpu - before.cpu).as_secs_f64() / minutes,
    })
}
