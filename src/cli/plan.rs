//! `palier plan`: what would happen if a new version were released now.

use std::path::PathBuf;

use serde::Serialize;

use crate::api::{Hook, HookPoint, OnFailure, Outcome, Rollout, RolloutSpec, RolloutState, Span, Switch};
use crate::engine::outlook::{Assumed, GateOutlook, gates};
use crate::sim::{Load, Model, Rehearsal, Told, rehearse};

use super::manifest::{self, replicas};
use super::templates;
use super::view::render_plan;
use super::{CliError, Cluster, ExitStatus, Format, Printer, format, rollout_name};

/// Pods of a workload whose size is not known.
const REPLICAS: i32 = 4;
/// So many requests, and so few bad ones, that every test has shown safety when it may.
const PLENTY: (f64, f64) = (2_000.0, 0.001);

/// Arguments of `palier plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT", value_parser = rollout_name, required_unless_present = "file")]
    pub rollout: Option<String>,
    /// A file with the Rollout instead of the cluster; - reads the standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "rollout")]
    pub file: Option<PathBuf>,
    /// The image to be released, for the title alone: the plan is the same for every image
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Requests a second to each component
    #[arg(long, value_name = "N", requires = "error_rate")]
    pub rps: Option<f64>,
    /// The share of requests that go badly today, such as 0.01
    #[arg(long, value_name = "P", requires = "rps")]
    pub error_rate: Option<f64>,
    /// Pods of each Deployment, where the cluster does not say [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub replicas: Option<i32>,
    /// How long a pod takes to become ready
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub pod_start: Span,
    /// The plan for a program: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<Format>,
}

/// What would happen.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleasePlan {
    /// Name of the Rollout.
    pub rollout: String,
    /// What is released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How the run ends; `None` if it holds for ever.
    pub outcome: Option<Outcome>,
    /// Where it is when it does not end, and why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the run ends, with every phase as long as it may have to be.
    pub ends_after: Span,
    /// When it ends at the earliest, with phases that end early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_after_earliest: Option<Span>,
    /// The most canary pods at once.
    pub extra_pods: i32,
    /// `spec.maxExtraPods`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_extra_pods: Option<i32>,
    /// The components in the order in which they begin.
    pub components: Vec<ComponentPlan>,
    /// Hooks in their places.
    pub hooks: Vec<HookPlan>,
    /// What takes the run back, and what that does.
    pub rollback: Vec<String>,
    /// Degraded modes with what they set.
    pub degraded_modes: Vec<ModePlan>,
    /// Whether the traffic was given; without it tests are taken to show safety in time.
    pub traffic_is_known: bool,
    /// Who is told, and who is asked, in sentences.
    pub told: Vec<String>,
    /// What the run tells on its way.
    pub timeline: Vec<PlanEntry>,
}

/// Something that would happen.
#[derive(Clone, Debug, Serialize)]
pub struct PlanEntry {
    /// When, from the push.
    pub after: Span,
    /// The component.
    pub component: String,
    /// The reason of the Event.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// One component.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentPlan {
    /// Its name.
    pub name: String,
    /// What it waits for.
    pub depends_on: Vec<String>,
    /// Pods of its Deployment.
    pub replicas: i32,
    /// Its phases.
    pub phases: Vec<PhasePlan>,
    /// Its gates.
    pub gates: Vec<GatePlan>,
}

/// One phase of a component.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhasePlan {
    /// Its name.
    pub name: String,
    /// Its share in per cent.
    pub traffic: i32,
    /// Canary pods.
    pub canary_pods: i32,
    /// When its weight is in force.
    pub from: Span,
    /// When it is earned; `None`: never.
    pub to: Option<Span>,
    /// When it is earned at the earliest.
    pub to_earliest: Option<Span>,
}

