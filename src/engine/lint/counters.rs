//! Queries of raw counters and histograms by pod.

use crate::api::{BucketsRule, CountersRule, Rule};
use crate::engine::query::parsed;

use super::Desk;
use super::catalog::{
    NO_BOUND, NO_POD, NO_STABLE, NOT_THE_CANARY, OTHER_METRIC, RATE_OF_COUNTERS, SAME_QUERY,
};
use super::promql::{self, RATES};
use super::queries::{asked, names};
use super::scene::{GateAt, Scene, Subject, gates};

pub fn check(_scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    for at in gates(&subject.rollout.spec) {
        let compares = match at.gate.rule() {
            Some(Rule::Counters { by, .. }) => !matches!(by, CountersRule::Share(_)),
            Some(Rule::Buckets { by, .. }) => matches!(by, BucketsRule::Sequential(_)),
            _ => continue,
        };
        for (field, text) in asked(&at) {
            one(&field, &text, compares, desk);
        }
        pair(&at, desk);
    }
}

fn one(field: &str, text: &str, compares: bool, desk: &mut Desk<'_>) {
    let Ok(expr) = parsed(text) else { return };
    if let Some(call) = promql::calls(&expr, &RATES).first() {
        desk.say(
            &RATE_OF_COUNTERS,
            field,
            format!(
                "{}() of what is counted: the first bad request of a pod, from no series to 1, is never seen, and the rest is \
                 counted twice over",
                call.func.name
            ),
            "Read the counter itself: sum by (pod) (requests_total{pod=~\"$pods\"}).",
        );
    } else if !promql::keeps(&expr, "pod") {
        desk.say(
            &NO_POD,
            field,
            "the answer does not name its pods, so that nothing tells the canary's requests from stable's"
                .to_owned(),
            "Write sum by (pod) (…).",
        );
    } else if field.ends_with(".buckets")
        && promql::metrics(&expr).iter().any(|it| it.ends_with("_bucket"))
        && !promql::keeps(&expr, "le")
    {
        let message =
            "the answer has no label le, by which the buckets of a classic histogram are told apart";
        desk.say(&NO_BOUND, field, message.to_owned(), "Write sum by (pod, le) (…).");
    }
    let (canary, stable) = (names(text, "canary_pods"), names(text, "stable_pods"));
    let both = names(text, "pods") || (canary && stable);
    if compares && canary && !both {
        desk.say(
            &NO_STABLE,
            field,
            "the gate compares with stable, and the query reads the canary's pods alone: there is nothing to compare with".to_owned(),
            "Write pod=~\"$pods\", which stands for the pods of both versions.",
        );
    } else if !both && !canary {
        let message =
            "the query reads pods of every workload: those of others are thrown away after they were read";
        desk.say(&NOT_THE_CANARY, field, message.to_owned(), "Select by pod=~\"$pods\".");
    }
}

fn pair(at: &GateAt<'_>, desk: &mut Desk<'_>) {
    let (Some(bad), Some(total)) = (&at.gate.prometheus.bad, &at.gate.prometheus.total) else { return };
    let (Ok(bad), Ok(total)) = (parsed(bad), parsed(total)) else { return };
    let field = format!("{}.prometheus.bad", at.field);
    if bad == total {
        let message = "bad and total ask the same: every request is a bad one";
        desk.say(
            &SAME_QUERY,
            field,
            message.to_owned(),
            "Add the condition of failure to bad, such as code=~\"5..\".",
        );
    } else if promql::metrics(&bad) == promql::metrics(&total)
        && !promql::conditions(&total).is_subset(&promql::conditions(&bad))
    {
        let message = "total has a condition that bad has not: bad requests are counted that are not among all requests";
        desk.say(
            &OTHER_METRIC,
            field,
            message.to_owned(),
            "Give both the same conditions, and bad that of failure besides.",
        );
    }
}
