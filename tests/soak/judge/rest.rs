//! Whether a Rollout has come to rest as its last push asks: the right version alone, everything else as it was found.

use serde_json::Value;

/// How it has to be.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The image that somebody set last.
    pub pushed: String,
    /// The image that serves: the pushed one, or the one before it.
    pub serves: String,
    /// How its last run ended; empty when there was none.
    pub outcome: String,
    /// The Service's selector before the first run.
    pub selector: Value,
    /// The route's rules before the first run.
    pub rules: Value,
}

/// How it is.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The Rollout.
    pub rollout: Value,
    /// Its Deployment.
    pub deployment: Value,
    /// The ReplicaSets of its pods.
    pub sets: Vec<Value>,
    /// Its Service.
    pub service: Value,
    /// Whether the canary's Service is there.
    pub has_canary_service: bool,
    /// Its route.
    pub route: Value,
}

/// Pods of each Deployment of the fleet.
const REPLICAS: i64 = 2;

/// What differs from what is expected; nothing when it is at rest.
pub fn wrong(expected: &Expected, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, found: String, wanted: String| {
        if found != wanted {
            wrong.push(format!("{what} is {found} instead of {wanted}"));
        }
    };
    let state = if expected.outcome.is_empty() { "Idle" } else { &*expected.outcome };
    check("its state", text(&seen.rollout["status"]["state"]), state.to_owned());
    if !expected.outcome.is_empty() {
        check("its outcome", text(&seen.rollout["status"]["run"]["outcome"]), expected.outcome.clone());
    }
    check("the Deployment's image", image(&seen.deployment), expected.pushed.clone());
    let is_paused = seen.deployment["spec"]["paused"].as_bool().unwrap_or(false);
    let is_rejected = expected.pushed != expected.serves;
    check("the Deployment's pause", is_paused.to_string(), is_rejected.to_string());
    check(
        "the Service's selector",
        seen.service["spec"]["selector"].to_string(),
        expected.selector.to_string(),
    );
    check("a canary's Service", seen.has_canary_service.to_string(), false.to_string());
    check("the route's rules", seen.route["spec"]["rules"].to_string(), expected.rules.to_string());
    let alive: Vec<&Value> = seen.sets.iter().filter(|set| number(&set["spec"]["replicas"]) > 0).collect();
    check("the number of versions with pods", alive.len().to_string(), 1.to_string());
    for set in alive {
        check("what serves", image(set), expected.serves.clone());
        check("its owner", owner(set), "Deployment".to_owned());
        check(
            "its available pods",
            number(&set["status"]["availableReplicas"]).to_string(),
            REPLICAS.to_string(),
        );
    }
    wrong
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("nothing").to_owned()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn image(of: &Value) -> String {
    text(&of["spec"]["template"]["spec"]["containers"][0]["image"])
}

/// The kind of the object's controller.
fn owner(of: &Value) -> String {
    let owners = of["metadata"]["ownerReferences"].as_array();
    let mut controllers = owners.into_iter().flatten().filter(|one| one["controller"] == true);
    controllers.next().map_or_else(|| "nobody".to_owned(), |one| text(&one["kind"]))
}
