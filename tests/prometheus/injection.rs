//! Whatever names hold, a query stays the query that its author wrote: the same tree, with exactly these names in its matchers.

use palier::api::{Preset, Span};
use palier::engine::query::{KNOWN, QueryError, Variables, pods_pattern, substitute};
use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, LabelModifier, VectorSelector, parse};
use proptest::prelude::*;

/// A tree without the values of its matchers, and these values in their order.
#[derive(Debug, Default, PartialEq)]
struct Shape {
    tree: String,
    values: Vec<String>,
}

impl Shape {
    fn of(query: &str) -> Result<Self, String> {
        let mut shape = Self::default();
        shape.add(&parse(query)?);
        Ok(shape)
    }

    fn add(&mut self, expr: &Expr) {
        match expr {
            Expr::Aggregate(it) => {
                let by = it.modifier.as_ref().map(|modifier| match modifier {
                    LabelModifier::Include(labels) => format!("by {labels}"),
                    LabelModifier::Exclude(labels) => format!("without {labels}"),
                });
                self.node(&format!("{} {by:?}", it.op), it.param.iter().chain([&it.expr]).map(AsRef::as_ref));
            }
            Expr::Unary(it) => self.node("-", [&*it.expr].into_iter()),
            Expr::Binary(it) => {
                self.node(&format!("{} {:?}", it.op, it.modifier), [&*it.lhs, &*it.rhs].into_iter());
            }
            Expr::Paren(it) => self.node("paren", [&*it.expr].into_iter()),
            Expr::Subquery(it) => {
                let ranges = format!("subquery {:?} {:?} {:?}", it.range, it.step, it.offset);
                self.node(&ranges, [&*it.expr].into_iter());
            }
            Expr::NumberLiteral(it) => self.tree += &format!("{} ", it.val),
            Expr::StringLiteral(it) => {
                self.tree += "text ";
                self.values.push(it.val.clone());
            }
            Expr::VectorSelector(it) => self.selector(it),
            Expr::MatrixSelector(it) => {
                self.tree += &format!("range {:?} ", it.range);
                self.selector(&it.vs);
            }
            Expr::Call(it) => self.node(it.func.name, it.args.args.iter().map(AsRef::as_ref)),
            Expr::Extension(_) => self.tree += "extension ",
        }
    }

    fn node<'e>(&mut self, name: &str, of: impl Iterator<Item = &'e Expr>) {
        self.tree += &format!("{name}( ");
        of.for_each(|expr| self.add(expr));
        self.tree += ") ";
    }

    fn selector(&mut self, it: &VectorSelector) {
        self.tree += &format!("{:?} {:?} {:?}{{", it.name, it.offset, it.at);
        for matcher in it.matchers.matchers.iter().chain(it.matchers.or_matchers.iter().flatten()) {
            let op = match matcher.op {
                MatchOp::Equal => "=",
                MatchOp::NotEqual => "!=",
                MatchOp::Re(_) => "=~",
                MatchOp::NotRe(_) => "!~",
            };
            self.tree += &format!("{}{op} ", matcher.name);
            self.values.push(matcher.value.clone());
        }
        self.tree += "} ";
    }
}

/// Every text variable has this value, but for those that hold patterns for pods of a ReplicaSet of this name.
fn named(value: &str) -> Variables {
    let text = || value.to_owned();
    Variables {
        namespace: text(),
        rollout: text(),
        component: text(),
        phase: text(),
        window: Span::seconds(60),
        canary_pods: pods_pattern(&format!("{value}-a")),
        stable_pods: pods_pattern(&format!("{value}-b")),
        canary_revision: text(),
        stable_revision: text(),
        canary_set: text(),
        stable_set: text(),
        service: Some(text()),
        route: Some(text()),
    }
}

/// The variables that stand for names.
fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().filter(|name| !name.ends_with("pods") && *name != "window")
}

/// Queries with the variables in every place that a text can stand in, with the values that are to come out.
fn queries(value: &str) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for name in names() {
        let one = vec![value.to_owned()];
        all.push((format!("sum(rate(hits{{a=\"${name}\"}}[$window]))"), one.clone()));
        all.push((format!("hits{{a!='${name}'}} > 0 or vector(0)"), one.clone()));
        all.push((format!("max_over_time(sum by (b) (hits{{\"a\"=\"${name}\"}})[$window:5s])"), one));
        let labels = ["a", value, "b", "(.*)"].map(str::to_owned).to_vec();
        all.push((format!("label_replace(hits, \"a\", \"${name}\", \"b\", \"(.*)\")"), labels));
        let within = vec![format!("<{value}/{value}>"), "x".to_owned()];
        all.push((format!("hits{{a=\"<${name}/${name}>\",b=\"x\"}}"), within));
    }
    let pods = |end| pods_pattern(&format!("{value}-{end}"));
    let [canary, stable] = [pods("a"), pods("b")];
    if canary != stable {
        all.push((
            "hits{pod=~\"$canary_pods\"} / hits{pod=~'$stable_pods'}".to_owned(),
            vec![canary, stable],
        ));
    }
    all
}

/// Names as no API server lets them be, and as somebody who tries would write them.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[\\\\\"'`\n\r\t ${}()\\[\\],=~!#a0.*|+-]{0,24}",
        Just(r#"x"} or vector(0) or up{a=""#.to_owned()),
        Just("x'} or vector(0) or up{a='".to_owned()),
        Just("\\".to_owned()),
        Just("$namespace${service}$window".to_owned()),
        Just("\u{202e}\u{0}\u{feff}".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_change_values_and_nothing_else(value in hostile()) {
        for ((query, wanted), (plain, _)) in queries(&value).into_iter().zip(queries("x")) {
            prop_assert_eq!(&query, &plain);
            let tree = Shape::of(&substitute(&plain, &named("x")).unwrap()).unwrap().tree;
            let text = substitute(&query, &named(&value)).unwrap();
            let shape = Shape::of(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            prop_assert_eq!(shape, Shape { tree, values: wanted }, "{}", text);
        }
    }

    /// A raw string has no escapes: a value that could end it is refused, any other comes out as it is.
    #[test]
    fn raw_strings_hold_or_refuse(value in hostile()) {
        for name in names() {
            let said = substitute(&format!("hits{{a=`${name}`}}"), &named(&value));
            if value.contains('`') {
                prop_assert_eq!(said, Err(QueryError::Backtick { name: name.to_owned() }));
            } else {
                prop_assert_eq!(said, Ok(format!("hits{{a=`{value}`}}")));
            }
        }
    }

    /// Outside of strings no name stands at all, whatever it holds.
    #[test]
    fn names_never_stand_bare(value in hostile()) {
        for name in names() {
            let said = substitute(&format!("hits and ${name}"), &named(&value));
            prop_assert_eq!(said, Err(QueryError::Unquoted { name: name.to_owned() }));
        }
    }

    /// The presets with any name that the API server lets a Service and a namespace have.
    #[test]
    fn presets_keep_their_shape(name in "[a-z]([-a-z0-9]{0,30}[a-z0-9])?") {
        for preset in Preset::ALL {
            for query in [preset.number(), preset.bad(), preset.total(), preset.buckets()].into_iter().flatten() {
                let [plain, text] = ["x", &*name].map(|value| substitute(query, &named(value)).unwrap());
                let [plain, shape] = [&plain, &text].map(|query| Shape::of(query).unwrap());
                prop_assert_eq!(plain.tree, shape.tree);
                prop_assert_eq!(plain.values.len(), shape.values.len());
            }
        }
    }
}
