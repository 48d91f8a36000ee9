//! Controllers: processes of the built program that run with a ServiceAccount's rights, and can be killed, frozen and started again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::lab::{Lab, eventually};

/// The program under test.
pub const PALIER: &str = env!("CARGO_BIN_EXE_palier");
/// Controllers listen on ports of their own, from here on.
static NEXT_PORT: AtomicU16 = AtomicU16::new(18080);
const READY_WITHIN: Duration = Duration::from_secs(30);
const LEASE: &str = "palier";
/// Lines of its log that a failure shows.
const TAIL: usize = 40;

/// How a controller is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its rights.
    pub kubeconfig: PathBuf,
    /// The namespace of its Lease.
    pub home: String,
    /// The one namespace it works in; all of them when absent.
    pub only: Option<String>,
    /// Arguments besides.
    pub extra: Vec<String>,
}

/// One replica of the controller. It ends with the lab, or when told to.
#[derive(Clone, Debug)]
pub struct Controller {
    /// Name of the process, of its log, and its identity as a candidate for the Lease.
    pub name: String,
    /// Where it serves its probes and metrics.
    pub port: u16,
    launch: Launch,
}

impl Controller {
    /// Starts a replica and waits until it answers its liveness probe. A standby answers it too.
    pub async fn start(lab: &Lab, name: &str, launch: Launch) -> Result<Self> {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let controller = Self { name: name.to_owned(), port, launch };
        controller.spawn(lab).await?;
        Ok(controller)
    }

    /// Starts it again after it was stopped or killed: another process under the same name.
    pub async fn start_again(&self, lab: &Lab) -> Result<()> {
        self.spawn(lab).await
    }

    async fn spawn(&self, lab: &Lab) -> Result<()> {
        let mut command = Command::new(PALIER);
        command.arg("run");
        command.arg("--kubeconfig").arg(&self.launch.kubeconfig);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--identity", &self.name]);
        command.args(["--lease-namespace", &self.launch.home]);
        if let Some(namespace) = &self.launch.only {
            command.args(["--namespace", namespace]);
        }
        command.args(&self.launch.extra);
        command.env_remove("KUBECONFIG").env("HOME", lab.dir());
        lab.spawn(&self.name, command)?;
        let (http, url) = (reqwest::Client::new(), format!("http://127.0.0.1:{}/healthz", self.port));
        let answers = eventually(format!("{} answers {url}", self.name), READY_WITHIN, async || {
            http.get(&url).send().await?.error_for_status()?;
            Ok(())
        });
        lab.children().unless_dead(&self.name, answers).await
    }

    /// The namespace of its Lease.
    pub fn home(&self) -> &str {
        &self.launch.home
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&self, lab: &Lab) -> Result<()> {
        lab.children().kill(&self.name)
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&self, lab: &Lab) -> Result<()> {
        lab.children().pause(&self.name)
    }

    /// Lets it go on after a freeze (SIGCONT).
    pub fn resume(&self, lab: &Lab) -> Result<()> {
        lab.children().resume(&self.name)
    }

    /// Asks it to end (SIGTERM) and waits.
    pub fn stop(&self, lab: &Lab) -> Result<()> {
        lab.stop(&self.name).map(drop)
    }

    /// Whether its process lives.
    pub fn is_running(&self, lab: &Lab) -> bool {
        lab.children().is_running(&self.name)
    }

    /// The page that Prometheus would read.
    pub async fn metrics(&self) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        Ok(reqwest::get(url).await?.error_for_status()?.text().await?)
    }

    /// Whether its log speaks of `word`.
    pub fn has_said(&self, lab: &Lab, word: &str) -> bool {
        let log = std::fs::read(lab.children().log(&self.name)).unwrap_or_default();
        String::from_utf8_lossy(&log).contains(word)
    }

    /// The last lines of its log that speak of `word`.
    pub fn log_about(&self, lab: &Lab, word: &str) -> String {
        log_tail(&lab.children().log(&self.name), word)
    }
}

fn log_tail(path: &Path, word: &str) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(word)).collect();
    let tail = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
    format!("--- {} about {word}\n{}\n", path.display(), tail.join("\n"))
}

/// Who holds the Lease in a namespace, when it was claimed last, and in which term.
pub async fn leader(lab: &Lab, home: &str) -> Result<(String, Option<Timestamp>, i32)> {
    let leases: Api<Lease> = Api::namespaced(lab.client(), home);
    let lease = leases.get(LEASE).await.context("there is no Lease yet")?.spec.unwrap_or_default();
    let renewed = lease.renew_time.map(|time| time.0);
    Ok((lease.holder_identity.unwrap_or_default(), renewed, lease.lease_transitions.unwrap_or_default()))
}

/// Takes the Lease from a leader that was killed, as if it had expired: the next one need not wait for that.
pub async fn free_lease(lab: &Lab, home: &str) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(lab.client(), home);
    let nobody = Patch::Merge(json!({"spec": {"holderIdentity": ""}}));
    leases.patch(LEASE, &PatchParams::default(), &nobody).await.context("cannot free the Lease")?;
    Ok(())
}

/// Waits until one of the candidates holds the Lease, and gives it.
pub async fn until_led<'a>(lab: &Lab, home: &str, candidates: &'a [Controller]) -> Result<&'a Controller> {
    eventually("a controller leads", READY_WITHIN, async || {
        let (holder, ..) = leader(lab, home).await?;
        let found = candidates.iter().find(|one| one.name == holder);
        found.ok_or_else(|| format!("{holder:?} holds the Lease").into())
    })
    .await
}
