//! Configuration as a part of a revision: which objects, which versions of them, and whether they are another.
//!
//! A revision names copies of the objects, `configMap/<name>=<copy>`; a copy is named after what it holds. Values are never
//! seen here.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::{Component, ComponentStatus, Revision};

use super::revision::hash;
use super::turn::Part;
use super::world::{ConfigKind, Content, DeploymentSeen};

/// Longest name of an object that can be copied: the copy's name has eleven characters more, of 253.
const NAME_MAX: usize = 242;

/// The objects that hold the configuration of a component.
#[must_use]
pub fn sources(component: &Component, deployment: &DeploymentSeen) -> BTreeSet<(ConfigKind, String)> {
    let Some(config) = &component.config else { return BTreeSet::new() };
    let maps = config.config_maps.iter().map(|name| (ConfigKind::ConfigMap, name.clone()));
    let secrets = config.secrets.iter().map(|name| (ConfigKind::Secret, name.clone()));
    let refs = deployment.config_refs.iter().filter(|(_, name)| config.from_template && !name.is_empty());
    maps.chain(secrets).chain(refs.cloned()).collect()
}

/// Name of the copy of an object that holds `content`: its data in JSON.
///
/// The hash in it depends on the Rollout, so that equal contents of two places cannot be told from equal names.
#[must_use]
pub fn copy_name(
    rollout_uid: &str,
    component: &str,
    kind: ConfigKind,
    name: &str,
    content: &Value,
) -> String {
    format!("{name}-{}", hash(&[rollout_uid, component, kind.as_str(), name, &content.to_string()]))
}

/// Name of the ConfigMap that tells the admission policy which pods of a Deployment get which copies.
#[must_use]
pub fn map_name(workload: &str) -> String {
    format!("palier-config-{workload}")
}

