//! Crash it anywhere: stories on the rig, with every single fault at every single write, and at random.

#![allow(clippy::print_stdout, reason = "what was played is told to whoever asked for it")]

mod chance;
mod counters;
mod declared;
mod dice;
mod faults;
mod hands;
mod judge;
mod performance;
#[cfg(feature = "flaws")]
#[path = "../flaws/at_the_api_server.rs"]
mod put_back;
mod rest;
mod sieve;
mod stories;
