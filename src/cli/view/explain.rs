//! A Rollout in sentences: where it is and why, what its gates have shown, what would change that, what a person may do.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::api::{
    ComponentStatus, GateStatistics, GateStatus, HEALTH, NextAction, Rollout, RolloutState, RolloutStatus,
    RunIntent, RunStatus, Stage, Verdict,
};
use crate::engine::outlook::{Forecast, forecast};

use super::proof::{bake_of, goes_forward, phase_of};
use super::{gates_of, time, words};

/// All that is said, for programs as it is for people.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Namespace and name.
    pub rollout: String,
    /// Where it is.
    pub state: RolloutState,
    /// Since when the present stage of the component that is least far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why, in sentences.
    pub why: Vec<String>,
    /// What comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<NextAction>,
    /// The components that take part.
    pub components: Vec<ComponentExplained>,
    /// What a person may do now.
    pub actions: Vec<Possible>,
}

/// One component.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentExplained {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub stage: Stage,
    /// How it is there, in sentences.
    pub says: Vec<String>,
    /// Its gates.
    pub gates: Vec<GateExplained>,
}

/// One gate.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateExplained {
    /// Its name.
    pub name: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Its value.
    pub value: String,
    /// Its limits.
    pub limits: String,
    /// Its last checks, oldest first: `P` passed, `F` failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub recent: String,
    /// What it rests on, in sentences.
    pub says: Vec<String>,
    /// What it has counted and shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// What a gate that counts has shown.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Bad requests and all of the canary.
    pub canary: [f64; 2],
    /// Bad requests and all of stable.
    pub stable: [f64; 2],
    /// ln E, the evidence of harm.
    pub evidence: f64,
    /// ln E at which harm is shown.
    pub limit: f64,
    /// The least ratio to stable's share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_at_least: Option<f64>,
    /// Whether safety is shown.
    pub safe: bool,
    /// φ.
    pub phi: f64,
    /// ρ0.
    pub tolerance: f64,
    /// What they were learned from.
    pub learned: String,
    /// Requests a second that the forecast reckons with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Seconds until safety is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_in_seconds: Option<f64>,
    /// Seconds until harm is shown as things are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harm_in_seconds: Option<f64>,
    /// Seconds until a doubling that begins now is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubling_in_seconds: Option<f64>,
}

/// Something that a person may do.
#[derive(Clone, Debug, Serialize)]
pub struct Possible {
    /// The command.
    pub command: String,
    /// What it does.
    pub effect: String,
}

/// Explains a Rollout at `now`.
#[must_use]
pub fn explanation(rollout: &Rollout, now: Timestamp) -> Explanation {
    let name = rollout.name_any();
    let shown = rollout.namespace().map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
    let status = rollout.status.clone().unwrap_or_default();
    let run = status.run.as_ref();
    let is_on = run.is_some_and(|run| run.ended_at.is_none());
    let taking_part = || status.components.iter().filter(|it| is_on && it.stage != Stage::Idle);
    let leading = taking_part().find(|it| goes_forward(it.stage)).or_else(|| taking_part().next());
    let since = leading.and_then(|it| it.since).or_else(|| run.and_then(|run| run.ended_at));
    let explain = |component: &ComponentStatus| explain_component(rollout, run, component, now);
    Explanation {
        rollout: shown,
        state: status.state,
        since,
        why: why(rollout, &status),
        next: status.next_action.clone(),
        components: status.components.iter().filter(|it| is_telling(it, is_on)).map(explain).collect(),
        actions: actions(&name, &status),
    }
}

/// Whether there is anything to say about a component.
fn is_telling(component: &ComponentStatus, is_on: bool) -> bool {
    (is_on && component.stage != Stage::Idle)
        || !component.failure.is_empty()
        || !component.message.is_empty()
        || component.all_gates().iter().any(|gate| gate.tripped)
}

fn why(rollout: &Rollout, status: &RolloutStatus) -> Vec<String> {
    if rollout.status.is_none() {
        return vec!["No controller has looked at it yet: does Palier run in this cluster?".to_owned()];
    }
    let mut said = vec![match status.state {
        RolloutState::Baking => {
            "Every gate has to be satisfied for the time of the phase before more traffic is given."
                .to_owned()
        }
        RolloutState::Held => {
            "It stays where it is: it gives the canary no more traffic, and can go back at any moment."
                .to_owned()
        }
        _ => String::new(),
    }];
    said.push(sentence(&status.message));
    if let Some(run) = &status.run {
        if !run.reason.is_empty() && !status.message.contains(&run.reason) {
            said.push(sentence(&run.reason));
        }
        if run.promoted_in_full {
            said.push("A person has ended all phases at once.".to_owned());
        }
    }
    said.retain(|it| !it.is_empty());
    said
}

