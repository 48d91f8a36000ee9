//! Hooks keep their order: no canary before the backup, no restore before everybody is back, never two Jobs of one hook at once.

use palier::apiserver::{Kind, Verb};
use serde_json::Value;

use super::{Broken, Look, Monitor, broke};

/// The order of Jobs, canaries and weights.
pub struct Order;

impl Monitor for Order {
    fn look(&mut self, look: &Look<'_>, broken: &mut Vec<Broken>) {
        let change = look.change;
        if !look.is_ours || change.verb != Verb::Create {
            return;
        }
        let label = |name: &str| change.after["metadata"]["labels"][name].as_str().unwrap_or_default();
        let namespace = &change.key.namespace;
        let Some(rollout) = look.scene.get(Kind::Rollout, namespace, label("palier.dev/rollout")) else {
            return;
        };
        let hooks = rollout["spec"]["hooks"].as_array().cloned().unwrap_or_default();
        match change.key.kind {
            Kind::ReplicaSet => {
                for hook in
                    hooks.iter().filter(|hook| hook["at"] == "BeforeRun" && hook["onFailure"] == "Abort")
                {
                    if !jobs_of(look, hook).any(|job| is(job, "Complete")) {
                        let what = format!("{} is made before {} has succeeded", change.key, hook["name"]);
                        broken.push(broke(look, "P10 (hooks)", what));
                    }
                }
            }
            Kind::Job => {
                let name = change.key.name.as_str();
                let Some(hook) = hooks.iter().find(|hook| is_of(name, hook)) else { return };
                let others = jobs_of(look, hook).filter(|job| job["metadata"]["name"] != name);
                let on = others.filter(|job| !is(job, "Complete") && !is(job, "Failed"));
                if on.filter(|job| job["metadata"]["deletionTimestamp"].is_null()).count() > 0 {
                    broken.push(broke(
                        look,
                        "P14 (hooks)",
                        format!("{name} is made while another one is on"),
                    ));
                }
                if hook["at"] == "OnFullRollback" {
                    let parts = look.scene.parts();
                    let sent = parts.iter().filter(|part| look.scene.weight(part).is_some_and(|it| it > 0));
                    let sent: Vec<&str> = sent.map(|part| part.component.as_str()).collect();
                    if !sent.is_empty() {
                        let what = format!("{name} is made while some are sent to canaries of {sent:?}");
                        broken.push(broke(look, "P10 (hooks)", what));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether a Job's name, `<rollout>-<run>-<hook>-…`, is of this hook.
fn is_of(name: &str, hook: &Value) -> bool {
    hook["name"].as_str().is_some_and(|hook| name.contains(&format!("-{hook}-")))
}

fn jobs_of<'l>(look: &'l Look<'_>, hook: &'l Value) -> impl Iterator<Item = &'l Value> {
    let all = look.scene.list(Kind::Job, &look.change.key.namespace);
    all.filter(|job| job["metadata"]["name"].as_str().is_some_and(|name| is_of(name, hook)))
}

fn is(job: &Value, condition: &str) -> bool {
    let conditions = job["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|it| it["type"] == condition && it["status"] == "True")
}
