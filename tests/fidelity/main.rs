//! The API server in this process against the real one: the same random requests are sent to both, and the answers are compared.
//!
//! What is not modelled, and therefore not asked or not compared:
//!
//! - `metadata.managedFields` and server-side apply: Palier does not use them.
//! - Defaults and unknown fields within the specs of built-in kinds, and those of the Gateway's: manifests come with all of them.
//! - Rules in CEL but for `self == oldSelf`, and that a field which was wrong before may stay so.
//! - Authorization and discovery; quotas; requests that are too large.
//! - The words of a 422: they are compared by what they are about and why, not letter by letter. So are those of a 400 for bytes
//!   that are no JSON.
//! - The version of what a dry run would create: the real server gives none.
//! - What a manifest of another kind is told where a custom resource is expected; labels that a Job takes from its template.
//! - The words of the storage about a precondition, and what follows when a deletion with a version takes the last finalizer away:
//!   the real server does half of it and answers 409.
//! - The text of a `continue` token, and how old one may be.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
#![allow(clippy::print_stderr, reason = "there is no harness yet that could speak")]
#![allow(clippy::disallowed_methods, reason = "a real control plane takes real time")]

#[path = "../lab/mod.rs"]
mod lab;

mod chance;
mod given;
mod mask;
mod script;
mod side;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use lab::{Lab, Options};
use libtest_mimic::{Arguments, Failed, Trial};
use palier::apiserver::{ApiServer, Store};
use serde_json::json;

use given::Given;
use side::Side;

/// Sequences; each has a namespace of its own.
const SEEDS: u64 = 60;
/// Requests of each, besides its watches.
const REQUESTS: usize = 40;

/// What the tests have in common.
struct Place {
    lab: Lab,
    given: Given,
    server: ApiServer,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Mostly they wait for watches to end.
    arguments.test_threads = Some(6);
    match start() {
        Ok(place) => libtest_mimic::run(&arguments, trials(&Arc::new(place))).exit_code(),
        Err(error) => {
            eprintln!("fidelity: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<Place> {
    let place = lab::enter(None)?;
    let lab = Lab::start(&place, Options { prometheus: false, players: false, ..Options::default() })?;
    let crds = format!("{}/deploy/base/crds.yaml", env!("CARGO_MANIFEST_DIR"));
    lab.kubectl(&["apply", "--server-side", "-f", &crds])?;
    lab.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"])?;
    // From here on nobody writes but the test.
    for program in ["kube-controller-manager", "kube-scheduler", "kwok", "traefik"] {
        lab.stop(program)?;
    }
    let given = lab.block_on(Given::ask(&lab.client())).context("the manifests")?;
    lab.block_on(lab::eventually("watches begin", Duration::from_secs(30), async || warm(&lab).await))?;
    let server = ApiServer::new(Store::new(Vec::new()), Arc::new(Timestamp::now));
    Ok(Place { lab, given, server })
}

/// A watch of a new kind can begin only with what came after the kind was first asked for.
async fn warm(lab: &Lab) -> Result<(), lab::Seen> {
    let mut side = Side::new(lab.client());
    side.begin(&format!("warm-{}", Timestamp::now().as_nanosecond())).await?;
    for watch in script::watches("warm") {
        let events = side.watch(&watch).await?;
        if !events.is_empty() {
            return Err(format!("{watch:?}: {events:?}").into());
        }
    }
    Ok(())
}

fn trials(place: &Arc<Place>) -> Vec<Trial> {
    let trial = |seed: u64| {
        let place = place.clone();
        Trial::test(format!("seed {seed}"), move || {
            place.lab.block_on(compare(&place, seed)).map_err(|error| Failed::from(format!("{error:#}")))
        })
    };
    (1..=SEEDS).map(trial).collect()
}

/// Sends one sequence to both and stops where they first differ.
async fn compare(place: &Place, seed: u64) -> Result<()> {
    let namespace = format!("f-{seed}");
    let connection = place.server.client("fidelity");
    let mut real = Side::new(place.lab.client());
    let mut ours = Side::new(connection.client.clone());
    for side in [&mut real, &mut ours] {
        side.begin(&namespace).await?;
    }
    let requests = script::requests(seed, &namespace, &place.given, REQUESTS);
    let mut told: Vec<String> = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        let (wanted, found) = (real.send(request).await?, ours.send(request).await?);
        if wanted.body["message"].as_str().is_some_and(|text| text.ends_with(mask::ODD)) {
            return Ok(());
        }
        ensure!(
            wanted == found,
            "request {number} of seed {seed}: {request}\nreal: {wanted}\nours: {found}\n{}\nbefore:\n{}",
            mask::difference(&wanted.body, &found.body),
            told.join("\n")
        );
        told.push(format!("{request}\n    {wanted}"));
    }
    let watches = script::watches(&namespace);
    let opened = watches.iter().map(|watch| async { tokio::try_join!(real.watch(watch), ours.watch(watch)) });
    for (watch, heard) in watches.iter().zip(futures::future::join_all(opened).await) {
        let (wanted, found) = heard?;
        let masked = |side: &mut Side, events| side.masked(events);
        let (wanted, found) = (masked(&mut real, wanted), masked(&mut ours, found));
        for (number, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
            ensure!(
                wanted == found,
                "event {number} of {watch:?}, seed {seed}\nreal: {wanted}\nours: {found}\n{}",
                mask::difference(wanted, found)
            );
        }
        let (wanted, found) = (json!(wanted), json!(found));
        ensure!(wanted == found, "{watch:?}, seed {seed}: {}", mask::difference(&wanted, &found));
    }
    Ok(())
}
