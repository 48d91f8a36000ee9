//! The `palier` program; also works as the kubectl plugin `kubectl-palier`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // An error says that a provider is installed already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    palier::cli::main(std::env::args_os()).into()
}
