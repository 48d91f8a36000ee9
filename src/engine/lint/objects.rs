//! The objects that a Rollout names, as far as they are in the files.

use serde_json::Value;

use crate::api::{Component, DegradedMode, Span, Switch};
use crate::engine::query::pods_pattern;

use super::Desk;
use super::catalog::{
    MOVING_TAG, NO_TIME_TO_START, OTHER_NAMESPACE, RECREATE, RUNNING_CRON_JOB, SAME_POD_NAMES,
    SOURCE_NOT_FOR_US, SWITCH_WITHOUT_PLACE, TWO_ROLLOUTS, UNKNOWN_NAME,
};
use super::queries::{asked, names};
use super::scene::{Found, Scene, Subject, gates, meant};

pub fn check(scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    for (index, component) in subject.rollout.spec.components.iter().enumerate() {
        let field = format!("spec.components[{index}].workloadRef.name");
        let name = component.workload_ref.name.as_str();
        shared(scene, subject, (name, &field), desk);
        pod_names(subject, component, &field, desk);
        if let Some(found) = named(scene, subject, ("apps", "Deployment"), (name, &field), desk) {
            deployment(subject, found, desk);
        }
    }
    for (index, hook) in subject.rollout.spec.hooks.iter().enumerate() {
        let field = format!("spec.hooks[{index}].cronJobRef.name");
        let found = named(scene, subject, ("batch", "CronJob"), (&hook.cron_job_ref.name, &field), desk);
        if let Some(found) = found.filter(|it| it.object.pointer("/spec/suspend") != Some(&Value::Bool(true)))
        {
            let message = format!(
                "the CronJob {} of the hook {} is not suspended: its schedule runs it too",
                found.name, hook.name
            );
            desk.at(found.index).say(
                &RUNNING_CRON_JOB,
                "spec.suspend",
                message,
                "Write suspend: true under spec.",
            );
        }
    }
    for (index, mode) in subject.rollout.spec.degraded_modes.iter().enumerate() {
        switches(scene, subject, (index, mode), desk);
    }
    sources(scene, subject, desk);
}

/// The object of this name; says when the name looks like a slip of another one's.
pub fn named<'a>(
    scene: &Scene<'a>,
    subject: &Subject,
    (group, kind): (&str, &str),
    (name, field): (&str, &str),
    desk: &mut Desk<'_>,
) -> Option<Found<'a>> {
    if let Some(found) = scene.find((group, kind), subject, name) {
        return Some(found);
    }
    let elsewhere = scene.of_kind(group, kind).find(|it| it.name == name);
    if let Some(found) = elsewhere {
        let there = scene.namespace_of(found.object).unwrap_or_default().to_owned();
        let message = format!(
            "the {kind} {name} is in namespace {there}, and the Rollout in {}",
            subject.namespace_or_default()
        );
        desk.say(
            &OTHER_NAMESPACE,
            field,
            message,
            "A Rollout releases what is in its own namespace: put both into one.",
        );
        return None;
    }
    let in_files = |it: &Found<'_>| !scene.is_live(it.index) && scene.is_near(it.object, subject);
    let near: Vec<&str> = scene.of_kind(group, kind).filter(in_files).map(|it| it.name).collect();
    if let Some(near) = meant(name, near.iter().copied()) {
        let message = format!("there is no {kind} {name} in these files, but there is {near}");
        desk.say(
            &UNKNOWN_NAME,
            field,
            message,
            format!("Write {near}, or leave it if {name} comes from elsewhere."),
        );
    }
    None
}

fn shared(scene: &Scene<'_>, subject: &Subject, (name, field): (&str, &str), desk: &mut Desk<'_>) {
    let other = scene.rollouts.iter().find(|it| {
        (it.object < subject.object || scene.is_live(it.object))
            && it.namespace == subject.namespace
            && it.rollout.metadata.name != subject.rollout.metadata.name
            && it.rollout.spec.components.iter().any(|it| it.workload_ref.name == name)
    });
    if let Some(other) = other {
        let by = other.rollout.metadata.name.clone().unwrap_or_default();
        let message = format!(
            "the Rollout {by} names the Deployment {name} already: a Deployment belongs to one Rollout"
        );
        desk.say(&TWO_ROLLOUTS, field, message, "Take the component out of one of them.");
    }
}

/// Long names are cut before the hash that tells revisions apart.
fn pod_names(subject: &Subject, component: &Component, field: &str, desk: &mut Desk<'_>) {
    let name = &component.workload_ref.name;
    // Two hashes as the Deployment controller makes them: ten characters at most.
    let is_cut = pods_pattern(&format!("{name}-bcdfghjklm")) == pods_pattern(&format!("{name}-bcdfghjkln"));
    let asks = gates(&subject.rollout.spec).iter().any(|it| {
        it.judged.iter().any(|it| it.name == component.name)
            && asked(it)
                .iter()
                .any(|(_, text)| ["canary_pods", "stable_pods"].iter().any(|it| names(text, it)))
    });
    if is_cut && asks {
        desk.say(
            &SAME_POD_NAMES,
            field,
            format!("{name} is so long that the names of its pods are cut before the part that tells canary from stable"),
            "Use a Deployment name of at most 46 characters, or select by another label than pod.",
        );
    }
}

