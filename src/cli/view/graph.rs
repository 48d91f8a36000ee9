//! Who depends on whom, as a tree: every component once, below the last of those that it depends on.

use std::collections::BTreeMap;

use crate::api::{ComponentStatus, RolloutSpec};

/// Columns by which a component stands to the right of the one it depends on.
const STEP: usize = 3;
/// The same where there is little room.
const STEP_SHORT: usize = 2;

/// A component in the tree.
#[derive(Debug, PartialEq)]
pub(super) struct Twig<'a> {
    /// The component.
    pub component: &'a ComponentStatus,
    /// The tree to the left of it.
    pub lead: String,
    /// What it depends on besides the one it stands below.
    pub also: Vec<&'a str>,
}

/// Whether the Rollout is shown as a tree: one or two components that do not depend on each other need none.
pub(super) fn is_graph(spec: &RolloutSpec) -> bool {
    spec.components.len() > 2 || spec.components.iter().any(|c| !c.depends_on.is_empty())
}

/// The components in the order in which they are drawn. `is_narrow` brings the levels closer to each other.
///
/// Whatever the spec says, each is there once: a circle starts where the spec names it first, and what has left the spec
/// comes last.
pub(super) fn tree<'a>(
    spec: &'a RolloutSpec,
    components: &'a [ComponentStatus],
    is_narrow: bool,
) -> Vec<Twig<'a>> {
    let order: Vec<&str> = spec.components.iter().map(|c| c.name.as_str()).collect();
    let mut known = BTreeMap::new();
    let depths: Vec<usize> = order.iter().map(|name| depth(spec, name, &mut known)).collect();
    let above = |name: &str| {
        let place = |on: &&str| order.iter().position(|known| known == on).map(|at| (depths[at], at));
        dependencies(spec, name).filter(|on| place(on).is_some()).max_by_key(place)
    };
    let parents: BTreeMap<&str, Option<&str>> = order.iter().map(|name| (*name, above(name))).collect();
    let mut drawing = Drawing {
        spec,
        components,
        parents,
        step: if is_narrow { STEP_SHORT } else { STEP },
        drawn: Vec::new(),
    };
    for is_root in [true, false] {
        for name in &order {
            if drawing.parents.get(name).is_some_and(Option::is_none) == is_root {
                drawing.draw(name, "", "");
            }
        }
    }
    for component in components.iter().filter(|c| !order.contains(&c.name.as_str())) {
        drawing.drawn.push(Twig { component, lead: String::new(), also: Vec::new() });
    }
    drawing.drawn
}

fn dependencies<'a>(spec: &'a RolloutSpec, name: &str) -> impl Iterator<Item = &'a str> {
    let component = spec.components.iter().find(|c| c.name == name);
    component.into_iter().flat_map(|c| c.depends_on.iter().map(String::as_str))
}

/// How many levels there are above a component; a circle counts once.
fn depth<'a>(spec: &'a RolloutSpec, name: &'a str, known: &mut BTreeMap<&'a str, usize>) -> usize {
    if let Some(depth) = known.get(name) {
        return *depth;
    }
    known.insert(name, 0);
    let depth = dependencies(spec, name).map(|on| depth(spec, on, known) + 1).max().unwrap_or(0);
    known.insert(name, depth);
    depth
}

struct Drawing<'a> {
    spec: &'a RolloutSpec,
    components: &'a [ComponentStatus],
    parents: BTreeMap<&'a str, Option<&'a str>>,
    step: usize,
    drawn: Vec<Twig<'a>>,
}

impl<'a> Drawing<'a> {
    /// Draws a component and what stands below it: `own` is the tree on its line, `below` that on the lines below it.
    fn draw(&mut self, name: &'a str, own: &str, below: &str) {
        let Some(component) = self.components.iter().find(|c| c.name == name) else { return };
        if self.drawn.iter().any(|twig| twig.component.name == name) {
            return;
        }
        let parent = self.parents.get(name).copied().flatten();
        let also = dependencies(self.spec, name).filter(|on| Some(*on) != parent && !own.is_empty());
        self.drawn.push(Twig { component, lead: own.to_owned(), also: also.collect() });
        let is_below = |c: &&str| self.parents.get(*c).copied().flatten() == Some(name);
        let order = self.spec.components.iter().map(|c| c.name.as_str());
        let children: Vec<&str> = order.filter(is_below).collect();
        let line = "─".repeat(self.step - 2);
        let (bar, blank) = (format!("│{}", " ".repeat(self.step - 1)), " ".repeat(self.step));
        for (at, child) in children.iter().enumerate() {
            let (knot, next) = if at + 1 < children.len() { ("├", &bar) } else { ("└", &blank) };
            self.draw(child, &format!("{below}{knot}{line} "), &format!("{below}{next}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(edges: &[(&str, &[&str])], is_narrow: bool) -> Vec<String> {
        let component = |(name, on): &(&str, &[&str])| serde_json::json!({"name": name, "workloadRef": {"name": name}, "dependsOn": on});
        let components: Vec<_> = edges.iter().map(component).collect();
        let spec: RolloutSpec =
            serde_json::from_value(serde_json::json!({ "components": components })).expect("a spec");
        let named = |name: &str| ComponentStatus { name: name.into(), ..ComponentStatus::default() };
        let mut statuses: Vec<ComponentStatus> = spec.components.iter().map(|c| named(&c.name)).collect();
        statuses.push(named("gone"));
        let words = |twig: &Twig<'_>| {
            let also =
                if twig.also.is_empty() { String::new() } else { format!(" +{}", twig.also.join(",")) };
            format!("{}{}{also}", twig.lead, twig.component.name)
        };
        tree(&spec, &statuses, is_narrow).iter().map(words).collect()
    }

    #[test]
    fn children_stand_below_the_last_of_what_they_depend_on() {
        let edges: [(&str, &[&str]); 6] =
            [("d", &["b", "c", "e"]), ("a", &[]), ("b", &["a"]), ("c", &["a"]), ("e", &[]), ("f", &["b"])];
        assert_eq!(drawn(&edges, false), ["a", "├─ b", "│  └─ f", "└─ c", "   └─ d +b,e", "e", "gone"]);
        assert_eq!(drawn(&edges, true), ["a", "├ b", "│ └ f", "└ c", "  └ d +b,e", "e", "gone"]);
    }

    #[test]
    fn a_circle_and_an_unknown_name_lose_nobody() {
        let edges: [(&str, &[&str]); 4] = [("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["nobody"])];
        let mut names: Vec<String> = drawn(&edges, false);
        names.sort_by_key(|line| line.chars().last());
        assert_eq!(names.len(), 5, "{names:?}");
        for name in ["a", "b", "c", "d", "gone"] {
            assert_eq!(names.iter().filter(|line| line.ends_with(name)).count(), 1, "{name}: {names:?}");
        }
    }
}
