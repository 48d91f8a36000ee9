//! Expansion: the gates of a Rollout with those of its templates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::{Gate, GateTemplateSpec, GatesFrom, RolloutSpec, TemplateKind};
use crate::engine::lint::schema::flaw_of_gate;
use crate::engine::world::Look;

use super::fill::{Misfit, filled};
use super::parameters::{Wrong, values};

/// Gates of one list, those of templates among them: the status has room for as many.
const GATES_MAX: usize = 20;
/// Longest name of a gate.
const NAME_MAX: usize = 40;
/// Largest gate of a template, in bytes of JSON: four queries of the greatest length, and as much again.
const BODY_MAX: usize = 32_768;

/// A Rollout's spec with gates in the place of `gatesFrom`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expansion {
    /// The spec. For all of a list that could not be expanded it has one gate that never passes.
    pub spec: RolloutSpec,
    /// What could not be expanded, and why.
    pub problems: Vec<Problem>,
    /// Where the gates come from.
    pub origins: Vec<Origin>,
}

/// A gate of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index of the component whose gate it is.
    pub component: Option<usize>,
    /// Index in `gatesFrom`.
    pub index: usize,
    /// Kind of the template.
    pub kind: TemplateKind,
    /// Name of the template.
    pub name: String,
    /// Name of the gate, with its prefix.
    pub gate: String,
    /// Index of the gate in the template.
    pub gate_index: usize,
}

impl Origin {
    /// The field, for people: components by name.
    #[must_use]
    pub fn field(&self, spec: &RolloutSpec) -> String {
        field(spec, self.component, self.index)
    }
}

/// An entry of `gatesFrom` that gives no gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Index of the component.
    pub component: Option<usize>,
    /// Index in `gatesFrom`.
    pub index: usize,
    /// Where it is.
    pub at: At,
    /// What is wrong and what helps, with the template and the parameter.
    pub says: String,
    /// Name of the gate that stands for it.
    pub stands_for: String,
}

/// What a problem is one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The entry.
    Entry,
    /// One of its parameters.
    Parameter(String),
    /// A gate of the template, by index, and its field.
    Body(usize, String),
}

impl Problem {
    /// The field and what is wrong with it.
    #[must_use]
    pub fn in_words(&self, spec: &RolloutSpec) -> String {
        let field = field(spec, self.component, self.index);
        match &self.at {
            At::Parameter(name) => format!("spec.{field}.parameters.{name}: {}", self.says),
            At::Entry | At::Body(..) => format!("spec.{field}: {}", self.says),
        }
    }
}

fn field(spec: &RolloutSpec, component: Option<usize>, index: usize) -> String {
    match component.and_then(|at| spec.components.get(at)) {
        Some(component) => format!("components[{}].gatesFrom[{index}]", component.name),
        None => format!("gatesFrom[{index}]"),
    }
}

type Seen = BTreeMap<(TemplateKind, String), Look<GateTemplateSpec>>;

/// The spec with the gates of its templates. Pure: the same spec and templates give the same gates.
#[must_use]
pub fn expand(spec: &RolloutSpec, seen: &Seen) -> Expansion {
    let mut out = Expansion { spec: spec.clone(), problems: Vec::new(), origins: Vec::new() };
    let names = |gates: &[Gate]| gates.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    let modes: BTreeSet<&str> = spec.degraded_modes.iter().map(|it| it.name.as_str()).collect();
    let mut taken: BTreeSet<String> = names(&spec.gates).into_iter().collect();
    taken.extend(spec.components.iter().flat_map(|it| names(&it.gates)));
    let mut list = List { seen, modes: &modes, taken, component: None, out: &mut out };
    let all = list.filled(&spec.gates, &spec.gates_from);
    list.taken = names(&all).into_iter().collect();
    let of_all = list.taken.clone();
    let mut own = Vec::new();
    for (at, component) in spec.components.iter().enumerate() {
        list.component = Some(at);
        list.taken = of_all.iter().cloned().chain(names(&component.gates)).collect();
        own.push(list.filled(&component.gates, &component.gates_from));
    }
    out.spec.gates = all;
    out.spec.gates_from.clear();
    for (component, gates) in out.spec.components.iter_mut().zip(own) {
        component.gates = gates;
        component.gates_from.clear();
    }
    out
}

/// One list of gates under expansion.
struct List<'a> {
    seen: &'a Seen,
    modes: &'a BTreeSet<&'a str>,
    /// Names that no further gate may have.
    taken: BTreeSet<String>,
    component: Option<usize>,
    out: &'a mut Expansion,
}