/// One gate of a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatePlan {
    /// Its name.
    pub name: String,
    /// Its limits in words.
    pub limits: String,
    /// What happens when it trips.
    pub on_failure: OnFailure,
    /// How often it looks.
    pub interval: Span,
    /// When it can trip first, from the first weight on.
    pub first_trip: Span,
    /// Whether it is a test with a bounded chance of error.
    pub is_test: bool,
    /// The chance of a false alarm in a run.
    pub false_alarm: Option<f64>,
    /// What it can find out, by phase.
    pub finds: Vec<Finds>,
}

/// What a test finds in a phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finds {
    /// The phase.
    pub phase: String,
    /// The canary's requests.
    pub requests: f64,
    /// The smallest ratio that is found in four of five cases.
    pub smallest_ratio: Option<f64>,
    /// Seconds to find a doubling in four of five cases.
    pub doubling_seconds: Option<f64>,
}

/// One hook.
#[derive(Clone, Debug, Serialize)]
pub struct HookPlan {
    /// Its name.
    pub name: String,
    /// Its place.
    pub at: HookPoint,
    /// The CronJob.
    pub job: String,
    /// Phases and components that it is for; empty for all.
    pub only: Vec<String>,
    /// How long an attempt may take.
    pub timeout: Span,
}

/// One degraded mode.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModePlan {
    /// Its name.
    pub name: String,
    /// What is set.
    pub switches: Vec<String>,
    /// Gates that enter it.
    pub gates: Vec<String>,
    /// How long they must pass.
    pub recover_after: Span,
    /// How long it may last.
    pub deadline: Span,
}

/// Says it.
///
/// # Errors
/// When the Rollout cannot be read, or no run of it could start.
pub async fn plan(
    cluster: Option<&Cluster>,
    args: &PlanArgs,
    printer: &Printer,
) -> Result<ExitStatus, CliError> {
    let rollout = match (&args.file, &args.rollout, cluster) {
        (Some(file), _, _) => manifest::rollout_of(file)?,
        (None, Some(name), Some(cluster)) => {
            let rollout = cluster.rollout(name).await?;
            let known = templates::in_the_cluster(cluster, &rollout).await?;
            templates::expanded(rollout, &known).map_err(|why| CliError::NothingToDo { why })?
        }
        _ => return Err(CliError::Usage("name a Rollout, or a file with -f".to_owned())),
    };
    let known = release_plan(&rollout, args)?;
    let text = match args.output {
        Some(form) => format::write(&known, form)?,
        None => render_plan(&known, &rollout.spec, printer.size().0, printer.style()),
    };
    printer.print(&text)?;
    Ok(if known.outcome == Some(Outcome::Completed) { ExitStatus::Success } else { ExitStatus::Refused })
}

/// The plan of a release of every component.
///
/// # Errors
/// When no run could start: the spec contradicts itself.
pub fn release_plan(rollout: &Rollout, args: &PlanArgs) -> Result<ReleasePlan, CliError> {
    let spec = &rollout.spec;
    let assumed = args.rps.zip(args.error_rate).map(|(per_second, bad)| Assumed { per_second, bad });
    let (per_second, bad) = assumed.map_or(PLENTY, |it| (it.per_second, it.bad));
    let load = Load { per_second, bad, ..Load::default() };
    let sizes = replicas(rollout);
    let with = |spec: RolloutSpec| {
        let limit = Rehearsal::planned(&spec).as_millis().saturating_mul(2);
        let it = Rehearsal {
            spec,
            replicas: sizes.clone(),
            usual_replicas: args.replicas.unwrap_or(REPLICAS),
            pod_lag: args.pod_start,
            gateway_lag: Span::seconds(1),
            limit: Span::millis(limit.saturating_add(3_600_000)),
        };
        let it = if assumed.is_none() { it.quick() } else { it };
        let model = Model::new(
            &it.spec,
            load.clone(),
            jiff::Timestamp::from_second(1_767_225_600).unwrap_or_default(),
        );
        rehearse(&it, model, false)
    };
    let mut patient = spec.clone();
    for phase in &mut patient.phases {
        phase.min_bake_time = None;
    }
    let usual = with(patient);
    if usual.status.state == RolloutState::Stalled {
        let why = format!("no run of it could start: {}", usual.status.message);
        return Err(CliError::NothingToDo { why });
    }
    let has_early = spec.phases.iter().any(|phase| phase.min_bake_time.is_some());
    let early = has_early.then(|| with(spec.clone()));
    Ok(told(rollout, args, assumed, &usual, early.as_ref()))
}

