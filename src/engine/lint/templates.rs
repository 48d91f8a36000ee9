//! Templates of gates, and what Rollouts make of them, as far as they are in the files.
//!
//! All other themes look at Rollouts with gates in the place of `gatesFrom`; a finding about such a gate is sent to the template. A
//! template that no Rollout of the files names is looked at with a sample of each parameter.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{GateTemplateSpec, GatesFrom, ParameterType, Rollout, RolloutSpec, TemplateKind};
use crate::engine::gate_templates::{At, Expansion, Origin, Problem, expand, named};
use crate::engine::world::Look;

use super::catalog::{
    OTHER_NAMESPACE, TEMPLATE_CLASH, TEMPLATE_GATE, TEMPLATE_PARAMETER, UNKNOWN_NAME, UNUSED_PARAMETER,
};
use super::scene::{Found, Scene, Subject};
use super::{Desk, Finding, counters, limits, objects, queries};

/// A gate of a Rollout that comes from a template.
pub struct Home {
    /// Its field in the Rollout with all its gates, such as `spec.gates[3]`.
    field: String,
    /// Where whoever mends it looks.
    at: Place,
}

/// Where a finding about a gate of a template stands.
enum Place {
    /// At the gate in the template, by the template's index: it is in the files.
    Template(usize, String),
    /// At the entry of `gatesFrom` that names it: the template is in the cluster alone.
    Entry(String),
}

/// What became of the `gatesFrom` of a Rollout.
struct Told {
    expansion: Expansion,
    homes: Vec<Home>,
}

/// Puts gates in the place of `gatesFrom`, as far as the templates are in the files.
pub fn expand_all(scene: &mut Scene<'_>) {
    let told: Vec<Told> = scene.rollouts.iter().map(|it| tell(scene, it)).collect();
    for (subject, told) in scene.rollouts.iter_mut().zip(told) {
        take(subject, told);
    }
}

/// The subject with its gates; the entries that they come from stay, to be told of.
fn take(subject: &mut Subject, told: Told) {
    let Expansion { spec, problems, .. } = told.expansion;
    let before = std::mem::replace(&mut subject.rollout.spec, spec);
    let after = &mut subject.rollout.spec;
    after.gates_from = before.gates_from;
    for (component, before) in after.components.iter_mut().zip(before.components) {
        component.gates_from = before.gates_from;
    }
    (subject.homes, subject.problems) = (told.homes, problems);
}

/// The template that an entry names, if it is in the files and has the form of one.
fn template_of<'a>(
    scene: &Scene<'a>,
    subject: &Subject,
    kind: TemplateKind,
    name: &str,
) -> Option<(Found<'a>, GateTemplateSpec)> {
    let found = match kind {
        TemplateKind::GateTemplate => scene.find(("palier.dev", kind.as_str()), subject, name),
        TemplateKind::ClusterGateTemplate => {
            scene.of_kind("palier.dev", kind.as_str()).find(|it| it.name == name)
        }
    }?;
    Some((found, serde_json::from_value(found.object["spec"].clone()).ok()?))
}

fn tell(scene: &Scene<'_>, subject: &Subject) -> Told {
    let mut spec = subject.rollout.spec.clone();
    let mut seen = BTreeMap::new();
    let mut objects = BTreeMap::new();
    for (kind, name) in named(&spec) {
        if let Some((found, template)) = template_of(scene, subject, kind, &name) {
            objects.insert((kind, name.clone()), found.index);
            seen.insert((kind, name), Look::Found(template));
        }
    }
    // An entry keeps its place: one whose template is not here is made empty.
    let nothing: GateTemplateSpec =
        GateTemplateSpec { description: String::new(), parameters: Vec::new(), gates: Vec::new() };
    for entries in
        std::iter::once(&mut spec.gates_from).chain(spec.components.iter_mut().map(|it| &mut it.gates_from))
    {
        for entry in entries {
            let at = (entry.kind, entry.name.clone());
            if !seen.contains_key(&at) || !objects.contains_key(&at) {
                entry.parameters.clear();
                seen.insert(at, Look::Found(nothing.clone()));
            }
        }
    }
    let mut expansion = expand(&spec, &seen);
    drop_stand_ins(&mut expansion);
    let homes = expansion.origins.iter().filter_map(|origin| {
        let object = *objects.get(&(origin.kind, origin.name.clone()))?;
        let field = field_of(&expansion.spec, origin)?;
        let at = if scene.is_live(object) {
            Place::Entry(entry_of(origin.component, origin.index))
        } else {
            Place::Template(object, format!("spec.gates[{}]", origin.gate_index))
        };
        Some(Home { field, at })
    });
    let homes = homes.collect();
    Told { expansion, homes }
}

/// What stands for a template without gates is nobody's to judge.
fn drop_stand_ins(expansion: &mut Expansion) {
    let stand_ins: Vec<&str> = expansion.problems.iter().map(|it| it.stands_for.as_str()).collect();
    let lists = std::iter::once(&mut expansion.spec.gates)
        .chain(expansion.spec.components.iter_mut().map(|it| &mut it.gates));
    for gates in lists {
        gates.retain(|it| !stand_ins.contains(&it.name.as_str()));
    }
}

