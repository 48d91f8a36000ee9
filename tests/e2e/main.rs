//! End-to-end: Palier on a real control plane, with a real gateway, a real Prometheus and live requests. See README.md.

#![allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the suite speaks to the person at the terminal"
)]

#[path = "../lab/mod.rs"]
mod lab;
mod rows;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::future::LocalBoxFuture;
use lab::{Lab, Options, User};
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use world::{Crew, Scene, World};

/// Scenarios side by side, unless `--test-threads` says otherwise: what two cores carry without measuring each other.
const SIDE_BY_SIDE: usize = 3;
/// No scenario takes longer.
const LIMIT: Duration = Duration::from_secs(420);

/// What a scenario does in its scene.
type Body = fn(Arc<Scene>) -> LocalBoxFuture<'static, Result<()>>;

/// A scenario by name.
#[derive(Clone, Copy)]
pub struct Scenario {
    name: &'static str,
    crew: Crew,
    body: Body,
}

/// Names a scenario after its function.
#[macro_export]
macro_rules! scenario {
    ($crew:expr, $body:path) => {
        $crate::Scenario {
            name: stringify!($body).rsplit("::").next().map_or("", str::trim),
            crew: $crew,
            body: |scene| Box::pin($body(scene)),
        }
    };
}

fn play(world: &Arc<World>, scenario: &Scenario, name: &str) -> Result<(), Failed> {
    let outcome = world.lab.block_on(async {
        let scene = Scene::set(world, name, scenario.crew).await?;
        let played = tokio::time::timeout(LIMIT, (scenario.body)(scene.clone())).await;
        match played {
            Ok(Ok(())) => scene.close().await,
            Ok(Err(error)) => Err(error.context(scene.account())),
            Err(_) => Err(anyhow::anyhow!("not over after {LIMIT:?}").context(scene.account())),
        }
    });
    // The account comes first, the cause last: there the eye falls.
    outcome.map_err(|error| {
        let words: Vec<String> = error.chain().map(ToString::to_string).collect();
        Failed::from(words.join("\n=> "))
    })
}

/// Plays scenarios side by side, then those that failed once more, each alone: on a busy machine they measure each other, and
/// what counts is what a scenario does by itself. Both outcomes stand in the output and in the table of figures.
fn play_all(arguments: &Arguments, world: &Arc<World>, scenarios: Vec<Scenario>) -> Vec<Conclusion> {
    let failed: Arc<Mutex<Vec<Scenario>>> = Arc::default();
    let trial = |scenario: Scenario| {
        let (world, failed) = (world.clone(), failed.clone());
        Trial::test(scenario.name, move || {
            if let Err(cause) = play(&world, &scenario, scenario.name) {
                eprintln!(
                    "{}\n{} failed beside others and is played once more, alone",
                    words(&cause),
                    scenario.name
                );
                world.figures.note(scenario.name, "beside others", "failed", "passes");
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(scenario);
            }
            Ok(())
        })
    };
    let beside = libtest_mimic::run(arguments, scenarios.into_iter().map(trial).collect());
    let again = std::mem::take(&mut *failed.lock().unwrap_or_else(PoisonError::into_inner));
    if again.is_empty() {
        return vec![beside];
    }
    let alone = |scenario: Scenario| {
        let (world, name) = (world.clone(), format!("{}_alone", scenario.name));
        Trial::test(name.clone(), move || play(&world, &scenario, &name))
    };
    let one_by_one = Arguments { test_threads: Some(1), ..arguments.clone() };
    vec![beside, libtest_mimic::run(&one_by_one, again.into_iter().map(alone).collect())]
}

fn words(failed: &Failed) -> &str {
    failed.message().unwrap_or("failed")
}

fn run(arguments: &Arguments, lab: Lab) -> ExitCode {
    let world = World::new(lab);
    let mut conclusions = play_all(arguments, &world, rows::with_the_shared_pair());
    let stopped = world.lab.block_on(world.stop_shared());
    let one_by_one = Arguments { test_threads: Some(1), ..arguments.clone() };
    conclusions.extend(play_all(&one_by_one, &world, rows::alone()));
    let left = world.lab.block_on(world.leave_cluster_wide());
    conclusions.extend(play_all(arguments, &world, rows::with_controllers_of_their_own()));
    conclusions.extend(play_all(&one_by_one, &world, rows::shaking_the_control_plane()));
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/e2e/report.md");
    let written = world.figures.write(&report);
    println!("{}", world.figures.table());
    println!("the table is in {}", report.display());
    for result in [stopped, left, written] {
        if let Err(error) = result {
            eprintln!("e2e: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    if conclusions.iter().any(Conclusion::has_failed) { ExitCode::from(101) } else { ExitCode::SUCCESS }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    if arguments.list {
        let all = rows::with_the_shared_pair().into_iter().chain(rows::alone());
        let all = all.chain(rows::with_controllers_of_their_own());
        let all = all.chain(rows::shaking_the_control_plane());
        let listed = all.map(|scenario| Trial::test(scenario.name, || Ok(())));
        return libtest_mimic::run(&arguments, listed.collect()).exit_code();
    }
    let options = Options {
        users: vec![User::new("mallory", &[])],
        // A second is too short on a busy machine: the gateway would send requests to a pod that has ended.
        termination_grace: Duration::from_secs(5),
        ..Options::default()
    };
    match lab::enter(None).and_then(|place| Lab::start(&place, options)) {
        Ok(lab) => run(&arguments, lab),
        Err(error) => {
            eprintln!("e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}
