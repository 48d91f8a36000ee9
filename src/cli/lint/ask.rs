//! What the metric server says.

use jiff::Timestamp;
use serde_json::Value;

use crate::adapters::prometheus::PrometheusClient;
use crate::api::Span;
use crate::engine::lint::answers::{
    choices, choosable, histories, in_windows, measured, questions, today, yesterday,
};
use crate::engine::lint::{Finding, Given, Measured};
use crate::engine::{Ask, choose};

/// A day.
const DAY: Span = Span::seconds(86_400);
/// How far back is looked for what a run would learn: as far as the run itself looks.
const HISTORY: Span = Span::seconds(6 * 3_600);
/// The most moments that are asked for in one question; Prometheus answers 11 000 at most.
const POINTS_MAX: i64 = 5_000;

/// What the metric server says: findings, and the traffic that gates count.
#[derive(Debug, Default)]
pub struct Said {
    /// Findings.
    pub found: Vec<Finding>,
    /// The traffic.
    pub measured: Vec<Measured>,
}

/// Asks each query once, what it would have answered over the last day, and what a run would learn before it begins. A server
/// that does not answer is a finding. Templates may be of the files or, at the end of `values`, of the cluster.
pub async fn metrics(client: &PrometheusClient, values: &[Value], given: &Given) -> Said {
    let now = Timestamp::now();
    let before = |span: Span| now.checked_sub(span.as_signed()).unwrap_or(now);
    let mut said = Said::default();
    let mut chosen = Vec::new();
    for choice in choices(values, given) {
        let Ok(ask) = choose::which(&choice.gate, &choice.variables, now) else { continue };
        match choosable(&choice, &client.ask(&ask).await) {
            Ok(preset) => chosen.push((choice, preset)),
            Err(finding) => said.found.push(finding),
        }
    }
    for question in questions(values, given) {
        let range = |from: Timestamp, step: Span| Ask::Series {
            queries: vec![question.query.clone()],
            from,
            until: now,
            step,
        };
        let ask = match &question.limits {
            Some(_) => Ask::Number(question.query.clone()),
            None => range(before(Span::seconds(60)), Span::seconds(60)),
        };
        let of_today = today(&question, &client.ask(&ask).await);
        let is_sound = of_today.is_empty();
        said.found.extend(of_today);
        if is_sound && question.limits.is_some() {
            let least = Span::millis(DAY.as_millis() / POINTS_MAX);
            let answer = client.ask(&range(before(DAY), question.interval.max(least))).await;
            said.found.extend(yesterday(&question, &answer));
        }
    }
    for history in histories(values, given, &chosen) {
        let queries = history.queries.clone();
        let ask = Ask::Series { queries, from: before(HISTORY), until: now, step: Span::seconds(60) };
        let answer = client.ask(&ask).await;
        said.found.extend(in_windows(&history, &answer));
        said.measured.extend(measured(&history, &answer));
    }
    said
}
