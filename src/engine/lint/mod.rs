//! Lint: what is wrong with manifests before anybody applies them.
//!
//! ```text
//! files ─► objects (edge) ─► schema, promises ─► typed Rollouts ─► themes: queries, limits, times, traffic, … ─► findings
//! ```
//!
//! Pure: functions from objects as they are written, and what a user says about traffic, to findings. The API server refuses what
//! the definitions can say (`schema`, `promises`); the other themes hold what only a look at the whole can say.

pub mod answers;
pub mod catalog;
mod counters;
mod limits;
mod objects;
pub(crate) mod promises;
pub(in crate::engine) mod promql;
mod queries;
mod release;
mod routes;
mod scene;
pub(crate) mod schema;
mod templates;
mod times;
mod traffic;
mod wanted;

use serde_json::Value;

pub use catalog::{ALL, Check, Severity};
pub use promises::knows as knows_rule;
pub use wanted::{Around, Kind, Wanted, around, named_objects, not_in_the_cluster};

use crate::api::Span;
use crate::engine::learn::Habits;

/// What is known besides the manifests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Namespace of objects that name none; without it they fit every namespace.
    pub namespace: Option<String>,
    /// Requests a second of each component, of both versions together.
    pub per_second: Option<f64>,
    /// The share of requests that fail today, above 0 and below 1.
    pub bad: Option<f64>,
    /// Time between two samples of a series.
    pub scrape: Option<Span>,
    /// The chance that one evaluation of a healthy release fails by a fixed limit.
    pub false_check: Option<f64>,
    /// How many of the objects, the last ones, are what the cluster has: the others are held against them, and they are not
    /// looked at for their own sake.
    pub live: usize,
    /// What the metric server says of the traffic that gates count. It is known better than what a user says.
    pub measured: Vec<Measured>,
}

/// The traffic of one component, as one gate counts it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Index of the Rollout.
    pub object: usize,
    /// The gate's field.
    pub field: String,
    /// The component.
    pub component: String,
    /// What was measured.
    pub habits: Habits,
}

/// Something to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Index of the object.
    pub object: usize,
    /// Where in it, such as `spec.gates[0].window`; empty for the whole object. It may not be there: then it is missing.
    pub field: String,
    /// What was looked for.
    pub check: &'static Check,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub fix: String,
}

/// Collects findings about one object.
pub(crate) struct Desk<'f> {
    object: usize,
    found: &'f mut Vec<Finding>,
}

impl Desk<'_> {
    /// The same for findings about another object.
    fn at(&mut self, object: usize) -> Desk<'_> {
        Desk { object, found: self.found }
    }

    fn say(
        &mut self,
        check: &'static Check,
        field: impl Into<String>,
        message: String,
        fix: impl Into<String>,
    ) {
        let (object, field, fix) = (self.object, field.into(), fix.into());
        self.found.push(Finding { object, field, check, message, fix });
    }
}

/// All findings, in the order of the objects and, within one, of the checks.
#[must_use]
pub fn lint(objects: &[Value], given: &Given) -> Vec<Finding> {
    let mut found = Vec::new();
    for (object, value) in objects.iter().enumerate().take(objects.len().saturating_sub(given.live)) {
        schema::check(value, &mut Desk { object, found: &mut found });
    }
    let scene = scene::Scene::new(objects, given);
    scene::check_twice(&scene, &mut found);
    templates::check(&scene, &mut found);
    for subject in scene.rollouts.iter().filter(|it| !scene.is_live(it.object)) {
        let first = found.len();
        let desk = &mut Desk { object: subject.object, found: &mut found };
        queries::check(&scene, subject, desk);
        counters::check(&scene, subject, desk);
        limits::check(&scene, subject, desk);
        times::check(&scene, subject, desk);
        traffic::check(&scene, subject, desk);
        objects::check(&scene, subject, desk);
        routes::check(&scene, subject, desk);
        release::check(&scene, subject, desk);
        templates::send_home(subject, &mut found[first..]);
    }
    drop_consequences(&mut found);
    found.sort_by(|a, b| (a.object, a.check.code).cmp(&(b.object, b.check.code)));
    found
}

/// A field that is not well formed has one finding: what would follow from its value is left out.
fn drop_consequences(found: &mut Vec<Finding>) {
    let is_form = |it: &Finding| ("PAL004".."PAL009").contains(&it.check.code);
    let broken: Vec<(usize, String)> = found
        .iter()
        .filter(|it| is_form(it) && !it.field.is_empty())
        .map(|it| (it.object, it.field.clone()))
        .collect();
    found.retain(|it| {
        let follows = |field: &String| {
            it.field
                .strip_prefix(field.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        is_form(it) || !broken.iter().any(|(object, field)| *object == it.object && follows(field))
    });
}

/// How many gates count requests, for which traffic would say more.
#[must_use]
pub fn counting_gates(objects: &[Value]) -> usize {
    let given = Given::default();
    let scene = scene::Scene::new(objects, &given);
    let gates = scene.rollouts.iter().flat_map(|it| scene::gates(&it.rollout.spec));
    gates.filter(|it| traffic::is_compared(it.gate)).count()
}
