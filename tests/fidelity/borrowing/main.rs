//! The controllers of the in-process API server against the real ones: the same sequences are played on both, and after each step
//! the settled states are compared.
//!
//! What cannot be equal is not compared: identities, versions, times, addresses, and the hashes in the names that controllers give
//! (the objects behind them are told apart by their templates). The generation of a ReplicaSet is compared with the one that its
//! controller has seen only: how many steps an update takes depends on how fast pods are.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
#![allow(clippy::print_stderr, reason = "there is no harness yet that could speak")]
#![allow(clippy::disallowed_methods, reason = "a real control plane takes real time")]

#[path = "../../lab/mod.rs"]
mod lab;

mod sequences;
mod side;
mod state;
mod step;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Lab, Options};
use libtest_mimic::{Arguments, Failed, Trial};

use sequences::Sequence;
use side::{Ours, Side};

/// Sequences that are played at the same time, each in its own namespace.
const AT_ONCE: usize = 24;
/// How long the real controllers have to settle after a step.
const WITHIN: Duration = Duration::from_secs(20);
/// How long they must stay as they are then. Times of creation have whole seconds: it must be more than one.
const STAYS: Duration = Duration::from_millis(1_100);
const PAUSE: Duration = Duration::from_millis(400);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(AT_ONCE));
    let lab = lab::enter(None).and_then(|place| {
        let options = Options { gateway: false, prometheus: false, players: false, ..Options::default() };
        Lab::start(&place, options)
    });
    match lab {
        Ok(lab) => libtest_mimic::run(&arguments, trials(&Arc::new(lab))).exit_code(),
        Err(error) => {
            eprintln!("fidelity-borrowing: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials(lab: &Arc<Lab>) -> Vec<Trial> {
    let trial = |(number, sequence): (usize, Sequence)| {
        let lab = lab.clone();
        Trial::test(sequence.name.clone(), move || {
            let played = lab.block_on(play(&lab, &sequence, &format!("b-{number}")));
            played.map_err(|error| Failed::from(format!("{error:#}")))
        })
    };
    sequences::all().into_iter().enumerate().map(trial).collect()
}

/// Plays a sequence on both and stops where they first differ.
async fn play(lab: &Lab, sequence: &Sequence, namespace: &str) -> Result<()> {
    let real = Side::begin(lab.client(), namespace).await?;
    let mut ours = Ours::begin(namespace).await?;
    for (number, step) in sequence.steps.iter().enumerate() {
        let what = format!("step {number} of {:?}, {step:?}", sequence.name);
        let (ours_said, real_said) = (ours.play(step).await, real.play(step).await);
        // What cannot be done cannot be done on both: a name is taken, or nothing of that name is there.
        let words = format!("{what}\nreal: {real_said:?}\nours: {ours_said:?}");
        ensure!(ours_said.is_ok() == real_said.is_ok(), "{words}");
        let wanted = ours.state().await?;
        let found = settled(&real, &wanted).await?;
        ensure!(found == wanted, "{what}: they differ\n{}", state::difference(&found, &wanted));
    }
    Ok(())
}

/// The state of the real one: as soon as it is and stays the wanted one, or else when there is no time left.
async fn settled(real: &Side, wanted: &state::State) -> Result<state::State> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let found = real.state().await?;
        if found == *wanted || Instant::now() >= deadline {
            tokio::time::sleep(STAYS).await;
            let still = real.state().await?;
            if still == found || Instant::now() >= deadline {
                return Ok(still);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
