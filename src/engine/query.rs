//! Queries of gates: `$variables` are replaced, and what cannot be an answer in one number is refused.
//!
//! A value is only ever put where it cannot change the meaning of the query: inside a string, escaped for that kind of
//! string, or, for `$window` alone, where PromQL wants a duration.

use promql_parser::parser::{self, Expr, value::ValueType};

use crate::api::Span;

/// The names that a query may use.
pub const KNOWN: [&str; 14] = [
    "namespace",
    "rollout",
    "component",
    "phase",
    "window",
    "canary_pods",
    "stable_pods",
    "pods",
    "canary_revision",
    "stable_revision",
    "canary_set",
    "stable_set",
    "service",
    "route",
];

/// What the names stand for, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    /// Namespace of the Rollout.
    pub namespace: String,
    /// Name of the Rollout.
    pub rollout: String,
    /// Name of the component.
    pub component: String,
    /// Name of the phase.
    pub phase: String,
    /// How far back a rate looks: the gate's `window`.
    pub window: Span,
    /// A regular expression for the names of the canary's pods: [`pods_pattern`] of its ReplicaSet.
    pub canary_pods: String,
    /// The same for the stable pods.
    pub stable_pods: String,
    /// Revision of the canary.
    pub canary_revision: String,
    /// Revision of stable.
    pub stable_revision: String,
    /// Name of the canary's ReplicaSet.
    pub canary_set: String,
    /// Name of stable's ReplicaSet.
    pub stable_set: String,
    /// The Service of the component's callers, if it has one.
    pub service: Option<String>,
    /// The component's first route, if it has one.
    pub route: Option<String>,
}

/// Why a query cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A name that stands for nothing.
    #[error("the query names ${name}, which is not known; known are {}", known())]
    Unknown {
        /// The name, without `$`.
        name: String,
    },
    /// `${name}`.
    #[error("the query has ${{…}}: write the variable without braces, like $namespace")]
    Braces,
    /// A text value outside of a string.
    #[error(
        "${name} is a text: put it between double quotes, like label=\"${name}\"; only $window stands bare"
    )]
    Unquoted {
        /// The name, without `$`.
        name: String,
    },
    /// A value that a raw string cannot hold.
    #[error(
        "the value of ${name} has a backtick: put the variable between double quotes instead of backticks"
    )]
    Backtick {
        /// The name, without `$`.
        name: String,
    },
    /// A thing that this component does not have.
    #[error(
        "the query names ${name}, but the component has no {name}: add it under traffic, or leave the name out"
    )]
    NoValue {
        /// The name, without `$`.
        name: String,
    },
    /// `$window` is no time at all.
    #[error(
        "the query names $window, but the gate's window is 0: make it at least two scrape intervals long"
    )]
    ZeroWindow,
    /// Pod names that do not tell the revisions apart.
    #[error(
        "canary and stable pods cannot be told apart by name, because the Deployment's name is so long that their \
         names are cut: use another label than pod, or a Deployment name of at most 46 characters"
    )]
    SamePods,
    /// Not PromQL.
    #[error("the query is not PromQL: {reason}")]
    Syntax {
        /// What the parser found.
        reason: String,
    },
    /// PromQL, but not of counters by pod.
    #[error(
        "the query {what}, and a gate that counts reads raw counters by pod, such as sum by (pod) (requests_total{{…}}): \
         leave rates to threshold and prometheus.query"
    )]
    NotACounter {
        /// What it does instead.
        what: String,
    },
    /// PromQL, but not of one number.
    #[error("the query answers a {kind}, and a gate needs one number: {cure}")]
    NotANumber {
        /// What it answers.
        kind: &'static str,
        /// What to write instead.
        cure: &'static str,
    },
}

fn known() -> String {
    KNOWN.map(|name| format!("${name}")).join(" ")
}

