//! `palier status`: where a Rollout is.

use crate::api::{Rollout, Span};

use super::follow::{Follow, Goal, follow};
use super::templates;
use super::view::{Detail, render_status};
use super::{CliError, Cluster, ExitStatus, Format, Printer, clock, format, rollout_name};

/// Arguments of `palier status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT", value_parser = rollout_name)]
    pub rollout: String,
    /// Details of every component of a release of several parts, not only of those that need a look
    #[arg(short, long)]
    pub all: bool,
    /// Follow until the run ends: exit status 0 when it is completed, 1 when it was rolled back, in full or in part
    #[arg(short, long)]
    pub watch: bool,
    /// With -w: wait for the next run when none is on
    #[arg(long, requires = "watch")]
    pub next: bool,
    /// With -w: give up after this time, such as 90s or 1h30m (exit status 3)
    #[arg(long, value_name = "DURATION", requires = "watch")]
    pub timeout: Option<Span>,
    /// The whole object for a program: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<Format>,
}

/// Shows a Rollout, once or until its run ends.
///
/// # Errors
/// When it cannot be read.
pub async fn status(cluster: &Cluster, args: &StatusArgs, printer: &Printer) -> Result<ExitStatus, CliError> {
    let rollout = bare(cluster.rollout(&args.rollout).await?);
    if args.watch {
        let plan = Follow {
            cluster,
            name: &args.rollout,
            goal: Goal { run: if args.next { next_run(&rollout) } else { 0 }, back: false },
            timeout: args.timeout.map(Span::as_std),
            format: args.output,
            detail: detail(args.all),
            templates: templates::in_the_cluster(cluster, &rollout).await?,
        };
        return follow(&plan, rollout, printer).await;
    }
    let text = match args.output {
        Some(form) => format::write(&rollout, form)?,
        None => {
            let known = templates::in_the_cluster(cluster, &rollout).await?;
            let rollout = templates::as_far_as_known(rollout, &known);
            render_status(&rollout, clock::now(), printer.size().0, printer.style(), detail(args.all))
        }
    };
    printer.print(&text)?;
    Ok(ExitStatus::Success)
}

/// What `--all` asks for.
pub(super) const fn detail(is_all: bool) -> Detail {
    if is_all { Detail::All } else { Detail::Attention }
}

/// The number of the run that is on, or of the one to come.
fn next_run(rollout: &Rollout) -> i64 {
    match rollout.status.as_ref().and_then(|status| status.run.as_ref()) {
        Some(run) if run.ended_at.is_none() => run.number,
        Some(run) => run.number + 1,
        None => 1,
    }
}

/// Without the bookkeeping of the API server, as kubectl shows it.
pub(super) fn bare(mut rollout: Rollout) -> Rollout {
    rollout.metadata.managed_fields = None;
    rollout
}
