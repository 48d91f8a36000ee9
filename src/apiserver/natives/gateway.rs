//! A gateway: what it says of routes, and by which it sends requests.
//! <https://gateway-api.sigs.k8s.io/api-types/httproute/>

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::fields::{list, name, number, text, uid, written};
use super::hand::{Hand, Outcome};
use super::settings::Gateway;
use crate::api::Span;
use crate::api::names::CANARY_SUFFIX;
use crate::apiserver::{Key, Kind, Part};

const GROUP: &str = "gateway.networking.k8s.io";
const CONTROLLER: &str = "palier.dev/simulated-gateway";

/// The backends of a route, by rule.
pub type Backends = Vec<Vec<Value>>;

/// A route as the gateway knows it.
#[derive(Clone, Debug)]
struct Known {
    uid: String,
    generation: i64,
    /// When it last changed.
    changed_at: Timestamp,
    in_effect: Backends,
}

/// What the gateway knows of routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes(BTreeMap<Key, Known>);

impl Routes {
    /// Everything that is to happen happens that much later, or earlier.
    pub(super) fn shift(&mut self, by: SignedDuration) {
        for route in self.0.values_mut() {
            route.changed_at = route.changed_at.checked_add(by).unwrap_or(route.changed_at);
        }
    }

    /// The backends by which requests go now.
    pub(super) fn in_effect(&self, key: &Key) -> Option<&Backends> {
        self.0.get(key).map(|route| &route.in_effect)
    }
}

/// What a gateway says of a route: a condition.
struct Word {
    kind: &'static str,
    is: bool,
    reason: &'static str,
    message: String,
}

/// Does for one route what is to do.
pub(super) fn sync(hand: &mut Hand<'_>, key: &Key, routes: &mut Routes, settings: &Gateway) -> Outcome {
    let Some(route) = hand.get(key) else {
        routes.0.remove(key);
        return Ok(None);
    };
    let at = hand.at();
    let generation = number(&route, "/metadata/generation").unwrap_or(0);
    let fresh =
        || Known { uid: uid(&route).to_owned(), generation, changed_at: at, in_effect: Backends::new() };
    let known = routes.0.entry(key.clone()).or_insert_with(fresh);
    if known.uid != uid(&route) {
        *known = fresh();
    }
    if known.generation != generation {
        (known.generation, known.changed_at) = (generation, at);
    }
    if !settings.answers {
        return Ok(None);
    }
    let later = |at: Timestamp, span: Span| at.checked_add(span.as_signed()).unwrap_or(at);
    let accept_at = later(known.changed_at, settings.accepts_after);
    if accept_at > at {
        return Ok(Some(accept_at));
    }
    let words = [accepted(&route, settings), resolved(hand, key, &route)];
    let is_accepted = words[0].is;
    answer(hand, key, &route, generation, &words)?;
    let act_at = later(accept_at, settings.acts_after);
    if is_accepted && act_at <= at {
        known.in_effect = backends_of(&route);
    }
    Ok(Some(act_at).filter(|act_at| is_accepted && *act_at > at))
}

fn backends_of(route: &Value) -> Backends {
    list(route, "/spec/rules").iter().map(|rule| list(rule, "/backendRefs").to_vec()).collect()
}

fn accepted(route: &Value, settings: &Gateway) -> Word {
    let names_canary =
        backends_of(route).iter().flatten().any(|it| text(it, "/name").ends_with(CANARY_SUFFIX));
    match settings.refuses.as_ref().filter(|_| names_canary) {
        Some(words) => {
            Word { kind: "Accepted", is: false, reason: "UnsupportedValue", message: words.clone() }
        }
        None => Word { kind: "Accepted", is: true, reason: "Accepted", message: String::new() },
    }
}

/// Whether each backend is there.
fn resolved(hand: &Hand<'_>, key: &Key, route: &Value) -> Word {
    let is_missing = |backend: &&Value| {
        let namespace = backend["namespace"].as_str().unwrap_or(&key.namespace);
        hand.store.get(Kind::Service, namespace, text(backend, "/name")).is_none()
    };
    let backends = backends_of(route);
    match backends.iter().flatten().find(is_missing) {
        Some(backend) => {
            let message = format!("service \"{}\" not found", text(backend, "/name"));
            Word { kind: "ResolvedRefs", is: false, reason: "BackendNotFound", message }
        }
        None => Word { kind: "ResolvedRefs", is: true, reason: "ResolvedRefs", message: String::new() },
    }
}

fn answer(
    hand: &mut Hand<'_>,
    key: &Key,
    route: &Value,
    generation: i64,
    words: &[Word; 2],
) -> Result<(), crate::apiserver::Refusal> {
    let at = hand.at();
    let former = list(route, "/status/parents");
    let parent = |parent: &Value| {
        let mut reference =
            json!({"group": GROUP, "kind": "Gateway", "namespace": key.namespace, "name": name(parent)});
        let given = parent.as_object().into_iter().flatten();
        given.for_each(|(field, value)| reference[field] = value.clone());
        let before =
            former.iter().find(|it| it["parentRef"] == reference && it["controllerName"] == CONTROLLER);
        let conditions = words.iter().map(|word| condition(before, word, generation, at));
        json!({"parentRef": reference, "controllerName": CONTROLLER, "conditions": conditions.collect::<Vec<_>>()})
    };
    let parents: Vec<Value> = list(route, "/spec/parentRefs").iter().map(parent).collect();
    let of_others = former.iter().filter(|it| it["controllerName"] != CONTROLLER).cloned();
    let all: Vec<Value> = of_others.chain(parents).collect();
    hand.edit(key, Part::Status, |route| route["status"]["parents"] = Value::Array(all)).map(drop)
}

fn condition(before: Option<&Value>, word: &Word, generation: i64, at: Timestamp) -> Value {
    let is = if word.is { "True" } else { "False" };
    let before = before.and_then(|it| super::fields::condition(it, word.kind));
    let since = before.filter(|it| it["status"] == is).map(|it| it["lastTransitionTime"].clone());
    json!({
        "type": word.kind, "status": is, "reason": word.reason, "message": word.message,
        "observedGeneration": generation, "lastTransitionTime": since.unwrap_or_else(|| json!(written(at))),
    })
}
