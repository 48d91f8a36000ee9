//! `palier record`: the metrics of a Rollout's gates over a window, in a file that `palier simulate --replay` judges.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use crate::adapters::prometheus::PrometheusClient;
use crate::api::{ComponentStatus, Gate, Preset, Rollout, Rule, Span};
use crate::engine::query::{Variables, is_pod_of, pods_pattern, substitute};
use crate::engine::{Answer, Ask, Reason, choose};
use crate::sim::recording::{FORM, Recorded, RecordedLine, Recording, Revisions};

use super::metric_server::{Limits, MetricServerArgs};
use super::{CliError, ExitStatus, Printer, Target, clock, manifest};

/// The longest time for one answer.
const TIMEOUT: Span = Span::seconds(60);
/// The largest answer.
const BYTES_MAX: usize = 64 << 20;
/// Samples of one series in one answer: the server's own limit is 11 000.
const SAMPLES_MAX: i64 = 10_000;

/// Arguments of `palier record`.
#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    /// A file with the Rollout and its status, as `kubectl get rollout NAME -o yaml` writes it; - reads the standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// The metric server.
    #[command(flatten)]
    pub server: MetricServerArgs,
    /// The first moment: a time such as 2026-03-01T14:00:00Z, or how long ago, such as 24h
    #[arg(long, value_name = "WHEN")]
    pub from: String,
    /// The last moment
    #[arg(long, value_name = "WHEN", default_value = "0s")]
    pub to: String,
    /// From one sample to the next
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub step: Span,
    /// Stable's ReplicaSet of a component, where the status does not say it: [COMPONENT=]REPLICASET
    #[arg(long, value_name = "[COMPONENT=]SET")]
    pub stable: Vec<String>,
    /// The canary's ReplicaSet
    #[arg(long, value_name = "[COMPONENT=]SET")]
    pub canary: Vec<String>,
    /// When the run began that is to be judged again, where the status does not say it
    #[arg(long, value_name = "TIME")]
    pub began: Option<Timestamp>,
    /// The file to write; - for the standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub out: PathBuf,
}

/// Records.
///
/// # Errors
/// When the Rollout cannot be read, its ReplicaSets are not known, or the server does not answer.
pub async fn record(target: &Target, args: &RecordArgs, printer: &Printer) -> Result<ExitStatus, CliError> {
    let rollout = manifest::rollout_of(&args.file)?;
    let now = clock::now();
    let (from, to) = (moment(&args.from, now)?, moment(&args.to, now)?);
    if from >= to || args.step.is_zero() {
        return Err(CliError::Usage("--from must be before --to, and --step above zero".to_owned()));
    }
    let limits = Limits { timeout: TIMEOUT, max_bytes: BYTES_MAX };
    let Some(client) = args.server.client(target, limits).await? else {
        let says = "give --prometheus-url, or --metric-source with your kubeconfig";
        return Err(CliError::Usage(says.to_owned()));
    };
    let components = revisions(&rollout, args)?;
    let mut recording = Recording {
        form: FORM.to_owned(),
        rollout: rollout.metadata.name.clone().unwrap_or_default(),
        from,
        to,
        step_millis: args.step.as_millis(),
        began: args.began.or_else(|| began(&rollout)),
        lag_millis: lag(&rollout),
        components,
        series: Vec::new(),
    };
    for component in &rollout.spec.components {
        let Some(sets) = recording.components.get(&component.name).cloned() else { continue };
        for gate in rollout.spec.gates.iter().chain(&component.gates) {
            let variables = variables(&rollout, &component.name, gate, &sets);
            let wrong = |why: String| CliError::Usage(format!("gate {}: {why}", gate.name));
            let auto = match gate.prometheus.preset {
                Some(Preset::Auto) => Some(preset(&client, &rollout, gate, (&variables, &sets), to).await),
                _ => None,
            };
            let auto = auto.transpose().map_err(wrong)?;
            for (index, query) in queries(gate, auto).into_iter().enumerate() {
                let query = substitute(query, &variables).map_err(|error| wrong(error.to_string()))?;
                let lines = read(&client, &query, (from, to), args.step).await.map_err(wrong)?;
                let (component, gate) = (component.name.clone(), gate.name.clone());
                printer.say(&format!("{component}/{gate}: {} series\n", lines.len()));
                recording.series.push(Recorded { component, gate, index, preset: auto, query, lines });
            }
        }
    }
    let text = serde_json::to_string(&recording).map_err(|error| CliError::Format(error.to_string()))?;
    if args.out.as_os_str() == "-" {
        printer.print(&format!("{text}\n"))?;
    } else {
        std::fs::write(&args.out, text)?;
    }
    Ok(ExitStatus::Success)
}

/// A moment: a time, or how long ago.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, CliError> {
    if let Ok(span) = text.parse::<Span>() {
        return Ok(now.checked_sub(span.as_signed()).unwrap_or(Timestamp::UNIX_EPOCH));
    }
    let wrong = || {
        CliError::Usage(format!("{text:?} is neither a time (2026-03-01T14:00:00Z) nor how long ago (24h)"))
    };
    text.parse().map_err(|_| wrong())
}

