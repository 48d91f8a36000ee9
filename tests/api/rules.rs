//! The CEL rules, run without a cluster: good manifests pass, each bad one is refused with the words it promises, and
//! what passes can be read by the types.

use kube::core::cel::Validator;
use palier::api::{GateTemplate, MetricSource, Rollout, RolloutAction, RolloutRun, Span};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::manifests::{bad, examples};
use super::schema_of;

/// The messages of all rules that refuse an object.
fn refusals(object: &Value, old: Option<&Value>) -> Vec<String> {
    let kind = object["kind"].as_str().unwrap();
    let result = Validator::new().validate(&schema_of(kind), object, old);
    result.err().map(|errors| errors.as_slice().iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn read(object: &Value) -> Result<(), serde_json::Error> {
    let object = object.clone();
    match object["kind"].as_str().unwrap() {
        "Rollout" => serde_json::from_value::<Rollout>(object).map(drop),
        "RolloutRun" => serde_json::from_value::<RolloutRun>(object).map(drop),
        "RolloutAction" => serde_json::from_value::<RolloutAction>(object).map(drop),
        // One spec for both.
        "GateTemplate" | "ClusterGateTemplate" => serde_json::from_value::<GateTemplate>(object).map(drop),
        "MetricSource" => serde_json::from_value::<MetricSource>(object).map(drop),
        kind => panic!("{kind} is no kind of ours"),
    }
}

#[test]
fn examples_pass_and_can_be_read() {
    let examples = examples();
    assert!(examples.len() >= 5, "{} objects", examples.len());
    for (name, object) in examples {
        assert_eq!(refusals(&object, None), Vec::<String>::new(), "{name}");
        read(&object).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn each_bad_manifest_is_refused_in_its_words() {
    for bad in bad().into_iter().filter(|bad| bad.refused_by == "cel") {
        let refusals = refusals(&bad.documents[0], None);
        let promised = |refusal: &&String| refusal.contains(&bad.says);
        assert!(refusals.iter().any(|refusal| promised(&refusal)), "{}: {refusals:?}", bad.name);
        assert!(
            refusals.iter().all(|refusal| promised(&refusal)),
            "{} has more than one mistake: {refusals:?}",
            bad.name
        );
    }
}

#[test]
fn what_only_the_cluster_can_refuse_passes_the_rules() {
    let ours = |value: &&Value| value["apiVersion"].as_str().unwrap().starts_with("palier.dev/");
    for bad in bad().into_iter().filter(|bad| ["policy", "stalled"].contains(&bad.refused_by.as_str())) {
        for object in bad.documents.iter().filter(ours) {
            assert_eq!(refusals(object, None), Vec::<String>::new(), "{}", bad.name);
            read(object).unwrap_or_else(|error| panic!("{}: {error}", bad.name));
        }
    }
}

#[test]
fn actions_and_records_cannot_be_changed() {
    let action = |reason: &str| {
        json!({"apiVersion": "palier.dev/v1alpha1", "kind": "RolloutAction", "metadata": {"name": "a"},
               "spec": {"rollout": "shop", "run": 1, "action": "Abort", "reason": reason}})
    };
    assert_eq!(refusals(&action("late"), Some(&action("late"))), Vec::<String>::new());
    let refused = refusals(&action("late"), Some(&action("slow")));
    assert!(refused.len() == 1 && refused[0].contains("create another one"), "{refused:?}");

    let run = |number: i64| {
        json!({"apiVersion": "palier.dev/v1alpha1", "kind": "RolloutRun", "metadata": {"name": "shop-1"},
               "spec": {"rollout": "shop", "number": number, "components": [], "phases": [],
                        "startedAt": "2026-01-01T00:00:00Z"}})
    };
    let refused = refusals(&run(2), Some(&run(1)));
    assert!(
        refused.len() == 1 && refused[0].contains("the record of a run cannot be changed"),
        "{refused:?}"
    );
}

#[test]
fn a_spec_of_one_line_gets_the_defaults_of_the_types() {
    let spec = json!({"components": [{"name": "api", "workloadRef": {"name": "shop-api"}}]});
    let object = json!({"apiVersion": "palier.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"}, "spec": spec});
    let schema = schema_of("Rollout");
    let defaulted = kube::core::cel::apply_defaults(&schema, &object);
    let typed: Rollout = serde_json::from_value(object).unwrap();
    let shown = defaulted["spec"].clone();
    assert_eq!(shown, serde_json::to_value(&typed.spec).unwrap(), "kubectl shows what the controller reads");
    assert_eq!(shown["phases"][0], json!({"name": "pilot", "traffic": 10, "bakeTime": "10m"}));
}

fn duration_rule_accepts(text: &str) -> bool {
    let schema = schema_of("Rollout").pointer("/properties/spec/properties/drainTime").unwrap().clone();
    Validator::new().validate(&schema, &json!(text), None).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A text that the API server stores and the controller cannot read would be a Rollout that nobody works on.
    #[test]
    fn a_duration_that_is_stored_can_be_read(
        text in "([0-9]{1,2}y)?([0-9]{1,4}w)?([0-9]{1,5}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,10}ms)?|[0-9a-z. ]{0,8}"
    ) {
        prop_assume!(text.len() <= 32);
        if duration_rule_accepts(&text) {
            prop_assert!(text.parse::<Span>().is_ok(), "{text:?} is stored but cannot be read");
        }
    }

    /// And what we write is accepted when it is written back.
    #[test]
    fn a_duration_that_is_shown_can_be_stored(millis in 0i64..70 * 365 * 86_400_000) {
        let text = Span::millis(millis).to_string();
        prop_assume!(text.len() <= 32);
        // Shown in days at most, of which the rule takes four digits.
        if millis < 10_000 * 86_400_000 {
            prop_assert!(duration_rule_accepts(&text), "{text:?}");
        }
    }
}

#[test]
fn the_longest_durations_are_within_the_types_limit() {
    for text in ["9y999w9999d99999h999999m", "99999999s999999999ms", "9y", "0", "0s"] {
        assert!(duration_rule_accepts(text), "{text}");
        assert!(text.parse::<Span>().is_ok(), "{text}");
    }
}
