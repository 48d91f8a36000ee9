//! Queries: PromQL, variables, and what a query of one number gets wrong.

use promql_parser::parser::Expr;

use crate::api::{Gate, Rule};
use crate::engine::query::{self, QueryError, parsed};

use super::Desk;
use super::catalog::{
    BAD_VARIABLE, COUNTER_AS_NUMBER, FILTER_NOT_NUMBER, LAST_TWO_SAMPLES, NO_SERIES_YET, NO_SUCH_VALUE,
    NOT_ONE_NUMBER, NOT_PROMQL, NOT_THE_CANARY, PATTERN_AS_TEXT, QUANTILE_WITHOUT_BOUND, RATE_OF_COUNTERS,
    SEVERAL_SERIES, ZERO_FOR_NO_TRAFFIC,
};
use super::promql::{self, RATES, bare};
use super::scene::{GateAt, Scene, Subject, gates, meant};

/// A query of a gate, with its field.
pub fn asked(at: &GateAt<'_>) -> Vec<(String, String)> {
    let asked = &at.gate.prometheus;
    let all =
        [("query", &asked.query), ("bad", &asked.bad), ("total", &asked.total), ("buckets", &asked.buckets)];
    let field = |name: &str| format!("{}.prometheus.{name}", at.field);
    all.into_iter().filter_map(|(name, text)| Some((field(name), text.clone()?))).collect()
}

pub fn check(_scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    for at in gates(&subject.rollout.spec) {
        for (field, text) in asked(&at) {
            match parsed(&text) {
                Ok(expr) => sound(&at, &field, &text, &expr, desk),
                Err(error) => refused(&field, &error, desk),
            }
            values(&at, &field, &text, desk);
        }
        let preset = format!("{}.prometheus.preset", at.field);
        if let Some((_, text)) = presets(&at).first() {
            values(&at, &preset, text, desk);
        }
    }
}

/// The queries that a preset stands for. They are sound: nobody has to look at them but for their variables.
pub fn presets(at: &GateAt<'_>) -> Vec<(String, String)> {
    let queries = match at.gate.rule() {
        _ if at.gate.prometheus.preset.is_none() => Vec::new(),
        Some(Rule::Counters { asked: Some((bad, total)), .. }) => vec![bad, total],
        Some(Rule::Buckets { asked: Some(query), .. } | Rule::Number { query, .. }) => vec![query],
        _ => Vec::new(),
    };
    queries.into_iter().map(|it| (format!("{}.prometheus.preset", at.field), it.to_owned())).collect()
}

fn refused(field: &str, error: &QueryError, desk: &mut Desk<'_>) {
    let said = error.to_string();
    let (check, fix) = match error {
        QueryError::Unknown { name } => {
            let near = meant(name, query::KNOWN).map(|it| format!("Write ${it}."));
            let known = query::KNOWN.map(|it| format!("${it}")).join(" ");
            desk.say(
                &BAD_VARIABLE,
                field,
                format!("${name} stands for nothing"),
                near.unwrap_or(format!("Known are {known}.")),
            );
            return;
        }
        QueryError::Syntax { .. } => {
            (&NOT_PROMQL, "Try it in the console of Prometheus, with values for the variables.")
        }
        QueryError::NotANumber { cure, .. } => (&NOT_ONE_NUMBER, *cure),
        QueryError::NotACounter { .. } => (&RATE_OF_COUNTERS, "Read raw counters by pod."),
        _ => {
            (&BAD_VARIABLE, "Variables stand in double quotes and without braces; $window alone stands bare.")
        }
    };
    let (message, cure) = said.split_once(": ").unwrap_or((&said, fix));
    let fix = if matches!(error, QueryError::Syntax { .. }) { fix } else { cure };
    let message = if matches!(error, QueryError::Syntax { .. }) { &said } else { message };
    desk.say(check, field, message.to_owned(), fix.to_owned());
}

/// Variables that the component has no value for.
fn values(at: &GateAt<'_>, field: &str, text: &str, desk: &mut Desk<'_>) {
    for name in ["service", "route"] {
        let Some(without) = at.judged.iter().find(|it| it.traffic.is_none() && names(text, name)) else {
            continue;
        };
        let message = format!("the query names ${name}, and the component {} has no traffic", without.name);
        desk.say(
            &NO_SUCH_VALUE,
            field,
            message,
            "Select by pod=~\"$canary_pods\", or move the gate to the components that have a Service.",
        );
    }
}

/// Whether a query names a variable.
pub fn names(text: &str, name: &str) -> bool {
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices('$').any(|(at, _)| text[at + 1..].strip_prefix(name).is_some_and(is_end))
}

fn sound(at: &GateAt<'_>, field: &str, text: &str, expr: &Expr, desk: &mut Desk<'_>) {
    patterns(field, expr, desk);
    if !matches!(at.gate.rule(), Some(Rule::Number { .. })) {
        return;
    }
    whose(field, text, desk);
    ratios(at.gate, field, expr, desk);
    shape(field, expr, desk);
    quantiles(field, expr, desk);
    if !promql::calls(expr, &["irate", "idelta"]).is_empty() {
        desk.say(
            &LAST_TWO_SAMPLES,
            field,
            "irate looks at the last two samples only, whatever the range: most requests are never judged"
                .to_owned(),
            "Use rate(…[$window]).",
        );
    }
    heights(field, expr, desk);
}

