//! What people see and type: golden pages, requests, messages, the small server, the program itself.

// A test may panic: that is how it fails.
#![allow(clippy::unwrap_used)]

mod actions;
mod demo;
mod explain;
mod fixtures;
mod golden;
mod parts;
mod program;
mod record;
mod server;
mod simulate;
mod story;
mod templates;
mod verdicts;
