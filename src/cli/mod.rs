//! The command line: one file per command, one printer, an exit status instead of exits.

pub mod actions;
mod clock;
mod cluster;
mod completion;
pub mod crds;
pub mod demo;
mod error;
mod exit;
mod explain;
mod follow;
mod format;
mod history;
pub mod lint;
mod live;
mod logging;
mod manifest;
mod metric_server;
pub mod plan;
mod printer;
pub mod record;
mod run;
mod signals;
pub mod simulate;
mod status;
mod templates;
mod version;
pub mod view;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use actions::{ActionArgs, PromoteArgs, act};
pub use cluster::{Cluster, Target};
pub use error::{Asked, CliError, explain};
pub use exit::ExitStatus;
pub use explain::ExplainArgs;
pub use follow::{Goal, verdict};
pub use format::Format;
pub use history::{HistoryArgs, history};
pub use metric_server::MetricServerArgs;
pub use plan::PlanArgs;
pub use printer::{Captured, Colour, Printer};
pub use record::RecordArgs;
pub use run::RunArgs;
pub use simulate::SimulateArgs;
pub use status::{StatusArgs, status};

use crate::api::ActionKind;
use view::{Ink, wrap};

/// Phased rollouts for Kubernetes: every raise is earned, every rollback is instant
#[derive(Debug, Parser)]
#[command(name = "palier", version, propagate_version = false, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// Namespace to work in
    #[arg(short, long, global = true, value_name = "NAMESPACE", help_heading = "Global options")]
    namespace: Option<String>,
    /// Kubeconfig file to use
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    context: Option<String>,
    /// When to write colours: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    #[arg(hide_default_value = true, help_heading = "Global options")]
    color: Colour,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Three releases on a cluster in this process: a good one, a bad one, and one with kill -9
    Demo(demo::DemoArgs),
    /// Show where a Rollout is, live with -w
    Status(StatusArgs),
    /// Say why a Rollout is where it is, and what would change that
    Explain(ExplainArgs),
    /// Say what would happen if a new version were released now
    Plan(PlanArgs),
    /// Play a release on a virtual clock, with synthetic or recorded metrics
    Simulate(Box<SimulateArgs>),
    /// Save the metrics of a Rollout's gates, for simulate --replay
    Record(Box<RecordArgs>),
    /// Go back to the stable version
    Abort(ActionArgs),
    /// End the present bake now as if it had been earned
    Promote(PromoteArgs),
    /// Keep a run where it is; a failing gate still rolls it back
    Pause(ActionArgs),
    /// End a pause
    Resume(ActionArgs),
    /// Try the version again that was rolled back
    Retry(ActionArgs),
    /// List the runs of a Rollout, or show one of them
    History(HistoryArgs),
    /// Say what is wrong with manifests before anybody applies them
    Lint(Box<lint::LintArgs>),
    /// Run the controller (in the cluster)
    Run(Box<RunArgs>),
    /// Print the custom resource definitions as YAML
    Crds,
    /// Print a completion script
    Completion {
        /// The shell
        shell: completion::CompletedShell,
    },
    /// Print the version
    Version,
}

/// The whole command line, called by this name in its help.
#[must_use]
pub fn command(called: &str) -> clap::Command {
    Cli::command().bin_name(called.to_owned())
}

/// Parses and runs. Everything that goes wrong is said on standard error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitStatus {
    let args: Vec<OsString> = args.into_iter().collect();
    let called = called_as(args.first().map(OsString::as_os_str).unwrap_or_default());
    let parsed = command(called).try_get_matches_from(args).and_then(|found| Cli::from_arg_matches(&found));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and the version are answers too; if even they cannot be written nobody reads.
            let _ = answer.print();
            return if answer.use_stderr() { ExitStatus::Error } else { ExitStatus::Success };
        }
    };
    let printer = Printer::new(cli.global.color);
    match start(cli, &printer) {
        Ok(status) => status,
        Err(error) if error.is_closed_pipe() => ExitStatus::Success,
        Err(error) => {
            report(&printer, &error);
            ExitStatus::Error
        }
    }
}

/// `kubectl palier` when kubectl found us as its plugin `kubectl-palier`.
fn called_as(program: impl AsRef<Path>) -> &'static str {
    match program.as_ref().file_stem().and_then(|stem| stem.to_str()) {
        Some("kubectl-palier") => "kubectl palier",
        _ => "palier",
    }
}

/// Says what went wrong and what helps.
pub fn report(printer: &Printer, error: &CliError) {
    let style = printer.error_style();
    let width = printer.error_width();
    let mut said = wrap(&format!("error: {error}"), width).join("\n");
    said.replace_range(..6, &style.paint(Ink::Bad, "error:"));
    if let Some(cure) = error.cure() {
        said = format!("{said}\n{}", wrap(&cure, width).join("\n"));
    }
    printer.say(&format!("{said}\n"));
}

fn start(cli: Cli, printer: &Printer) -> Result<ExitStatus, CliError> {
    if let Command::Demo(args) = &cli.command {
        // It has a runtime of its own, with a time of its own.
        return demo::demo(args, printer);
    }
    // The controller too: it waits for the API server most of the time, and threads cost memory and time to wake each other.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(dispatch(cli, printer))
}

async fn dispatch(cli: Cli, printer: &Printer) -> Result<ExitStatus, CliError> {
    let Global { namespace, kubeconfig, context, .. } = cli.global;
    let target = Target { kubeconfig, context, namespace };
    let connect = || Cluster::connect(&target);
    match cli.command {
        Command::Demo(args) => demo::demo(&args, printer),
        Command::Status(args) => status(&connect().await?, &args, printer).await,
        Command::Explain(args) => explain::explain(&connect().await?, &args, printer).await,
        Command::Plan(args) if args.file.is_some() => plan::plan(None, &args, printer).await,
        Command::Plan(args) => plan::plan(Some(&connect().await?), &args, printer).await,
        Command::Simulate(args) => simulate::simulate(&args, printer),
        Command::Record(args) => record::record(&target, &args, printer).await,
        Command::Abort(args) => act(&connect().await?, ActionKind::Abort, &args, false, printer).await,
        Command::Pause(args) => act(&connect().await?, ActionKind::Pause, &args, false, printer).await,
        Command::Resume(args) => act(&connect().await?, ActionKind::Resume, &args, false, printer).await,
        Command::Retry(args) => act(&connect().await?, ActionKind::Retry, &args, false, printer).await,
        Command::Promote(PromoteArgs { full, args }) => {
            act(&connect().await?, ActionKind::Promote, &args, full, printer).await
        }
        Command::History(args) => history(&connect().await?, &args, printer).await,
        Command::Lint(args) => lint::run(&target, &args, printer).await,
        Command::Run(args) => run::run(&target, *args).await,
        Command::Crds => crds::crds(printer),
        Command::Completion { shell } => completion::completion(shell, printer),
        Command::Version => version::version(printer),
    }
}

/// A name as the API server accepts it, also written `rollout/NAME`.
fn rollout_name(text: &str) -> Result<String, String> {
    let name =
        ["rollout/", "rollouts/", "ro/"].iter().find_map(|kind| text.strip_prefix(kind)).unwrap_or(text);
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
    if is_name { Ok(name.to_owned()) } else { Err("not the name of a Rollout".to_owned()) }
}
