//! The process that is measured: one controller of the built program, with the rights that the chart gives it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::Bench;
use crate::install::{HOME, RELEASE};
use crate::lab::audit::{Entries, Mark};
use crate::lab::children::Usage;
use crate::lab::{Lab, eventually};

static NEXT_PORT: AtomicU16 = AtomicU16::new(18080);
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A controller. It ends when dropped.
pub struct Subject<'b> {
    lab: &'b Lab,
    name: String,
    /// Where it serves its metrics.
    port: u16,
}

/// The program: `BENCH_PALIER`, or the one that Cargo has built for this benchmark.
fn program() -> PathBuf {
    std::env::var_os("BENCH_PALIER").map_or_else(|| env!("CARGO_BIN_EXE_palier").into(), PathBuf::from)
}

/// Bytes of the program.
pub fn binary_size() -> Result<u64> {
    let program = program();
    Ok(program.metadata().with_context(|| format!("no {}", program.display()))?.len())
}

impl<'b> Subject<'b> {
    /// Starts one and waits until it leads.
    pub async fn start(bench: &'b Bench, name: &str) -> Result<Self> {
        let lab = &bench.lab;
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(program());
        command.arg("run").arg("--kubeconfig").arg(lab.token_for(HOME, RELEASE).await?);
        command.args([
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--identity",
            name,
            "--lease-namespace",
            HOME,
        ]);
        command.args(["--prometheus-url", bench.stub.url()]);
        command.env_remove("KUBECONFIG").env("HOME", lab.dir());
        lab.spawn(name, command)?;
        let subject = Self { lab, name: name.to_owned(), port };
        let leads = eventually(format!("{name} leads"), READY_WITHIN, async || {
            let page = subject.page().await?;
            if page.lines().any(|line| line == "palier_leader 1") {
                Ok(())
            } else {
                Err("it does not lead".into())
            }
        });
        lab.children().unless_dead(name, leads).await?;
        Ok(subject)
    }

    /// What it has used.
    pub fn usage(&self) -> Result<Usage> {
        self.lab.children().usage(&self.name)
    }

    /// The page that Prometheus would read.
    pub async fn page(&self) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        Ok(reqwest::get(url).await?.error_for_status()?.text().await?)
    }

    /// What it asked of the API server since a mark, leader election apart.
    pub fn requests(&self, since: &Mark) -> Result<Entries> {
        requests(self.lab, since)
    }
}

impl Drop for Subject<'_> {
    fn drop(&mut self) {
        let _ = self.lab.stop(&self.name);
    }
}

/// What Palier asked of the API server since a mark, leader election apart.
pub fn requests(lab: &Lab, since: &Mark) -> Result<Entries> {
    let user = format!("system:serviceaccount:{HOME}:{RELEASE}");
    Ok(lab.audit().since(since)?.only(|entry| entry.user == user && !entry.is_lease()))
}
