//! How everything is in the end, by the API server's own word.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams};
use palier::api::names::CANARY_SUFFIX;
use serde_json::{Value, json};

use crate::Soak;
use crate::crews::{SHAKEN, STEADY};
use crate::fleet::image;
use crate::judge::rest::{self, Expected, Seen};
use crate::releases::Page;

/// From the end of the faults and of the last run until everything is at rest.
const REST_WITHIN: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);
/// Kinds that a look asks for.
const KINDS: [(&str, &str); 5] = [
    ("palier.dev/v1alpha1", "Rollout"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Service"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
];

/// Every Rollout with its objects, by name.
pub type Sights = BTreeMap<String, Seen>;

/// Looks at both fleets.
pub async fn look(soak: &Soak) -> Result<Sights> {
    let mut seen = Sights::new();
    for namespace in [STEADY, SHAKEN] {
        for (version, kind) in KINDS {
            let api = soak.lab.api(version, kind, namespace).await?;
            let listed = api.list(&ListParams::default()).await;
            for object in listed.with_context(|| format!("no {kind}s"))?.items {
                sort_in(&mut seen, kind, &object)?;
            }
        }
    }
    Ok(seen)
}

fn sort_in(seen: &mut Sights, kind: &str, object: &DynamicObject) -> Result<()> {
    let name = object.name_any();
    let owner = name.split('-').next().unwrap_or_default().to_owned();
    let value = serde_json::to_value(object)?;
    match kind {
        "Rollout" => seen.entry(owner).or_default().rollout = value,
        // Of others in the namespace nobody speaks.
        _ if !seen.contains_key(&owner) => {}
        "Deployment" => seen.entry(owner).or_default().deployment = value,
        "ReplicaSet" => seen.entry(owner).or_default().sets.push(value),
        "Service" if name.ends_with(CANARY_SUFFIX) => {
            seen.entry(owner).or_default().has_canary_service = true;
        }
        "Service" => seen.entry(owner).or_default().service = value,
        _ => seen.entry(owner).or_default().route = value,
    }
    Ok(())
}

/// What each Rollout has to be like, from how it was found and what was done with it.
fn expected(found: &Seen, page: &Page) -> Expected {
    Expected {
        pushed: image(page.pushed),
        serves: image(page.serves),
        outcome: page.outcome.clone(),
        selector: found.service["spec"]["selector"].clone(),
        rules: found.route["spec"]["rules"].clone(),
    }
}

/// Waits until every Rollout is at rest; gives those that are not after [`REST_WITHIN`], with what is wrong about each.
pub async fn until_at_rest(
    soak: &Soak,
    found: &Sights,
    pages: &BTreeMap<String, Page>,
) -> Result<Vec<String>> {
    let deadline = Instant::now() + REST_WITHIN;
    loop {
        let seen = look(soak).await?;
        let wrong: Vec<String> = found
            .iter()
            .filter_map(|(name, before)| {
                let page = pages.get(name).cloned().unwrap_or_default();
                let now = seen.get(name).cloned().unwrap_or_default();
                let wrong = rest::wrong(&expected(before, &page), &now);
                (!wrong.is_empty()).then(|| format!("{name}: {}\n{}", wrong.join("; "), status_of(&now)))
            })
            .collect();
        if wrong.is_empty() || Instant::now() >= deadline {
            return Ok(wrong);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

fn status_of(seen: &Seen) -> Value {
    let status = &seen.rollout["status"];
    json!({"state": status["state"], "message": status["message"], "run": status["run"], "components": status["components"]})
}
