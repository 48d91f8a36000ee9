//! The soak: two hundred Rollouts, released again and again for hours on the lab's real control plane, and every ten seconds
//! something goes wrong. Run it with `make soak-cluster`.
//!
//! ```text
//! Releases: push ─▶ a run ─▶ its end ─▶ push …      two fleets, each with a crew of controllers (see crews.rs)
//! Faults:   one each ten seconds                     processes, requests, watches, metrics, gateway, etcd
//!           judges (judge/): the API server's audit log, the metric server's memory, /proc, the objects in the end
//! ```
//!
//! `SOAK_MINUTES=150` and `SOAK_ROLLOUTS=200` say how long and how many, `SOAK_FAULT_SECONDS=10` is the time between faults,
//! `SOAK_SEED=1` draws them, `SOAK_AT_ONCE=24` is the number of releases on their way at a time: what two cores carry. The counters
//! go to `soak.json` in Cargo's folder for tests, from where `make reliability` puts them into docs/reliability.md.

#![allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the soak speaks to the person at the terminal"
)]

#[path = "../e2e/world/controllers.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests")]
mod controllers;
mod crews;
#[path = "../crash/dice.rs"]
mod dice;
mod faults;
#[path = "../bench/fleet.rs"]
#[allow(dead_code, reason = "shared with the benchmark")]
mod fleet;
#[path = "../bench/gateway.rs"]
mod gateway;
#[path = "../e2e/world/install.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests")]
mod install;
mod judge;
#[path = "../lab/mod.rs"]
mod lab;
mod ledger;
mod look;
mod releases;
mod report;
mod samples;
mod settings;
#[path = "../e2e/world/share.rs"]
mod share;
#[path = "../bench/sights.rs"]
mod sights;

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use crews::{Crew, SHAKEN, STEADY, Watchman};
use faults::Faults;
use fleet::{Fleet, Pattern, run_of};
use gateway::Gateway;
use lab::{Lab, Moods, Options, Stub};
use ledger::Ledger;
use releases::Releases;
use report::Report;
use samples::Samples;
use settings::Settings;
use sights::Sights;

/// The bake of each phase in seconds; the fleets say it in words.
pub const BAKE_SECONDS: i64 = 4;
/// The fleet of the crew that stays, and that of the crew that does not. With the usual ten old ReplicaSets for each Deployment the
/// memory of a controller would grow for the first ten releases of each, as it has to.
const FLEETS: [Pattern; 2] = [
    Pattern { namespace: STEADY, prefix: "s", bake: "4s", interval: "1s", revisions: 2 },
    Pattern { namespace: SHAKEN, prefix: "k", bake: "4s", interval: "1s", revisions: 2 },
];
/// After so many releases of each Rollout its Deployment has as many old ReplicaSets as it will ever have, and the controller has
/// seen all that there is to see.
const WARM_AFTER: usize = 5;
/// From one sample of the processes, and one look into the audit log, to the next.
const BETWEEN_SAMPLES: Duration = Duration::from_secs(10);
/// From one line of progress to the next, in samples.
const PROGRESS_EVERY: usize = 3;
/// How long nothing may be written when everything is at rest. Late Events and the log come before it.
const QUIET: Duration = Duration::from_secs(30);
const AFTERMATH: Duration = Duration::from_secs(5);

/// What everybody needs.
pub struct Soak {
    lab: Lab,
    stub: Stub,
    moods: Moods,
    sights: Sights,
    gateway: Gateway,
    crews: Vec<Crew>,
    settings: Settings,
}

/// Everything that is seen on the way.
#[derive(Default)]
struct Seen {
    releases: Releases,
    faults: Faults,
    samples: RefCell<Samples>,
    watchman: Watchman,
}

/// The chart, the stand-ins and the controllers.
async fn prepare(lab: &Lab) -> Result<(Gateway, Stub, Moods, Vec<Crew>)> {
    let gateway = gateway::install(lab, &[STEADY, SHAKEN]).await?;
    install::cluster_wide(lab).await?;
    let stub = lab.stub("rollout").await?;
    let moods = lab.moods_before(&stub).await?;
    let crews = vec![Crew::start(lab, &moods, STEADY).await?, Crew::start(lab, &moods, SHAKEN).await?];
    Ok((gateway, stub, moods, crews))
}

async fn soak(soak: &Soak) -> Result<Report> {
    let mut fleets = FLEETS.map(|pattern| Fleet::new(&soak.lab, &soak.sights, pattern));
    let half = soak.settings.rollouts / 2;
    for (fleet, size) in fleets.iter_mut().zip([soak.settings.rollouts - half, half]) {
        fleet.grow(size).await?;
    }
    println!("soak: {} Rollouts stand", soak.settings.rollouts);
    let found = look::look(soak).await?;
    let (seen, ledger) = (Seen::default(), RefCell::new(Ledger::new(&soak.lab)));
    let (begun, end) = (Instant::now(), Instant::now() + soak.settings.lasts);
    let work = async {
        tokio::try_join!(seen.releases.go_on(soak, &fleets, end), seen.faults.happen(soak, end))?;
        let stuck = look::until_at_rest(soak, &found, &seen.releases.pages()).await?;
        tokio::time::sleep(AFTERMATH).await;
        ledger.borrow_mut().read_on(&soak.lab)?;
        let before = ledger.borrow().writes();
        tokio::time::sleep(QUIET).await;
        ledger.borrow_mut().read_on(&soak.lab)?;
        let at_rest = ledger.borrow().writes() - before;
        anyhow::Ok((stuck, at_rest))
    };
    let (stuck, at_rest) = tokio::select! {
        done = work => done?,
        never = seen.watchman.watch(&soak.lab, &soak.crews) => return Err(never.err().unwrap_or_else(|| anyhow::anyhow!("nobody watches"))),
        never = observe(soak, &seen, &ledger, begun) => return Err(never.err().unwrap_or_else(|| anyhow::anyhow!("nobody observes"))),
    };
    let runs = fleets.iter().flat_map(Fleet::names).map(|name| run_of(&soak.sights, name)).sum::<i64>();
    let ledger = ledger.into_inner();
    Ok(Report::of(soak, &seen, &ledger, report::End { stuck, at_rest, runs, took: begun.elapsed() }))
}

/// Samples, the audit log and a line of progress, again and again.
async fn observe(soak: &Soak, seen: &Seen, ledger: &RefCell<Ledger>, begun: Instant) -> Result<()> {
    let mut ticks = tokio::time::interval(BETWEEN_SAMPLES);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for tick in 1_usize.. {
        ticks.tick().await;
        seen.samples.borrow_mut().take(&soak.lab, &soak.crews);
        if seen.releases.took().len() >= soak.settings.rollouts * WARM_AFTER {
            seen.samples.borrow_mut().is_warm();
        }
        ledger.borrow_mut().read_on(&soak.lab)?;
        if tick.is_multiple_of(PROGRESS_EVERY) {
            println!("{}", report::progress(soak, seen, &ledger.borrow(), begun));
        }
    }
    Ok(())
}

/// False when a judge said no.
fn run() -> Result<bool> {
    let settings = Settings::read()?;
    let place = lab::enter(None)?;
    let lab = Lab::start(&place, Options::bare())?;
    let (gateway, stub, moods, crews) = lab.block_on(prepare(&lab))?;
    let ready = Soak { lab, stub, moods, sights: Sights::default(), gateway, crews, settings };
    let report = ready.lab.block_on(soak(&ready))?;
    println!("{}", report.table());
    report.write()?;
    Ok(report.wrong().is_empty())
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}