/// A regular expression that fits the names of the pods of a ReplicaSet and no others.
///
/// The API server makes a generated name of `<replica set>-`, cut to 58 characters, and five random characters of
/// `[a-z0-9]` (`k8s.io/apiserver/pkg/storage/names`). Prometheus anchors its regular expressions at both ends.
#[must_use]
pub fn pods_pattern(replica_set_name: &str) -> String {
    let mut pattern = String::with_capacity(replica_set_name.len() + 16);
    for c in replica_set_name.chars().chain(['-']).take(PREFIX_MAX) {
        if c.is_ascii_punctuation() && c != '-' && c != '_' {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push_str("[a-z0-9]{5}");
    pattern
}

/// Whether a pod of this name is one of the ReplicaSet's: what [`pods_pattern`] fits.
#[must_use]
pub fn is_pod_of(pod: &str, replica_set_name: &str) -> bool {
    let prefix: String = replica_set_name.chars().chain(['-']).take(PREFIX_MAX).collect();
    let random = pod.strip_prefix(prefix.as_str()).unwrap_or_default();
    random.len() == 5 && random.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

/// 63 characters of a DNS label without the five random ones.
const PREFIX_MAX: usize = 58;

/// Where in a query a character stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Outside of strings and comments.
    #[default]
    Bare,
    /// In a string with escapes that ends with this quote.
    Quoted(char),
    /// In a raw string.
    Raw,
    /// In a comment, up to the end of the line: nothing is replaced.
    Comment,
}

/// Walks through a query and knows where it is.
#[derive(Default)]
struct Walk {
    place: Place,
    /// Whether the character before was a backslash in a quoted string.
    escaped: bool,
}

impl Walk {
    fn past(&mut self, c: char) {
        if self.escaped {
            self.escaped = false;
            return;
        }
        self.escaped = c == '\\' && matches!(self.place, Place::Quoted(_));
        self.place = match (self.place, c) {
            (Place::Bare, '"' | '\'') => Place::Quoted(c),
            (Place::Bare, '`') => Place::Raw,
            (Place::Bare, '#') => Place::Comment,
            (Place::Quoted(quote), _) if c == quote => Place::Bare,
            (Place::Raw, '`') | (Place::Comment, '\n') => Place::Bare,
            (place, _) => place,
        };
    }
}

/// Replaces the variables of a query. A name is as long as it can be: `$canary_pods` is never `$canary` and `_pods`.
/// `$1` and `${1}` are left alone: `label_replace` knows them.
///
/// # Errors
/// A name that is not known, has no value for this component, or stands where its value could change the query.
pub fn substitute(query: &str, vars: &Variables) -> Result<String, QueryError> {
    replace(query, |name, place| placed(name, place, vars))
}

/// Puts what `put` says in the place of each name.
pub(super) fn replace<E: From<QueryError>>(
    query: &str,
    mut put: impl FnMut(&str, Place) -> Result<String, E>,
) -> Result<String, E> {
    let mut out = String::with_capacity(query.len() * 2);
    let (mut rest, mut walk) = (query, Walk::default());
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let name = name_at(rest);
        if c != '$' || walk.place == Place::Comment || walk.escaped {
            out.push(c);
            walk.past(c);
        } else if rest.starts_with('{') && !rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return Err(QueryError::Braces.into());
        } else if name.is_empty() {
            out.push(c);
        } else {
            out.push_str(&put(name, walk.place)?);
            rest = &rest[name.len()..];
        }
    }
    Ok(out)
}

/// The variable name that `text` begins with; empty if none.
fn name_at(text: &str) -> &str {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return "";
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The value of `name`, fit for `place`.
fn placed(name: &str, place: Place, vars: &Variables) -> Result<String, QueryError> {
    let value = value_of(name, vars)?;
    let name = name.to_owned();
    match place {
        Place::Bare if name == "window" => Ok(value),
        Place::Bare => Err(QueryError::Unquoted { name }),
        Place::Raw if value.contains('`') => Err(QueryError::Backtick { name }),
        Place::Quoted(quote) => Ok(escaped(&value, quote)),
        Place::Raw | Place::Comment => Ok(value),
    }
}

fn value_of(name: &str, vars: &Variables) -> Result<String, QueryError> {
    let missing = || QueryError::NoValue { name: name.to_owned() };
    Ok(match name {
        "namespace" => vars.namespace.clone(),
        "rollout" => vars.rollout.clone(),
        "component" => vars.component.clone(),
        "phase" => vars.phase.clone(),
        "window" if vars.window.is_zero() => return Err(QueryError::ZeroWindow),
        "window" => vars.window.to_string(),
        // Evidence of both revisions at once would be taken for evidence of one.
        "canary_pods" | "stable_pods" if vars.canary_pods == vars.stable_pods => {
            return Err(QueryError::SamePods);
        }
        "canary_pods" => vars.canary_pods.clone(),
        "stable_pods" => vars.stable_pods.clone(),
        "pods" if vars.canary_pods == vars.stable_pods => vars.stable_pods.clone(),
        "pods" => format!("{}|{}", vars.canary_pods, vars.stable_pods),
        "canary_revision" => vars.canary_revision.clone(),
        "stable_revision" => vars.stable_revision.clone(),
        "canary_set" => vars.canary_set.clone(),
        "stable_set" => vars.stable_set.clone(),
        "service" => vars.service.clone().ok_or_else(missing)?,
        "route" => vars.route.clone().ok_or_else(missing)?,
        _ => return Err(QueryError::Unknown { name: name.chars().take(64).collect() }),
    })
}

/// Escapes for a PromQL string that ends with `quote`.
/// <https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals>
pub(super) fn escaped(value: &str, quote: char) -> String {
    let mut out = String::with_capacity(value.len() + 8);
    value.chars().for_each(|c| push_escaped(&mut out, c, quote));
    out
}

fn push_escaped(out: &mut String, c: char, quote: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\\' => out.push_str("\\\\"),
        c if c == quote => out.extend(['\\', c]),
        c => out.push(c),
    }
}

