//! What a query asks, read from its syntax tree.

use std::collections::BTreeSet;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorSelector};

/// Functions that turn counters into rates.
pub const RATES: [&str; 5] = ["rate", "irate", "increase", "delta", "idelta"];

/// The parts directly below.
fn parts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Aggregate(it) => vec![&it.expr],
        Expr::Unary(it) => vec![&it.expr],
        Expr::Paren(it) => vec![&it.expr],
        Expr::Subquery(it) => vec![&it.expr],
        Expr::Binary(it) => vec![&it.lhs, &it.rhs],
        Expr::Call(it) => it.args.args.iter().map(AsRef::as_ref).collect(),
        _ => Vec::new(),
    }
}

/// Every part, the whole first.
pub fn all(expr: &Expr) -> Vec<&Expr> {
    let mut found = vec![expr];
    let mut at = 0;
    while at < found.len() {
        let below = parts(found[at]);
        found.extend(below);
        at += 1;
    }
    found
}

/// The expression without brackets around it.
pub fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Paren(it) = expr {
        expr = &it.expr;
    }
    expr
}

/// Every selector of series.
pub fn selectors(expr: &Expr) -> Vec<&VectorSelector> {
    fn selector(expr: &Expr) -> Option<&VectorSelector> {
        match expr {
            Expr::VectorSelector(it) => Some(it),
            Expr::MatrixSelector(it) => Some(&it.vs),
            _ => None,
        }
    }
    all(expr).into_iter().filter_map(selector).collect()
}

/// The name of a metric, however it is written.
pub fn metric(selector: &VectorSelector) -> String {
    let by_label =
        || matchers(selector).into_iter().find(|it| it.name == "__name__").map(|it| it.value.clone());
    selector.name.clone().or_else(by_label).unwrap_or_default()
}

/// Every matcher of a selector.
pub fn matchers(selector: &VectorSelector) -> Vec<&Matcher> {
    selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten()).collect()
}

/// A matcher as it is written, for comparisons.
fn written(matcher: &Matcher) -> String {
    format!("{}{}{}", matcher.name, matcher.op, matcher.value)
}

/// The matchers of all selectors, as they are written.
pub fn conditions(expr: &Expr) -> BTreeSet<String> {
    selectors(expr).into_iter().flat_map(matchers).map(written).collect()
}

/// The metrics of all selectors.
pub fn metrics(expr: &Expr) -> BTreeSet<String> {
    selectors(expr).into_iter().map(metric).collect()
}

/// Calls of one of these functions.
pub fn calls<'e>(expr: &'e Expr, names: &[&str]) -> Vec<&'e Call> {
    fn call(expr: &Expr) -> Option<&Call> {
        match expr {
            Expr::Call(call) => Some(call),
            _ => None,
        }
    }
    all(expr).into_iter().filter_map(call).filter(|it| names.contains(&it.func.name)).collect()
}

/// The ranges in seconds that the query looks back.
pub fn ranges(expr: &Expr) -> Vec<f64> {
    let range = |it: &Expr| match it {
        Expr::MatrixSelector(it) => Some(it.range.as_secs_f64()),
        Expr::Subquery(it) => Some(it.range.as_secs_f64()),
        _ => None,
    };
    all(expr).into_iter().filter_map(range).collect()
}

/// Whether the answer still has the label.
pub fn keeps(expr: &Expr, label: &str) -> bool {
    match bare(expr) {
        Expr::Aggregate(AggregateExpr { expr, modifier, op, .. }) => match modifier {
            // These choose series and leave them as they are.
            _ if ["topk", "bottomk", "limitk"].contains(&op.to_string().as_str()) => keeps(expr, label),
            Some(LabelModifier::Include(labels)) => {
                labels.labels.iter().any(|it| it == label) && keeps(expr, label)
            }
            Some(LabelModifier::Exclude(labels)) => {
                !labels.labels.iter().any(|it| it == label) && keeps(expr, label)
            }
            None => false,
        },
        Expr::Unary(it) => keeps(&it.expr, label),
        Expr::Subquery(it) => keeps(&it.expr, label),
        Expr::Call(call) if call.func.name == "label_replace" || call.func.name == "label_join" => {
            call.args
                .args
                .get(1)
                .is_some_and(|it| matches!(&**it, Expr::StringLiteral(to) if to.val == label))
                || call.args.args.first().is_some_and(|it| keeps(it, label))
        }
        Expr::Call(call) => call.args.args.iter().any(|it| keeps(it, label)),
        Expr::Binary(it) if ["or"].contains(&it.op.to_string().as_str()) => keeps(&it.lhs, label),
        Expr::Binary(it) => keeps(&it.lhs, label) || (is_number(&it.lhs) && keeps(&it.rhs, label)),
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) => true,
        _ => false,
    }
}