/// The text as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), letters.as_str())
}

fn explain_component(
    rollout: &Rollout,
    run: Option<&RunStatus>,
    component: &ComponentStatus,
    now: Timestamp,
) -> ComponentExplained {
    let mut says = vec![place(rollout, component, now)];
    if !component.message.is_empty() {
        says.push(sentence(&component.message));
    }
    if !component.failure.is_empty() {
        says.push(sentence(&format!("it went back: {}", component.failure)));
    }
    let limits = gates_of(&rollout.spec, &component.name);
    let timeline = run.map_or(&[][..], |run| &run.timeline);
    let all = component.all_gates();
    let gates = all.iter().map(|gate| {
        let counted = component.statistics.iter().find(|it| it.name == gate.name);
        let is_on = run.is_some_and(|run| run.ended_at.is_none()) && goes_forward(component.stage);
        let known = forecast(&rollout.spec, component, timeline, &gate.name).filter(|_| is_on);
        let policy = limits.get(gate.name.as_str()).copied();
        GateExplained {
            name: gate.name.clone(),
            verdict: gate.verdict,
            value: gate.value.clone(),
            limits: match policy {
                Some(policy) => words::limits(policy),
                None if gate.name == HEALTH => format!("≤ {} restarts", rollout.spec.health.max_restarts),
                None => String::new(),
            },
            recent: gate.recent.clone(),
            says: gate_says(gate, counted, known, now),
            evidence: counted.filter(|it| it.limit > 0.0).map(|it| evidence(it, known)),
        }
    });
    ComponentExplained { name: component.name.clone(), stage: component.stage, says, gates: gates.collect() }
}

/// Where a component is, and how far.
fn place(rollout: &Rollout, component: &ComponentStatus, now: Timestamp) -> String {
    let since = component.since.map(|at| time::span(time::seconds_between(at, now)));
    let for_a_time = since.map(|span| format!(" for {span}")).unwrap_or_default();
    let (ready, size) = (component.canary_ready, component.canary_replicas);
    let pods = format!("{ready} of {size} canary pods are ready");
    let phase = phase_of(&rollout.spec, component).map(|(_, phase)| phase);
    let stage = words::stage(component.stage);
    match (bake_of(&rollout.spec, component, now), phase) {
        (Some(bake), Some(phase)) => {
            let still = if bake.is_still { "; its clock stands still" } else { "" };
            let (earned, wanted) = (time::span(bake.earned), time::span(bake.wanted));
            let (name, weight) = (&phase.name, component.weight);
            let early = phase.min_bake_time.map(|least| {
                format!(" It may end after {least} already, once its tests have shown the canary to be safe.")
            });
            format!(
                "In the phase {name}{for_a_time}, with {weight} % of the traffic: {earned} of {wanted} are proven{still}; {pods}.{}",
                early.unwrap_or_default()
            )
        }
        (None, Some(phase)) if goes_forward(component.stage) => format!(
            "{}{for_a_time}, on the way to the phase {} ({} %): {pods}.",
            sentence(stage).trim_end_matches('.'),
            phase.name,
            phase.traffic
        ),
        _ => format!("{}{for_a_time}.", sentence(stage).trim_end_matches('.')),
    }
}

/// What a gate's verdict rests on, and what would change it.
fn gate_says(
    gate: &GateStatus,
    counted: Option<&GateStatistics>,
    known: Option<Forecast>,
    now: Timestamp,
) -> Vec<String> {
    let said = if gate.message.is_empty() { words::verdict_words(gate.verdict) } else { &gate.message };
    let mut says = vec![sentence(said)];
    if gate.tripped {
        says.push("It has tripped and not passed since.".to_owned());
    }
    if let Some(preset) = counted.and_then(|it| it.preset) {
        says.push(format!("It reads the metrics of {preset:?}, chosen when the run began."));
    }
    if let Some(since) = gate.no_data_since {
        says.push(format!("It has had no evidence for {}.", time::span(time::seconds_between(since, now))));
    }
    if let Some(counted) = counted.filter(|it| it.limit > 0.0) {
        says.extend(shown(counted));
    }
    says.extend(known.map(|it| to_come(it, gate.verdict)));
    says.retain(|it| !it.is_empty());
    says
}

