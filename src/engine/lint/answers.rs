//! What a metric server says today and said yesterday, beside the limits of a gate.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{Component, CountersRule, Gate, MetricSource, Preset, Rule, Span, Threshold, Verdict};
use crate::engine::judges::steps;
use crate::engine::learn::{habits, windows};
use crate::engine::query::{QueryError, Variables, substitute};
use crate::engine::statistics::Arm;
use crate::engine::{Answer, Line, Reading, choose, judge_share};

use super::catalog::{FAILED_YESTERDAY, NO_CHOICE, NO_GOOD_ANSWER, NOTHING_TODAY, SEVERAL_SERIES};
use super::queries::{asked, presets};
use super::scene::{GateAt, Scene, Subject, gates};
use super::templates;
use super::{Desk, Finding, Given, Measured};

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

/// A gate with `preset: Auto`, for one component.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Index of the object.
    pub object: usize,
    /// The field of the preset.
    pub field: String,
    /// The gate.
    pub gate: Gate,
    /// The component's variables.
    pub variables: Variables,
}

/// A gate as each component meets it.
struct Met<'s> {
    object: usize,
    at: &'s GateAt<'s>,
    variables: Variables,
    /// The canary's share in the first phase, in per cent.
    share: i32,
}

/// Calls `look` for each gate and component, as if the component's stable pods were the canary.
fn each(objects: &[Value], given: &Given, mut look: impl FnMut(Met<'_>)) {
    let scene = Scene::new(objects, given);
    for subject in scene.rollouts.iter().filter(|it| !scene.is_live(it.object)) {
        for at in gates(&subject.rollout.spec) {
            for component in &at.judged {
                let variables = variables(subject, at.gate, component);
                let share =
                    steps(&subject.rollout.spec, &component.name).first().map_or(100, |it| it.phase.traffic);
                look(Met { object: subject.object, at: &at, variables, share });
            }
        }
    }
}

fn variables(subject: &Subject, gate: &Gate, component: &Component) -> Variables {
    let traffic = component.traffic.as_ref();
    let route =
        traffic.and_then(|it| it.gateway_api.http_routes.iter().chain(&it.gateway_api.grpc_routes).next());
    let pods = pods_of(&component.workload_ref.name);
    let spec = &subject.rollout.spec;
    Variables {
        namespace: subject.namespace_or_default().to_owned(),
        rollout: subject.rollout.metadata.name.clone().unwrap_or_default(),
        component: component.name.clone(),
        phase: spec.phases.first().map(|it| it.name.clone()).unwrap_or_default(),
        window: gate.window,
        canary_pods: pods.clone(),
        // Not the same text: that would say that the revisions cannot be told apart.
        stable_pods: format!("(?:{pods})"),
        canary_revision: ".+".to_owned(),
        stable_revision: ".+".to_owned(),
        canary_set: component.workload_ref.name.clone(),
        stable_set: component.workload_ref.name.clone(),
        service: traffic.map(|it| it.service.clone()),
        route: route.map(|it| it.name.clone()),
    }
}

/// What would be asked for each component if its stable pods were the canary.
#[must_use]
pub fn questions(objects: &[Value], given: &Given) -> Vec<Question> {
    let mut all = Vec::new();
    each(objects, given, |met| {
        let queries = [asked(met.at), presets(met.at)].concat();
        let asked = of_gate(met.at.gate, &met.at.field, &met.variables, queries);
        all.extend(asked.into_iter().map(|it| Question { object: met.object, ..it }));
    });
    all
}

/// The gates whose preset is to be chosen.
#[must_use]
pub fn choices(objects: &[Value], given: &Given) -> Vec<Choice> {
    let mut all = Vec::new();
    each(objects, given, |met| {
        if met.at.gate.prometheus.preset == Some(Preset::Auto) {
            all.push(Choice {
                object: met.object,
                field: format!("{}.prometheus.preset", met.at.field),
                gate: met.at.gate.clone(),
                variables: met.variables,
            });
        }
    });
    all
}

/// Counters of a gate over the last hours, from which its traffic is learned.
#[derive(Clone, Debug)]
pub struct History {
    /// Index of the object.
    pub object: usize,
    /// The gate's field.
    pub field: String,
    /// The component.
    pub component: String,
    /// PromQL of the bad requests and of all.
    pub queries: Vec<String>,
    /// The canary's share of traffic in the first phase, in per cent.
    pub share: i32,
    /// The limits of a share in a window, and how long the window is.
    pub limits: Option<(Threshold, Span)>,
}

/// What would be learned before a run, of each gate that counts bad requests. `chosen` says what `Auto` stands for.
#[must_use]
pub fn histories(objects: &[Value], given: &Given, chosen: &[(Choice, Preset)]) -> Vec<History> {
    let mut all = Vec::new();
    each(objects, given, |met| {
        let (gate, component) = (met.at.gate, &met.variables.component);
        let field = format!("{}.prometheus.preset", met.at.field);
        let is_it = |it: &&(Choice, Preset)| {
            it.0.object == met.object && it.0.field == field && it.0.variables.component == *component
        };
        let preset = chosen.iter().find(is_it).map(|it| it.1).or(gate.prometheus.preset);
        let Some(Rule::Counters { asked: Some((bad, total)), by, .. }) = gate.rule_by(preset) else { return };
        let limits = match by {
            CountersRule::Share(limits) => Some((*limits, gate.window)),
            _ => None,
        };
        let queries = [bad, total].map(|query| substitute(query, &met.variables));
        if let [Ok(bad), Ok(total)] = queries {
            let (field, component) = (met.at.field.clone(), component.clone());
            all.push(History {
                object: met.object,
                field,
                component,
                queries: vec![bad, total],
                share: met.share,
                limits,
            });
        }
    });
    all
}

/// The traffic that counters by minute tell of, as those pods have it that are there now.
#[must_use]
pub fn measured(history: &History, answer: &Answer) -> Option<Measured> {
    let (bad, total, stable) = counts(answer)?;
    let habits = habits(bad, total, &stable, history.share)?;
    let (object, field, component) = (history.object, history.field.clone(), history.component.clone());
    Some(Measured { object, field, component, habits })
}

/// The counters of bad requests and of all, and the ReplicaSet that most of the pods have which count now.
fn counts(answer: &Answer) -> Option<(&[Line], &[Line], String)> {
    let Answer::Series(series) = answer else { return None };
    let [bad, total] = series.as_slice() else { return None };
    let last = |line: &Line| line.points.last().map(|(at, _)| *at);
    let now = total.iter().filter_map(last).max()?;
    let set_of = |line: &Line| line.pod.rsplit_once('-').map(|(set, _)| set.to_owned());
    let mut pods: BTreeMap<String, usize> = BTreeMap::new();
    for set in total.iter().filter(|line| last(line) == Some(now)).filter_map(set_of) {
        *pods.entry(set).or_default() += 1;
    }
    let (stable, _) = pods.into_iter().max_by_key(|(_, count)| *count)?;
    Some((bad, total, stable))
}

/// How the limits of a share would have judged the stable pods, all together, in each window of the hours that were asked for.
#[must_use]
pub fn in_windows(history: &History, answer: &Answer) -> Option<Finding> {
    let (limits, window) = history.limits.as_ref()?;
    let (bad, total, stable) = counts(answer)?;
    let all = windows(bad, total, &stable, *window);
    let failed: Vec<_> =
        all.iter().filter(|it| judge_share(limits, **it).verdict == Verdict::Fail).copied().collect();
    let share = |arm: &Arm| arm.bad / arm.total;
    let fold = if limits.max.is_some() { f64::max } else { f64::min };
    let worst = failed.iter().map(share).reduce(fold)?;
    let message = format!(
        "of {} windows of {window} of the stable pods in the last hours {} would have failed; the worst had {:.2} % bad requests",
        all.len(),
        failed.len(),
        worst * 100.0
    );
    let fix = "Loosen the limit to what healthy traffic does, or leave the threshold out: bad and total alone compare with stable.";
    let (object, field) = (history.object, format!("{}.threshold", history.field));
    Some(Finding { object, field, check: &FAILED_YESTERDAY, message, fix: fix.to_owned() })
}

/// Findings about gates of templates, sent to where they can be mended.
pub fn send_home(objects: &[Value], given: &Given, found: &mut [Finding]) {
    let scene = Scene::new(objects, given);
    for subject in scene.rollouts.iter().filter(|it| !scene.is_live(it.object)) {
        templates::send_home(subject, found);
    }
}

/// The preset that the answer of this moment allows, or what keeps it from one.
///
/// # Errors
/// The finding.
pub fn choosable(choice: &Choice, answer: &Answer) -> Result<Preset, Finding> {
    let (check, message, fix) = match answer {
        Answer::Series(series) => {
            let has_service = choice.variables.service.is_some();
            // The queries name the pods: whatever they answer is of them.
            match choose::chosen(&choice.gate, has_service, |pod| !pod.is_empty(), series) {
                Ok(preset) => return Ok(preset),
                Err(why) => (
                    &NO_CHOICE,
                    why,
                    "Name the preset: while there is no one answer the gate holds every phase.",
                ),
            }
        }
        Answer::Failed(why) => (
            &NO_GOOD_ANSWER,
            format!("the metric server has no answer: {why}"),
            "Try the query in its console.",
        ),
        _ => (&NO_GOOD_ANSWER, "the metric server does not answer series".to_owned(), "Is it a Prometheus?"),
    };
    let (object, field) = (choice.object, choice.field.clone());
    Err(Finding { object, field, check, message, fix: fix.to_owned() })
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