fn field_of(spec: &RolloutSpec, origin: &Origin) -> Option<String> {
    let (list, before) = match origin.component {
        Some(at) => (&spec.components.get(at)?.gates, format!("spec.components[{at}].gates")),
        None => (&spec.gates, "spec.gates".to_owned()),
    };
    let index = list.iter().position(|it| it.name == origin.gate)?;
    Some(format!("{before}[{index}]"))
}

/// The entry of `gatesFrom` of a Rollout, or of one of its components.
fn entry_of(component: Option<usize>, index: usize) -> String {
    let place = component.map_or("spec".to_owned(), |at| format!("spec.components[{at}]"));
    format!("{place}.gatesFrom[{index}]")
}

/// Findings about gates of templates go to the template, or to the entry that names it.
pub fn send_home(subject: &Subject, found: &mut [Finding]) {
    for finding in found.iter_mut().filter(|it| it.object == subject.object) {
        let home = subject.homes.iter().find_map(|home| {
            let rest = finding.field.strip_prefix(&home.field)?;
            (rest.is_empty() || rest.starts_with('.')).then_some((&home.at, rest))
        });
        match home {
            Some((Place::Template(object, field), rest)) => {
                (finding.object, finding.field) = (*object, format!("{field}{rest}"));
            }
            Some((Place::Entry(entry), rest)) => {
                let about = rest.trim_start_matches('.');
                finding.message = format!("{} (in the cluster's template: {about})", finding.message);
                finding.field.clone_from(entry);
            }
            None => {}
        }
    }
}

/// Kind, field and name of each template that a Rollout names.
pub fn wanted(subject: &Subject) -> Vec<(TemplateKind, String, String)> {
    let spec = &subject.rollout.spec;
    let of = |entries: &[GatesFrom], place: &str| {
        let entries = entries.iter().enumerate();
        entries
            .map(|(at, it)| (it.kind, format!("{place}.gatesFrom[{at}].name"), it.name.clone()))
            .collect::<Vec<_>>()
    };
    let own = spec
        .components
        .iter()
        .enumerate()
        .flat_map(|(at, it)| of(&it.gates_from, &format!("spec.components[{at}]")));
    of(&spec.gates_from, "spec").into_iter().chain(own).collect()
}

/// Checks what Rollouts make of templates, and templates by themselves.
pub fn check(scene: &Scene<'_>, found: &mut Vec<Finding>) {
    let mut used = Vec::new();
    for subject in scene.rollouts.iter().filter(|it| !scene.is_live(it.object)) {
        for (kind, field, name) in wanted(subject) {
            match template_of(scene, subject, kind, &name) {
                Some((template, _)) => used.push(template.index),
                None => missing(scene, subject, (kind, &name), &field, found),
            }
        }
        problems(scene, subject, found);
    }
    for kind in TemplateKind::ALL {
        let all = scene.of_kind("palier.dev", kind.as_str());
        for template in all.filter(|it| !scene.is_live(it.index)) {
            let Ok(spec) = serde_json::from_value::<GateTemplateSpec>(template.object["spec"].clone()) else {
                continue;
            };
            unused_parameters(&spec, &mut Desk { object: template.index, found });
            if !used.contains(&template.index) {
                alone(scene, kind, (template, &spec), found);
            }
        }
    }
}

/// The name of a template that is not in the files: a slip, or one from elsewhere.
fn missing(
    scene: &Scene<'_>,
    subject: &Subject,
    (kind, name): (TemplateKind, &str),
    field: &str,
    found: &mut Vec<Finding>,
) {
    let other = match kind {
        TemplateKind::GateTemplate => TemplateKind::ClusterGateTemplate,
        TemplateKind::ClusterGateTemplate => TemplateKind::GateTemplate,
    };
    let desk = &mut Desk { object: subject.object, found };
    if scene.of_kind("palier.dev", other.as_str()).any(|it| it.name == name) {
        let (kind, other) = (kind.as_str(), other.as_str());
        let message =
            format!("there is no {kind} {name} in these files, but there is a {other} of that name");
        desk.say(&UNKNOWN_NAME, field, message, format!("Write kind: {other}."));
        return;
    }
    let is_here = scene.of_kind("palier.dev", kind.as_str()).any(|it| it.name == name);
    if kind == TemplateKind::ClusterGateTemplate || !is_here {
        objects::named(scene, subject, ("palier.dev", kind.as_str()), (name, field), desk);
        return;
    }
    let message = format!("the GateTemplate {name} is in another namespace than the Rollout");
    let fix = "Put both into one, or make it a ClusterGateTemplate.";
    desk.say(&OTHER_NAMESPACE, field, message, fix);
}

/// What keeps templates from giving gates.
fn problems(scene: &Scene<'_>, subject: &Subject, found: &mut Vec<Finding>) {
    let spec = &subject.rollout.spec;
    for problem in &subject.problems {
        let entry = problem
            .component
            .and_then(|at| spec.components.get(at))
            .map_or_else(|| spec.gates_from.get(problem.index), |it| it.gates_from.get(problem.index));
        let Some(entry) = entry else { continue };
        say(scene, subject, (problem, entry), found);
    }
}

