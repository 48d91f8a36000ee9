//! The rules of the definitions (`x-kubernetes-validations`), judged without a CEL evaluator.
//!
//! An evaluator would bring a grammar's runtime and a calendar into the program for some forty rules. Here each rule is known by
//! its text; a test demands that every rule is known, and compares the judgement with an evaluator's on every bad manifest.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use regex::Regex;
use serde::Deserialize as _;
use serde_json::Value;

use crate::api::ParameterType;
use crate::engine::query::KNOWN;

/// Whether `text` fits a pattern; a pattern that cannot be read fits everything.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    static KNOWN: OnceLock<Mutex<BTreeMap<String, Option<Regex>>>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let read = known.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
    read.as_ref().is_none_or(|it| it.is_match(text))
}

/// Whether there is a judgement for this rule.
#[must_use]
pub fn knows(rule: &str) -> bool {
    pattern_of(rule).is_some() || unique_of(rule).is_some() || judge_of(rule).is_some()
}

/// Where below `value` the rule is broken; an empty text is `value` itself. `None`: it holds, or is not known.
pub(super) fn broken(rule: &str, value: &Value) -> Option<String> {
    if let Some((pattern, can_be_empty)) = pattern_of(rule) {
        let text = value.as_str().unwrap_or_default();
        return (!fits(&pattern, text) || (!can_be_empty && text.is_empty())).then(String::new);
    }
    if let Some((list, keys)) = unique_of(rule) {
        return doubled(value, &list, &keys);
    }
    judge_of(rule)?(value)
}

/// `self.matches('…')`, and whether an empty text may fit.
fn pattern_of(rule: &str) -> Option<(String, bool)> {
    let rest = rule.strip_prefix("self.matches('")?;
    let (pattern, can_be_empty) = match rest.strip_suffix("') && self != ''") {
        Some(pattern) => (pattern, false),
        None => (rest.strip_suffix("')")?, true),
    };
    // A backslash in a CEL string is written twice.
    (!pattern.contains("')")).then(|| (pattern.replace("\\\\", "\\"), can_be_empty))
}

/// `self.LIST.all(a, self.LIST.exists_one(b, b.KEY == a.KEY))`: the list and the key.
fn unique_of(rule: &str) -> Option<(String, Vec<String>)> {
    static FORM: OnceLock<Option<Regex>> = OnceLock::new();
    let form = r"^(?:!has\(self\.\w+\) \|\| )?self\.(\w+)\.all\((\w), self\.(\w+)\.exists_one\((\w), (\w)\.([\w.]+) == (\w)\.([\w.]+)\)\)$";
    let found = FORM.get_or_init(|| Regex::new(form).ok()).as_ref()?.captures(rule)?;
    let is_whole =
        found[1] == found[3] && found[5] == found[4] && found[7] == found[2] && found[6] == found[8];
    is_whole.then(|| (found[1].to_owned(), found[6].split('.').map(str::to_owned).collect()))
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn inner<'v>(value: &'v Value, keys: &[String]) -> Option<&'v Value> {
    keys.iter().try_fold(value, |value, key| value.get(key))
}

/// The second of two entries that have the same key.
fn doubled(value: &Value, name: &str, keys: &[String]) -> Option<String> {
    let entries = list(value, name);
    let at = entries.iter().enumerate().find_map(|(index, entry)| {
        let key = inner(entry, keys)?;
        entries[..index].iter().any(|it| inner(it, keys) == Some(key)).then_some(index)
    })?;
    Some(format!("{name}[{at}].{}", keys.join(".")))
}

type Judge = fn(&Value) -> Option<String>;

fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some()
}

