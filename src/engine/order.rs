//! Who depends on whom, and what follows from it: the order of a release, of a rollback, and what falls with a component.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{ComponentStatus, RolloutSpec, RolloutStatus, Span, Stage};

use super::flaw::{self, Flaw};
use super::turn::takes_part;

/// How long a component lets those that depend on it go back before it: for each of their levels. A gateway that never
/// speaks must not keep the rest of a rollback waiting.
const WAVE_MAX: Span = Span::seconds(1);

/// What a component depends on directly.
pub(super) fn dependencies<'s>(spec: &'s RolloutSpec, name: &str) -> &'s [String] {
    spec.components.iter().find(|c| c.name == name).map_or(&[], |c| &c.depends_on)
}

/// What depends on a component directly, in the order of the spec.
fn dependents<'s>(spec: &'s RolloutSpec, name: &'s str) -> impl Iterator<Item = &'s str> {
    spec.components.iter().filter(move |c| c.depends_on.iter().any(|d| d == name)).map(|c| c.name.as_str())
}

/// Everything that a component depends on, directly or not; with itself in a circle.
pub(super) fn foundations(spec: &RolloutSpec, name: &str) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = BTreeSet::new();
    let mut next: Vec<&String> = dependencies(spec, name).iter().collect();
    while let Some(on) = next.pop() {
        if all.insert(on.clone()) {
            next.extend(dependencies(spec, on));
        }
    }
    all
}

/// `failing` with everything that depends on one of them, directly or not.
pub(super) fn closure(spec: &RolloutSpec, failing: &[String]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = BTreeSet::new();
    let mut next: Vec<&str> = failing.iter().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        if all.insert(name.to_owned()) {
            next.extend(
                spec.components
                    .iter()
                    .flat_map(|c| c.depends_on.iter().any(|d| d == name).then_some(c.name.as_str())),
            );
        }
    }
    all
}

/// A circle of components that depend on each other, each on the next, if there is one. In it the first stands twice.
pub(super) fn circle(spec: &RolloutSpec) -> Option<Vec<String>> {
    let mut is_clear: BTreeSet<&str> = BTreeSet::new();
    for component in &spec.components {
        let mut path: Vec<&str> = Vec::new();
        if let Some(circle) = walk(spec, &component.name, &mut path, &mut is_clear) {
            return Some(circle);
        }
    }
    None
}

fn walk<'s>(
    spec: &'s RolloutSpec,
    name: &'s str,
    path: &mut Vec<&'s str>,
    is_clear: &mut BTreeSet<&'s str>,
) -> Option<Vec<String>> {
    if let Some(at) = path.iter().position(|on| *on == name) {
        return Some(path[at..].iter().copied().chain([name]).map(str::to_owned).collect());
    }
    if is_clear.contains(name) {
        return None;
    }
    path.push(name);
    let circle = dependencies(spec, name).iter().find_map(|next| walk(spec, next, path, is_clear));
    path.pop();
    is_clear.insert(name);
    circle
}

/// The components that take part in the run and keep `name` waiting: those that it depends on and that have not baked in
/// their last phase, in the order of the spec.
pub(super) fn waits_for(spec: &RolloutSpec, status: &RolloutStatus, name: &str) -> Vec<String> {
    let of = |name: &String| status.components.iter().find(|c| c.name == *name);
    let keeps = |c: &&ComponentStatus| {
        takes_part(c) && !matches!(c.stage, Stage::Baked | Stage::Adopting | Stage::Adopted)
    };
    let waits = dependencies(spec, name).iter().filter_map(of).filter(keeps);
    let waits = waits.filter(|_| !flaw::is(Flaw::DependentsStartEarly));
    waits.map(|c| c.name.clone()).collect()
}

/// How long a component that goes back has to wait for those that depend on it: `None` if none of them has traffic on its
/// canary any more.
pub(super) fn wait_for_dependents(spec: &RolloutSpec, status: &RolloutStatus, name: &str) -> Option<Span> {
    let has_traffic = |name: &str| {
        let component = status.components.iter().find(|c| c.name == name);
        component.is_some_and(|c| c.stage == Stage::RollingBack && c.weight > 0)
    };
    if !closure(spec, &[name.to_owned()]).iter().any(|other| other != name && has_traffic(other)) {
        return None;
    }
    let levels = i64::try_from(height(spec, name, &mut BTreeMap::new())).unwrap_or(16);
    Some(Span::millis(WAVE_MAX.as_millis() * levels))
}

/// The length of the longest chain of components that depend on `name`; 0 for a circle.
fn height<'s>(spec: &'s RolloutSpec, name: &'s str, known: &mut BTreeMap<&'s str, usize>) -> usize {
    if let Some(height) = known.get(name) {
        return *height;
    }
    known.insert(name, 0);
    let next: Vec<&str> = dependents(spec, name).collect();
    let height = next.into_iter().map(|next| height(spec, next, known) + 1).max().unwrap_or(0);
    known.insert(name, height);
    height
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(edges: &[(&str, &[&str])]) -> RolloutSpec {
        let component = |(name, on): &(&str, &[&str])| serde_json::json!({"name": name, "workloadRef": {"name": name}, "dependsOn": on});
        let components: Vec<_> = edges.iter().map(component).collect();
        serde_json::from_value(serde_json::json!({ "components": components })).expect("a spec")
    }

    fn chain() -> RolloutSpec {
        spec(&[("suppliers", &[]), ("stock", &["suppliers"]), ("production", &["stock"]), ("news", &[])])
    }

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    #[test]
    fn what_falls_with_a_component() {
        let chain = chain();
        assert_eq!(names(&closure(&chain, &["stock".into()])), ["production", "stock"]);
        assert_eq!(names(&closure(&chain, &["news".into()])), ["news"]);
        assert_eq!(closure(&chain, &["suppliers".into(), "news".into()]).len(), 4);
    }

    #[test]
    fn what_a_component_stands_on() {
        let chain = chain();
        assert_eq!(names(&foundations(&chain, "production")), ["stock", "suppliers"]);
        assert_eq!(names(&foundations(&chain, "suppliers")), [""; 0]);
    }

    #[test]
    fn a_circle_is_found_wherever_it_is() {
        assert_eq!(circle(&chain()), None);
        let round = spec(&[("a", &[]), ("b", &["a", "d"]), ("c", &["b"]), ("d", &["c"])]);
        assert_eq!(circle(&round), Some(vec!["b".into(), "d".into(), "c".into(), "b".into()]));
        let diamond = spec(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]);
        assert_eq!(circle(&diamond), None);
    }

    #[test]
    fn a_component_lets_those_that_depend_on_it_go_back_first() {
        let chain = chain();
        let back = |name: &str, weight| ComponentStatus {
            name: name.into(),
            stage: Stage::RollingBack,
            weight,
            ..ComponentStatus::default()
        };
        let status = |weights: [i32; 3]| RolloutStatus {
            components: ["suppliers", "stock", "production"]
                .into_iter()
                .zip(weights)
                .map(|(n, w)| back(n, w))
                .collect(),
            ..RolloutStatus::default()
        };
        let wait = |name, weights| wait_for_dependents(&chain, &status(weights), name);
        assert_eq!(wait("suppliers", [100, 100, 10]), Some(Span::seconds(2)));
        assert_eq!(wait("stock", [100, 100, 10]), Some(Span::seconds(1)));
        assert_eq!(wait("production", [100, 100, 10]), None);
        assert_eq!(wait("stock", [100, 100, 0]), None);
        assert_eq!(wait("suppliers", [100, 0, 0]), None);
    }
}
