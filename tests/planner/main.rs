//! The planner on a cluster in memory: what it promises, by example and by property.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
mod examples_actions;
mod examples_adoption;
mod examples_cluster;
mod examples_config;
mod examples_counting;
mod examples_degraded;
mod examples_faults;
mod examples_fellows;
mod examples_gates;
mod examples_health;
mod examples_hooks;
mod examples_hooks_lost;
mod examples_parts;
mod examples_paths;
mod examples_templates;
mod fixtures;
mod kept;
#[allow(dead_code, reason = "the searches use the rest")]
mod monitors;
mod monitors_parts;
mod monitors_runs;
mod monitors_serving;
mod parts;
mod play;
mod properties;
mod properties_config;
mod properties_degraded;
mod properties_hooks;
mod properties_parts;
#[allow(dead_code, reason = "the searches use the rest")]
mod record;
mod seeds;
#[allow(dead_code, reason = "the searches use the rest")]
mod shapes;
mod small_world;
mod switches;
mod traffic;