fn told(
    rollout: &Rollout,
    args: &PlanArgs,
    assumed: Option<Assumed>,
    usual: &Told,
    early: Option<&Told>,
) -> ReleasePlan {
    let spec = &rollout.spec;
    let mut names: Vec<&str> = Vec::new();
    for name in usual.bakes.iter().map(|it| it.component.as_str()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.extend(
        spec.components
            .iter()
            .map(|it| it.name.as_str())
            .filter(|it| !names.contains(it))
            .collect::<Vec<_>>(),
    );
    let is_held = usual.outcome.is_none();
    ReleasePlan {
        rollout: rollout.metadata.name.clone().unwrap_or_default(),
        image: args.image.clone(),
        outcome: usual.outcome,
        message: if is_held { usual.status.message.clone() } else { String::new() },
        ends_after: usual.until,
        ends_after_earliest: early.filter(|it| it.outcome.is_some()).map(|it| it.until),
        extra_pods: usual.extra_pods_max,
        max_extra_pods: spec.max_extra_pods,
        components: names
            .iter()
            .filter_map(|it| component(rollout, args, it, assumed, (usual, early)))
            .collect(),
        hooks: spec.hooks.iter().map(hook).collect(),
        rollback: rollback(spec),
        degraded_modes: modes(spec),
        traffic_is_known: assumed.is_some(),
        told: who_is_told(rollout),
        timeline: usual
            .happened
            .iter()
            .map(|(after, it)| PlanEntry {
                after: *after,
                component: it.component.clone(),
                reason: it.reason.clone(),
                message: it.message.clone(),
            })
            .collect(),
    }
}

/// Whom a run tells of itself, and whom it asks: what there is, and no more.
fn who_is_told(rollout: &Rollout) -> Vec<String> {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let hooks = match rollout.spec.hooks.len() {
        0 => "no hook is named".to_owned(),
        1 => "one hook runs in its place, and may tell others".to_owned(),
        many => format!("{many} hooks run in their places, and may tell others"),
    };
    vec![
        format!(
            "Each step is an Event of the Rollout (kubectl events --for rollout/{name}), an entry of its timeline, and a line in the \
             controller's log. No message goes anywhere else; {hooks}."
        ),
        format!(
            "Nobody is asked first: a phase that is earned is followed by the next. Who may can pause, promote or abort at any moment \
             (palier pause {name}, palier promote {name}, palier abort {name})."
        ),
    ]
}

fn component(
    rollout: &Rollout,
    args: &PlanArgs,
    name: &str,
    assumed: Option<Assumed>,
    (usual, early): (&Told, Option<&Told>),
) -> Option<ComponentPlan> {
    let spec = &rollout.spec;
    let own = spec.components.iter().find(|it| it.name == name)?;
    let bakes = |told: &'_ Told| -> Vec<crate::sim::rehearsal::Bake> {
        told.bakes.iter().filter(|it| it.component == name).cloned().collect()
    };
    let early = early.map(bakes).unwrap_or_default();
    let phases = bakes(usual).into_iter().filter_map(|bake| {
        let phase = spec.phases.get(bake.phase)?;
        Some(PhasePlan {
            name: phase.name.clone(),
            traffic: phase.traffic,
            canary_pods: bake.canary_pods,
            from: bake.from,
            to: bake.to,
            to_earliest: early.iter().find(|it| it.phase == bake.phase).and_then(|it| it.to),
        })
    });
    let learned = |gate: &str| {
        let status = rollout.status.as_ref()?.components.iter().find(|it| it.name == name)?;
        let known = status.statistics.iter().find(|it| it.name == gate && it.phi >= 1.0)?;
        Some((known.phi, known.tolerance))
    };
    let outlooks = gates(spec, name, assumed, &learned);
    Some(ComponentPlan {
        name: name.to_owned(),
        depends_on: own.depends_on.clone(),
        replicas: replicas(rollout).get(name).copied().or(args.replicas).unwrap_or(REPLICAS),
        phases: phases.collect(),
        gates: outlooks.iter().filter_map(|it| gate(spec, name, it)).collect(),
    })
}

