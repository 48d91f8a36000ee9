//! Traffic: what a phase can find out, pods that a share needs, stable to compare with.

use crate::api::{BucketsRule, Component, CountersRule, Gate, OnInconclusive, Rule, Span};
use crate::engine::Weight;
use crate::engine::judges::steps;
use crate::engine::learn::Habits;
use crate::engine::scaling::{canary_size, canary_size_by_pods, share_of_pods};
use crate::engine::statistics::planner::{Outlook, Traffic, outlook};

use super::catalog::{
    BLIND_PHASE, COARSE_SHARE, LOOSE_ALPHA, NO_ROOM, NOBODY_TO_COMPARE, UNPROVEN_PROMOTION,
};
use super::scene::{GateAt, Scene, Subject, gates};
use super::{Desk, Given, Measured};

/// The power that a phase should have.
const POWER: f64 = 0.8;
/// The smallest tolerance that is learned from history.
const RHO0: f64 = 1.05;

/// Whether a gate compares with stable since the run began.
pub fn is_compared(gate: &Gate) -> bool {
    match gate.rule() {
        Some(Rule::Counters { by, .. }) => matches!(by, CountersRule::Sequential(_)),
        Some(Rule::Buckets { by, .. }) => matches!(by, BucketsRule::Sequential(_)),
        _ => false,
    }
}

pub fn check(scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    let spec = &subject.rollout.spec;
    for at in gates(spec).iter().filter(|it| is_compared(it.gate)) {
        alone(subject, at, desk);
        blind(scene.given, subject, at, desk);
        if at.gate.on_inconclusive == OnInconclusive::Promote && scene.given.per_second.is_none() {
            let short = spec.phases.iter().find(|it| it.traffic < 100 && it.bake_time < Span::seconds(300));
            if let Some(phase) = short {
                let message = format!(
                    "the phase {} bakes for {} and is earned without proof of anything: in so short a time hardly any regression is found",
                    phase.name, phase.bake_time
                );
                let field = format!("{}.onInconclusive", at.field);
                desk.say(
                    &UNPROVEN_PROMOTION,
                    field,
                    message,
                    "Lengthen the bake, or write onInconclusive: Hold.",
                );
            }
        }
    }
    if spec.alpha > 0.1 {
        let message = format!("{} % of healthy releases may be rolled back", spec.alpha * 100.0);
        desk.say(
            &LOOSE_ALPHA,
            "spec.alpha",
            message,
            "0.01 is usual; 0.05 finds a doubling about a quarter sooner.",
        );
    }
    pods(scene, subject, desk);
}

/// A gate that compares where all phases have all of the traffic.
fn alone(subject: &Subject, at: &GateAt<'_>, desk: &mut Desk<'_>) {
    let spec = &subject.rollout.spec;
    let lonely =
        at.judged.iter().find(|it| steps(spec, &it.name).iter().all(|step| step.phase.traffic >= 100));
    if let Some(component) = lonely {
        desk.say(
            &NOBODY_TO_COMPARE,
            at.field.clone(),
            format!(
                "every phase of {} has 100 % of the traffic: stable has none, and the gate compares with nothing",
                component.name
            ),
            "Add a phase below 100 %, or judge by threshold or budget.",
        );
    }
}

/// Seconds as a person says them.
fn hours(seconds: f64) -> String {
    if !seconds.is_finite() {
        "for ever".to_owned()
    } else if seconds >= 172_800.0 {
        format!("{:.1} days", seconds / 86_400.0)
    } else if seconds >= 5_400.0 {
        format!("{:.1} h", seconds / 3_600.0)
    } else {
        format!("{:.0} min", (seconds / 60.0).ceil())
    }
}

/// What a phase can find out, in a sentence.
fn sentence(traffic: &Traffic, bake: Span, found: &Outlook) -> String {
    let rate = |share: f64| {
        let text = format!("{:.1}", share * 100.0);
        format!("{} %", text.trim_end_matches(".0"))
    };
    let smallest = match found.smallest {
        Some(ratio) if ratio * traffic.bad < 1.0 => {
            format!(
                "the smallest error increase found with 80 % power is {} → {}",
                rate(traffic.bad),
                rate(ratio * traffic.bad)
            )
        }
        _ => "no error increase is found with 80 % power".to_owned(),
    };
    format!(
        "{:.0} % of {} requests a second for {bake} are {:.0} requests: {smallest}; a doubling needs {}; even zero errors leave up to \
         {} possible",
        traffic.weight * 100.0,
        (traffic.per_second * 10.0).round() / 10.0,
        found.requests,
        hours(found.doubling),
        rate(found.most_if_none_bad)
    )
}