fn shown(counted: &GateStatistics) -> Vec<String> {
    let (evidence, limit) = (counted.evidence, counted.limit);
    let harm = match () {
        () if evidence >= limit => "harm is shown".to_owned(),
        () if evidence <= 0.0 => "nothing speaks for harm".to_owned(),
        () => format!("about {:.0} to 1 speaks for harm, {:.0} to 1 is wanted", evidence.exp(), limit.exp()),
    };
    let mut says = vec![sentence(&format!(
        "the evidence of harm (ln E) is {evidence:.2}, harm is shown at {limit:.2}: {harm}"
    ))];
    match counted.ratio_at_least {
        Some(ratio) if ratio > 0.0 => {
            says.push(format!("The canary's share is at least {ratio:.2} times stable's."));
        }
        _ => {}
    }
    if !counted.learned.is_empty() {
        says.push(format!(
            "Up to {:.2} times stable's share is no harm (ρ0), and counts vary {:.2} times as much as independent requests \
             would (φ); learned from {}.",
            counted.tolerance, counted.phi, counted.learned
        ));
    }
    says
}

/// What comes if the traffic stays as it is.
fn to_come(known: Forecast, verdict: Verdict) -> String {
    let about = |seconds: f64| if seconds < 1.0 { "a moment".to_owned() } else { roughly(seconds) };
    let mut parts = Vec::new();
    if verdict == Verdict::Wait {
        match (known.safe_in, known.harm_in) {
            (_, Some(harm)) => parts.push(format!("harm would be shown in about {}", about(harm))),
            (Some(safe), None) => parts.push(format!("safety would be shown in about {}", about(safe))),
            (None, None) => parts.push("neither safety nor harm would be shown soon".to_owned()),
        }
    }
    if let Some(doubling) = known.doubling_in {
        parts.push(format!("a doubling of bad requests in about {}", about(doubling)));
    }
    if parts.is_empty() {
        return String::new();
    }
    let rate = known.per_second;
    let rate = if rate >= 10.0 { format!("{rate:.0}") } else { format!("{rate:.1}") };
    format!("At the present {rate} requests a second, {}.", parts.join(", "))
}

/// A time without a precision that it does not have: whole minutes from two minutes on.
pub(super) fn roughly(seconds: f64) -> String {
    let seconds = seconds.min(1e9) as i64;
    let whole = |unit: i64| (seconds + unit / 2) / unit * unit;
    time::span(match seconds {
        0..=119 => whole(5).max(5),
        120..=35_999 => whole(60),
        _ => whole(3_600),
    })
}

pub(super) fn evidence(counted: &GateStatistics, known: Option<Forecast>) -> Evidence {
    Evidence {
        canary: [counted.canary_bad, counted.canary_total],
        stable: [counted.stable_bad, counted.stable_total],
        evidence: counted.evidence,
        limit: counted.limit,
        ratio_at_least: counted.ratio_at_least,
        safe: counted.safe,
        phi: counted.phi,
        tolerance: counted.tolerance,
        learned: counted.learned.clone(),
        per_second: known.map(|it| it.per_second),
        safe_in_seconds: known.and_then(|it| it.safe_in),
        harm_in_seconds: known.and_then(|it| it.harm_in),
        doubling_in_seconds: known.and_then(|it| it.doubling_in),
    }
}

/// The actions that would be obeyed now, with what they do.
fn actions(name: &str, status: &RolloutStatus) -> Vec<Possible> {
    let possible = |verb: &str, effect: &str| Possible {
        command: format!("palier {verb} {name}"),
        effect: effect.to_owned(),
    };
    let run = status.run.as_ref().filter(|run| run.ended_at.is_none());
    let Some(run) = run else {
        let is_back =
            status.components.iter().any(|it| it.stage == Stage::RolledBack && it.rejected.is_some());
        return if is_back {
            vec![possible("retry", "try the rejected version again in a new run")]
        } else {
            Vec::new()
        };
    };
    if run.intent != RunIntent::Release {
        return Vec::new();
    }
    let mut all = Vec::new();
    let is_held = status.components.iter().any(|it| goes_forward(it.stage));
    if is_held {
        all.push(possible("promote", "end the present bake as if it were earned"));
    }
    all.push(if run.paused {
        possible("resume", "end the pause")
    } else {
        possible("pause", "keep the run where it is; gates go on")
    });
    all.push(possible("abort", "go back to the stable version"));
    all
}
