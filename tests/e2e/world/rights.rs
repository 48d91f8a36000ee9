//! Rights that are taken away one by one, and what the API server says of whoever misses them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::lab::Lab;

/// A life that is stuck was refused something: the audit log tells it soon.
const WORD: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(400);

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Right {
    /// API group, empty for the core.
    pub group: String,
    /// Resource, with its subresource.
    pub resource: String,
    /// Verb.
    pub verb: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} {}.{}", self.verb, self.resource, self.group)
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Every right that a Role or ClusterRole gives.
pub fn rights_of(role: &Value) -> Vec<Right> {
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.push(Right { group: group.clone(), resource: resource.clone(), verb });
                }
            }
        }
    }
    rights
}

/// The Role's rules without one right: one rule for each resource.
pub fn rules_without(role: &Value, missing: Option<&Right>) -> Vec<Value> {
    let mut rules = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let is_left = |verb: &String| {
                    missing
                        != Some(&Right {
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                        })
                };
                let verbs: Vec<String> = texts(&rule["verbs"]).into_iter().filter(is_left).collect();
                if verbs.is_empty() {
                    continue;
                }
                let mut kept = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
                if let Some(names) = rule.get("resourceNames") {
                    kept["resourceNames"] = names.clone();
                }
                rules.push(kept);
            }
        }
    }
    rules
}

/// Which requests were refused: user, namespace, right.
#[derive(Clone, Default)]
pub struct Refusals(Arc<Mutex<HashSet<(String, String, Right)>>>);

/// Whose life is judged, and where. What is refused in a namespace that is being deleted is no want of rights.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The user.
    pub user: &'a str,
    /// The namespace of the life.
    pub namespace: &'a str,
}

impl Refusals {
    /// Reads the audit log for refusals from now on, until it is ended.
    pub fn follow(&self, lab: &Lab) -> JoinHandle<()> {
        let (audit, refused) = (lab.audit(), self.0.clone());
        // A line may be half written at a mark: each piece is read twice.
        let (mut older, mut newer) = (audit.mark(), audit.mark());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(POLL).await;
                let (log, from) = (audit.clone(), older);
                older = newer;
                newer = audit.mark();
                let read = tokio::task::spawn_blocking(move || log.since(&from)).await;
                let Ok(Ok(entries)) = read else { continue };
                let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.extend(entries.forbidden().0.into_iter().map(|entry| {
                    let right = Right { group: entry.group, resource: entry.resource, verb: entry.verb };
                    (entry.user, entry.namespace, right)
                }));
            }
        })
    }

    /// What was refused there, in the lab as a whole, or in the place of the Lease.
    fn of(&self, who: Who<'_>) -> Vec<Right> {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_its = |user: &str, namespace: &str| {
            user == who.user && ["", who.namespace, super::install::HOME].contains(&namespace)
        };
        refused
            .iter()
            .filter(|(user, place, _)| is_its(user, place))
            .map(|(.., right)| right.clone())
            .collect()
    }

    /// A life of a user without one right is well when exactly that right was missed; with all rights, when it comes to its end
    /// and none was. `beside` goes on meanwhile, for ever.
    pub async fn judge(
        &self,
        who: Who<'_>,
        missing: Option<&Right>,
        life: impl Future<Output = Result<()>>,
        beside: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let is_missed = async || {
            while !missing.is_some_and(|right| self.of(who).contains(right)) {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            () = is_missed() => Ok(()),
            lived = life => match (lived, missing) {
                (lived, None) => lived,
                (lived, Some(_)) => {
                    let late = tokio::time::timeout(WORD, is_missed()).await;
                    let end = lived.map_or_else(|error| format!("{error:#}"), |()| "it came to its end".to_owned());
                    late.with_context(|| format!("it was never missed: {end}"))
                }
            },
            never = beside => never,
        }?;
        let others: Vec<Right> = self.of(who).into_iter().filter(|right| Some(right) != missing).collect();
        ensure!(others.is_empty(), "the chart does not give {others:?}");
        Ok(())
    }
}

/// Notes how many rights are needed, and fails unless all are.
pub fn all_are_needed(
    scene: &super::Scene,
    what: &str,
    rights: usize,
    outcomes: Vec<Result<()>>,
) -> Result<()> {
    let wrong: Vec<String> =
        outcomes.iter().filter_map(|one| one.as_ref().err()).map(|error| format!("{error:#}")).collect();
    let missed = format!("{} of {rights}", rights - wrong.len().min(rights));
    scene.measured(&format!("{what} that are needed"), &missed, "all");
    ensure!(wrong.is_empty(), "{} rights:\n  {}", wrong.len(), wrong.join("\n  "));
    Ok(())
}
