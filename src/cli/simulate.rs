//! `palier simulate`: the same engine on a virtual clock, with synthetic or recorded metrics.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::api::{NoDataThen, OnInconclusive, Outcome, RolloutSpec, RolloutState, Span, TimelineEntry};
use crate::engine::statistics::special::share_at_most;
use crate::sim::recording::{Cast, FORM, Playback, Recording};
use crate::sim::traffic::{Stretch, counts};
use crate::sim::{Load, Model, Rehearsal, Told, rehearse};

use super::manifest::{self, replicas};
use super::view::{html_page, render_many, render_simulation};
use super::{CliError, ExitStatus, Format, Printer, format};

/// Arguments of `palier simulate`.
#[derive(Debug, clap::Args)]
pub struct SimulateArgs {
    /// A file with the Rollout; - reads the standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Requests a second to each component
    #[arg(long, value_name = "N", default_value_t = 50.0, value_parser = above_zero)]
    pub rps: f64,
    /// The share of stable's requests that go badly
    #[arg(long, value_name = "P", default_value_t = 0.01, value_parser = share)]
    pub error_rate: f64,
    /// How many times stable's share of bad requests the canary has
    #[arg(long, value_name = "RATIO", default_value_t = 1.0, value_parser = above_zero)]
    pub regression: f64,
    /// How many times as long the canary's requests take
    #[arg(long, value_name = "RATIO", default_value_t = 1.0, value_parser = above_zero)]
    pub slowdown: f64,
    /// A gate of one number answers so many times as much for the canary: saturation=1.5
    #[arg(long, value_name = "GATE=RATIO", value_parser = worse)]
    pub worse: Vec<(String, f64)>,
    /// When the canary gets worse, from the push
    #[arg(long, value_name = "DURATION", default_value = "0")]
    pub onset: Span,
    /// From when to when both versions fail ten times as often, or N times: 5m..6m or 5m..6m*N
    #[arg(long, value_name = "FROM..TO[*N]", value_parser = blip)]
    pub blip: Vec<(Stretch, f64)>,
    /// From when to when the metric server is away
    #[arg(long, value_name = "FROM..TO", value_parser = stretch)]
    pub outage: Vec<Stretch>,
    /// How long a pod takes to become ready
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub slow_pods: Span,
    /// Pods of each Deployment [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub replicas: Option<i32>,
    /// Plays it so often, and says how often it was rolled back
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// The chance; the same number gives the same story
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Judges recorded metrics (palier record) instead of synthetic ones
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// With --replay: each pod of stable in turn plays the canary; how often would it be rolled back?
    #[arg(long, requires = "replay")]
    pub aa: bool,
    /// Writes a page with the plots, which needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The result for a program: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<Format>,
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number <= 1e9 { Ok(number) } else { Err("give a number above 0".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..1.0).contains(&number) {
        Ok(number)
    } else {
        Err("a share is from 0 to below 1, such as 0.01".to_owned())
    }
}

fn stretch(text: &str) -> Result<Stretch, String> {
    let (from, to) = text.split_once("..").ok_or_else(|| "write it like 5m..6m".to_owned())?;
    let from = from.parse::<Span>().map_err(|error| error.to_string())?;
    let to = to.parse::<Span>().map_err(|error| error.to_string())?;
    if from < to { Ok((from, to)) } else { Err("it ends before it begins".to_owned()) }
}

fn worse(text: &str) -> Result<(String, f64), String> {
    let (gate, factor) = text.split_once('=').ok_or_else(|| "write it like saturation=1.5".to_owned())?;
    Ok((gate.to_owned(), above_zero(factor)?))
}

fn blip(text: &str) -> Result<(Stretch, f64), String> {
    match text.split_once('*') {
        Some((times, factor)) => Ok((stretch(times)?, above_zero(factor)?)),
        None => Ok((stretch(text)?, 10.0)),
    }
}

/// One run, for programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulated {
    /// Name of the Rollout.
    pub rollout: String,
    /// How it ended; `None` if it did not.
    pub outcome: Option<Outcome>,
    /// Where it was at the end.
    pub state: RolloutState,
    /// Why.
    pub message: String,
    /// When it ended.
    pub ended_after: Span,
    /// When a rollback was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back_after: Option<Span>,
    /// Bad requests that canaries served.
    pub canary_bad: f64,
    /// All requests that canaries served.
    pub canary_requests: f64,
    /// What happened.
    pub timeline: Vec<Entry>,
    /// Traffic and evidence over time.
    pub samples: Vec<SampleOut>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When, from the push.
    pub after: Span,
    /// The component.
    pub component: String,
    /// The reason.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// The components at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SampleOut {
    /// Seconds from the push.
    pub seconds: f64,
    /// The component.
    pub component: String,
    /// The canary's share of traffic in per cent.
    pub weight: i32,
    /// Gate, ln E, limit.
    pub gates: Vec<(String, f64, f64)>,
}

