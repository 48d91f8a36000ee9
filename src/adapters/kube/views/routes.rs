//! Routes of the Gateway API.
//!
//! A route is edited as JSON and only its `backendRefs` are read, so that fields of later versions of the Gateway
//! API survive and never make a route unreadable.

use serde_json::Value;

use crate::adapters::kube::row::{View, Whole};
use crate::engine::world::{Acceptance, RouteSeen, Seen};

use super::text;

const GROUP: &str = "gateway.networking.k8s.io";
/// The longest words of a gateway that are repeated, in characters.
const LONGEST_WORDS: usize = 200;

macro_rules! route_view {
    ($name:ident, $kind:literal, $plural:literal) => {
        #[doc = concat!("What is kept of a ", $kind, ".")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(pub RouteSeen);

        impl View for $name {
            const GROUP: &'static str = GROUP;
            const VERSION: &'static str = "v1";
            const KIND: &'static str = $kind;
            const PLURAL: &'static str = $plural;

            fn of(whole: Whole) -> Result<Self, String> {
                route_of(whole).map(Self)
            }
            fn at(&self) -> &Seen {
                &self.0.at
            }
            fn rollout(&self) -> Option<&str> {
                None
            }
            fn is_watched(&self) -> bool {
                true
            }
        }
    };
}

route_view!(HttpRouteView, "HTTPRoute", "httproutes");
route_view!(GrpcRouteView, "GRPCRoute", "grpcroutes");

fn route_of(whole: Whole) -> Result<RouteSeen, String> {
    let Whole { metadata, spec, status, .. } = whole;
    let (mut spec, status) = (spec.json("spec")?, status.json("status")?);
    let acceptance = acceptance_of(&metadata.namespace, metadata.generation, &spec, &status);
    let rules = match spec.get_mut("rules").map(Value::take) {
        Some(Value::Array(rules)) => rules,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err("spec.rules is not a list".to_owned()),
    };
    let backends = rules.into_iter().map(|mut rule| match rule.get_mut("backendRefs").map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    });
    Ok(RouteSeen {
        at: metadata.seen(),
        deleting: metadata.is_deleting(),
        acceptance,
        backends: backends.collect(),
    })
}

/// What the gateways of `spec.parentRefs` say of `generation`: each must accept it and resolve its references.
/// <https://gateway-api.sigs.k8s.io/reference/spec/#gateway.networking.k8s.io/v1.RouteParentStatus>
fn acceptance_of(namespace: &str, generation: i64, spec: &Value, status: &Value) -> Acceptance {
    let empty = Vec::new();
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = spec.get("parentRefs").and_then(Value::as_array).unwrap_or(&empty);
    let said = list(status.get("parents"));
    let mut all = if wanted.is_empty() { Acceptance::Pending } else { Acceptance::Accepted };
    for parent in wanted {
        let parent = parent_key(namespace, parent);
        let entries = said
            .iter()
            .filter(|entry| entry.get("parentRef").is_some_and(|it| parent_key(namespace, it) == parent));
        let mut words = entries.map(|entry| said_by(entry, generation)).peekable();
        if words.peek().is_none() {
            all = Acceptance::Pending;
        }
        for word in words {
            match word {
                Acceptance::Accepted => {}
                Acceptance::Pending => all = Acceptance::Pending,
                Acceptance::Refused(why) => return Acceptance::Refused(why),
            }
        }
    }
    all
}

/// A parent reference with its defaults filled in.
fn parent_key(namespace: &str, parent: &Value) -> (String, String, String, String, String, i64) {
    let field =
        |name: &str, default: &str| parent.get(name).and_then(Value::as_str).unwrap_or(default).to_owned();
    (
        field("group", GROUP),
        field("kind", "Gateway"),
        field("namespace", namespace),
        field("name", ""),
        field("sectionName", ""),
        parent.get("port").and_then(Value::as_i64).unwrap_or(0),
    )
}

/// What one gateway says of `generation`.
fn said_by(entry: &Value, generation: i64) -> Acceptance {
    let conditions = entry.get("conditions").and_then(Value::as_array);
    let find = |kind: &str| conditions?.iter().find(|it| text(it, "/type") == Some(kind));
    let mut words = Acceptance::Accepted;
    for kind in ["Accepted", "ResolvedRefs"] {
        let Some(condition) = find(kind) else {
            words = Acceptance::Pending;
            continue;
        };
        let is_present =
            condition.get("observedGeneration").and_then(Value::as_i64).unwrap_or(0) >= generation;
        match text(condition, "/status") {
            Some("True") if is_present => {}
            Some("False") if is_present => return Acceptance::Refused(why(condition)),
            _ => words = Acceptance::Pending,
        }
    }
    words
}

fn why(condition: &Value) -> String {
    let reason = text(condition, "/reason").unwrap_or_default();
    let message = text(condition, "/message").unwrap_or_default();
    let words = if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") };
    words.chars().take(LONGEST_WORDS).collect()
}
