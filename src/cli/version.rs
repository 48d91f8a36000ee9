//! `palier version`.

use crate::api::names::{GROUP, VERSION};

use super::{CliError, ExitStatus, Printer};

pub(super) fn version(printer: &Printer) -> Result<ExitStatus, CliError> {
    printer.print(&format!("palier {} ({GROUP}/{VERSION})\n", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitStatus::Success)
}
