//! What the cluster and its Prometheus say.

use jiff::Timestamp;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::adapters::prometheus::{PrometheusClient, SourceConfig};
use crate::api::Span;
use crate::cli::{Asked, CliError, Cluster, Target};
use crate::engine::Ask;
use crate::engine::lint::answers::{questions, today, yesterday};
use crate::engine::lint::{Finding, Given, named_objects, not_in_the_cluster};

/// A day.
const DAY: Span = Span::seconds(86_400);
/// The most moments that are asked for in one question; Prometheus answers 11 000 at most.
const POINTS_MAX: i64 = 5_000;

/// Looks for each object that a Rollout names.
///
/// # Errors
/// When the cluster cannot be asked; an object that is missing is a finding.
pub async fn cluster(target: &Target, values: &[Value], given: &Given) -> Result<Vec<Finding>, CliError> {
    let cluster = Cluster::connect(target).await?;
    let given = Given { namespace: Some(cluster.namespace.clone()), ..given.clone() };
    let mut found = Vec::new();
    for wanted in named_objects(values, &given) {
        let (group, version, kind) = wanted.kind;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = if wanted.namespace.is_empty() {
            Api::all_with(cluster.client.clone(), &resource)
        } else {
            Api::namespaced_with(cluster.client.clone(), &wanted.namespace, &resource)
        };
        let asked = Asked {
            verb: "get",
            resource: wanted.resource,
            kind,
            name: &wanted.name,
            namespace: &wanted.namespace,
            server: &cluster.server,
        };
        if cluster.ask(asked, api.get_opt(&wanted.name)).await?.is_none() {
            found.push(not_in_the_cluster(&wanted));
        }
    }
    Ok(found)
}

/// Asks each query once, and what it would have answered over the last day.
///
/// # Errors
/// When the address cannot be used; a server that does not answer is a finding.
pub async fn prometheus(url: &str, values: &[Value], given: &Given) -> Result<Vec<Finding>, CliError> {
    let config = SourceConfig {
        url: url.to_owned(),
        timeout: Span::seconds(30),
        max_bytes: 32 << 20,
        ca_bundle: None,
        auth: None,
        allow_loopback: true,
    };
    let client = PrometheusClient::new(config)
        .map_err(|error| CliError::Usage(format!("--prometheus-url: {error}")))?;
    let now = Timestamp::now();
    let before = |span: Span| now.checked_sub(span.as_signed()).unwrap_or(now);
    let mut found = Vec::new();
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
        let said = today(&question, &client.ask(&ask).await);
        let is_sound = said.is_empty();
        found.extend(said);
        if is_sound && question.limits.is_some() {
            let least = Span::millis(DAY.as_millis() / POINTS_MAX);
            let answer = client.ask(&range(before(DAY), question.interval.max(least))).await;
            found.extend(yesterday(&question, &answer));
        }
    }
    Ok(found)
}
