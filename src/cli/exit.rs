//! How a command ends.

/// The exit status of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It is done; a watched run ended well. 0
    Success,
    /// The answer is no: a watched run was rolled back, an action was refused. 1
    Refused,
    /// It could not be done. 2, as for a wrong command line
    Error,
    /// The time given with `--timeout` is over. 3
    TimedOut,
    /// Ctrl-C. 130, as shells say it
    Interrupted,
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Success => 0,
            ExitStatus::Refused => 1,
            ExitStatus::Error => 2,
            ExitStatus::TimedOut => 3,
            ExitStatus::Interrupted => 130,
        })
    }
}
