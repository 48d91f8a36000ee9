//! Crash it anywhere: stories on the rig, with every single fault at every single write, and at random.

mod chance;
mod dice;
mod faults;
mod judge;
mod performance;
mod sieve;
mod stories;
