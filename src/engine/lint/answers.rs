//! What a metric server says today and said yesterday, beside the limits of a gate.

use serde_json::Value;

use crate::api::{Gate, MetricSource, Rule, Span, Threshold};
use crate::engine::query::{QueryError, Variables, substitute};
use crate::engine::{Answer, Reading};

use super::catalog::{FAILED_YESTERDAY, NO_GOOD_ANSWER, NOTHING_TODAY, SEVERAL_SERIES};
use super::queries::{asked, presets};
use super::scene::{Scene, gates};
use super::{Desk, Finding, Given};

/// A question about a gate, with the object and field that it is about.
#[derive(Clone, Debug)]
pub struct Question {
    /// Index of the object.
    pub object: usize,
    /// The field of the query.
    pub field: String,
    /// The field of the limits.
    pub limits_field: String,
    /// The source that the gate names.
    pub source: String,
    /// PromQL with its variables replaced.
    pub query: String,
    /// The limits of a query of one number.
    pub limits: Option<Threshold>,
    /// How far apart the evaluations are.
    pub interval: Span,
}

/// Every pod of a Deployment, whatever its revision. <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label>
fn pods_of(workload: &str) -> String {
    format!("{workload}-[a-z0-9]+-[a-z0-9]{{5}}")
}

/// What would be asked for each component if its stable pods were the canary.
#[must_use]
pub fn questions(objects: &[Value], given: &Given) -> Vec<Question> {
    let scene = Scene::new(objects, given);
    let mut all = Vec::new();
    for subject in &scene.rollouts {
        let spec = &subject.rollout.spec;
        for at in gates(spec) {
            for component in &at.judged {
                let traffic = component.traffic.as_ref();
                let route = traffic.and_then(|it| {
                    it.gateway_api.http_routes.iter().chain(&it.gateway_api.grpc_routes).next()
                });
                let pods = pods_of(&component.workload_ref.name);
                let variables = Variables {
                    namespace: subject.namespace_or_default().to_owned(),
                    rollout: subject.rollout.metadata.name.clone().unwrap_or_default(),
                    component: component.name.clone(),
                    phase: spec.phases.first().map(|it| it.name.clone()).unwrap_or_default(),
                    window: at.gate.window,
                    canary_pods: pods.clone(),
                    // Not the same text: that would say that the revisions cannot be told apart.
                    stable_pods: format!("(?:{pods})"),
                    canary_revision: ".+".to_owned(),
                    stable_revision: ".+".to_owned(),
                    canary_set: component.workload_ref.name.clone(),
                    stable_set: component.workload_ref.name.clone(),
                    service: traffic.map(|it| it.service.clone()),
                    route: route.map(|it| it.name.clone()),
                };
                let queries = [asked(&at), presets(&at)].concat();
                all.extend(
                    of_gate(at.gate, &at.field, &variables, queries)
                        .into_iter()
                        .map(|it| Question { object: subject.object, ..it }),
                );
            }
        }
    }
    all
}

fn of_gate(gate: &Gate, field: &str, variables: &Variables, asked: Vec<(String, String)>) -> Vec<Question> {
    let limits = match gate.rule() {
        Some(Rule::Number { limits, .. }) => Some(*limits),
        _ => None,
    };
    let question = |(path, text): (String, String)| -> Result<Question, QueryError> {
        Ok(Question {
            object: 0,
            field: path,
            limits_field: format!("{field}.threshold"),
            source: gate.prometheus.source.clone(),
            query: substitute(&text, variables)?,
            limits,
            interval: gate.interval,
        })
    };
    asked.into_iter().filter_map(|it| question(it).ok()).collect()
}

/// What the answer of this moment says about a query.
#[must_use]
pub fn today(question: &Question, answer: &Answer) -> Vec<Finding> {
    let mut found = Vec::new();
    let desk = &mut Desk { object: question.object, found: &mut found };
    let field = question.field.as_str();
    match answer {
        Answer::Empty => nothing(field, desk),
        Answer::Series(all) if all.iter().all(|lines| lines.iter().all(|it| it.points.is_empty())) => {
            nothing(field, desk)
        }
        Answer::Sample { value, .. } if !value.is_finite() => {
            let message = format!("the query answers {value} now, which is never a pass");
            desk.say(&NOTHING_TODAY, field, message, "Is there traffic? A division by zero requests is NaN.");
        }
        Answer::ManySeries(count) => {
            let message = format!("the query answers {count} series now, and several are no data");
            desk.say(&SEVERAL_SERIES, field, message, "Put sum(…), max(…) or another aggregation around it.");
        }
        Answer::WrongType(what) => {
            desk.say(&NO_GOOD_ANSWER, field, format!("the query answers {what}"), "Ask for one number.");
        }
        Answer::Failed(why) => {
            desk.say(
                &NO_GOOD_ANSWER,
                field,
                format!("the metric server has no answer: {why}"),
                "Try the query in its console.",
            );
        }
        Answer::Warnings(said) => {
            desk.say(
                &NOTHING_TODAY,
                field,
                format!("the answer carries a warning and counts as no data: {said}"),
                "See what the server warns of.",
            );
        }
        Answer::Sample { .. } | Answer::Series(_) => {}
    }
    found
}

fn nothing(field: &str, desk: &mut Desk<'_>) {
    desk.say(
        &NOTHING_TODAY,
        field,
        "the query returns nothing today, with the pods that run now".to_owned(),
        "Look for the metric and its labels in the console; a gate without data holds every phase.",
    );
}

/// How the limits would have judged yesterday's traffic, at every interval of the last day.
#[must_use]
pub fn yesterday(question: &Question, answer: &Answer) -> Option<Finding> {
    let (Some(limits), Answer::Series(all)) = (&question.limits, answer) else { return None };
    let [line] = all.first()?.as_slice() else { return None };
    let numbers: Vec<f64> = line
        .points
        .iter()
        .filter_map(|(_, reading)| match reading {
            Reading::Number(number) if number.is_finite() => Some(*number),
            _ => None,
        })
        .collect();
    let fails =
        |it: &&f64| limits.min.is_some_and(|min| **it < min) || limits.max.is_some_and(|max| **it > max);
    let failed = numbers.iter().filter(fails).count();
    if failed == 0 {
        return None;
    }
    let worst = |fold: fn(f64, f64) -> f64| numbers.iter().copied().reduce(fold).unwrap_or_default();
    let extreme = if limits.max.is_some() { worst(f64::max) } else { worst(f64::min) };
    let mut found = Vec::new();
    let message = format!(
        "of {} evaluations of the stable pods in the last day {failed} would have failed; the worst answer was {extreme:.4}",
        numbers.len()
    );
    let fix = "Loosen the limit to what healthy traffic does, or compare with stable by bad and total.";
    Desk { object: question.object, found: &mut found }.say(
        &FAILED_YESTERDAY,
        question.limits_field.clone(),
        message,
        fix,
    );
    found.pop()
}

/// The MetricSources among the objects, by name.
#[must_use]
pub fn sources(objects: &[Value]) -> Vec<MetricSource> {
    let is_source = |it: &&Value| it["kind"] == "MetricSource" && it["apiVersion"] == "palier.dev/v1alpha1";
    objects.iter().filter(is_source).filter_map(|it| serde_json::from_value(it.clone()).ok()).collect()
}
