//! The weights in a route: read, set, put back. Touches nothing but the backends that are ours.
//!
//! A rule of a Gateway API route names its backends in `backendRefs`; each gets `weight / sum of weights` of the rule's
//! requests, and a weight that is left out counts as 1
//! (<https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref>). In a rule that names the component's Service
//! as its only backend, the canary's Service becomes the second one: a copy of the first, with its filters and port.

use serde_json::{Map, Value};

use super::Weight;
use super::flaw::{self, Flaw};

/// The names of a component's backends.
#[derive(Clone, Copy, Debug)]
pub struct Backends<'a> {
    /// The Rollout's namespace.
    pub namespace: &'a str,
    /// The Service of the component's callers.
    pub stable: &'a str,
    /// The Service of the canary.
    pub canary: &'a str,
}

/// Marks a backend that gave no weight, in a list of found weights.
pub const NO_WEIGHT: i32 = -1;

/// What is wrong with a route for our purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteProblem {
    /// No rule names the Service.
    #[error("no rule names the Service {service}: name it as the backend of at least one rule")]
    NotNamed {
        /// The Service.
        service: String,
    },
    /// A rule names other backends beside the Service.
    #[error(
        "rule {rule} splits its traffic between the Service {service} and other backends: a rule of a released Service can have no other backend"
    )]
    Shared {
        /// The Service.
        service: String,
        /// Index of the rule, from 0.
        rule: usize,
    },
}

impl<'a> Backends<'a> {
    /// Whether a `backendRefs` entry is the Service `name` in our namespace.
    fn is_service(&self, backend: &Value, name: &str) -> bool {
        let text = |key: &str| backend.get(key).and_then(Value::as_str);
        text("name") == Some(name)
            && text("kind").is_none_or(|kind| kind == "Service")
            && text("group").is_none_or(str::is_empty)
            && text("namespace").is_none_or(|namespace| namespace == self.namespace)
    }

    fn stable_of<'v>(&self, rule: &'v [Value]) -> Option<&'v Value> {
        rule.iter().find(|backend| self.is_service(backend, self.stable))
    }

    fn canary_of<'v>(&self, rule: &'v [Value]) -> Option<&'v Value> {
        rule.iter().find(|backend| self.is_service(backend, self.canary))
    }

    fn is_ours(&self, rule: &[Value]) -> bool {
        self.stable_of(rule).is_some() || self.canary_of(rule).is_some()
    }

    /// Checks that every rule that names the Service can be split.
    pub fn check(&self, rules: &[Vec<Value>]) -> Result<(), RouteProblem> {
        let mut is_named = false;
        for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| self.is_ours(rule)) {
            is_named = true;
            let ours = |name: &str| rule.iter().filter(|backend| self.is_service(backend, name)).count();
            let (stable, canary) = (ours(self.stable), ours(self.canary));
            if stable > 1 || canary > 1 || stable + canary < rule.len() {
                return Err(RouteProblem::Shared { service: self.stable.to_owned(), rule: index });
            }
        }
        if is_named { Ok(()) } else { Err(RouteProblem::NotNamed { service: self.stable.to_owned() }) }
    }

    /// The weight given by each backend that names the Service, in order; [`NO_WEIGHT`] for none given.
    #[must_use]
    pub fn found(&self, rules: &[Vec<Value>]) -> Vec<i32> {
        rules.iter().filter_map(|rule| self.stable_of(rule)).map(weight_given).collect()
    }

    /// Whether a rule names the canary's Service.
    #[must_use]
    pub fn names_canary(&self, rules: &[Vec<Value>]) -> bool {
        rules.iter().any(|rule| self.canary_of(rule).is_some())
    }

    /// The share of the canary as the rules say it: the greatest among them.
    #[must_use]
    pub fn weight(&self, rules: &[Vec<Value>]) -> Weight {
        rules.iter().map(|rule| self.weight_of_rule(rule)).max().unwrap_or_default()
    }

    fn weight_of_rule(&self, rule: &[Value]) -> Weight {
        let Some(canary) = self.canary_of(rule) else { return Weight::ZERO };
        let weight = |backend: &Value| i64::from(effective(weight_given(backend)));
        let (ours, all) = (weight(canary), rule.iter().map(weight).sum::<i64>());
        if all <= 0 {
            return Weight::ZERO;
        }
        // Rounded up: a share is never reported as less than it is.
        Weight::clamped(i32::try_from((ours * 100 + all - 1) / all).unwrap_or(100))
    }

    /// The rules that change so that the canary gets `weight`.
    #[must_use]
    pub fn with_weight(&self, rules: &[Vec<Value>], weight: Weight) -> Vec<(usize, Vec<Value>)> {
        self.changed(rules, |_, model| {
            let rest = if flaw::is(Flaw::WeightsDoNotSum) { Weight::FULL } else { weight.rest() };
            vec![
                backend(model, self.stable, Some(rest.percent())),
                backend(model, self.canary, Some(weight.percent())),
            ]
        })
    }

    /// The rules that change so that the canary is not named any more and the Service has the weights that were
    /// `found` before.
    #[must_use]
    pub fn as_found(&self, rules: &[Vec<Value>], found: &[i32]) -> Vec<(usize, Vec<Value>)> {
        self.changed(rules, |nth, model| {
            let given = found.get(nth).copied().filter(|weight| *weight != NO_WEIGHT);
            let given = given.or(flaw::is(Flaw::RouteNotAsFound).then_some(100));
            vec![backend(model, self.stable, given)]
        })
    }

    /// Applies `wanted(n, model)` to the n-th rule that is ours; only rules where it changes something are returned.
    fn changed(
        &self,
        rules: &[Vec<Value>],
        wanted: impl Fn(usize, &Map<String, Value>) -> Vec<Value>,
    ) -> Vec<(usize, Vec<Value>)> {
        let ours = rules.iter().enumerate().filter(|(_, rule)| self.is_ours(rule));
        let rewritten = ours.enumerate().filter_map(|(nth, (index, rule))| {
            // The Service's own entry is the model; the canary's only where somebody removed that.
            let model = self.stable_of(rule).or_else(|| self.canary_of(rule))?.as_object()?;
            let other = rule
                .iter()
                .filter(|b| !self.is_service(b, self.stable) && !self.is_service(b, self.canary))
                .cloned();
            let wanted: Vec<Value> = wanted(nth, model).into_iter().chain(other).collect();
            (wanted != *rule).then_some((index, wanted))
        });
        rewritten.collect()
    }
}

