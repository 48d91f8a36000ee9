//! Gates of templates by example: before a run, in it, and while somebody edits or deletes them.

use std::cell::Cell;
use std::rc::Rc;

use jiff::Timestamp;
use palier::api::{ActionKind, GatesFrom, RolloutSpec, RolloutState, TemplateKind, Verdict};
use palier::engine::{Answer, Ask, Measurement, Reason};
use palier::sim::{Cluster, Drive};
use serde_json::json;

use crate::fixtures::{action, at, cluster, spec};
use crate::monitors::weight_of;

/// Whose error rate is what, and the queries that were asked.
type Server = Rc<Cell<f64>>;

fn key() -> (TemplateKind, String) {
    (TemplateKind::ClusterGateTemplate, "http".to_owned())
}

/// The usual Rollout, its gate in a template with the parameter `limit`.
fn shared(parameters: &[(&str, &str)]) -> (RolloutSpec, Cluster) {
    let mut spec = spec();
    let mut gate = serde_json::to_value(spec.gates.remove(0)).unwrap();
    gate["threshold"] = json!({"max": "$limit"});
    let template =
        json!({"parameters": [{"name": "limit", "type": "Number", "maximum": 1.0}], "gates": [gate]});
    spec.gates_from = vec![GatesFrom {
        kind: TemplateKind::ClusterGateTemplate,
        name: "http".to_owned(),
        prefix: String::new(),
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }];
    let mut cluster = cluster(spec.clone());
    cluster.gate_templates.insert(key(), serde_json::from_value(template).unwrap());
    (spec, cluster)
}

/// A drive at rest on v1, and the error rate that its metric server says.
fn at_rest(parameters: &[(&str, &str)]) -> (Drive<impl FnMut(&Measurement, Timestamp) -> Answer>, Server) {
    let server: Server = Rc::new(Cell::new(0.0));
    let said = Rc::clone(&server);
    let mut drive = Drive::new(shared(parameters).1, move |asked: &Measurement, now| {
        assert!(!matches!(&asked.ask, Ask::Number(query) if query.contains("$limit")), "{asked:?}");
        Answer::Sample { value: said.get(), sampled_at: now }
    });
    drive.run(at(30), |_, _| {});
    drive.cluster.now = at(30);
    (drive, server)
}

#[test]
fn a_release_is_judged_by_the_gates_of_a_template() {
    let (mut drive, server) = at_rest(&[("limit", "0.05")]);
    assert_eq!(drive.working.state, RolloutState::Idle, "{:#?}", drive.working);
    server.set(0.04);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(1_000), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Completed, "{:#?}", drive.working);

    server.set(0.06);
    drive.cluster.push_image("shop-api", "app:v3");
    drive.run(at(2_000), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack, "{:#?}", drive.working);
    let said = drive.working.run.clone().unwrap().reason;
    assert!(said.contains("errors") && said.contains("0.05"), "{said}");
}

#[test]
fn no_run_begins_with_a_template_that_gives_no_gates() {
    for (parameters, says) in [
        (
            &[][..],
            "the ClusterGateTemplate http needs the parameter limit: give it a Number like 0.01 under parameters",
        ),
        (
            &[("limit", "much")],
            "spec.gatesFrom[0].parameters.limit: the parameter limit of the ClusterGateTemplate http cannot be \"much\"",
        ),
        (&[("limit", "2")], "cannot be 2: give at most 1"),
        (
            &[("limit", "0.1"), ("limits", "1")],
            "has no parameter limits, it has limit: correct the name or take it out",
        ),
    ] {
        let (mut drive, _) = at_rest(parameters);
        drive.cluster.push_image("shop-api", "app:v2");
        drive.run(at(200), |cluster, _| assert_eq!(weight_of(cluster, "shop-api").0, 0));
        assert_eq!(drive.working.state, RolloutState::Stalled, "{parameters:?}");
        assert!(drive.working.message.contains(says), "{}", drive.working.message);
        assert!(drive.working.run.is_none(), "{parameters:?}");
    }
}

