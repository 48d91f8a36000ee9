//! `palier completion`: scripts for shells.

use clap_complete::Shell;

use super::{CliError, ExitStatus, Printer};

/// The shells that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CompletedShell {
    /// `source <(palier completion bash)`
    Bash,
    /// `palier completion zsh > "${fpath[1]}/_palier"`
    Zsh,
    /// `palier completion fish | source`
    Fish,
}

pub(super) fn completion(shell: CompletedShell, printer: &Printer) -> Result<ExitStatus, CliError> {
    let shell = match shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command("palier"), "palier", &mut script);
    printer.print(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}