impl List<'_> {
    fn filled(&mut self, own: &[Gate], entries: &[GatesFrom]) -> Vec<Gate> {
        let mut gates = own.to_vec();
        let first_problem = self.out.problems.len();
        for (index, from) in entries.iter().enumerate() {
            match self.gates_of(from, GATES_MAX.saturating_sub(gates.len())) {
                Ok(more) => {
                    for (gate_index, gate) in more.into_iter().enumerate() {
                        self.out.origins.push(Origin {
                            component: self.component,
                            index,
                            kind: from.kind,
                            name: from.name.clone(),
                            gate: gate.name.clone(),
                            gate_index,
                        });
                        self.taken.insert(gate.name.clone());
                        gates.push(gate);
                    }
                }
                Err((at, says)) => {
                    let (component, stands_for) = (self.component, String::new());
                    self.out.problems.push(Problem { component, index, at, says, stands_for });
                }
            }
        }
        let problems = &mut self.out.problems[first_problem..];
        if let Some(first) = problems.first() {
            let from = &entries[first.index];
            let name = free_name(&format!("{}{}", from.prefix, from.name), &self.taken);
            problems.iter_mut().for_each(|it| it.stands_for.clone_from(&name));
            // Whatever it takes the place of: with it nothing passes.
            gates.truncate(GATES_MAX - 1);
            self.taken.insert(name.clone());
            gates.push(Gate::unknown(name));
        }
        gates
    }

    fn gates_of(&self, from: &GatesFrom, room: usize) -> Result<Vec<Gate>, (At, String)> {
        let (kind, name) = (from.kind.as_str(), &from.name);
        let template = match self.seen.get(&(from.kind, name.clone())) {
            Some(Look::Found(template)) => template,
            Some(Look::Missing) => {
                let place = match from.kind {
                    TemplateKind::GateTemplate => "in this namespace",
                    TemplateKind::ClusterGateTemplate => "in the cluster",
                };
                let says =
                    format!("there is no {kind} {name} {place}: create it, or correct the kind or the name");
                return Err((At::Entry, says));
            }
            Some(Look::Unknown) | None => {
                let says = format!(
                    "Palier may not read the {kind} {name}: where it runs for one namespace, name a GateTemplate of this one"
                );
                return Err((At::Entry, says));
            }
        };
        let gates = gates(from, template)?;
        if gates.len() > room {
            let says = format!(
                "with the gates of the {kind} {name} this list would have more than {GATES_MAX}: take some out"
            );
            return Err((At::Entry, says));
        }
        let mut taken = self.taken.clone();
        for (at, gate) in gates.iter().enumerate() {
            if !taken.insert(gate.name.clone()) {
                let says = format!(
                    "the gate {} of the {kind} {name} has the name of another gate: give this entry a prefix of its own",
                    gate.name
                );
                return Err((At::Entry, says));
            }
            if let Some(mode) = gate.degraded_mode.as_deref().filter(|mode| !self.modes.contains(mode)) {
                let says = format!(
                    "the gate {} of the {kind} {name} asks for the degraded mode {mode}, which spec.degradedModes does not \
                     have: add it there",
                    gate.name
                );
                return Err((At::Body(at, "degradedMode".to_owned()), says));
            }
        }
        Ok(gates)
    }
}

/// The gates of a template with the parameters of an entry.
fn gates(from: &GatesFrom, template: &GateTemplateSpec) -> Result<Vec<Gate>, (At, String)> {
    let values =
        values(from, template).map_err(|Wrong { parameter, says }| (At::Parameter(parameter), says))?;
    let mut gates = Vec::new();
    for (at, body) in template.gates.iter().enumerate() {
        let name = body.0.get("name").and_then(Value::as_str).unwrap_or_default();
        let wrong = |field: String, says: String| {
            let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
            let (kind, template) = (from.kind.as_str(), &from.name);
            let says = format!("the gate {name} of the {kind} {template}: {place}{says}");
            (At::Body(at, field), says)
        };
        let body = Value::Object(body.0.clone());
        let mut body = filled(&body, "", &values).map_err(|Misfit { field, says }| wrong(field, says))?;
        if body.to_string().len() > BODY_MAX {
            let says = format!("it has more than {BODY_MAX} bytes: shorten it");
            return Err(wrong(String::new(), says));
        }
        if let Some(Value::String(name)) = body.get_mut("name") {
            name.insert_str(0, &from.prefix);
        }
        if let Some((field, says)) = flaw_of_gate(&body) {
            return Err(wrong(field, says));
        }
        gates.push(serde_json::from_value(body).map_err(|error| wrong(String::new(), error.to_string()))?);
    }
    Ok(gates)
}

/// A name for a gate that is none of those taken, as near to `wish` as a gate's name can be.
fn free_name(wish: &str, taken: &BTreeSet<String>) -> String {
    let fit = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = wish.chars().map(fit).take(NAME_MAX - 3).collect();
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "template" } else { name };
    let numbered = (2..=99).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|it| !taken.contains(it)).unwrap_or_default()
}