/// Many runs.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Many {
    /// Name of the Rollout.
    pub rollout: String,
    /// How many were played.
    pub runs: u32,
    /// Rolled back, in full or in part.
    pub rolled_back: u32,
    /// Completed.
    pub completed: u32,
    /// Neither: held until the end of the simulation.
    pub held: u32,
    /// The share rolled back, with the bounds of its 95 % confidence interval (Clopper and Pearson).
    pub share: [f64; 3],
    /// The median time to the decision, a rollback or the end of the run, in seconds.
    pub decision_seconds_median: Option<f64>,
    /// Bad requests that canaries served, on average; `None` for recorded ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_bad_mean: Option<f64>,
    /// Who was rolled back, of recorded pods: pod and moment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
}

/// Plays it.
///
/// # Errors
/// When a file cannot be used, or no run could start.
pub fn simulate(args: &SimulateArgs, printer: &Printer) -> Result<ExitStatus, CliError> {
    let rollout = manifest::rollout_of(&args.file)?;
    let name = rollout.metadata.name.clone().unwrap_or_default();
    let rehearsal = rehearsal(&rollout.spec, replicas(&rollout), args);
    let recording = args.replay.as_ref().map(|path| recorded(path)).transpose()?;
    if let Some(recording) = recording.as_ref().filter(|_| args.aa) {
        return print_many(&aa(&name, &rehearsal, recording)?, args, printer);
    }
    if args.runs > 1 && recording.is_none() {
        return print_many(&many(&name, &rehearsal, args)?, args, printer);
    }
    let told = match &recording {
        Some(recording) => replayed(&rehearsal, recording)?,
        None => rehearse(&rehearsal, model(&rehearsal, args, 0), true),
    };
    if told.status.state == RolloutState::Stalled {
        return Err(stalled(&told));
    }
    if let Some(path) = &args.html {
        std::fs::write(path, html_page(&name, &rollout.spec, &told))?;
    }
    let text = match args.output {
        Some(form) => format::write(&simulated(&name, &told), form)?,
        None => {
            let heard = !rollout.spec.gates.iter().all(counts);
            let is_played = recording.is_none() && heard && args.worse.is_empty();
            render_simulation(&name, &told, is_played, printer.size().0, printer.style())
        }
    };
    printer.print(&text)?;
    Ok(if told.outcome == Some(Outcome::Completed) { ExitStatus::Success } else { ExitStatus::Refused })
}

fn print_many(known: &Many, args: &SimulateArgs, printer: &Printer) -> Result<ExitStatus, CliError> {
    let text = match args.output {
        Some(form) => format::write(known, form)?,
        None => render_many(known, printer.size().0, printer.style()),
    };
    printer.print(&text)?;
    Ok(ExitStatus::Success)
}

fn stalled(told: &Told) -> CliError {
    CliError::NothingToDo { why: format!("no run of it could start: {}", told.status.message) }
}

