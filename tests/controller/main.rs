//! The whole controller against an API server in memory: how it starts, leads, stands by and ends.

mod lifecycle;
mod server;
