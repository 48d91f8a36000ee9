//! The benchmark: what Palier costs, measured on the lab's real control plane. Run it with `make bench`.
//!
//! ```text
//! for each size N:  Fleet grows to N ─▶ Subject (a fresh controller) ─▶ at rest ─▶ all released at once ─▶ a bad metric ─▶ an abort
//!                   judges: the API server's audit log, /proc, the stub's memory of its answers, the Rollouts' status
//! ```
//!
//! `BENCH_N=1,100` selects sizes, `BENCH_RUNS` the repetitions at N=1, `BENCH_REST` the seconds at rest, `BENCH_PALIER` the program;
//! `BENCH_NOTE` is added to the page.

#![allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the benchmark speaks to the person at the terminal"
)]

mod fleet;
#[allow(dead_code, reason = "shared with the soak")]
mod gateway;
#[path = "../e2e/world/install.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests")]
mod install;
#[path = "../lab/mod.rs"]
mod lab;
mod reaction;
mod release;
mod report;
mod rest;
mod sights;
mod subject;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fleet::{Fleet, Pattern};
use lab::{Lab, Options, Stub};
use reaction::{Bad, Spread};
use report::{Report, Row};
use sights::Sights;
use subject::Subject;

/// The whole benchmark takes no longer.
const LIMIT: Duration = Duration::from_secs(25 * 60);
const SIZES: &str = "1,100,1000";
const RUNS: usize = 20;
const REST: u64 = 60;
/// The fleet; its gate is asked as those of Argo and Flagger were, which were measured before; the rest is Kubernetes' usual.
const FLEET: Pattern =
    Pattern { namespace: "bench", prefix: "r", bake: "10s", interval: "10s", revisions: 10 };
/// Reactions are measured up to this size.
const REACTIONS_UP_TO: usize = 100;

/// What every measurement needs.
pub struct Bench {
    lab: Lab,
    stub: Stub,
    sights: Sights,
    runs: usize,
    rest: Duration,
}

fn setting<T: std::str::FromStr>(name: &str, usual: T) -> Result<T> {
    match env::var(name) {
        Ok(text) => text.parse().ok().with_context(|| format!("{name}: not a number: {text}")),
        Err(_) => Ok(usual),
    }
}

fn sizes() -> Result<Vec<usize>> {
    let text = env::var("BENCH_N").unwrap_or_else(|_| SIZES.to_owned());
    let sizes = text.split(',').map(|one| one.trim().parse::<usize>());
    let mut sizes: Vec<usize> =
        sizes.collect::<Result<_, _>>().with_context(|| format!("BENCH_N: not sizes: {text}"))?;
    // The fleet only grows.
    sizes.sort_unstable();
    Ok(sizes)
}

async fn measure(bench: &Bench, sizes: &[usize]) -> Result<Report> {
    let _gateway = gateway::install(&bench.lab, &[FLEET.namespace]).await?;
    install::cluster_wide(&bench.lab).await?;
    let mut fleet = Fleet::new(&bench.lab, &bench.sights, FLEET);
    let mut rows = Vec::new();
    for &size in sizes {
        eprintln!("bench: N = {size}");
        match measure_size(bench, &mut fleet, size).await {
            Ok(row) => {
                eprintln!("{}", row.in_short());
                rows.push(row);
            }
            // What was measured is worth a page all the same.
            Err(error) if !rows.is_empty() => {
                eprintln!("bench: N = {size}: {error:#}");
                break;
            }
            Err(error) => return Err(error.context(format!("N = {size}"))),
        }
    }
    Ok(Report { is_whole: rows.len() == sizes.len(), rows, binary: subject::binary_size()? })
}

async fn measure_size(bench: &Bench, fleet: &mut Fleet<'_>, size: usize) -> Result<Row> {
    let begun = Instant::now();
    let told = |what: &str| eprintln!("bench: {size}: {what} after {:.0} s", begun.elapsed().as_secs_f64());
    {
        let _helper = Subject::start(bench, &format!("grow-{size}")).await?;
        fleet.grow(size).await?;
        told("the fleet stands");
    }
    let subject = Subject::start(bench, &format!("palier-{size}")).await?;
    let rest = rest::measure(bench, &subject, size).await?;
    told("measured at rest");
    let release = release::measure(bench, fleet, &subject).await?;
    told("released");
    let mut row = Row { size, rest, release, bad: Bad::default(), abort: Spread::default() };
    eprintln!("{}", row.in_short());
    if size <= REACTIONS_UP_TO {
        fleet.hasten().await?;
        row.bad = reaction::to_bad_metrics(bench, fleet).await?;
        told("measured bad metrics");
        row.abort = reaction::to_aborts(bench, fleet).await?;
        told("measured aborts");
        fleet.slow_down().await?;
    }
    Ok(row)
}

/// False when not every size could be measured.
fn run() -> Result<bool> {
    let (sizes, runs) = (sizes()?, setting("BENCH_RUNS", RUNS)?);
    let rest = Duration::from_secs(setting("BENCH_REST", REST)?);
    let place = lab::enter(None)?;
    let lab = Lab::start(&place, Options::bare())?;
    let bench = lab.block_on(async {
        let stub = lab.stub("rollout").await?;
        let sights = Sights::default();
        anyhow::Ok((stub, sights))
    })?;
    let bench = Arc::new(Bench { lab, stub: bench.0, sights: bench.1, runs, rest });
    let report = bench.lab.block_on(async {
        let measured = tokio::time::timeout(LIMIT, measure(&bench, &sizes)).await;
        measured.with_context(|| format!("the benchmark took longer than {LIMIT:?}"))?
    })?;
    let page = report.page();
    println!("{page}");
    if env::var_os("BENCH_N").is_none() || env::var_os("BENCH_WRITE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report.is_whole)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
