//! The chart on a real API server: what it renders is accepted, its policies hold, and manifests with a mistake are
//! refused with the words that they promise.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
#![allow(clippy::print_stderr, reason = "there is no harness yet that could speak")]

#[path = "../lab/mod.rs"]
mod lab;

mod actions;
mod authors;
mod chart;
mod intercept;
mod manifests;
mod place;
mod templates;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use lab::{Lab, Options, User};
use libtest_mimic::{Arguments, Failed, Trial};

use place::Place;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    match start() {
        Ok(place) => libtest_mimic::run(&arguments, trials(&Arc::new(place))).exit_code(),
        Err(error) => {
            eprintln!("policies: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<Place> {
    let users = ["ana", "ben", "mallory"].map(|name| User::new(name, &["people"])).to_vec();
    let place = lab::enter(None)?;
    // The Gateway's kinds are needed, what it does is not.
    let lab = Lab::start(&place, Options { prometheus: false, players: false, users, ..Options::default() })?;
    Place::prepare(lab)
}

fn trials(place: &Arc<Place>) -> Vec<Trial> {
    let trial = |(name, body): (String, Body)| {
        let place = place.clone();
        Trial::test(name, move || body(&place).map_err(|error| Failed::from(format!("{error:#}"))))
    };
    let all = [
        chart::cases(),
        intercept::cases(),
        actions::cases(),
        authors::cases(),
        templates::cases(),
        manifests::cases(),
    ];
    all.into_iter().flatten().map(trial).collect()
}

/// What a test does.
type Body = Box<dyn FnOnce(&Place) -> Result<()> + Send>;

/// A named test.
fn case(name: &str, body: impl FnOnce(&Place) -> Result<()> + Send + 'static) -> (String, Body) {
    (name.to_owned(), Box::new(body))
}
