//! The admission policies of the chart, as functions: each does what the policy of its name does.
//!
//! | policy | here |
//! |---|---|
//! | `palier-intercept` | [`intercept`] |
//! | `palier-action-author` | [`actions`] |
//! | `palier-status-writer` | [`status`] |
//! | `palier-config`, `palier-config-writer` | [`config`] |
//! | `palier-rollout-author`, `palier-rollout-switches`, `palier-config-author` | [`authors`] |

pub mod actions;
pub mod authors;
pub mod config;
pub mod intercept;
pub mod status;

use std::sync::Arc;

use serde_json::Value;

use super::kinds::Kind;
use super::refusal::Refusal;
use super::store::{Caller, Policy, Review, Store};

/// A right that somebody may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right<'a> {
    /// The verb.
    pub verb: &'a str,
    /// On which kind.
    pub kind: Kind,
    /// In which namespace.
    pub namespace: &'a str,
    /// On which object; empty for all of them.
    pub name: &'a str,
}

/// Says who has which right: what RBAC is in a cluster.
pub type Authorizer = Arc<dyn Fn(&Caller, Right<'_>) -> bool + Send + Sync>;

/// The chart as it is installed.
#[derive(Clone)]
pub struct Chart {
    /// User name of the controller.
    pub controller: String,
    /// Who has which right.
    pub authorizer: Authorizer,
    /// Whether the API server takes policies that change objects (1.36 or newer).
    pub mutating: bool,
}

impl Chart {
    /// The chart for a controller of this user name, where everybody may do everything.
    #[must_use]
    pub fn of(controller: &str) -> Self {
        Self { controller: controller.to_owned(), authorizer: Arc::new(|_, _| true), mutating: true }
    }

    /// The same store with the policies of the chart.
    #[must_use]
    pub fn install(&self, store: Store) -> Store {
        let mut changing: Vec<Policy> = Vec::new();
        if self.mutating {
            changing.push(Arc::new(intercept::pause));
            changing.push(Arc::new(actions::stamp));
            changing.push(Arc::new(config::give_copies));
        }
        let user = self.controller.clone();
        let status: Policy = Arc::new(move |review, _| status::only_the_controller(review, &user));
        let user = self.controller.clone();
        let maps: Policy = Arc::new(move |review, map| config::only_the_controller(review, map, &user));
        let authorizer = self.authorizer.clone();
        let words: Policy = Arc::new(move |review, action| actions::own_word(review, action, &authorizer));
        let authorizer = self.authorizer.clone();
        let authors: Policy = Arc::new(move |review, rollout| authors::may(review, rollout, &authorizer));
        store.with_policies(changing, vec![words, status, maps, authors])
    }
}

/// The refusal of a policy.
fn denied(review: &Review<'_>, policy: &str, why: &str) -> Refusal {
    let why = format!(
        "{} is forbidden: ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {why}",
        review.key
    );
    Refusal::forbidden(why).about(review.key)
}

/// The items of a list, none if it is absent.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn has_label(object: &Value, label: &str) -> bool {
    object["metadata"]["labels"].get(label).is_some()
}

/// What policies look at: the object before and after.
fn any(review: &Review<'_>, after: &Value, test: impl Fn(&Value) -> bool) -> bool {
    test(after) || review.before.is_some_and(test)
}

#[cfg(test)]
mod tests;
