//! `palier-rollout-author`, `palier-rollout-switches`, `palier-config-author`: whoever writes a Rollout must have the rights that
//! Palier uses on their word.

use serde_json::Value;

use super::{Authorizer, Right, denied, items, text};
use crate::apiserver::kinds::Kind;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::store::{Part, Review};

/// How many objects of a kind are looked up by name, as in the chart.
const NAMED: usize = 7;
/// The same for switches of degraded modes.
const SWITCHES: usize = 24;

/// Refuses a Rollout that names what its author may not touch.
///
/// # Errors
/// It does (403).
pub fn may(review: &Review<'_>, rollout: &Value, authorizer: &Authorizer) -> Result<(), Refusal> {
    let is_meant = review.key.kind == Kind::Rollout && review.part == Part::Main;
    if !is_meant || review.before.is_some_and(|before| before["spec"] == rollout["spec"]) {
        return Ok(());
    }
    let asking = Asking { review, authorizer };
    let spec = &rollout["spec"];
    let components = items(&spec["components"]);
    let named = |path: [&str; 2]| {
        let name = |component: &Value| Some(component.get(path[0])?.get(path[1])?.as_str()?.to_owned());
        components.iter().filter_map(name).collect::<Vec<_>>()
    };
    let author = "palier-rollout-author";
    asking.all(author, "patch", Kind::Deployment, &named(["workloadRef", "name"]), NAMED)?;
    asking.all(author, "patch", Kind::Service, &named(["traffic", "service"]), NAMED)?;
    for (kind, field) in [(Kind::HttpRoute, "httpRoutes"), (Kind::GrpcRoute, "grpcRoutes")] {
        let routes = components.iter().flat_map(|it| items(&it["traffic"]["gatewayAPI"][field]));
        let names: Vec<String> = routes.map(|route| text(route, "name").to_owned()).collect();
        asking.all(author, "patch", kind, &names, NAMED)?;
    }
    let jobs = Right { verb: "create", kind: Kind::Job, namespace: &review.key.namespace, name: "" };
    if !items(&spec["hooks"]).is_empty() && !authorizer(review.caller, jobs) {
        let why = format!(
            "user \"{}\" may not create Jobs, which the hooks of this Rollout do: ask for the verb \"create\" on jobs in the namespace \"{}\", or leave the hooks out",
            review.caller.user, review.key.namespace
        );
        return Err(denied(review, author, &why));
    }
    let switches = items(&spec["degradedModes"]).iter().flat_map(|mode| items(&mode["switches"]));
    let switches: Vec<String> = switches.map(|switch| text(switch, "configMap").to_owned()).collect();
    asking.all("palier-rollout-switches", "patch", Kind::ConfigMap, &switches, SWITCHES)?;
    asking.config(components)
}

struct Asking<'a> {
    review: &'a Review<'a>,
    authorizer: &'a Authorizer,
}

impl Asking<'_> {
    fn has(&self, verb: &str, kind: Kind, name: &str) -> bool {
        let right = Right { verb, kind, namespace: &self.review.key.namespace, name };
        (self.authorizer)(self.review.caller, right)
    }

    /// One question for the kind, then one for each name.
    fn all(
        &self,
        policy: &str,
        verb: &str,
        kind: Kind,
        names: &[String],
        most: usize,
    ) -> Result<(), Refusal> {
        if names.is_empty() || self.has(verb, kind, "") {
            return Ok(());
        }
        let what = kind.facts().name;
        if names.len() > most {
            let why = format!(
                "this Rollout names more than {most} {what}s, and you may not {verb} all of the namespace: ask for that right"
            );
            return Err(denied(self.review, policy, &why));
        }
        let Some(name) = names.iter().find(|name| !self.has(verb, kind, name)) else { return Ok(()) };
        let why = format!(
            "user \"{}\" may not {verb} the {what} \"{name}\" that this Rollout names: ask for the verb \"{verb}\" on it in the namespace \"{}\"",
            self.review.caller.user, self.review.key.namespace
        );
        Err(denied(self.review, policy, &why))
    }

    fn config(&self, components: &[Value]) -> Result<(), Refusal> {
        let policy = "palier-config-author";
        let is_from_template = components.iter().any(|it| it["config"]["fromTemplate"] == true);
        let may_read = self.has("get", Kind::ConfigMap, "") && self.has("get", Kind::Secret, "");
        if is_from_template && !may_read {
            let why = format!(
                "user \"{}\" may not read every ConfigMap and Secret of the namespace \"{}\", which config.fromTemplate needs: name them in config.configMaps and config.secrets, or ask for that right",
                self.review.caller.user, self.review.key.namespace
            );
            return Err(denied(self.review, policy, &why));
        }
        for (kind, field) in [(Kind::ConfigMap, "configMaps"), (Kind::Secret, "secrets")] {
            let names = components.iter().flat_map(|it| items(&it["config"][field]));
            let names: Vec<String> = names.filter_map(|it| it.as_str().map(str::to_owned)).collect();
            self.all(policy, "get", kind, &names, NAMED)?;
        }
        Ok(())
    }
}