/// The series of a query, in stretches that the server answers at once.
async fn read(
    client: &PrometheusClient,
    query: &str,
    (from, to): (Timestamp, Timestamp),
    step: Span,
) -> Result<Vec<RecordedLine>, String> {
    let mut all: BTreeMap<(String, String), RecordedLine> = BTreeMap::new();
    let length = SignedDuration::from_millis(step.as_millis().saturating_mul(SAMPLES_MAX));
    let mut begin = from;
    while begin <= to {
        let until = begin.saturating_add(length).unwrap_or(to).min(to);
        let ask = Ask::Series { queries: vec![query.to_owned()], from: begin, until, step };
        let lines = match client.ask(&ask).await {
            Answer::Series(answers) => answers.into_iter().flatten(),
            Answer::Failed(why) => return Err(why),
            other => return Err(format!("the server did not answer series: {other:?}")),
        };
        for line in lines {
            let mut kept = RecordedLine::of(&line);
            match all.get_mut(&(kept.pod.clone(), kept.le.clone())) {
                Some(known) => {
                    known.points.append(&mut kept.points);
                    known.histograms.append(&mut kept.histograms);
                }
                None => drop(all.insert((kept.pod.clone(), kept.le.clone()), kept)),
            }
        }
        let Ok(next) = until.checked_add(step.as_signed()) else { break };
        begin = next;
    }
    Ok(all.into_values().collect())
}

/// The queries of a gate; `auto` is what `Auto` stands for.
fn queries(gate: &Gate, auto: Option<Preset>) -> Vec<&str> {
    match gate.rule_by(auto.or(gate.prometheus.preset)) {
        Some(Rule::Number { query, .. } | Rule::Buckets { asked: Some(query), .. }) => vec![query],
        Some(Rule::Counters { asked: Some((bad, total)), .. }) => vec![bad, total],
        _ => Vec::new(),
    }
}

/// What `Auto` stands for: as the status says, else as the metric server has it at `to`.
async fn preset(
    client: &PrometheusClient,
    rollout: &Rollout,
    gate: &Gate,
    (variables, sets): (&Variables, &Revisions),
    to: Timestamp,
) -> Result<Preset, String> {
    let components = rollout.status.iter().flat_map(|it| &it.components);
    let mut counted = components.filter(|it| it.name == variables.component).flat_map(|it| &it.statistics);
    if let Some(known) = counted.find(|it| it.name == gate.name).and_then(|it| it.preset) {
        return Ok(known);
    }
    let ask = choose::which(gate, variables, to).map_err(|error| error.to_string())?;
    match client.ask(&ask).await {
        Answer::Series(series) => {
            let is_its_own = |pod: &str| is_pod_of(pod, &sets.canary) || is_pod_of(pod, &sets.stable);
            choose::chosen(gate, variables.service.is_some(), is_its_own, &series)
        }
        Answer::Failed(why) => Err(why),
        other => Err(format!("the server did not answer series: {other:?}")),
    }
}

fn variables(rollout: &Rollout, component: &str, gate: &Gate, sets: &Revisions) -> Variables {
    let own = rollout.spec.components.iter().find(|it| it.name == component);
    let traffic = own.and_then(|it| it.traffic.as_ref());
    let route = traffic.and_then(|it| {
        it.gateway_api.http_routes.iter().chain(&it.gateway_api.grpc_routes).next().map(|it| it.name.clone())
    });
    let canary = if sets.canary.is_empty() { &sets.stable } else { &sets.canary };
    let revision = |pick: fn(&ComponentStatus) -> Option<&crate::api::Revision>| {
        let status = rollout.status.as_ref()?.components.iter().find(|it| it.name == component)?;
        pick(status).map(|it| it.revision.clone())
    };
    Variables {
        namespace: rollout.metadata.namespace.clone().unwrap_or_default(),
        rollout: rollout.metadata.name.clone().unwrap_or_default(),
        component: component.to_owned(),
        phase: String::new(),
        window: gate.window,
        canary_pods: pods_pattern(canary),
        stable_pods: pods_pattern(&sets.stable),
        canary_set: canary.clone(),
        stable_set: sets.stable.clone(),
        canary_revision: revision(|it| it.canary.as_ref()).unwrap_or_default(),
        stable_revision: revision(|it| it.stable.as_ref()).unwrap_or_default(),
        service: traffic.map(|it| it.service.clone()),
        route,
    }
}

/// The ReplicaSets of the components: as the flags say, else as the status does.
fn revisions(rollout: &Rollout, args: &RecordArgs) -> Result<BTreeMap<String, Revisions>, CliError> {
    let of_flags = |flags: &[String], name: &str| {
        let of = |flag: &String| match flag.split_once('=') {
            Some((component, set)) => (component == name).then(|| set.to_owned()),
            None => Some(flag.clone()),
        };
        flags.iter().find_map(of)
    };
    let mut all = BTreeMap::new();
    for component in &rollout.spec.components {
        let name = &component.name;
        let status = rollout.status.iter().flat_map(|it| &it.components).find(|it| it.name == *name);
        let known = |pick: fn(&ComponentStatus) -> Option<&crate::api::Revision>| {
            status.and_then(pick).map(|it| it.replica_set.clone())
        };
        let stable = of_flags(&args.stable, name).or_else(|| known(|it| it.stable.as_ref()));
        let canary =
            of_flags(&args.canary, name).or_else(|| known(|it| it.canary.as_ref())).unwrap_or_default();
        let Some(stable) = stable else {
            let why = format!(
                "the ReplicaSet of {name} is not known: give --stable {name}=REPLICASET, or the Rollout with its status"
            );
            return Err(CliError::Usage(why));
        };
        let canary = if canary == stable { String::new() } else { canary };
        all.insert(name.clone(), Revisions { stable, canary });
    }
    Ok(all)
}

fn began(rollout: &Rollout) -> Option<Timestamp> {
    rollout.status.as_ref()?.run.as_ref().map(|run| run.started_at)
}

/// The time from the start of the run to the first weight.
fn lag(rollout: &Rollout) -> Option<i64> {
    let run = rollout.status.as_ref()?.run.as_ref()?;
    let reached = run.timeline.iter().find(|it| it.reason == Reason::PhaseReached.as_str())?;
    i64::try_from(reached.at.duration_since(run.started_at).as_millis()).ok()
}