/// The component that a gate knows the least of, by its traffic: as it was measured, else as the user says.
pub fn slowest<'a>(given: &Given, subject: &Subject, at: &GateAt<'a>) -> Option<(&'a Component, Habits)> {
    let said = given.per_second.zip(given.bad).map(|(per_second, bad)| Habits {
        per_second,
        bad,
        phi: 1.0,
        tolerance: RHO0,
        minutes: 0,
        pods: 0,
    });
    let known = at.judged.iter().filter_map(|component| {
        let is_its = |it: &&Measured| {
            (it.object, it.field.as_str(), it.component.as_str())
                == (subject.object, at.field.as_str(), component.name.as_str())
        };
        let measured = given.measured.iter().find(is_its).map(|it| it.habits);
        Some((*component, measured.or(said)?))
    });
    let bad = |(_, it): &(&Component, Habits)| it.per_second * it.bad / it.phi;
    known.min_by(|one, other| bad(one).total_cmp(&bad(other)))
}

/// What was measured, if it was.
fn learned(habits: &Habits) -> String {
    if habits.minutes == 0 {
        return String::new();
    }
    let Habits { phi, tolerance, minutes, pods, .. } = habits;
    format!(" (φ {phi:.2} and ρ0 {tolerance:.2}, as {minutes} minutes of {pods} pods say)")
}

fn blind(given: &Given, subject: &Subject, at: &GateAt<'_>, desk: &mut Desk<'_>) {
    let Some(Rule::Counters { by: CountersRule::Sequential(rule), .. }) = at.gate.rule() else { return };
    let spec = &subject.rollout.spec;
    let Some((component, habits)) = slowest(given, subject, at) else { return };
    // Evidence is kept from phase to phase: what counts is the first raise that nothing was proven for.
    let Some(step) = steps(spec, &component.name).into_iter().find(|it| (1..100).contains(&it.phase.traffic))
    else {
        return;
    };
    let weight = f64::from(step.phase.traffic) / 100.0;
    let rho0 = rule.tolerance.unwrap_or(habits.tolerance);
    let Habits { per_second, bad, phi, .. } = habits;
    let traffic = Traffic { per_second, weight, bad, phi, rho0, alpha: spec.alpha };
    let found = outlook(&traffic, step.phase.bake_time.as_std().as_secs_f64(), POWER);
    if found.smallest.is_some_and(|it| it <= 2.0) {
        return;
    }
    desk.say(
        &BLIND_PHASE,
        format!("spec.phases[{}].bakeTime", step.index),
        format!(
            "gate {}, phase {}: {}{}",
            at.gate.name,
            step.phase.name,
            sentence(&traffic, step.phase.bake_time, &found),
            learned(&habits)
        ),
        "Raise the weight, lengthen the bake, or accept onInconclusive.",
    );
}

/// Replicas of a component's Deployment, if it is in the files.
fn replicas(scene: &Scene<'_>, subject: &Subject, workload: &str) -> Option<i32> {
    let deployment = scene.find(("apps", "Deployment"), subject, workload)?;
    let found = deployment.object.pointer("/spec/replicas").map_or(Some(1), serde_json::Value::as_i64)?;
    i32::try_from(found).ok()
}

fn pods(scene: &Scene<'_>, subject: &Subject, desk: &mut Desk<'_>) {
    let spec = &subject.rollout.spec;
    for (index, component) in spec.components.iter().enumerate() {
        let Some(replicas) = replicas(scene, subject, &component.workload_ref.name) else { continue };
        let steps = steps(spec, &component.name);
        let size = |percent: i32| {
            let weight = Weight::clamped(percent);
            if component.traffic.is_some() {
                canary_size(replicas, weight)
            } else {
                canary_size_by_pods(replicas, weight)
            }
        };
        let largest = steps.iter().map(|it| size(it.phase.traffic)).max().unwrap_or(1);
        if let Some(room) = spec.max_extra_pods.filter(|room| *room < largest) {
            desk.say(
                &NO_ROOM,
                "spec.maxExtraPods",
                format!("{} needs {largest} canary pods beside its {replicas}, and {room} are allowed: it waits for room for ever", component.name),
                format!("Allow at least {largest}."),
            );
        }
        if component.traffic.is_some() {
            continue;
        }
        for step in steps.iter().filter(|it| it.phase.traffic < 100) {
            let real = share_of_pods(size(step.phase.traffic), replicas).percent();
            let wanted = step.phase.traffic;
            if real >= wanted * 2 || real < wanted - 10 {
                let pods = size(wanted);
                desk.say(
                    &COARSE_SHARE,
                    format!("spec.components[{index}].workloadRef"),
                    format!(
                        "without traffic the share is the share of pods: {pods} beside {replicas} are {real} %, and the phase {} says {wanted} %",
                        step.phase.name
                    ),
                    if real > wanted {
                        "Run more replicas, begin with a larger share, or give the component a Service and a route."
                    } else {
                        "Stable keeps its pods, so that the canary has at most half: give the component a Service and a route."
                    },
                );
                break;
            }
        }
    }
}
