//! The planner on a cluster in memory: what it promises, by example and by property.

mod examples;
mod fixtures;
mod monitors;
mod properties;
