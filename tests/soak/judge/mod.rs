//! What the soak has to show, as functions of what was seen: no clock, no cluster. `judges.rs` shows that each of them can say no.

pub mod flat;
pub mod outcomes;
pub mod requests;
pub mod rest;
pub mod steps;
