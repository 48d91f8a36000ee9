//! `palier lint`: what is wrong with manifests, before anybody applies them.

mod ask;
mod form;
mod gather;
mod live;
mod sarif;
pub mod yaml;

use std::path::PathBuf;

use crate::api::Span;
use crate::engine::lint::answers::send_home;
use crate::engine::lint::{Finding, Given, Severity, counting_gates, lint};

use super::metric_server::{Limits, MetricServerArgs};
use super::{CliError, Cluster, ExitStatus, Printer, Target};
use form::Placed;
use gather::Gathered;

/// A day of every second minute, of some dozens of pods.
const LIMITS: Limits = Limits { timeout: Span::seconds(30), max_bytes: 32 << 20 };

/// The form of the findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LintFormat {
    /// For people
    #[default]
    Text,
    /// A list for programs
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// Arguments of `palier lint`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 nothing to mend, 1 errors (with --strict also warnings), 2 it could not be done."
)]
pub struct LintArgs {
    /// Files, folders, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub paths: Vec<PathBuf>,
    /// Form of the findings: text, json, sarif
    #[arg(short, long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub output: LintFormat,
    /// Warnings count like errors
    #[arg(long)]
    pub strict: bool,
    /// Requests a second that each component gets, for what a phase can find out
    #[arg(long, value_name = "N", value_parser = above_zero)]
    pub rps: Option<f64>,
    /// Share of requests that fail today, from 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub error_rate: Option<f64>,
    /// Chance that one evaluation of a healthy release fails by a fixed limit, from 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub false_check: Option<f64>,
    /// Time between two samples of a series [default: 15s, as far as nobody says]
    #[arg(long, value_name = "DURATION")]
    pub scrape_interval: Option<Span>,
    /// Hold them against what the cluster has: named objects that are missing, Services, routes, pods and other Rollouts
    #[arg(long)]
    pub cluster: bool,
    /// The metric server: each query is asked once, and what yesterday's traffic would have got; requests a second, their
    /// share of bad ones, φ and ρ0 are measured.
    #[command(flatten)]
    pub server: MetricServerArgs,
}

fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("not a number above 0".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number < 1.0 => Ok(number),
        _ => Err("not a share above 0 and below 1: write 1 % as 0.01".to_owned()),
    }
}

pub(super) async fn run(target: &Target, args: &LintArgs, printer: &Printer) -> Result<ExitStatus, CliError> {
    let mut gathered = gather::gather(&args.paths)?;
    let mut given = Given {
        namespace: target.namespace.clone(),
        per_second: args.rps,
        bad: args.error_rate,
        scrape: args.scrape_interval,
        false_check: args.false_check,
        ..Given::default()
    };
    let values = gathered.values();
    let mut asked = Vec::new();
    if args.cluster {
        let cluster = Cluster::connect(target).await?;
        given.namespace = Some(cluster.namespace.clone());
        let live = live::look(&cluster, &values, &given).await?;
        given.live = live.objects.len();
        asked.extend(live.missing);
        gathered.add_live(live.objects);
    }
    if let Some(client) = args.server.client(target, LIMITS).await? {
        let said = ask::metrics(&client, &gathered.values(), &given).await;
        asked.extend(said.found);
        given.measured = said.measured;
    }
    send_home(&gathered.values(), &given, &mut asked);
    let mut findings = lint(&gathered.values(), &given);
    findings.extend(asked);
    let placed = placed(&gathered, findings);
    let text = match args.output {
        LintFormat::Text => form::text(&placed, &gathered, hint(args, &values).as_deref(), printer.style()),
        LintFormat::Json => form::json(&placed)?,
        LintFormat::Sarif => sarif::sarif(&placed)?,
    };
    printer.print(&text)?;
    let worst = placed.iter().map(|it| it.check.severity).max();
    let limit = if args.strict { Severity::Warning } else { Severity::Error };
    Ok(if worst.is_some_and(|it| it >= limit) { ExitStatus::Refused } else { ExitStatus::Success })
}

/// All findings in the order of files and lines.
fn placed(gathered: &Gathered, findings: Vec<Finding>) -> Vec<Placed> {
    let mut all: Vec<Placed> = gathered.broken.clone();
    all.extend(findings.into_iter().map(|it| gathered.place(it)));
    all.sort_by(|a, b| {
        (&a.file, a.line, a.column, a.check.code).cmp(&(&b.file, b.line, b.column, b.check.code))
    });
    all.dedup();
    all
}

/// What more could be said if more were known.
fn hint(args: &LintArgs, values: &[serde_json::Value]) -> Option<String> {
    let counting = counting_gates(values);
    let knows = (args.rps.is_some() && args.error_rate.is_some()) || args.server.is_given();
    (counting > 0 && !knows).then(|| {
        let gates =
            if counting == 1 { "1 gate compares".to_owned() } else { format!("{counting} gates compare") };
        format!(
            "{gates} with stable: with --rps and --error-rate, or a metric server, lint says whether the phases are long enough."
        )
    })
}
