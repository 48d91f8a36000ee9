//! The release as a whole: dependencies, hooks, degraded modes, ways back.

use std::collections::BTreeSet;

use crate::api::{Hook, HookFailure, HookPoint, OnFailure, Retain, RolloutSpec, Switch};
use crate::engine::judges::{judges, steps};
use crate::engine::order::circle;
use crate::engine::switches::overlap;

use super::Desk;
use super::catalog::{
    BACKUP_MAY_FAIL, CIRCLE, MODE_TOO_SHORT, NO_WAY_BACK, NOTHING_JUDGES, NOWHERE_TO_STEP,
    RESTORE_WITHOUT_BACKUP, SWITCH_TWICE, UNKNOWN_PART, UNUSED_MODE,
};
use super::scene::{Scene, Subject, gates, meant};

pub fn check(_scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    let spec = &subject.rollout.spec;
    if let Some(circle) = circle(spec) {
        let at = spec.components.iter().position(|it| it.name == circle[0]).unwrap_or_default();
        let message = format!("each waits for the next, {}: none ever starts", circle.join(" → "));
        desk.say(
            &CIRCLE,
            format!("spec.components[{at}].dependsOn"),
            message,
            "Take one of these dependencies out.",
        );
    }
    judged(spec, desk);
    step_backs(spec, desk);
    hooks(spec, desk);
    modes(spec, desk);
}

fn judged(spec: &RolloutSpec, desk: &mut Desk<'_>) {
    for (index, component) in spec.components.iter().enumerate() {
        let judges = judges(spec, &component.name);
        if judges.iter().all(|it| matches!(it.asks, OnFailure::Notify)) {
            let message = if judges.is_empty() {
                format!("no gate judges {}: every phase is earned by time alone", component.name)
            } else {
                format!(
                    "every gate of {} only notifies: nothing that it sees stops the release",
                    component.name
                )
            };
            desk.say(
                &NOTHING_JUDGES,
                format!("spec.components[{index}]"),
                message,
                "Add a gate under spec.gates, or let one ask for Hold, StepBack or a rollback.",
            );
        }
    }
    if spec.retain == Retain::UntilBaked && spec.components.len() > 1 {
        let full = gates(spec).into_iter().find(|it| it.gate.on_failure == Some(OnFailure::FullRollback));
        if let Some(at) = full {
            desk.say(
                &NO_WAY_BACK,
                format!("{}.onFailure", at.field),
                "with retain: UntilBaked a component that has baked cannot go back any more: a full rollback is not full".to_owned(),
                "Write retain: UntilRunEnds, or onFailure: PartialRollback.",
            );
        }
    }
}

fn step_backs(spec: &RolloutSpec, desk: &mut Desk<'_>) {
    for at in gates(spec).iter().filter(|it| it.gate.on_failure == Some(OnFailure::StepBack)) {
        let single = at.judged.iter().find(|it| steps(spec, &it.name).len() < 2);
        let message = match single {
            Some(component) => format!("{} has one phase: there is none to step back to", component.name),
            None if spec.max_step_backs == 0 => {
                "maxStepBacks is 0: the first failure takes the component back for good".to_owned()
            }
            None => continue,
        };
        desk.say(
            &NOWHERE_TO_STEP,
            format!("{}.onFailure", at.field),
            message,
            "Write PartialRollback, which is what happens, or give it a phase or a step to go back.",
        );
    }
}

fn hooks(spec: &RolloutSpec, desk: &mut Desk<'_>) {
    let phases: BTreeSet<&str> = spec.phases.iter().map(|it| it.name.as_str()).collect();
    let components: BTreeSet<&str> = spec.components.iter().map(|it| it.name.as_str()).collect();
    for (index, hook) in spec.hooks.iter().enumerate() {
        let lists = [
            ("phases", "phase", &hook.phases, &phases),
            ("components", "component", &hook.components, &components),
        ];
        for (field, what, named, known) in lists {
            let unknown = named.iter().enumerate().find(|(_, it)| !known.contains(it.as_str()));
            let Some((at, name)) = unknown else { continue };
            let fix = match meant(name, known.iter().copied()) {
                Some(near) => format!("Write {near}."),
                None => format!("Known are {}.", known.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("there is no {what} {name}: the hook {} never runs for it", hook.name);
            desk.say(&UNKNOWN_PART, format!("spec.hooks[{index}].{field}[{at}]"), message, fix);
        }
        backups(spec, (index, hook), desk);
    }
}

fn backups(spec: &RolloutSpec, (index, hook): (usize, &Hook), desk: &mut Desk<'_>) {
    let field = format!("spec.hooks[{index}]");
    let restores = |hook: &Hook| {
        hook.at == HookPoint::OnFullRollback
            && [&hook.name, &hook.cron_job_ref.name].iter().any(|it| it.contains("restore"))
    };
    if restores(hook) && !spec.hooks.iter().any(|it| it.backup) {
        desk.say(
            &RESTORE_WITHOUT_BACKUP,
            format!("{field}.at"),
            format!("the hook {} restores after a full rollback, and no hook says that it makes the backup: PALIER_BACKUP is empty", hook.name),
            "Add a hook at: BeforeRun with backup: true.",
        );
    }
    if hook.backup && hook.on_failure == HookFailure::Continue {
        let message = format!(
            "when the backup {} fails the release goes on: a rollback has nothing to restore",
            hook.name
        );
        desk.say(&BACKUP_MAY_FAIL, format!("{field}.onFailure"), message, "Write onFailure: Abort.");
    }
}

fn modes(spec: &RolloutSpec, desk: &mut Desk<'_>) {
    let mut places: Vec<(String, &Switch)> = Vec::new();
    for (index, mode) in spec.degraded_modes.iter().enumerate() {
        let field = format!("spec.degradedModes[{index}]");
        if !gates(spec).iter().any(|it| it.gate.degraded_mode.as_deref() == Some(&mode.name)) {
            let message = format!("no gate asks for the degraded mode {}", mode.name);
            let fix = "Write onFailure: DegradedMode and degradedMode in a gate, or take the mode out.";
            desk.say(&UNUSED_MODE, format!("{field}.name"), message, fix);
        }
        if mode.recover_after >= mode.deadline {
            let message = format!(
                "gates must pass for {} before the switches are set back, and the mode ends after {}: it can never recover",
                mode.recover_after, mode.deadline
            );
            desk.say(
                &MODE_TOO_SHORT,
                format!("{field}.deadline"),
                message,
                "Make deadline longer than recoverAfter.",
            );
        }
        for (at, switch) in mode.switches.iter().enumerate() {
            let field = format!("{field}.switches[{at}]");
            if let Some((other, _)) = places.iter().find(|(_, other)| overlap(other, switch)) {
                let message = format!("{} sets the same place already", other.trim_start_matches("spec."));
                desk.say(
                    &SWITCH_TWICE,
                    field.clone(),
                    message,
                    "A place belongs to one switch: take one out.",
                );
            }
            if switch.json.as_deref().is_some_and(|it| serde_json::from_str::<serde_json::Value>(it).is_err())
            {
                let message = format!("{} is not JSON", switch.json.as_deref().unwrap_or_default());
                desk.say(
                    &SWITCH_TWICE,
                    format!("{field}.json"),
                    message,
                    "Write a JSON value as a text, such as '\"off\"' or 'false'.",
                );
            }
            places.push((field, switch));
        }
    }
}