/// A number, or something computed of numbers alone.
pub fn is_number(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::NumberLiteral(_) => true,
        Expr::Unary(it) => is_number(&it.expr),
        Expr::Binary(it) => is_number(&it.lhs) && is_number(&it.rhs),
        Expr::Call(it) => ["scalar", "time", "pi"].contains(&it.func.name),
        _ => false,
    }
}

/// Labels by which the answer can have several series: `None` if it has one at most, an empty list if by any.
pub fn several(expr: &Expr) -> Option<Vec<String>> {
    match bare(expr) {
        Expr::Aggregate(AggregateExpr { expr, modifier, op, .. }) => match modifier {
            _ if ["topk", "bottomk", "limitk"].contains(&op.to_string().as_str()) => several(expr),
            _ if op.to_string() == "count_values" => Some(Vec::new()),
            Some(LabelModifier::Include(labels)) => {
                let kept: Vec<String> = labels.labels.clone();
                (!kept.is_empty()).then_some(kept)
            }
            Some(LabelModifier::Exclude(_)) => several(expr),
            None => None,
        },
        Expr::Unary(it) => several(&it.expr),
        Expr::Subquery(it) => several(&it.expr),
        Expr::Call(call) => match call.func.name {
            "vector" | "scalar" | "time" | "absent" | "absent_over_time" | "pi" => None,
            "histogram_quantile" => {
                let labels = several(call.args.args.get(1)?)?;
                let others: Vec<String> = labels.iter().filter(|it| *it != "le").cloned().collect();
                (labels.is_empty() || !others.is_empty()).then_some(others)
            }
            _ => call.args.args.iter().find_map(|it| several(it)),
        },
        Expr::Binary(it) => match (is_number(&it.lhs), is_number(&it.rhs)) {
            (true, _) => several(&it.rhs),
            _ => several(&it.lhs).or_else(|| several(&it.rhs)),
        },
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) => Some(Vec::new()),
        _ => None,
    }
}

/// The first division of two vectors, outside of functions and sums.
pub fn ratio(expr: &Expr) -> Option<&BinaryExpr> {
    match bare(expr) {
        Expr::Binary(it) if it.op.to_string() == "/" && !is_number(&it.lhs) && !is_number(&it.rhs) => {
            Some(it)
        }
        Expr::Binary(it) => ratio(&it.lhs).or_else(|| ratio(&it.rhs)),
        Expr::Unary(it) => ratio(&it.expr),
        Expr::Aggregate(it) => ratio(&it.expr),
        Expr::Call(it) => it.args.args.iter().find_map(|it| ratio(it)),
        _ => None,
    }
}

/// Whether a ratio is a share of the same thing: of one metric, the numerator under more conditions.
pub fn is_share(ratio: &BinaryExpr) -> bool {
    let (part, whole) = (metrics(&ratio.lhs), metrics(&ratio.rhs));
    let (narrow, wide) = (conditions(&ratio.lhs), conditions(&ratio.rhs));
    !part.is_empty() && part == whole && narrow.len() > wide.len() && wide.is_subset(&narrow)
}

/// The factor by which the query multiplies its ratio, before or after the division: 100 for per cent.
pub fn factor(expr: &Expr) -> f64 {
    match bare(expr) {
        Expr::Binary(it) if it.op.to_string() == "*" => {
            literal(&it.lhs) * literal(&it.rhs) * factor(&it.lhs) * factor(&it.rhs)
        }
        Expr::Binary(it) if it.op.to_string() == "/" => factor(&it.lhs) / literal(&it.rhs),
        Expr::Binary(it) if ["or", "-"].contains(&it.op.to_string().as_str()) => {
            if ratio(&it.lhs).is_some() {
                factor(&it.lhs)
            } else {
                factor(&it.rhs)
            }
        }
        _ => 1.0,
    }
}

fn literal(expr: &Expr) -> f64 {
    match bare(expr) {
        Expr::NumberLiteral(it) => it.val,
        _ => 1.0,
    }
}

/// Whether an `or` in the expression gives a value where there is none.
pub fn has_fallback(expr: &Expr) -> bool {
    all(expr).iter().any(|it| matches!(it, Expr::Binary(it) if it.op.to_string() == "or"))
}

/// Matchers that compare with `=` or `!=`.
pub fn plain(matcher: &Matcher) -> bool {
    matches!(matcher.op, MatchOp::Equal | MatchOp::NotEqual)
}