fn number(value: &Value, key: &str) -> f64 {
    value.get(key).and_then(Value::as_f64).unwrap_or_default()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn count(value: &Value, keys: &[&str]) -> usize {
    keys.iter().filter(|key| has(value, key)).count()
}

fn unless(holds: bool, at: &str) -> Option<String> {
    (!holds).then(|| at.to_owned())
}

fn is_named(entries: &[Value], name: &str) -> bool {
    entries.iter().any(|it| text(it, "name") == name)
}

const RULES_OF_A_GATE: [&str; 6] =
    ["threshold", "compare", "sequentialRate", "sequentialLatency", "quantile", "budget"];

#[allow(clippy::too_many_lines, reason = "a table")]
fn judge_of(rule: &str) -> Option<Judge> {
    Some(match rule {
        "self.all(name, name.size() <= 40)" => |v| {
            let mut names = v.as_object()?.keys();
            names.find(|name| name.chars().count() > 40).cloned()
        },
        "self.startsWith('/')" => |v| unless(v.as_str().unwrap_or_default().starts_with('/'), ""),
        "self.metadata.name.size() <= 52" => |v| {
            unless(
                v.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().chars().count() <= 52,
                "metadata.name",
            )
        },
        "self >= 1 && self <= 100" => |v| unless((1.0..=100.0).contains(&v.as_f64().unwrap_or_default()), ""),
        "has(self.configMaps) || has(self.secrets) || (has(self.fromTemplate) && self.fromTemplate)" => {
            |v| unless(has(v, "configMaps") || has(v, "secrets") || flag(v, "fromTemplate"), "")
        }
        "[has(self.query), has(self.bad), has(self.buckets), has(self.preset)].filter(it, it).size() == 1 && has(self.bad) == has(self.total)" => {
            |v| {
                unless(
                    count(v, &["query", "bad", "buckets", "preset"]) == 1 && has(v, "bad") == has(v, "total"),
                    "",
                )
            }
        }
        "has(self.min) || has(self.max)" => |v| unless(has(v, "min") || has(v, "max"), ""),
        "!has(self.min) || !has(self.max) || self.min <= self.max" => {
            |v| unless(!has(v, "min") || !has(v, "max") || number(v, "min") <= number(v, "max"), "min")
        }
        "!has(self.failureWindow) || self.failureWindow.failures <= self.failureWindow.of" => |v| {
            let window = v.get("failureWindow")?;
            unless(number(window, "failures") <= number(window, "of"), "failureWindow.failures")
        },
        "has(self.degradedMode) == (has(self.onFailure) && self.onFailure == 'DegradedMode')" => {
            |v| unless(has(v, "degradedMode") == (text(v, "onFailure") == "DegradedMode"), "onFailure")
        }
        "[has(self.threshold), has(self.compare), has(self.sequentialRate), has(self.sequentialLatency), has(self.quantile), has(self.budget)].filter(it, it).size() <= 1" => {
            |v| unless(count(v, &RULES_OF_A_GATE) <= 1, "")
        }
        "has(self.threshold) || !has(self.prometheus.query)" => {
            |v| unless(has(v, "threshold") || v.pointer("/prometheus/query").is_none(), "threshold")
        }
        "!(has(self.compare) || has(self.sequentialRate) || has(self.budget)) || has(self.prometheus.bad) || has(self.prometheus.preset)" => {
            |v| {
                let needs = count(v, &["compare", "sequentialRate", "budget"]) > 0;
                unless(!needs || count(&v["prometheus"], &["bad", "preset"]) > 0, "prometheus")
            }
        }
        "(has(self.sequentialLatency) || has(self.quantile)) ? has(self.prometheus.buckets) || has(self.prometheus.preset) : (!has(self.prometheus.buckets) || !has(self.threshold))" => {
            |v| {
                let has_buckets = v.pointer("/prometheus/buckets").is_some();
                let needs = count(v, &["sequentialLatency", "quantile"]) > 0;
                let has_preset = v.pointer("/prometheus/preset").is_some();
                let holds =
                    if needs { has_buckets || has_preset } else { !has_buckets || !has(v, "threshold") };
                unless(holds, "prometheus")
            }
        }
        "!has(self.prometheus.preset) || self.prometheus.preset != 'Kubelet' || !(has(self.sequentialLatency) || has(self.quantile))" => {
            |v| {
                let is_of_latency = count(v, &["sequentialLatency", "quantile"]) > 0;
                unless(!is_of_latency || text(&v["prometheus"], "preset") != "Kubelet", "prometheus.preset")
            }
        }
        "!has(self.prometheus.preset) || self.prometheus.preset != 'KubeStateMetrics' || has(self.threshold)" => {
            |v| {
                let is_number = text(&v["prometheus"], "preset") == "KubeStateMetrics";
                unless(!is_number || has(v, "threshold"), "threshold")
            }
        }
        "self.httpRoutes.size() + self.grpcRoutes.size() >= 1" => {
            |v| unless(list(v, "httpRoutes").len() + list(v, "grpcRoutes").len() >= 1, "")
        }
        "self.apiVersion == 'apps/v1' && self.kind == 'Deployment'" => |v| {
            let is = |key, usual| v.get(key).is_none_or(|it| it == usual);
            unless(is("apiVersion", "apps/v1") && is("kind", "Deployment"), "kind")
        },
        "!has(self.dependsOn) || !(self.name in self.dependsOn)" => {
            |v| unless(!list(v, "dependsOn").iter().any(|it| it == &v["name"]), "dependsOn")
        }
        "has(self.value) != has(self.json)" => |v| unless(has(v, "value") != has(v, "json"), ""),
        "!has(self.json) || has(self.pointer)" => |v| unless(!has(v, "json") || has(v, "pointer"), "json"),
        "!has(self.backup) || !self.backup || self.at == 'BeforeRun'" => {
            |v| unless(!flag(v, "backup") || text(v, "at") == "BeforeRun", "backup")
        }
        "!has(self.phases) || self.at == 'BeforePhase' || self.at == 'AfterPhase'" => {
            |v| unless(!has(v, "phases") || ["BeforePhase", "AfterPhase"].contains(&text(v, "at")), "phases")
        }
        "!has(self.components) || self.at == 'BeforePhase' || self.at == 'AfterPhase' || self.at == 'OnPartialRollback'" => {
            |v| {
                let points = ["BeforePhase", "AfterPhase", "OnPartialRollback"];
                unless(!has(v, "components") || points.contains(&text(v, "at")), "components")
            }
        }
        "!(has(self.bearerTokenRef) && has(self.basicAuthRef))" => {
            |v| unless(count(v, &["bearerTokenRef", "basicAuthRef"]) < 2, "basicAuthRef")
        }
        other => return judge_of_parameter(other).or_else(|| judge_of_spec(other)),
    })
}

/// The rules of a parameter of a template.
fn judge_of_parameter(rule: &str) -> Option<Judge> {
    Some(match rule {
        "!(self in ['namespace', 'rollout', 'component', 'phase', 'window', 'pods', 'canary_pods', 'stable_pods', 'canary_revision', 'stable_revision', 'canary_set', 'stable_set', 'service', 'route'])" => {
            |v| unless(!KNOWN.contains(&v.as_str().unwrap_or_default()), "")
        }
        "(has(self.values) ? self.values : has(self.default) ? [self.default] : []).all(v, self.type == 'String' || v.matches(self.type == 'Number' ? '^-?(0|[1-9][0-9]{0,14})([.][0-9]{1,17})?(e-?[0-9]{1,2})?$' : self.type == 'Integer' ? '^-?(0|[1-9][0-9]{0,14})$' : self.type == 'Metric' ? '^[a-zA-Z_:][a-zA-Z0-9_:]*$' : '^(0|([0-9]y)?([0-9]{1,3}w)?([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,9}ms)?)$') && v != '')" => {
            |v| {
                let pattern = ParameterType::deserialize(&v["type"]).ok()?.pattern()?;
                let is_of_type =
                    |it: &Value| it.as_str().is_some_and(|it| !it.is_empty() && fits(pattern, it));
                match v.get("values").and_then(Value::as_array) {
                    Some(values) => {
                        values.iter().position(|it| !is_of_type(it)).map(|at| format!("values[{at}]"))
                    }
                    None => unless(v.get("default").is_none_or(is_of_type), "default"),
                }
            }
        }
        "!has(self.default) || !has(self.values) || self.default in self.values" => |v| {
            unless(
                !has(v, "default") || !has(v, "values") || list(v, "values").contains(&v["default"]),
                "default",
            )
        },
        "!(has(self.minimum) || has(self.maximum)) || self.type == 'Number' || self.type == 'Integer'" => {
            |v| {
                let at = ["minimum", "maximum"].into_iter().find(|key| has(v, key))?;
                unless(["Number", "Integer"].contains(&text(v, "type")), at)
            }
        }
        "!has(self.default) || !self.default.matches('^-?[0-9.]+(e-?[0-9]+)?$') || (!has(self.minimum) || double(self.default) >= self.minimum) && (!has(self.maximum) || double(self.default) <= self.maximum)" => {
            |v| {
                let default: f64 = text(v, "default").parse().ok()?;
                let is_above = !has(v, "minimum") || default >= number(v, "minimum");
                unless(is_above && (!has(v, "maximum") || default <= number(v, "maximum")), "default")
            }
        }
        _ => return None,
    })
}

/// The rules of `spec`.
fn judge_of_spec(rule: &str) -> Option<Judge> {
    Some(match rule {
        "self.components.all(c, !has(c.traffic) || self.components.exists_one(d, has(d.traffic) && d.traffic.service == c.traffic.service))" => {
            |v| doubled(v, "components", &["traffic".to_owned(), "service".to_owned()])
        }
        "!has(self.gates) || self.components.all(c, !has(c.gates) || c.gates.all(g, !self.gates.exists(h, h.name == g.name)))" => {
            |v| of_gates(v, |gate| !is_named(list(v, "gates"), text(gate, "name")), "name")
        }
        "!has(self.phases) || self.phases.map(p, p.traffic).isSorted()" => |v| {
            let phases = list(v, "phases");
            let at =
                phases.windows(2).position(|it| number(&it[0], "traffic") > number(&it[1], "traffic"))?;
            Some(format!("phases[{}].traffic", at + 1))
        },
        "!has(self.phases) || self.phases[self.phases.size() - 1].traffic >= 100" => |v| {
            let phases = list(v, "phases");
            let last = phases.last()?;
            unless(number(last, "traffic") >= 100.0, &format!("phases[{}].traffic", phases.len() - 1))
        },
        "self.components.all(c, !has(c.dependsOn) || c.dependsOn.all(d, self.components.exists(o, o.name == d)))" => {
            |v| {
                of_components(v, "dependsOn", |it| {
                    is_named(list(v, "components"), it.as_str().unwrap_or_default())
                })
            }
        }
        "!has(self.phases) || self.components.all(c, !has(c.phases) || c.phases.all(o, self.phases.exists(p, p.name == o.name)))" => {
            |v| {
                has(v, "phases").then_some(())?;
                of_components(v, "phases", |it| is_named(list(v, "phases"), text(it, "name")))
            }
        }
        "!has(self.phases) || self.components.all(c, !has(c.phases) || c.phases.all(o, !has(o.skip) || !o.skip || o.name != self.phases[self.phases.size() - 1].name))" => {
            |v| {
                let last = list(v, "phases").last()?;
                of_components(v, "phases", |it| !flag(it, "skip") || text(it, "name") != text(last, "name"))
            }
        }
        "!has(self.gates) || self.gates.all(g, !has(g.degradedMode) || (has(self.degradedModes) && self.degradedModes.exists(m, m.name == g.degradedMode)))" => {
            |v| {
                let is_known = |it: &Value| {
                    !has(it, "degradedMode") || is_named(list(v, "degradedModes"), text(it, "degradedMode"))
                };
                let at = list(v, "gates").iter().position(|it| !is_known(it))?;
                Some(format!("gates[{at}].degradedMode"))
            }
        }
        "self.components.all(c, !has(c.gates) || c.gates.all(g, !has(g.degradedMode) || (has(self.degradedModes) && self.degradedModes.exists(m, m.name == g.degradedMode))))" => {
            |v| {
                let is_known = |it: &Value| {
                    !has(it, "degradedMode") || is_named(list(v, "degradedModes"), text(it, "degradedMode"))
                };
                of_gates(v, is_known, "degradedMode")
            }
        }
        _ => return None,
    })
}

/// The first entry of a list of a component that does not hold.
fn of_components(spec: &Value, key: &str, holds: impl Fn(&Value) -> bool) -> Option<String> {
    list(spec, "components").iter().enumerate().find_map(|(at, component)| {
        let index = list(component, key).iter().position(|it| !holds(it))?;
        Some(format!("components[{at}].{key}[{index}]"))
    })
}

fn of_gates(spec: &Value, holds: impl Fn(&Value) -> bool, field: &str) -> Option<String> {
    of_components(spec, "gates", holds).map(|at| format!("{at}.{field}"))
}
