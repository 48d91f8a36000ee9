//! The definitions' rules, judged without an evaluator: all are known, and the judgement is that of one.

use std::fs;

use kube::core::cel::Validator;
use palier::api::crds;
use palier::engine::lint::{Given, knows_rule, lint};
use serde_json::Value;

use crate::{files, root};

fn schema_of(kind: &str) -> Option<Value> {
    let crd = crds::all().into_iter().find(|crd| crd.spec.names.kind == kind)?;
    let version = serde_json::to_value(&crd.spec.versions[0]).unwrap();
    version.pointer("/schema/openAPIV3Schema").cloned()
}

fn rules(schema: &Value, all: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let own = fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
            all.extend(own.map(|it| it["rule"].as_str().unwrap().to_owned()));
            fields.values().for_each(|it| rules(it, all));
        }
        Value::Array(items) => items.iter().for_each(|it| rules(it, all)),
        _ => {}
    }
}

#[test]
fn every_rule_of_what_people_write_is_known() {
    let mut all = Vec::new();
    for kind in ["Rollout", "MetricSource", "GateTemplate", "ClusterGateTemplate"] {
        let part = "/properties/spec";
        rules(schema_of(kind).unwrap().pointer(part).unwrap(), &mut all);
    }
    assert!(all.len() > 60, "{} rules", all.len());
    let unknown: Vec<&String> = all.iter().filter(|it| !knows_rule(it)).collect();
    assert!(unknown.is_empty(), "src/engine/lint/promises.rs does not know {unknown:#?}");
}

/// What the API server refuses lint finds; what it takes has no error of the definition's.
#[test]
fn rules_are_judged_as_an_evaluator_does() {
    let of_definition = ["PAL003", "PAL004", "PAL005", "PAL006", "PAL007", "PAL008"];
    let mut judged = 0;
    for file in files("tests/bad-manifests").into_iter().chain(files("examples")) {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(&file).unwrap()).unwrap();
        for document in documents {
            let kind = document["kind"].as_str().unwrap_or_default().to_owned();
            if !["Rollout", "MetricSource", "GateTemplate", "ClusterGateTemplate"].contains(&kind.as_str()) {
                continue;
            }
            judged += 1;
            let refused = Validator::new().validate(&schema_of(&kind).unwrap(), &document, None).err();
            let refused: Vec<String> = refused
                .map(|it| it.as_slice().iter().map(|it| it.message.clone()).collect())
                .unwrap_or_default();
            let found = lint(&[document], &Given::default());
            let found: Vec<_> = found.iter().filter(|it| of_definition.contains(&it.check.code)).collect();
            if name.contains("/schema-") {
                assert!(!found.is_empty(), "{name}: nothing is found");
            } else {
                assert_eq!(found.is_empty(), refused.is_empty(), "{name}: {found:?} beside {refused:?}");
                for message in &refused {
                    let words = message.split(": ").next().unwrap();
                    assert!(found.iter().any(|it| it.message == words), "{name}: {found:?} beside {message}");
                }
            }
        }
    }
    assert!(judged >= 80, "{judged} objects");
}