/// Says whether a query could answer one number, without asking anybody.
///
/// # Errors
/// Unknown or misplaced variables, syntax, and queries that answer a range of samples or a text.
pub fn check(query: &str) -> Result<(), QueryError> {
    parsed(query).map(|_| ())
}

/// Says whether a query could answer counters by pod, without asking anybody.
///
/// # Errors
/// As [`check`], and a rate where a counter is to be read: what is counted twice over is no counter.
pub fn check_series(query: &str) -> Result<(), QueryError> {
    let expr = parsed(query)?;
    if expr.value_type() == ValueType::Scalar {
        return Err(QueryError::NotACounter { what: "answers one number for all pods".to_owned() });
    }
    match rate_in(&expr) {
        Some(name) => Err(QueryError::NotACounter { what: format!("has {name}()") }),
        None => Ok(()),
    }
}

/// The first function in a query that turns counters into something else.
fn rate_in(expr: &Expr) -> Option<&'static str> {
    const RATES: [&str; 5] = ["rate", "irate", "increase", "delta", "idelta"];
    match expr {
        Expr::Call(call) => RATES
            .into_iter()
            .find(|name| call.func.name == *name)
            .or_else(|| call.args.args.iter().find_map(|it| rate_in(it))),
        Expr::Aggregate(it) => rate_in(&it.expr),
        Expr::Unary(it) => rate_in(&it.expr),
        Expr::Paren(it) => rate_in(&it.expr),
        Expr::Subquery(it) => rate_in(&it.expr),
        Expr::Binary(it) => rate_in(&it.lhs).or_else(|| rate_in(&it.rhs)),
        _ => None,
    }
}

/// The syntax tree of a query, with samples for its variables.
pub(super) fn parsed(query: &str) -> Result<Expr, QueryError> {
    let text = substitute(query, &samples())?;
    if depth(&text) > DEPTH_MAX {
        return Err(QueryError::Syntax { reason: format!("more than {DEPTH_MAX} nested brackets") });
    }
    let expr = parser::parse(&without_raw_strings(&text))
        .map_err(|reason| QueryError::Syntax { reason: in_words(&reason, query) })?;
    match expr.value_type() {
        ValueType::Vector | ValueType::Scalar => Ok(expr),
        ValueType::Matrix => Err(QueryError::NotANumber {
            kind: "range of samples",
            cure: "put a function around it, for example sum(rate(…[$window]))",
        }),
        ValueType::String => Err(QueryError::NotANumber { kind: "text", cure: "ask for a metric" }),
    }
}

/// The same query with quoted strings for raw ones: the parser takes backslashes in a raw string for escapes, which
/// Prometheus does not.
fn without_raw_strings(text: &str) -> String {
    let (mut out, mut walk) = (String::with_capacity(text.len() + 8), Walk::default());
    for c in text.chars() {
        match (walk.place, c) {
            (Place::Bare | Place::Raw, '`') => out.push('"'),
            (Place::Raw, _) => push_escaped(&mut out, c, '"'),
            _ => out.push(c),
        }
        walk.past(c);
    }
    out
}

/// Deep enough for every query that a person can read; keeps the parser's recursion within a small stack.
const DEPTH_MAX: usize = 64;

/// The deepest nesting of brackets, strings included: an upper bound.
fn depth(text: &str) -> usize {
    let (mut now, mut most) = (0usize, 0usize);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => now += 1,
            ')' | ']' | '}' => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

fn in_words(reason: &str, query: &str) -> String {
    let reason: String = reason.chars().take(200).collect();
    if query.trim().is_empty() {
        "it is empty".to_owned()
    } else if reason == "invalid promql query" {
        "the parts do not fit together; look for a missing comma, operator, bracket or quote".to_owned()
    } else {
        reason
    }
}

fn samples() -> Variables {
    let text = str::to_owned;
    Variables {
        namespace: text("shop"),
        rollout: text("shop"),
        component: text("api"),
        phase: text("pilot"),
        window: Span::seconds(60),
        canary_pods: pods_pattern("shop-api-bcdfg"),
        stable_pods: pods_pattern("shop-api-hjklm"),
        canary_revision: text("bcdfg"),
        stable_revision: text("hjklm"),
        canary_set: text("shop-api-bcdfg"),
        stable_set: text("shop-api-hjklm"),
        service: Some(text("shop-api")),
        route: Some(text("shop")),
    }
}

#[cfg(test)]
mod tests;
