//! `palier history`: the runs of a Rollout.

use kube::api::{Api, ListParams};

use crate::api::RolloutRun;
use crate::api::names::ROLLOUT_LABEL;

use super::status::detail;
use super::view::{render_history, render_run};
use super::{Asked, CliError, Cluster, ExitStatus, Format, Printer, clock, format, rollout_name};

/// More runs than a Rollout can keep (`spec.runHistoryLimit` is 100 at most, and one is on).
const RUNS_MAX: u32 = 200;

/// Arguments of `palier history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT", value_parser = rollout_name)]
    pub rollout: String,
    /// Number of a run, for its whole record
    #[arg(value_name = "N")]
    pub run: Option<i64>,
    /// With N: the evidence of every component of a release of several parts, not only of those that failed
    #[arg(short, long, requires = "run")]
    pub all: bool,
    /// The objects for a program: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<Format>,
}

/// Lists the runs, or shows one.
///
/// # Errors
/// When they cannot be read, or there is no such run or Rollout.
pub async fn history(
    cluster: &Cluster,
    args: &HistoryArgs,
    printer: &Printer,
) -> Result<ExitStatus, CliError> {
    let mut runs = runs_of(cluster, &args.rollout).await?;
    if runs.is_empty() {
        // Says so when the Rollout itself is not there.
        cluster.rollout(&args.rollout).await?;
    }
    let (now, width, style) = (clock::now(), printer.size().0, printer.style());
    let text = match (args.run, args.output) {
        (Some(number), form) => {
            let run = runs.iter().find(|run| run.spec.number == number).ok_or_else(|| {
                let kept = match (runs.first(), runs.last()) {
                    (Some(first), Some(last)) => {
                        format!("kept are runs {} to {}", first.spec.number, last.spec.number)
                    }
                    _ => "there has been no run yet".to_owned(),
                };
                CliError::NothingToDo { why: format!("no record of run {number}: {kept}") }
            })?;
            match form {
                Some(form) => format::write(run, form)?,
                None => render_run(run, now, width, style, detail(args.all)),
            }
        }
        (None, Some(form)) => {
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": runs});
            format::write(&list, form)?
        }
        (None, None) if runs.is_empty() => "There has been no run yet.\n".to_owned(),
        (None, None) => {
            runs.reverse();
            render_history(&runs, now, width, style)
        }
    };
    printer.print(&text)?;
    Ok(ExitStatus::Success)
}

/// The recorded runs, oldest first.
async fn runs_of(cluster: &Cluster, rollout: &str) -> Result<Vec<RolloutRun>, CliError> {
    let api: Api<RolloutRun> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let asked = Asked {
        verb: "list",
        resource: "rolloutruns",
        kind: "RolloutRun",
        name: "",
        namespace: &cluster.namespace,
        server: &cluster.server,
    };
    let params = ListParams::default().labels(&format!("{ROLLOUT_LABEL}={rollout}")).limit(RUNS_MAX);
    let mut runs = cluster.ask(asked, api.list(&params)).await?.items;
    runs.retain(|run| run.spec.rollout == rollout);
    runs.sort_by_key(|run| run.spec.number);
    for run in &mut runs {
        run.metadata.managed_fields = None;
    }
    Ok(runs)
}