fn gate(spec: &RolloutSpec, component: &str, it: &GateOutlook) -> Option<GatePlan> {
    let own = spec.components.iter().filter(|c| c.name == component).flat_map(|c| &c.gates);
    let gate = spec.gates.iter().chain(own).find(|gate| gate.name == it.name)?;
    let finds = it.phases.iter().map(|phase| Finds {
        phase: phase.phase.clone(),
        requests: phase.requests,
        smallest_ratio: phase.smallest,
        doubling_seconds: phase.doubling,
    });
    Some(GatePlan {
        name: it.name.clone(),
        limits: super::view::limits(gate),
        on_failure: it.asks,
        interval: gate.interval,
        first_trip: it.first_trip,
        is_test: it.is_test,
        false_alarm: it.false_alarm,
        finds: finds.collect(),
    })
}

fn hook(hook: &Hook) -> HookPlan {
    HookPlan {
        name: hook.name.clone(),
        at: hook.at,
        job: hook.cron_job_ref.name.clone(),
        only: hook.phases.iter().chain(&hook.components).cloned().collect(),
        timeout: hook.timeout,
    }
}

/// What takes a run back, in sentences.
fn rollback(spec: &RolloutSpec) -> Vec<String> {
    let mut says = vec![format!(
        "Traffic goes back to stable at once: stable keeps its size until the run ends. Canary pods are kept for {} more, \
         for requests under way.",
        spec.drain_time
    )];
    says.push(format!("Canary pods that are not ready within {} take the run back.", spec.progress_deadline));
    for component in spec.components.iter().filter(|it| !it.depends_on.is_empty()) {
        says.push(format!("{} goes back with {}.", component.name, component.depends_on.join(" and ")));
    }
    if spec
        .components
        .iter()
        .flat_map(|it| &it.gates)
        .chain(&spec.gates)
        .any(|it| it.on_failure == Some(OnFailure::StepBack))
    {
        says.push(format!(
            "A component steps back {} times at most; then it is taken back.",
            spec.max_step_backs
        ));
    }
    let of = |point: HookPoint| {
        spec.hooks
            .iter()
            .filter(|it| it.at == point)
            .map(|it| it.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (point, what) in [
        (HookPoint::OnFullRollback, "After a full rollback"),
        (HookPoint::OnPartialRollback, "After a component was taken back"),
    ] {
        let names = of(point);
        if !names.is_empty() {
            says.push(format!("{what}: {names}."));
        }
    }
    says.push("The Deployment stays paused on the rejected template until another one is pushed, the former one is put back, or somebody retries.".to_owned());
    says
}

fn modes(spec: &RolloutSpec) -> Vec<ModePlan> {
    let all = || spec.gates.iter().chain(spec.components.iter().flat_map(|it| &it.gates));
    let words = |it: &Switch| {
        let value = it.value.clone().or_else(|| it.json.clone()).unwrap_or_default();
        format!("{} {}{} = {value}", it.config_map, it.key, it.pointer.clone().unwrap_or_default())
    };
    let mode = |it: &crate::api::DegradedMode| ModePlan {
        name: it.name.clone(),
        switches: it.switches.iter().map(words).collect(),
        gates: all()
            .filter(|gate| gate.degraded_mode.as_ref() == Some(&it.name))
            .map(|it| it.name.clone())
            .collect(),
        recover_after: it.recover_after,
        deadline: it.deadline,
    };
    spec.degraded_modes.iter().map(mode).collect()
}