/// The value that pods with this configuration carry as a label.
#[must_use]
pub fn label_of(config: &[String]) -> String {
    hash(&config.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One line of a revision's configuration: the object's key and the name of the copy.
pub(super) fn split(line: &str) -> (&str, &str) {
    line.split_once('=').unwrap_or((line, ""))
}

/// The key of an object, `configMap/<name>` or `secret/<name>`, in parts.
pub(super) fn parse(key: &str) -> Option<(ConfigKind, &str)> {
    let (word, name) = key.split_once('/')?;
    let kind = [ConfigKind::ConfigMap, ConfigKind::Secret].into_iter().find(|kind| kind.word() == word)?;
    Some((kind, name))
}

/// The configuration that a canary started now would get; `None` while it is not known.
pub(super) fn wanted(part: &Part<'_>) -> Option<Vec<String>> {
    let Some(spec) = part.spec.filter(|spec| spec.config.is_some()) else { return Some(Vec::new()) };
    let (seen, deployment) = (part.seen.config.found()?, part.seen.deployment.found()?);
    let mut lines = Vec::new();
    for (kind, name) in sources(spec, deployment) {
        if name.len() > NAME_MAX {
            return None;
        }
        match seen.sources.get(&(kind, name.clone()))? {
            Content::Copy(copy) => lines.push(format!("{}/{name}={copy}", kind.word())),
            Content::Missing if !is_named(spec, kind, &name) => {}
            Content::Missing | Content::Refused(_) => return None,
        }
    }
    Some(lines)
}

/// Whether the spec names the object itself. What only the template refers to may be optional there.
fn is_named(component: &Component, kind: ConfigKind, name: &str) -> bool {
    component.config.as_ref().is_some_and(|config| match kind {
        ConfigKind::ConfigMap => config.config_maps.iter().any(|it| it == name),
        ConfigKind::Secret => config.secrets.iter().any(|it| it == name),
    })
}

/// Whether the objects were looked at, whatever was found.
pub(super) fn is_known(part: &Part<'_>) -> bool {
    part.seen.config.is_missing() || wanted(part).is_some() || problem(part).is_some()
}

/// What is wrong with the objects, for people.
pub(super) fn problem(part: &Part<'_>) -> Option<String> {
    let spec = part.spec.filter(|spec| spec.config.is_some())?;
    let seen = part.seen.config.found()?;
    let field = |kind: ConfigKind| match kind {
        ConfigKind::ConfigMap => "configMaps",
        ConfigKind::Secret => "secrets",
    };
    let place = format!("spec.components[{}].config", part.name);
    seen.sources.iter().find_map(|((kind, name), content)| match content {
        _ if name.len() > NAME_MAX => Some(format!(
            "{place}: the name of the {} {name} is too long to be copied: {NAME_MAX} characters at most",
            kind.as_str()
        )),
        Content::Refused(why) => Some(format!("{place}: the {} {name} {why}", kind.as_str())),
        Content::Missing if is_named(spec, *kind, name) => Some(format!(
            "{place}.{}: there is no {} {name} in this namespace: create it or correct the name",
            field(*kind),
            kind.as_str()
        )),
        Content::Missing | Content::Copy(_) => None,
    })
}

/// Whether what both speak of is the same. An object that only one of them speaks of is no difference: it was released
/// under the eyes of nobody, or comes under them now.
fn is_same(wanted: &[String], config: &[String]) -> bool {
    wanted.iter().all(|line| {
        let key = split(line).0;
        config.iter().find(|other| split(other).0 == key).is_none_or(|other| other == line)
    })
}

/// Whether the Deployment's template and the objects of now are this revision's. Objects that are not known are taken
/// for it.
pub(super) fn holds(part: &Part<'_>, deployment: &DeploymentSeen, revision: &Revision) -> bool {
    deployment.revision == revision.revision
        && wanted(part).is_none_or(|wanted| is_same(&wanted, &revision.config))
}

/// What tells a revision from others: its template's hash, and with configuration a hash of both.
pub(super) fn identity(revision: &Revision) -> String {
    if revision.config.is_empty() {
        return revision.revision.clone();
    }
    hash(&[&revision.revision, &label_of(&revision.config)])
}

/// Whether what the Deployment and the objects hold now was rolled back, and nobody asked to try it again.
pub(super) fn is_rejected(component: &ComponentStatus, part: &Part<'_>, deployment: &DeploymentSeen) -> bool {
    let Some(rejected) = &component.rejected else { return false };
    match component.canary.as_ref().filter(|canary| identity(canary) == *rejected) {
        Some(canary) => holds(part, deployment, canary),
        None => *rejected == deployment.revision,
    }
}

/// Whether the canary differs from stable in its configuration alone.
pub(super) fn is_config_only(component: &ComponentStatus) -> bool {
    let (Some(stable), Some(canary)) = (&component.stable, &component.canary) else { return false };
    stable.revision == canary.revision
}

/// `config` brought to the objects that `wanted` speaks of: lines that it has stay as they are.
pub(super) fn aligned(config: &[String], wanted: &[String]) -> Vec<String> {
    let known = |line: &String| config.iter().find(|other| split(other).0 == split(line).0);
    wanted.iter().map(|line| known(line).unwrap_or(line).clone()).collect()
}

/// What changed between two revisions, for people; nothing if it is the template.
pub(super) fn changes(stable: &Revision, canary: &Revision) -> Vec<String> {
    let is_other = |line: &&String| !stable.config.contains(line);
    let keys = canary.config.iter().filter(is_other).map(|line| split(line).0);
    let words = keys.filter_map(|key| {
        let (kind, name) = parse(key)?;
        Some(format!("{} {name}", kind.as_str()))
    });
    words.collect()
}

/// Whether a pod that reads the objects themselves gets what `stable` has, or is meant to read them.
pub(super) fn is_served_by_objects(part: &Part<'_>, stable: &Revision) -> bool {
    wanted(part).is_some_and(|wanted| is_same(&wanted, &stable.config))
}
