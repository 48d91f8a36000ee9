//! Namespaces of our own: this program runs itself again inside them, so that a lab can neither be reached, nor disturb, nor stay.
//!
//! ```text
//! program ─▶ setpriv ─▶ unshare ─▶ program again, process 1 of its own world ─▶ etcd, kube-apiserver, …
//! ```
//!
//! When any of the first three dies the kernel ends all that is to the right of it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::tools::Tools;

const DIR: &str = "PALIER_LAB_INSIDE";
const TOOLS: &str = "PALIER_LAB_TOOLS";
const KEEP: &str = "PALIER_LAB_KEEP";
const GRACE: Duration = Duration::from_secs(5);

/// Proof that the program runs inside, with what a lab needs to know.
#[derive(Clone, Debug)]
pub struct Place {
    /// Folder for logs, kubeconfigs and data.
    pub dir: PathBuf,
    /// The programs to run.
    pub tools: Tools,
}

/// Comes back with a [`Place`] inside the namespaces. Outside it prepares them, runs this program again in there with the same
/// arguments, and never comes back: the program ends with the exit status of its second self.
///
/// The folder is `dir`, or a temporary one that is deleted after a success, unless `PALIER_LAB_KEEP` is set.
pub fn enter(dir: Option<&Path>) -> Result<Place> {
    if let (Ok(dir), Ok(tools)) = (env::var(DIR), env::var(TOOLS)) {
        return arrive(PathBuf::from(dir), &tools);
    }
    let tools = Tools::build()?;
    let (dir, temporary) = match dir {
        Some(dir) => (dir.to_owned(), false),
        None => (temporary_dir(), env::var_os(KEEP).is_none()),
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let dir = dir.canonicalize()?;
    for stale in ["pid", "arrived"] {
        let _ = fs::remove_file(dir.join(stale));
    }
    let status = run_inside(&dir, &tools)?;
    if !status.success() && !dir.join("arrived").exists() {
        eprintln!(
            "lab: this machine refuses namespaces: run as root, or allow user namespaces; a container needs --privileged"
        );
    }
    if temporary && status.success() {
        let _ = fs::remove_dir_all(&dir);
    } else {
        eprintln!("lab: logs are in {}", dir.display());
    }
    std::process::exit(status.code().unwrap_or(1))
}

/// Runs a command inside a lab that is up in `dir`.
pub fn visit(dir: &Path, command: &[String]) -> Result<ExitCode> {
    let pid =
        fs::read_to_string(dir.join("pid")).with_context(|| format!("no lab is up in {}", dir.display()))?;
    let tools = Tools::parse(&fs::read_to_string(dir.join("tools"))?);
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", pid.trim(), "--net", "--pid", "--mount"]);
    let users = |process: &str| fs::read_link(format!("/proc/{process}/ns/user"));
    if users(pid.trim()).context("the lab has ended")? != users("self")? {
        nsenter.args(["--user", "--preserve-credentials"]);
    }
    nsenter.arg("--").args(command).env("PATH", tools.search_path());
    nsenter.env("KUBECONFIG", dir.canonicalize()?.join("admin.kubeconfig"));
    let status = nsenter.status().context("cannot run nsenter (package util-linux)")?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

fn temporary_dir() -> PathBuf {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    env::temp_dir().join(format!("palier-lab-{}-{}", std::process::id(), now.as_millis()))
}

fn run_inside(dir: &Path, tools: &str) -> Result<ExitStatus> {
    fs::write(dir.join("tools"), tools)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The kernel sends the death signal when the *thread* that made the child ends: it must be this one, the main one.
        let mut command = tokio::process::Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "--pid", "--fork", "--mount"]);
        command.args(["--mount-proc", "--kill-child"]);
        if !is_privileged() {
            command.arg("--map-root-user");
        }
        command.arg("--").arg(env::current_exe()?).args(env::args_os().skip(1));
        command.env(DIR, dir).env(TOOLS, tools);
        let mut child = command.spawn().context("cannot run setpriv and unshare (package util-linux)")?;
        let unshare = child.id().context("unshare ended at once")?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let pid_file = dir.join("pid");
        let mut poll = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                status = child.wait() => return Ok(status?),
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = poll.tick(), if !pid_file.exists() => if let Some(pid) = inner(unshare) {
                    fs::write(&pid_file, pid.as_raw_nonzero().to_string())?;
                },
            }
        }
        if let Some(pid) = inner(unshare) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
            return Ok(status?);
        }
        child.kill().await?;
        Ok(child.wait().await?)
    })
}

/// Whether namespaces may be made as we are. If not, a user namespace comes first.
fn is_privileged() -> bool {
    let probe = Command::new("unshare").args(["--net", "--mount", "true"]).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

/// The process that is number 1 inside, by its number outside.
fn inner(unshare: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

fn arrive(dir: PathBuf, tools: &str) -> Result<Place> {
    ensure!(std::process::id() == 1, "{DIR} is set, but this is not the first process of a lab");
    // Pods (10/8), Services and API servers (198.18/15) are all this machine, and there is no way out.
    ip(&["link", "set", "lo", "up"])?;
    ip(&["route", "add", "local", "10.0.0.0/8", "dev", "lo"])?;
    ip(&["route", "add", "local", "198.18.0.0/15", "dev", "lo"])?;
    ip(&["addr", "add", "198.18.255.1/32", "dev", "lo"])?;
    fs::write(dir.join("arrived"), "")?;
    Ok(Place { dir, tools: Tools::parse(tools) })
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip (package iproute2)")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {words}", arguments.join(" "));
    Ok(())
}