fn say(
    scene: &Scene<'_>,
    subject: &Subject,
    (problem, entry): (&Problem, &GatesFrom),
    found: &mut Vec<Finding>,
) {
    let field = entry_of(problem.component, problem.index);
    let (message, fix) = split(&problem.says);
    match &problem.at {
        At::Entry => {
            Desk { object: subject.object, found }.say(&TEMPLATE_CLASH, field, message, fix);
        }
        At::Parameter(name) => {
            let field = if entry.parameters.contains_key(name) {
                format!("{field}.parameters.{name}")
            } else {
                field
            };
            Desk { object: subject.object, found }.say(&TEMPLATE_PARAMETER, field, message, fix);
        }
        At::Body(at, below) => {
            let object = template_of(scene, subject, entry.kind, &entry.name)
                .map_or(subject.object, |(found, _)| found.index);
            let dot = if below.is_empty() || below.starts_with('[') { "" } else { "." };
            let gate = format!("spec.gates[{at}]{dot}{below}");
            if scene.is_live(object) {
                let message = format!("{message} (in the cluster's template: {gate})");
                Desk { object: subject.object, found }.say(&TEMPLATE_GATE, field, message, fix);
            } else {
                Desk { object, found }.say(&TEMPLATE_GATE, gate, message, fix);
            }
        }
    }
}

/// What is wrong, and what helps: the words after the last colon.
fn split(says: &str) -> (String, String) {
    let (wrong, helps) = says.rsplit_once(": ").unwrap_or((says, "see `kubectl explain`"));
    let mut chars = helps.chars();
    let first = chars.next().map(|it| it.to_uppercase().collect::<String>()).unwrap_or_default();
    (wrong.to_owned(), format!("{first}{}.", chars.as_str()))
}

fn unused_parameters(spec: &GateTemplateSpec, desk: &mut Desk<'_>) {
    let text = serde_json::to_string(&spec.gates).unwrap_or_default();
    for (at, parameter) in spec.parameters.iter().enumerate() {
        if !queries::names(&text, &parameter.name) {
            let message = format!(
                "no gate uses the parameter {}: whatever a Rollout gives has no effect",
                parameter.name
            );
            let fix = format!("Use ${} in a gate, or take the parameter out.", parameter.name);
            desk.say(&UNUSED_PARAMETER, format!("spec.parameters[{at}]"), message, fix);
        }
    }
}

/// A template that no Rollout here names, in a Rollout made up for it.
fn alone(
    scene: &Scene<'_>,
    kind: TemplateKind,
    (template, spec): (Found<'_>, &GateTemplateSpec),
    found: &mut Vec<Finding>,
) {
    let samples: BTreeMap<&String, String> =
        spec.parameters.iter().filter(|it| it.default.is_none()).map(|it| (&it.name, sample(it))).collect();
    let modes: Vec<Value> = spec
        .gates
        .iter()
        .filter_map(|it| it.0.get("degradedMode").and_then(Value::as_str))
        .map(|name| json!({"name": name, "switches": []}))
        .collect();
    let rollout = json!({
        "apiVersion": "palier.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": template.name},
        "spec": {
            "components": [{"name": "any", "workloadRef": {"name": "any"}, "traffic": {"service": "any",
                "gatewayAPI": {"httpRoutes": [{"name": "any"}]}}}],
            "degradedModes": modes,
            "gatesFrom": [{"kind": kind.as_str(), "name": template.name, "parameters": samples}],
        },
    });
    let Ok(rollout) = serde_json::from_value::<Rollout>(rollout) else { return };
    let namespace = scene.namespace_of(template.object).map(str::to_owned);
    let (homes, problems) = (Vec::new(), Vec::new());
    let mut subject = Subject { object: template.index, rollout, namespace, homes, problems };
    let told = tell(scene, &subject);
    take(&mut subject, told);
    self::problems(scene, &subject, found);
    let first = found.len();
    let desk = &mut Desk { object: template.index, found };
    queries::check(scene, &subject, desk);
    counters::check(scene, &subject, desk);
    limits::check(scene, &subject, desk);
    send_home(&subject, &mut found[first..]);
}

/// A value that a parameter can have.
fn sample(parameter: &crate::api::GateParameter) -> String {
    if let Some(first) = parameter.values.as_ref().and_then(|it| it.first()) {
        return first.clone();
    }
    let within = |usual: f64| {
        let least = parameter.minimum.map_or(usual, |it| usual.max(it));
        parameter.maximum.map_or(least, |it| least.min(it))
    };
    match parameter.kind {
        ParameterType::String => "sample".to_owned(),
        ParameterType::Metric => "sample_total".to_owned(),
        ParameterType::Duration => "1m".to_owned(),
        ParameterType::Number => within(0.01).to_string(),
        ParameterType::Integer => within(3.0).ceil().to_string(),
    }
}
