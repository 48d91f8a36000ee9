//! The planner on a cluster in memory: what it promises, by example and by property.

mod examples_actions;
mod examples_cluster;
mod examples_faults;
mod examples_gates;
mod examples_paths;
mod fixtures;
mod monitors;
mod properties;
mod small_world;
