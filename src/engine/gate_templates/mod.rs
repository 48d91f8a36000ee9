//! Gates of templates: what a Rollout names under `gatesFrom` becomes gates of its own before anything is decided.
//!
//! ```text
//! GatesFrom + GateTemplate ─► parameters ─► filled bodies ─► schema, rules ─► gates
//! ```
//!
//! A gate of a template is a gate like any other from there on. So a template that is edited during a run voids the evidence of the
//! gates that it changes, and a template that goes leaves a gate in its place that never passes: no raise without it, and the run
//! goes back when its `onNoData` says so.

mod expand;
mod fill;
mod parameters;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{GateTemplateSpec, RolloutSpec, TemplateKind};

use super::world::{Look, World};

pub use expand::{At, Expansion, Origin, Problem, expand};

/// The templates that a Rollout names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GateTemplates {
    /// By kind and name; `Unknown` is one that may not be read here.
    pub seen: BTreeMap<(TemplateKind, String), Look<GateTemplateSpec>>,
    /// What became of them, once they are expanded.
    pub problems: Vec<Problem>,
    /// Where the gates come from, once they are expanded.
    pub origins: Vec<Origin>,
}

/// The templates that a Rollout names.
#[must_use]
pub fn named(spec: &RolloutSpec) -> BTreeSet<(TemplateKind, String)> {
    let own = spec.components.iter().flat_map(|component| &component.gates_from);
    spec.gates_from.iter().chain(own).map(|from| (from.kind, from.name.clone())).collect()
}

/// The World with gates in the place of `gatesFrom`; `None` if the Rollout names no template.
#[must_use]
pub fn expanded(world: &World) -> Option<World> {
    if named(&world.rollout.spec).is_empty() {
        return None;
    }
    let Expansion { spec, problems, origins } = expand(&world.rollout.spec, &world.gate_templates.seen);
    let mut world = world.clone();
    world.rollout.spec = spec;
    world.gate_templates = GateTemplates { problems, origins, ..world.gate_templates };
    Some(world)
}

/// Why a run cannot begin: the first problem, with its field.
pub(super) fn problem(world: &World) -> Option<String> {
    world.gate_templates.problems.first().map(|it| it.in_words(&world.rollout.spec))
}

/// Why a gate of an expanded World asks nothing.
pub(super) fn why_unknown(world: &World, gate: &str) -> Option<String> {
    let problem = world.gate_templates.problems.iter().find(|it| it.stands_for == gate)?;
    Some(problem.in_words(&world.rollout.spec))
}

/// The field of a gate, for people: where it stands in the Rollout, or which template it comes from.
pub(super) fn field_of(world: &World, component: &str, gate: &str) -> String {
    let spec = &world.rollout.spec;
    let is_its = |it: &&Origin| {
        let owner = it.component.map(|at| spec.components.get(at).map_or("", |it| it.name.as_str()));
        it.gate == gate && owner.is_none_or(|owner| owner == component)
    };
    match world.gate_templates.origins.iter().find(is_its) {
        Some(it) => format!("{}: the gate {gate} of the {} {}", it.field(spec), it.kind.as_str(), it.name),
        None => format!("gates[{gate}]"),
    }
}

#[cfg(test)]
mod tests;
