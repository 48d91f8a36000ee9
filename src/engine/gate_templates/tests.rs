use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{GateTemplateSpec, ParameterType, RolloutSpec, Span, TemplateKind};
use crate::engine::query;
use crate::engine::world::Look;

use super::{Expansion, expand};

fn template() -> Value {
    json!({
        "parameters": [
            {"name": "limit", "type": "Number", "default": "0.01", "minimum": 0, "maximum": 1},
            {"name": "every", "type": "Duration", "default": "30s"},
            {"name": "times", "type": "Integer", "default": "2"},
            {"name": "metric", "type": "Metric", "default": "http_requests_total"},
            {"name": "code", "type": "String", "default": "5.."},
            {"name": "reaction", "type": "String", "default": "Hold", "values": ["Hold", "FullRollback"]},
        ],
        "gates": [{
            "name": "errors", "interval": "$every", "failureThreshold": "$times", "threshold": {"max": "$limit"},
            "onFailure": "$reaction",
            "prometheus": {"query": "sum(rate($metric{namespace=\"$namespace\",pod=~\"$canary_pods\",code=~\"$code\"}[$every])) / $times"},
        }],
    })
}

fn spec(more: Value) -> RolloutSpec {
    let mut spec = json!({"components": [{"name": "api", "workloadRef": {"name": "api"}}]});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn expanded(template: &Value, more: Value) -> Expansion {
    let template: GateTemplateSpec = serde_json::from_value(template.clone()).unwrap();
    let seen = [((TemplateKind::GateTemplate, "http".to_owned()), Look::Found(template))];
    expand(&spec(more), &BTreeMap::from(seen))
}

fn with(template: &Value, parameters: Value) -> Expansion {
    expanded(template, json!({"gatesFrom": [{"name": "http", "parameters": parameters}]}))
}

fn problem_of(expansion: &Expansion) -> String {
    expansion.problems.first().map(|it| it.in_words(&expansion.spec)).unwrap_or_default()
}

#[test]
fn parameters_stand_where_a_gate_has_values() {
    let given = json!({"limit": "0.05", "every": "1m", "times": "3", "metric": "grpc_calls", "reaction": "FullRollback"});
    let expansion = with(&template(), given);
    assert_eq!(problem_of(&expansion), "");
    let gate = &expansion.spec.gates[0];
    assert_eq!((gate.name.as_str(), gate.interval, gate.failure_threshold), ("errors", Span::seconds(60), 3));
    assert_eq!(gate.threshold.as_ref().unwrap().max, Some(0.05));
    let query = gate.prometheus.query.as_deref().unwrap();
    assert_eq!(
        query,
        r#"sum(rate(grpc_calls{namespace="$namespace",pod=~"$canary_pods",code=~"5.."}[1m])) / 3"#
    );
    assert!(query::check(query).is_ok());
    assert!(expansion.spec.gates_from.is_empty(), "there is nothing left to expand");
}

#[test]
fn a_text_never_leaves_its_string_and_is_never_taken_for_a_variable() {
    for (value, shown) in [
        (r#"5..",pod=~".*"#, r#"code=~"5..\",pod=~\".*""#),
        (r"a\d", r#"code=~"a\\d""#),
        ("^5..$", r#"code=~"^5..\x24""#),
        ("$canary_pods", r#"code=~"\x24canary_pods""#),
        ("${x}", r#"code=~"\x24{x}""#),
    ] {
        let expansion = with(&template(), json!({"code": value}));
        assert_eq!(problem_of(&expansion), "", "{value}");
        let query = expansion.spec.gates[0].prometheus.query.clone().unwrap();
        assert!(query.contains(shown), "{value}: {query}");
        assert!(query::check(&query).is_ok(), "{value}: {:?}", query::check(&query));
    }
}

#[test]
fn a_negative_number_stands_between_brackets() {
    let mut template = template();
    template["gates"][0]["prometheus"]["query"] = json!("time() ^ $limit");
    template["parameters"][0] = json!({"name": "limit", "type": "Number"});
    let expansion = with(&template, json!({"limit": "-1.5"}));
    assert_eq!(expansion.spec.gates[0].prometheus.query.as_deref(), Some("time() ^ (-1.5)"));
    assert_eq!(expansion.spec.gates[0].threshold.as_ref().unwrap().max, Some(-1.5));
}

#[test]
fn what_cannot_be_is_said_with_template_parameter_and_cure() {
    let mut needs = template();
    needs["parameters"][0].as_object_mut().unwrap().remove("default");
    for (template, given, says) in [
        (
            &template(),
            json!({"limi": "1"}),
            "spec.gatesFrom[0].parameters.limi: the GateTemplate http has no parameter limi, it has limit, every, times, metric, code, reaction: correct the name or take it out",
        ),
        (
            &needs,
            json!({}),
            "spec.gatesFrom[0].parameters.limit: the GateTemplate http needs the parameter limit: give it a Number like 0.01 under parameters",
        ),
        (
            &template(),
            json!({"limit": "1 %"}),
            "spec.gatesFrom[0].parameters.limit: the parameter limit of the GateTemplate http cannot be \"1 %\": give it a Number like 0.01",
        ),
        (
            &template(),
            json!({"limit": "1.5"}),
            "spec.gatesFrom[0].parameters.limit: the parameter limit of the GateTemplate http cannot be 1.5: give at most 1",
        ),
        (&template(), json!({"limit": "-1"}), "give at least 0"),
        (&template(), json!({"times": "2.5"}), "cannot be \"2.5\": give it an Integer like 3"),
        (&template(), json!({"every": "soon"}), "give it a Duration like 90s"),
        (&template(), json!({"every": ""}), "give it a Duration like 90s"),
        (&template(), json!({"metric": "up{}"}), "give it a Metric like http_requests_total"),
        (&template(), json!({"reaction": "Notify"}), "cannot be \"Notify\": give one of Hold, FullRollback"),
        // What is fine by its type, and not by the gate.
        (
            &template(),
            json!({"times": "1000"}),
            "spec.gatesFrom[0]: the gate errors of the GateTemplate http: failureThreshold: 1000 is out of bounds",
        ),
        (&template(), json!({"every": "0"}), "the gate errors of the GateTemplate http: interval: "),
    ] {
        let expansion = with(template, given);
        let said = problem_of(&expansion);
        assert!(said.contains(says), "{says}\n{said}");
        assert_eq!(expansion.spec.gates.len(), 1, "a gate that never passes stands for it");
        assert!(expansion.spec.gates[0].rule().is_none());
    }
}

#[test]
fn a_body_that_is_no_gate_is_said_with_the_gate_and_its_field() {
    for (path, value, says) in [
        (
            "/gates/0/prometheus/query",
            json!("up{a=\"$nothing\"}"),
            "prometheus.query: $nothing is neither a parameter of the template",
        ),
        (
            "/gates/0/prometheus/query",
            json!("up{a=$code}"),
            "prometheus.query: $code is a String: put it between double quotes",
        ),
        ("/gates/0/prometheus/query", json!("up{a=\"${code}\"}"), "write the variable without braces"),
        ("/gates/0/interval", json!("$window"), "interval: $window stands in queries only"),
        ("/gates/0/interval", json!("$nothing"), "interval: $nothing is neither a parameter"),
        ("/gates/0/name", json!("errors-$times"), "name: a parameter is the whole value or none of it"),
        ("/gates/0/threshold", json!({"maxi": 1}), "threshold.maxi: there is no field maxi here"),
        ("/gates/0/threshold", json!(null), "threshold: null is nothing (null)"),
        (
            "/gates/0/threshold",
            json!({"max": "$code"}),
            "threshold.max: \"5..\" is a string, and a number is asked for",
        ),
        ("/gates/0/name", json!("Errors"), "name: not a gate name"),
        ("/gates/0/degradedMode", json!("calm"), "onFailure: DegradedMode and degradedMode go together"),
    ] {
        let mut template = template();
        match template.pointer_mut(path) {
            Some(place) => *place = value,
            None => template["gates"][0]["degradedMode"] = value,
        }
        let said = problem_of(&with(&template, json!({})));
        let starts = "spec.gatesFrom[0]: the gate ";
        assert!(said.starts_with(starts) && said.contains(says), "{says}\n{said}");
    }
}

#[test]
fn names_and_numbers_of_gates_keep_within_their_bounds() {
    let own = json!([{"name": "errors", "prometheus": {"query": "up"}, "threshold": {"min": 1}}]);
    let twice = json!([{"name": "http"}, {"name": "http", "prefix": "b-"}]);
    let expansion = expanded(&template(), json!({"gates": own, "gatesFrom": twice}));
    let names: Vec<&str> = expansion.spec.gates.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["errors", "b-errors", "http"], "one stands for the first entry");
    let said = problem_of(&expansion);
    assert!(said.contains("has the name of another gate: give this entry a prefix of its own"), "{said}");

    let many: Vec<Value> = (0..20)
        .map(|n| json!({"name": format!("g{n}"), "prometheus": {"query": "up"}, "threshold": {"min": 1}}))
        .collect();
    let expansion = expanded(&template(), json!({"gates": many, "gatesFrom": [{"name": "http"}]}));
    assert!(problem_of(&expansion).contains("more than 20"), "{}", problem_of(&expansion));
    assert_eq!(expansion.spec.gates.len(), 20, "the status has room for twenty");
    assert!(expansion.spec.gates[19].rule().is_none());
}

#[test]
fn the_gates_of_a_component_are_its_own() {
    let components = json!([
        {"name": "api", "workloadRef": {"name": "api"}, "gatesFrom": [{"name": "http", "parameters": {"limit": "0.2"}}]},
        {"name": "web", "workloadRef": {"name": "web"}, "gatesFrom": [{"name": "http", "parameters": {"limit": "3"}}]},
    ]);
    let expansion = expanded(&template(), json!({"components": components}));
    assert_eq!(expansion.spec.components[0].gates[0].threshold.as_ref().unwrap().max, Some(0.2));
    assert!(problem_of(&expansion).starts_with("spec.components[web].gatesFrom[0].parameters.limit: "));
    assert_eq!(expansion.spec.components[1].gates[0].name, "http");
}

#[test]
fn a_template_that_is_gone_or_may_not_be_read_says_so() {
    let spec = spec(json!({"gatesFrom": [{"name": "http", "kind": "ClusterGateTemplate"}]}));
    let at = (TemplateKind::ClusterGateTemplate, "http".to_owned());
    let said = problem_of(&expand(&spec, &BTreeMap::from([(at.clone(), Look::Missing)])));
    assert!(said.contains("there is no ClusterGateTemplate http in the cluster: create it"), "{said}");
    let said = problem_of(&expand(&spec, &BTreeMap::from([(at, Look::Unknown)])));
    assert!(said.contains("may not read the ClusterGateTemplate http"), "{said}");
}

/// The API server's rule, lint's and ours know the same forms.
#[test]
fn the_rule_of_the_definition_has_the_patterns_of_the_types() {
    let all = serde_json::to_string(&crate::api::crds::all()).unwrap();
    for kind in
        [ParameterType::Number, ParameterType::Integer, ParameterType::Metric, ParameterType::Duration]
    {
        assert!(all.contains(kind.pattern().unwrap()), "{kind:?}");
    }
}
