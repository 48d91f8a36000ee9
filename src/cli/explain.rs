//! `palier explain`: why a Rollout is where it is, and what would change that.

use crate::api::Rollout;

use super::status::bare;
use super::templates;
use super::view::{explanation, render_explanation};
use super::{CliError, Cluster, ExitStatus, Format, Printer, clock, format, rollout_name};

/// Arguments of `palier explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT", value_parser = rollout_name)]
    pub rollout: String,
    /// The same for a program: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<Format>,
}

/// Says it.
///
/// # Errors
/// When the Rollout cannot be read.
pub async fn explain(
    cluster: &Cluster,
    args: &ExplainArgs,
    printer: &Printer,
) -> Result<ExitStatus, CliError> {
    let rollout: Rollout = bare(cluster.rollout(&args.rollout).await?);
    let known = templates::in_the_cluster(cluster, &rollout).await?;
    let rollout = templates::as_far_as_known(rollout, &known);
    let known = explanation(&rollout, clock::now());
    let text = match args.output {
        Some(form) => format::write(&known, form)?,
        None => render_explanation(&known, clock::now(), printer.size().0, printer.style()),
    };
    printer.print(&text)?;
    Ok(ExitStatus::Success)
}
