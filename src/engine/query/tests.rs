use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, parse};
use proptest::prelude::*;

use super::*;

fn replaced(query: &str) -> Result<String, QueryError> {
    substitute(query, &samples())
}

/// The one matcher of a bare selector.
fn matcher(query: &str) -> Matcher {
    match parse(query) {
        Ok(Expr::VectorSelector(selector)) if selector.matchers.matchers.len() == 1 => {
            selector.matchers.matchers[0].clone()
        }
        other => panic!("{query}: not one matcher: {other:?}"),
    }
}

#[test]
fn replaces_every_variable() {
    for (query, text) in [
        (r#"up{namespace="$namespace"}"#, r#"up{namespace="shop"}"#),
        (r#"up{a="$rollout/$component/$phase"}"#, r#"up{a="shop/api/pilot"}"#),
        (r#"up{a="$canary_revision-$stable_revision"}"#, r#"up{a="bcdfg-hjklm"}"#),
        (r#"up{a='$service.$route'}"#, r#"up{a='shop-api.shop'}"#),
        ("rate(up[$window])", "rate(up[1m])"),
        ("max_over_time(up[$window:5s])", "max_over_time(up[1m:5s])"),
        (r#"up{pod=~"$canary_pods"}"#, r#"up{pod=~"shop-api-bcdfg-[a-z0-9]{5}"}"#),
        (r#"up{pod=~"$stable_pods"}"#, r#"up{pod=~"shop-api-hjklm-[a-z0-9]{5}"}"#),
        // A dollar that begins no name is the regular expression's own.
        (r#"up{code=~"5..$|^2$"}"#, r#"up{code=~"5..$|^2$"}"#),
        (
            r#"label_replace(up, "a", "$1${2}", "b", "(.)(.)")"#,
            r#"label_replace(up, "a", "$1${2}", "b", "(.)(.)")"#,
        ),
        // Comments are nobody's business.
        ("up # costs $many\n", "up # costs $many\n"),
        (r##"up{a="#$phase"}"##, r##"up{a="#pilot"}"##),
        // An escaped quote does not end a string.
        (r#"up{a="\"$phase\""}"#, r#"up{a="\"pilot\""}"#),
    ] {
        assert_eq!(replaced(query).as_deref(), Ok(text), "{query}");
    }
}

#[test]
fn refuses_variables_with_words_that_help() {
    for (query, words) in [
        (r#"up{a="$canary"}"#, "$canary, which is not known; known are $namespace $rollout"),
        (r#"up{a="$namespaces"}"#, "$namespaces, which is not known"),
        (r#"up{a="${namespace}"}"#, "without braces"),
        ("up offset $phase", "$phase is a text: put it between double quotes"),
        ("sum by ($component) (up)", "$component is a text"),
    ] {
        let error = replaced(query).unwrap_err().to_string();
        assert!(error.contains(words), "{query}: {error}");
    }
}

#[test]
fn refuses_variables_without_a_value() {
    let bare = Variables { service: None, route: None, window: Span::ZERO, ..samples() };
    for (query, error) in [
        (r#"up{a="$service"}"#, QueryError::NoValue { name: "service".to_owned() }),
        (r#"up{a="$route"}"#, QueryError::NoValue { name: "route".to_owned() }),
        ("rate(up[$window])", QueryError::ZeroWindow),
    ] {
        assert_eq!(substitute(query, &bare), Err(error), "{query}");
    }
}

#[test]
fn refuses_pods_that_cannot_be_told_apart() {
    let long = "d".repeat(60);
    let same = Variables {
        canary_pods: pods_pattern(&format!("{long}-bcdfg")),
        stable_pods: pods_pattern(&format!("{long}-hjklm")),
        ..samples()
    };
    for query in [r#"up{pod=~"$canary_pods"}"#, r#"up{pod=~"$stable_pods"}"#] {
        assert_eq!(substitute(query, &same), Err(QueryError::SamePods));
    }
    assert!(substitute(r#"up{namespace="$namespace"}"#, &same).is_ok());
}

#[test]
fn pod_names_are_those_that_the_api_server_makes() {
    let cut = "d".repeat(57);
    for (replica_set, pattern) in [
        ("shop-api-5d8c", "shop-api-5d8c-[a-z0-9]{5}".to_owned()),
        ("shop.api-5d8c", r"shop\.api-5d8c-[a-z0-9]{5}".to_owned()),
        // 57 characters leave room for the dash, 58 do not.
        (&cut, format!("{cut}-[a-z0-9]{{5}}")),
        (&format!("{cut}x"), format!("{cut}x[a-z0-9]{{5}}")),
        (&format!("{cut}xyz-5d8c"), format!("{cut}x[a-z0-9]{{5}}")),
    ] {
        assert_eq!(pods_pattern(replica_set), pattern);
    }
}

#[test]
fn a_pattern_survives_every_kind_of_string() {
    let vars = Variables { canary_pods: pods_pattern("shop.api-5d8c"), ..samples() };
    for query in [r#"up{pod=~"$canary_pods"}"#, "up{pod=~'$canary_pods'}", "up{pod=~`$canary_pods`}"] {
        let found = matcher(&without_raw_strings(&substitute(query, &vars).unwrap()));
        assert_eq!(found.value, vars.canary_pods, "{query}");
        assert!(found.is_match("shop.api-5d8c-x7k2p"), "{query}");
        for other in ["shop-api-5d8c-x7k2p", "shop.api-5d8c-x7k2p2", "shop.api-5d8c-x7k2", "other"] {
            assert!(!found.is_match(other), "{query}: {other}");
        }
    }
}

#[test]
fn a_value_cannot_leave_its_string() {
    for attack in [
        r#"x"} or vector(0) or up{a=""#,
        r#"x\"} or vector(0) or up{a=\""#,
        r"x\",
        "x'} or vector(0) or up{a='",
        "x\"}\nor vector(0)#",
        "x\n\"",
        "$namespace",
        "\" # ",
    ] {
        let vars = Variables { service: Some(attack.to_owned()), ..samples() };
        for query in [r#"up{a="$service"}"#, "up{a='$service'}"] {
            let text = substitute(query, &vars).unwrap();
            assert_eq!(matcher(&text), Matcher::new(MatchOp::Equal, "a", attack), "{text}");
        }
    }
    let vars = Variables { service: Some("x`} or vector(0) or up{a=`".to_owned()), ..samples() };
    assert_eq!(
        substitute("up{a=`$service`}", &vars),
        Err(QueryError::Backtick { name: "service".to_owned() })
    );
}

#[test]
fn accepts_queries_of_one_number() {
    for query in [
        r#"(sum(rate(http_requests_total{namespace="$namespace",pod=~"$canary_pods",code=~"5.."}[$window])) or vector(0))
             / sum(rate(http_requests_total{namespace="$namespace",pod=~"$canary_pods"}[$window]))"#,
        r#"histogram_quantile(0.95, sum by (le) (rate(latency_bucket{pod=~"$canary_pods"}[$window])))"#,
        "scalar(sum(up))",
        "1",
        "-(1 + 2)",
        "time() # now",
        r#"max(label_replace(up, "a", "$1${2}", "b", "(.)(.)"))"#,
        r#"sum(up) by (pod) > bool 0 and on () absent(down{job!="x"})"#,
        r#"sum(rate(a_total{pod=~'$stable_pods'}[$window] offset $window)) / on () group_left () count(b @ end())"#,
        "quantile_over_time(0.99, up[$window]) + topk(1, up) - -1e3",
        "sum(increase(hits[1h30m])) ^ 2 % 0x1F or vector(NaN)",
        // Backslashes mean nothing to a raw string.
        r#"sum(rate(hits{path=~`/v\d+\.json`,a="`"}[5m]))"#,
        "max_over_time(sum(rate(up[1m]))[$window:10s])",
    ] {
        assert_eq!(check(query), Ok(()), "{query}");
    }
}

#[test]
fn refuses_queries_with_words_that_help() {
    for (query, words) in [
        ("", "it is empty"),
        ("sum(up", "not PromQL"),
        ("sum(up) /", "missing comma, operator, bracket or quote"),
        ("rat(up[5m])", "rat"),
        (r#"up{a="b}"#, "unterminated quoted string"),
        ("up[$window]", "range of samples"),
        ("up[5m:1m]", "range of samples"),
        (r#""up""#, "answers a text"),
        ("rate(up)", "expected type matrix"),
        ("up{}[", "not PromQL"),
        (r#"{a=~""}"#, "at least one non-empty matcher"),
        (r#"up{a=~"*"}"#, "not PromQL"),
    ] {
        let error = check(query).unwrap_err().to_string();
        assert!(error.contains(words), "{query}: {error}");
    }
}

/// The longest queries that the schema lets through must not exhaust a small stack.
#[test]
fn deep_queries_are_refused_or_judged_within_a_small_stack() {
    let queries = [
        "(".repeat(4096),
        format!("{}1{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}1", "-".repeat(4095)),
        format!("1{}", "+1".repeat(2047)),
        format!("1{}", "^1".repeat(2047)),
        format!("up{}", " or up".repeat(680)),
        "[".repeat(4096),
    ];
    let judge = move || queries.map(|query| check(&query).is_ok());
    let judged = std::thread::Builder::new().stack_size(2 << 20).spawn(judge).unwrap().join().unwrap();
    assert_eq!(judged, [false, false, true, true, true, true, false]);
}

proptest! {
    #[test]
    fn any_value_comes_back_from_the_parser_as_it_was(value in "\\PC*|[\\\\\"'\n$a{}]{0,12}") {
        let vars = Variables { service: Some(value.clone()), ..samples() };
        for query in [r#"up{a="$service"}"#, "up{a='$service'}"] {
            let text = substitute(query, &vars).unwrap();
            prop_assert_eq!(matcher(&text).value, value.clone(), "{}", text);
        }
    }

    #[test]
    fn any_name_of_a_replica_set_fits_its_own_pods_alone(name in "[a-z0-9]([-.a-z0-9]{0,70}[a-z0-9])?", end in "[a-z0-9]{5}", other in "[a-z0-9]") {
        let pattern = pods_pattern(&name);
        let found = matcher(&format!("up{{pod=~\"{}\"}}", escaped(&pattern, '"')));
        let base: String = format!("{name}-").chars().take(58).collect();
        let pod = format!("{base}{end}");
        let (longer, before) = (format!("{pod}{other}"), format!("{other}{pod}"));
        prop_assert!(found.is_match(&pod));
        prop_assert!(!found.is_match(&longer));
        prop_assert!(!found.is_match(&before));
        prop_assert!(!found.is_match(&base));
    }

    #[test]
    fn any_text_is_judged_without_panic(query in "\\PC{0,80}|[a-z($\"'`{}\\[\\]\\\\ =~,#\n]{0,60}") {
        let _ = check(&query);
    }
}

#[test]
fn presets_are_queries_that_count() {
    for preset in crate::api::Preset::ALL {
        for query in [preset.bad(), preset.total(), preset.buckets()].into_iter().flatten() {
            assert_eq!(check_series(query), Ok(()), "{preset:?}: {query}");
        }
        assert_eq!(preset.bad().is_some(), preset.total().is_some(), "{preset:?}");
        assert_eq!(preset.number().is_none(), preset.bad().is_some(), "{preset:?} answers one or the other");
        assert_eq!(preset.number().map_or(Ok(()), check), Ok(()), "{preset:?}");
    }
    for (query, words) in [
        ("sum by (pod) (rate(requests_total[1m]))", "has rate()"),
        ("sum by (pod) (increase(requests_total[1m]) or up)", "has increase()"),
        ("42", "one number"),
    ] {
        let said = check_series(query).unwrap_err().to_string();
        assert!(said.contains(words) && said.contains("sum by (pod)"), "{query}: {said}");
    }
}