fn rehearsal(spec: &RolloutSpec, replicas: BTreeMap<String, i32>, args: &SimulateArgs) -> Rehearsal {
    let planned = Rehearsal::planned(spec).as_millis();
    Rehearsal {
        spec: spec.clone(),
        replicas: if args.replicas.is_some() { BTreeMap::new() } else { replicas },
        usual_replicas: args.replicas.unwrap_or(4),
        pod_lag: args.slow_pods,
        gateway_lag: Span::seconds(1),
        limit: Span::millis(planned.saturating_mul(2).saturating_add(3_600_000)),
    }
}

/// The traffic of one run.
fn model(rehearsal: &Rehearsal, args: &SimulateArgs, nth: u32) -> Model {
    let load = Load {
        per_second: args.rps,
        bad: args.error_rate,
        regression: args.regression,
        slowdown: args.slowdown,
        worse: args.worse.iter().cloned().collect(),
        onset: args.onset,
        blips: args.blip.clone(),
        outages: args.outage.clone(),
        seed: Some(args.seed.wrapping_add(u64::from(nth) << 32)),
    };
    Model::new(&rehearsal.spec, load, Timestamp::from_second(1_767_225_600).unwrap_or_default())
}

fn many(name: &str, rehearsal: &Rehearsal, args: &SimulateArgs) -> Result<Many, CliError> {
    let mut tally = Tally::default();
    for nth in 0..args.runs {
        let told = rehearse(rehearsal, model(rehearsal, args, nth), false);
        if told.status.state == RolloutState::Stalled {
            return Err(stalled(&told));
        }
        tally.add(&told);
    }
    Ok(tally.counted(name))
}

/// What many runs came to.
#[derive(Default)]
struct Tally {
    many: Many,
    decisions: Vec<f64>,
    bad: f64,
}

impl Tally {
    fn add(&mut self, told: &Told) {
        self.many.runs += 1;
        let is_back = told.rolled_back_at.is_some();
        self.many.rolled_back += u32::from(is_back);
        self.many.completed += u32::from(!is_back && told.outcome == Some(Outcome::Completed));
        self.many.held += u32::from(!is_back && told.outcome.is_none());
        let decided = told.rolled_back_at.or_else(|| told.outcome.map(|_| told.until));
        self.decisions.extend(decided.map(seconds));
        self.bad += told.served.0;
    }

    fn counted(mut self, name: &str) -> Many {
        self.decisions.sort_by(f64::total_cmp);
        let (hits, runs) = (f64::from(self.many.rolled_back), f64::from(self.many.runs.max(1)));
        let high = share_at_most(hits, runs, 0.975);
        let low = 1.0 - share_at_most(runs - hits, runs, 0.975);
        Many {
            rollout: name.to_owned(),
            share: [hits / runs, low, high],
            decision_seconds_median: self.decisions.get(self.decisions.len() / 2).copied(),
            canary_bad_mean: Some(self.bad / runs),
            ..self.many
        }
    }
}

fn seconds(span: Span) -> f64 {
    span.as_millis() as f64 / 1_000.0
}

/// A recording of a file.
fn recorded(path: &std::path::Path) -> Result<Recording, CliError> {
    let wrong = |why: String| CliError::File { path: path.display().to_string(), why };
    let recording: Recording =
        serde_json::from_str(&manifest::read(path)?).map_err(|error| wrong(error.to_string()))?;
    if recording.form == FORM { Ok(recording) } else { Err(wrong(format!("it is no {FORM}"))) }
}

/// The recorded run, judged again.
fn replayed(rehearsal: &Rehearsal, recording: &Recording) -> Result<Told, CliError> {
    let Some(began) =
        recording.began.filter(|_| recording.components.values().any(|it| !it.canary.is_empty()))
    else {
        let why =
            "no run is in the recording: it was made without the Rollout's status; --aa judges stable's pods"
                .to_owned();
        return Err(CliError::NothingToDo { why });
    };
    // A gateway accepts a route, and then acts by it.
    let of_gateway = rehearsal.gateway_lag.as_millis() * 2;
    let lag = recording.lag_millis.map_or(rehearsal.pod_lag, |lag| Span::millis((lag - of_gateway).max(0)));
    let it = Rehearsal { pod_lag: lag, ..rehearsal.clone() };
    Ok(rehearse(&it, Playback::new(recording, Cast::AsRecorded, began), true))
}

