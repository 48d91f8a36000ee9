//! The lab for people: `lab up DIR` starts it and stays, `lab in DIR command…` runs a command inside.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for the terminal")]

#[path = "mod.rs"]
mod lab;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use lab::{Lab, Options};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: lab up DIR            start a control plane and stay until Ctrl-C
       lab in DIR COMMAND…   run a command inside, with KUBECONFIG and PATH set
       lab build             build the programs that are missing, and say where they are";

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up", dir] => up(Path::new(dir)),
        ["in", dir, _, ..] => lab::enter::visit(Path::new(dir), &arguments[2..]),
        ["build"] => {
            print!("{}", lab::tools::Tools::build()?);
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("{USAGE}"),
    }
}

fn up(dir: &Path) -> Result<ExitCode> {
    let place = lab::enter(Some(dir))?;
    let lab = Lab::start(&place, Options::default())?;
    let dir = lab.dir().display();
    println!("READY  Kubernetes, Traefik on {}, Prometheus on {}", lab::GATEWAY_URL, lab::PROMETHEUS_URL);
    println!("       cargo run --example lab -- in {dir} kubectl get nodes");
    lab.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}
