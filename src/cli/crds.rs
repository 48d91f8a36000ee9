//! `palier crds`: the custom resource definitions.

use crate::api::crds;

use super::{CliError, ExitStatus, Printer};

/// The definitions as YAML documents with `---` between them, in the order of [`crds::all`]; the same bytes every time.
///
/// # Errors
/// When a definition cannot be written as text.
pub fn documents() -> Result<String, CliError> {
    let yaml = |crd| crds::yaml(crd).map_err(|error| CliError::Format(error.to_string()));
    let documents: Result<Vec<String>, CliError> = crds::all().iter().map(yaml).collect();
    Ok(documents?.join("---\n"))
}

pub(super) fn crds(printer: &Printer) -> Result<ExitStatus, CliError> {
    printer.print(&documents()?)?;
    Ok(ExitStatus::Success)
}