/// Each stable pod plays the canary, one run after the other through the recording.
fn aa(name: &str, rehearsal: &Rehearsal, recording: &Recording) -> Result<Many, CliError> {
    let whole = recording.to.duration_since(recording.from);
    let history = (whole / 2).min(jiff::SignedDuration::from_hours(6));
    let length =
        Rehearsal::planned(&rehearsal.spec).as_signed().saturating_add(jiff::SignedDuration::from_mins(2));
    let mut tally = Tally::default();
    let mut alarms = Vec::new();
    for component in &rehearsal.spec.components {
        for pod in recording.stable_pods(&component.name) {
            let mut begins_at = recording.from.saturating_add(history).unwrap_or(recording.to);
            loop {
                let cast = Cast::Pod(BTreeMap::from([(component.name.clone(), pod.clone())]));
                let it = alone(rehearsal, &component.name);
                let told = rehearse(&it, Playback::new(recording, cast, begins_at), false);
                if told.status.state == RolloutState::Stalled {
                    return Err(stalled(&told));
                }
                if told.rolled_back_at.is_some() {
                    let why = told.status.run.as_ref().map(|run| run.reason.clone()).unwrap_or_default();
                    alarms.push(format!("{pod} from {begins_at:.0}: {why}"));
                }
                tally.add(&told);
                begins_at = begins_at.saturating_add(length).unwrap_or(recording.to);
                if begins_at.saturating_add(length).unwrap_or(Timestamp::MAX) > recording.to {
                    break;
                }
            }
        }
    }
    if tally.many.runs == 0 {
        let why = "the recording holds no series of stable's pods".to_owned();
        return Err(CliError::NothingToDo { why });
    }
    Ok(Many { alarms, canary_bad_mean: None, ..tally.counted(name) })
}

/// The rehearsal of one component alone, with the gates that count: the others say nothing of one pod.
fn alone(rehearsal: &Rehearsal, component: &str) -> Rehearsal {
    let mut it = rehearsal.clone();
    it.spec.components.retain(|own| own.name == component);
    it.spec.hooks.clear();
    it.spec.gates.retain(counts);
    for own in &mut it.spec.components {
        own.depends_on.clear();
        own.gates.retain(counts);
    }
    let all = it.spec.components.iter_mut().flat_map(|own| &mut own.gates).chain(&mut it.spec.gates);
    for gate in all {
        gate.on_inconclusive = OnInconclusive::Promote;
        gate.on_no_data.then = Some(NoDataThen::Hold);
    }
    it.limit = Span::millis(Rehearsal::planned(&it.spec).as_millis().saturating_add(120_000));
    it
}

/// One run, for programs.
#[must_use]
pub fn simulated(name: &str, told: &Told) -> Simulated {
    let entry = |(after, it): &(Span, TimelineEntry)| Entry {
        after: *after,
        component: it.component.clone(),
        reason: it.reason.clone(),
        message: it.message.clone(),
    };
    let samples = told.samples.iter().flat_map(|(at, points)| {
        points.iter().map(|(component, point)| SampleOut {
            seconds: seconds(*at),
            component: component.clone(),
            weight: point.weight,
            gates: point.gates.iter().map(|(name, ln_e, limit, _)| (name.clone(), *ln_e, *limit)).collect(),
        })
    });
    let status = &told.status;
    Simulated {
        rollout: name.to_owned(),
        outcome: told.outcome,
        state: status.state,
        message: status.message.clone(),
        ended_after: told.until,
        rolled_back_after: told.rolled_back_at,
        canary_bad: told.served.0,
        canary_requests: told.served.1,
        timeline: told.happened.iter().map(entry).collect(),
        samples: samples.collect(),
    }
}