/// `=` where the value is a pattern.
fn patterns(field: &str, expr: &Expr, desk: &mut Desk<'_>) {
    for matcher in
        promql::selectors(expr).into_iter().flat_map(promql::matchers).filter(|it| promql::plain(it))
    {
        let (name, value) = (&matcher.name, &matcher.value);
        if value.contains("[a-z0-9]{5}") {
            let message = format!(
                "{name}{}\"…\" compares with a pattern of pod names as if it were a name: it fits no pod",
                matcher.op
            );
            desk.say(&PATTERN_AS_TEXT, field, message, format!("Write {name}=~\"$canary_pods\"."));
        } else if [".*", ".+", "..", "|", "[", "^"].iter().any(|it| value.contains(it)) {
            let message = format!(
                "{name}{}\"{value}\" compares with the text itself: it is written like a pattern",
                matcher.op
            );
            let sign = if matcher.op.to_string() == "=" { "=~" } else { "!~" };
            desk.say(&PATTERN_AS_TEXT, field, message, format!("Write {name}{sign}\"{value}\"."));
        }
    }
}

/// Whether the canary is judged at all.
fn whose(field: &str, text: &str, desk: &mut Desk<'_>) {
    let is_told = ["canary_pods", "canary_revision"].iter().any(|it| names(text, it))
        || text.contains("$service-canary");
    if is_told || names(text, "component") {
        return;
    }
    let message = if ["stable_pods", "stable_revision"].iter().any(|it| names(text, it)) {
        "the query reads the stable pods alone: the canary is not judged"
    } else {
        "the query reads every pod: at 10 % of the traffic nine of ten requests that it judges are stable's"
    };
    desk.say(&NOT_THE_CANARY, field, message.to_owned(), "Select the canary: pod=~\"$canary_pods\".");
}

fn ratios(gate: &Gate, field: &str, expr: &Expr, desk: &mut Desk<'_>) {
    for part in promql::all(expr) {
        let Expr::Binary(or) = part else { continue };
        if or.op.to_string() != "or" || promql::ratio(&or.lhs).is_none() {
            continue;
        }
        let Expr::Call(call) = bare(&or.rhs) else { continue };
        let Some(Expr::NumberLiteral(number)) = call.args.args.first().map(|it| bare(it)) else { continue };
        let limits = gate.threshold.as_ref();
        let passes = limits.is_some_and(|it| {
            it.min.is_none_or(|min| number.val >= min) && it.max.is_none_or(|max| number.val <= max)
        });
        if call.func.name == "vector" && passes {
            let message = format!(
                "with `or vector({})` around the whole ratio, no traffic at all is an answer that passes: a canary that serves \
                 nobody is promoted",
                number.val
            );
            desk.say(&ZERO_FOR_NO_TRAFFIC, field, message, "Put `or vector(0)` around the numerator alone.");
        }
    }
    let Some(ratio) = promql::ratio(expr) else { return };
    if promql::is_share(ratio) && !promql::has_fallback(&ratio.lhs) && !promql::has_fallback(expr) {
        let message = if gate.threshold.as_ref().is_some_and(|it| it.min.is_some()) {
            "while every request fails the numerator has no series: the worst outage is no data instead of a failure"
        } else {
            "a healthy service has no series of failed requests, so that the ratio is empty and the gate holds for want of data"
        };
        desk.say(&NO_SERIES_YET, field, message.to_owned(), "Write (… or vector(0)) around the numerator.");
    }
}

/// One number, or several, or a filter.
fn shape(field: &str, expr: &Expr, desk: &mut Desk<'_>) {
    if let Expr::Binary(it) = bare(expr)
        && it.op.is_comparison_operator()
        && !it.return_bool()
    {
        desk.say(
            &FILTER_NOT_NUMBER,
            field,
            format!(
                "the comparison {} answers nothing while it is false, and the value while it is true",
                it.op
            ),
            "Ask for the value alone and put the limit under threshold.",
        );
        return;
    }
    if let Some(labels) = promql::several(expr) {
        let each = if labels.is_empty() {
            "for each set of labels".to_owned()
        } else {
            format!("for each {}", labels.join(" and "))
        };
        desk.say(
            &SEVERAL_SERIES,
            field,
            format!("the query can answer one series {each}, and a gate is never sure which one is meant: several are no data"),
            "Put sum(…), max(…) or another aggregation around it.",
        );
    }
}

fn quantiles(field: &str, expr: &Expr, desk: &mut Desk<'_>) {
    for call in promql::calls(expr, &["histogram_quantile"]) {
        let Some(of) = call.args.args.get(1) else { continue };
        let is_classic = promql::metrics(of).iter().any(|it| it.ends_with("_bucket"));
        if is_classic && !promql::keeps(of, "le") {
            desk.say(
                &QUANTILE_WITHOUT_BOUND,
                field,
                "the sum below histogram_quantile drops the label le, by which the buckets are told apart: the answer is NaN".to_owned(),
                "Write sum by (le) (…).",
            );
        }
    }
}

/// A counter's height is all that happened since its pod started.
fn heights(field: &str, expr: &Expr, desk: &mut Desk<'_>) {
    const SINCE_START: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];
    let rated: Vec<String> =
        promql::calls(expr, &[&RATES[..], &["resets", "changes", "absent", "absent_over_time"]].concat())
            .into_iter()
            .flat_map(|it| it.args.args.iter().flat_map(|it| promql::metrics(it)))
            .collect();
    let plain = promql::metrics(expr);
    let raw = plain.iter().find(|it| SINCE_START.iter().any(|end| it.ends_with(end)) && !rated.contains(it));
    if let Some(name) = raw {
        desk.say(
            &COUNTER_AS_NUMBER,
            field,
            format!("{name} is a counter: its height is all that happened since the pod started, not how things are now"),
            "Put rate(…[$window]) around it, or read counters with prometheus.bad and prometheus.total.",
        );
    }
}