#[test]
fn a_stalled_rollout_goes_on_once_its_template_is_there() {
    let (spec, mut cluster) = shared(&[("limit", "0.05")]);
    let template = cluster.gate_templates.remove(&key()).unwrap();
    assert_eq!(spec.gates.len(), 0);
    let mut drive =
        Drive::new(cluster, |_: &Measurement, now| Answer::Sample { value: 0.0, sampled_at: now });
    drive.run(at(30), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Stalled);
    assert!(
        drive.working.message.contains("there is no ClusterGateTemplate http"),
        "{}",
        drive.working.message
    );
    drive.cluster.gate_templates.insert(key(), template);
    drive.turn(&mut |_, _| true);
    drive.run(at(60), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::Idle, "{:#?}", drive.working);
    assert!(drive.happened.iter().any(|(_, it)| it.reason == Reason::Recovered));
}

#[test]
fn a_template_that_is_edited_during_a_run_voids_what_its_gates_have_shown() {
    let (mut drive, server) = at_rest(&[("limit", "0.05")]);
    server.set(0.04);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(75), |_, _| {});
    let baked = drive.working.components[0].bake.clone().unwrap().earned;
    assert!(!baked.is_zero());
    // A description changes no gate.
    drive.cluster.gate_templates.get_mut(&key()).unwrap().description = "errors of HTTP".to_owned();
    drive.turn(&mut |_, _| true);
    assert!(drive.working.components[0].bake.clone().unwrap().earned >= baked);
    // A gate that now allows less has to be passed anew, and fails.
    let template = drive.cluster.gate_templates.get_mut(&key()).unwrap();
    template.gates[0].0.insert("threshold".to_owned(), json!({"max": 0.03}));
    template.parameters[0].default = Some("0.05".to_owned());
    template.gates[0].0.insert("window".to_owned(), json!("1m"));
    drive.turn(&mut |_, _| true);
    // `limit` is in no gate any more; what the Rollout gives for it is still a parameter of the template.
    assert!(drive.working.components[0].bake.clone().unwrap().earned.is_zero(), "{:#?}", drive.working);
    drive.run(at(400), |cluster, _| assert!(weight_of(cluster, "shop-api").0 <= 10));
    assert_eq!(drive.working.state, RolloutState::RolledBack, "{:#?}", drive.working);
}

#[test]
fn without_its_template_a_run_holds_and_goes_back_when_it_is_asked_to() {
    let (mut drive, _) = at_rest(&[("limit", "0.05")]);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(75), |_, _| {});
    let template = drive.cluster.gate_templates.remove(&key()).unwrap();
    drive.run(at(1_000), |cluster, _| assert!(weight_of(cluster, "shop-api").0 <= 10));
    assert_eq!(drive.working.state, RolloutState::Held, "{:#?}", drive.working);
    let gate = drive.working.components[0].gates[0].clone();
    assert_eq!((gate.name.as_str(), gate.verdict), ("http", Verdict::Error));
    assert!(
        gate.message.contains("there is no ClusterGateTemplate http in the cluster: create it"),
        "{}",
        gate.message
    );
    assert!(drive.happened.iter().any(|(_, it)| it.reason == Reason::EvidenceMissing));

    // Back again, the run goes on; gone once more, an abort takes it back.
    drive.cluster.gate_templates.insert(key(), template);
    drive.run(at(1_100), |_, _| {});
    assert!(drive.working.components[0].phase_index > Some(0), "{:#?}", drive.working);
    drive.cluster.gate_templates.clear();
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.run(at(1_300), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack, "{:#?}", drive.working);
}

#[test]
fn a_run_without_its_template_for_an_hour_goes_back() {
    let (mut drive, _) = at_rest(&[("limit", "0.05")]);
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(75), |_, _| {});
    drive.cluster.gate_templates.clear();
    drive.run(at(4_500), |cluster, _| assert!(weight_of(cluster, "shop-api").0 <= 10));
    assert_eq!(drive.working.state, RolloutState::RolledBack, "{:#?}", drive.working);
}
