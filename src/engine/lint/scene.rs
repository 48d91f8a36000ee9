//! The objects, as the themes look at them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{Component, Gate, Rollout, RolloutSpec};
use crate::engine::gate_templates::Problem;

use super::catalog::TWICE;
use super::templates::{self, Home};
use super::{Desk, Finding, Given};

/// A Rollout that could be read.
pub struct Subject {
    /// Index of the object.
    pub object: usize,
    /// The Rollout.
    pub rollout: Rollout,
    /// Its namespace, if somebody says so.
    pub namespace: Option<String>,
    /// Where the gates of its templates are.
    pub homes: Vec<Home>,
    /// What keeps templates from giving gates.
    pub problems: Vec<Problem>,
}

impl Subject {
    /// Its namespace, or what is put in its place in a query.
    pub fn namespace_or_default(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

/// Everything that was given.
pub struct Scene<'a> {
    pub objects: &'a [Value],
    pub given: &'a Given,
    pub rollouts: Vec<Subject>,
}

/// An object with its place.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    pub index: usize,
    pub name: &'a str,
    pub object: &'a Value,
}

/// A gate with its place and the components that it judges.
pub struct GateAt<'r> {
    /// Its field, such as `spec.gates[0]`.
    pub field: String,
    /// The gate.
    pub gate: &'r Gate,
    /// Whom it judges.
    pub judged: Vec<&'r Component>,
}

/// All gates of a Rollout.
#[must_use]
pub fn gates(spec: &RolloutSpec) -> Vec<GateAt<'_>> {
    let all = spec.gates.iter().enumerate().map(|(index, gate)| GateAt {
        field: format!("spec.gates[{index}]"),
        gate,
        judged: spec.components.iter().collect(),
    });
    let own = spec.components.iter().enumerate().flat_map(|(at, component)| {
        component.gates.iter().enumerate().map(move |(index, gate)| GateAt {
            field: format!("spec.components[{at}].gates[{index}]"),
            gate,
            judged: vec![component],
        })
    });
    all.chain(own).collect()
}

fn text<'v>(object: &'v Value, pointer: &str) -> Option<&'v str> {
    object.pointer(pointer).and_then(Value::as_str)
}

impl<'a> Scene<'a> {
    pub fn new(objects: &'a [Value], given: &'a Given) -> Self {
        let read = |(object, value): (usize, &Value)| {
            let is_ours = text(value, "/apiVersion") == Some("palier.dev/v1alpha1")
                && text(value, "/kind") == Some("Rollout");
            let mut value = is_ours.then(|| value.clone())?;
            if let Some(fields) = value.as_object_mut() {
                fields.remove("status");
            }
            let namespace =
                text(&value, "/metadata/namespace").or(given.namespace.as_deref()).map(str::to_owned);
            let rollout = serde_json::from_value(value).ok()?;
            Some(Subject { object, rollout, namespace, homes: Vec::new(), problems: Vec::new() })
        };
        let rollouts = objects.iter().enumerate().filter_map(read).collect();
        let mut scene = Self { objects, given, rollouts };
        templates::expand_all(&mut scene);
        scene
    }

    /// Whether an object is what the cluster has.
    pub fn is_live(&self, object: usize) -> bool {
        object >= self.objects.len().saturating_sub(self.given.live)
    }

    /// The namespace of an object, if somebody says so.
    pub fn namespace_of<'v>(&'v self, object: &'v Value) -> Option<&'v str> {
        text(object, "/metadata/namespace").or(self.given.namespace.as_deref())
    }

    /// Whether an object can be in the namespace of a Rollout: what names none goes wherever it is applied to.
    pub fn is_near(&self, object: &Value, subject: &Subject) -> bool {
        match (self.namespace_of(object), &subject.namespace) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }

    /// All objects of a kind in an API group, with their names.
    pub fn of_kind<'s>(&'s self, group: &'s str, kind: &'s str) -> impl Iterator<Item = Found<'a>> + 's {
        self.objects.iter().enumerate().filter_map(move |(index, object)| {
            let version = text(object, "/apiVersion")?;
            let found = version.rsplit_once('/').map_or("", |(group, _)| group);
            let is_kind = found == group && text(object, "/kind") == Some(kind);
            is_kind
                .then(|| text(object, "/metadata/name").map(|name| Found { index, name, object }))
                .flatten()
        })
    }

    /// The object of this kind and name that a Rollout names: the one in its namespace before one that names none.
    pub fn find(&self, (group, kind): (&str, &str), subject: &Subject, name: &str) -> Option<Found<'a>> {
        let near =
            || self.of_kind(group, kind).filter(|it| it.name == name && self.is_near(it.object, subject));
        near()
            .find(|it| self.namespace_of(it.object) == subject.namespace.as_deref())
            .or_else(|| near().next())
    }
}

/// One object twice: `kubectl apply` keeps the last.
pub fn check_twice(scene: &Scene<'_>, found: &mut Vec<Finding>) {
    let mut first: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for (index, object) in scene.objects.iter().enumerate().filter(|(index, _)| !scene.is_live(*index)) {
        let (Some(version), Some(kind), Some(name)) =
            (text(object, "/apiVersion"), text(object, "/kind"), text(object, "/metadata/name"))
        else {
            continue;
        };
        if !version.starts_with("palier.dev/") {
            continue;
        }
        let namespace = if ["MetricSource", "ClusterGateTemplate"].contains(&kind) {
            ""
        } else {
            scene.namespace_of(object).unwrap_or_default()
        };
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let earlier = *first.entry(key).or_insert(index);
        if earlier != index && scene.objects[earlier] != *object {
            Desk { object: index, found }.say(
                &TWICE,
                "metadata.name",
                format!("{kind} {name} is in these files twice, with different contents: the one that is applied last wins"),
                "Keep one, or give them different names. Variants of one object, such as examples, belong in separate calls.",
            );
        }
    }
}

/// The one of `known` that `word` is most likely a slip of: at most two letters differ.
pub fn meant<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let near = known.into_iter().map(|it| (distance(&word.to_lowercase(), &it.to_lowercase()), it));
    let limit = if word.len() < 4 { 1 } else { 2 };
    near.filter(|(far, _)| *far <= limit).min_by_key(|(far, _)| *far).map(|(_, it)| it)
}

/// Letters to change, add or take away (Levenshtein), of the first 64.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) =
        (one.chars().take(64).collect(), other.chars().take(64).collect());
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
