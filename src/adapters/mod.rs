//! Ring 3: the edges, one folder for each outside system. They may use the engine, not each other.

pub mod kube;