fn deployment(subject: &Subject, found: Found<'_>, desk: &mut Desk<'_>) {
    let (name, object) = (found.name, found.object);
    if object.pointer("/spec/strategy/type").and_then(Value::as_str) == Some("Recreate") {
        let message = format!("the Deployment {name} stops all of its pods before it starts new ones");
        desk.at(found.index).say(&RECREATE, "spec.strategy.type", message, "Write type: RollingUpdate.");
    }
    let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    for (index, container) in containers.into_iter().flatten().enumerate() {
        let Some(image) = container["image"].as_str().filter(|it| is_moving(it)) else { continue };
        let message = format!(
            "{image} is the same text for every version: a push changes no template, and nothing is released"
        );
        let field = format!("spec.template.spec.containers[{index}].image");
        desk.at(found.index).say(&MOVING_TAG, field, message, "Name a version or a digest.");
    }
    let seconds = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    let starts = containers.into_iter().flatten().map(|it| {
        let probe = &it["readinessProbe"];
        probe["initialDelaySeconds"].as_i64().unwrap_or_default()
    });
    let least = Span::seconds(seconds("/spec/minReadySeconds") + starts.max().unwrap_or_default());
    let deadline = subject.rollout.spec.progress_deadline;
    if least >= deadline {
        desk.say(
            &NO_TIME_TO_START,
            "spec.progressDeadline",
            format!("a pod of {name} is ready after {least} at the earliest, and canary pods have {deadline}: every run goes back"),
            format!("Make progressDeadline some minutes longer than {least}."),
        );
    }
}

fn is_moving(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    !image.contains('@') && (name.ends_with(":latest") || !name.contains(':'))
}

fn sources(scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    let known: Vec<Found<'_>> = scene.of_kind("palier.dev", "MetricSource").collect();
    for at in gates(&subject.rollout.spec) {
        let (name, field) = (at.gate.prometheus.source.as_str(), format!("{}.prometheus.source", at.field));
        match known.iter().find(|it| it.name == name) {
            Some(found) => {
                let allowed = found.object.pointer("/spec/namespaces").and_then(Value::as_array);
                let Some(namespace) = subject.namespace.as_deref() else { continue };
                let is_for = |it: &Value| it == "*" || it == namespace;
                if allowed.is_some_and(|it| !it.iter().any(is_for)) {
                    let message = format!("the MetricSource {name} is not for the namespace {namespace}");
                    desk.say(
                        &SOURCE_NOT_FOR_US,
                        field,
                        message,
                        "Add the namespace to spec.namespaces there.",
                    );
                }
            }
            None => {
                let in_files = known.iter().filter(|it| !scene.is_live(it.index));
                if let Some(near) = meant(name, in_files.map(|it| it.name)) {
                    let message =
                        format!("there is no MetricSource {name} in these files, but there is {near}");
                    desk.say(&UNKNOWN_NAME, field, message, format!("Write {near}."));
                }
            }
        }
    }
}

fn switches(scene: &Scene<'_>, subject: &Subject, (at, mode): (usize, &DegradedMode), desk: &mut Desk<'_>) {
    for (index, switch) in mode.switches.iter().enumerate() {
        let field = format!("spec.degradedModes[{at}].switches[{index}]");
        let of_map = format!("{field}.configMap");
        let Some(found) = named(scene, subject, ("", "ConfigMap"), (&switch.config_map, &of_map), desk)
        else {
            continue;
        };
        if let Some((field, message)) = missing_place(switch, found.object) {
            desk.say(
                &SWITCH_WITHOUT_PLACE,
                format!("spec.degradedModes[{at}].switches[{index}].{field}"),
                message,
                "A switch changes what is there: correct the place, or add it to the ConfigMap.",
            );
        }
    }
}

fn missing_place(switch: &Switch, map: &Value) -> Option<(&'static str, String)> {
    let Switch { config_map, key, pointer, .. } = switch;
    if map["immutable"] == Value::Bool(true) {
        return Some((
            "configMap",
            format!("the ConfigMap {config_map} is immutable: no switch in it can be set"),
        ));
    }
    let pointer = pointer.as_ref()?;
    let Some(text) = map["data"].get(key).and_then(Value::as_str) else {
        return Some(("key", format!("the ConfigMap {config_map} has no key {key} to point into")));
    };
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return Some(("key", format!("the key {key} of the ConfigMap {config_map} does not hold JSON")));
    };
    let missing = document.pointer(pointer).is_none();
    missing.then(|| {
        ("pointer", format!("{pointer} points at nothing in the key {key} of the ConfigMap {config_map}"))
    })
}