/// A copy of `model` with another name and weight.
fn backend(model: &Map<String, Value>, name: &str, weight: Option<i32>) -> Value {
    let mut backend = model.clone();
    backend.insert("name".to_owned(), Value::from(name));
    match weight {
        Some(weight) => backend.insert("weight".to_owned(), Value::from(weight)),
        None => backend.remove("weight"),
    };
    Value::Object(backend)
}

fn weight_given(backend: &Value) -> i32 {
    backend
        .get("weight")
        .and_then(Value::as_i64)
        .map_or(NO_WEIGHT, |weight| i32::try_from(weight).unwrap_or(i32::MAX))
}

const fn effective(given: i32) -> i32 {
    if given == NO_WEIGHT { 1 } else { given }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: Backends<'_> = Backends { namespace: "shop", stable: "api", canary: "api-canary" };

    fn rules(value: Value) -> Vec<Vec<Value>> {
        serde_json::from_value(value).unwrap()
    }

    fn apply(rules: &[Vec<Value>], changes: Vec<(usize, Vec<Value>)>) -> Vec<Vec<Value>> {
        let mut rules = rules.to_vec();
        for (index, rule) in changes {
            rules[index] = rule;
        }
        rules
    }

    fn found_rules() -> Vec<Vec<Value>> {
        rules(json!([
            [{"group": "", "kind": "Service", "name": "api", "port": 80, "weight": 1, "filters": [{"type": "X"}]}],
            [{"name": "web", "port": 80}, {"name": "blog", "port": 80, "weight": 3}],
            [],
            [{"name": "api", "namespace": "shop", "port": 8080}],
            [{"name": "api", "namespace": "other", "port": 80}],
        ]))
    }

    #[test]
    fn splits_only_our_rules_and_keeps_filters_and_ports() {
        let split = OURS.with_weight(&found_rules(), Weight::clamped(10));
        assert_eq!(split.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(
            Value::from(split[0].1.clone()),
            json!([
                {"group": "", "kind": "Service", "name": "api", "port": 80, "weight": 90, "filters": [{"type": "X"}]},
                {"group": "", "kind": "Service", "name": "api-canary", "port": 80, "weight": 10, "filters": [{"type": "X"}]},
            ])
        );
    }

    #[test]
    fn puts_back_exactly_what_was_found() {
        let before = found_rules();
        let found = OURS.found(&before);
        assert_eq!(found, [1, NO_WEIGHT]);
        for percent in [1, 50, 100] {
            let during = apply(&before, OURS.with_weight(&before, Weight::clamped(percent)));
            assert_eq!(OURS.weight(&during).percent(), percent);
            assert_eq!(apply(&during, OURS.as_found(&during, &found)), before);
        }
    }

    #[test]
    fn says_nothing_where_nothing_changes() {
        let before = found_rules();
        let during = apply(&before, OURS.with_weight(&before, Weight::clamped(50)));
        assert!(OURS.with_weight(&during, Weight::clamped(50)).is_empty());
        assert!(OURS.as_found(&before, &OURS.found(&before)).is_empty());
    }

    #[test]
    fn refuses_routes_that_cannot_be_split() {
        assert_eq!(OURS.check(&found_rules()), Ok(()));
        assert!(matches!(OURS.check(&rules(json!([[{"name": "web"}]]))), Err(RouteProblem::NotNamed { .. })));
        assert!(matches!(
            OURS.check(&rules(json!([[{"name": "x"}], [{"name": "api"}, {"name": "web"}]]))),
            Err(RouteProblem::Shared { rule: 1, .. })
        ));
        assert!(matches!(
            OURS.check(&rules(json!([[{"name": "api"}, {"name": "api"}]]))),
            Err(RouteProblem::Shared { .. })
        ));
    }

    #[test]
    fn mends_a_rule_whose_stable_backend_was_removed() {
        let broken = rules(json!([[{"name": "api-canary", "port": 80, "weight": 10}]]));
        assert_eq!(OURS.weight(&broken), Weight::FULL);
        assert_eq!(OURS.as_found(&broken, &[]), vec![(0, vec![json!({"name": "api", "port": 80})])]);
    }
}
