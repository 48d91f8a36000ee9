//! The processes of the lab: each has a name and a log, and none outlives the lab.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};

const GRACE: Duration = Duration::from_secs(10);
const TAIL_LINES: usize = 15;

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time of all its threads.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub resident: u64,
    /// The most that it ever was.
    pub peak: u64,
    /// Resident memory of its own: heap, stacks and what the loader has changed, in bytes.
    pub anonymous: u64,
    /// Resident memory that is a copy of files: the program itself, in bytes.
    pub file: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Of a process by its id.
    pub fn of(pid: u32) -> Result<Self> {
        let read =
            |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).context("the process is gone");
        let (stat, status) = (read("stat")?, read("status")?);
        // The second field, in brackets, may hold spaces; user and system time are fields 14 and 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        let bytes = |key: &str| number(key) * 1024;
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).context("the process is gone")?;
        Ok(Self {
            cpu: Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64),
            resident: bytes("VmRSS:"),
            peak: bytes("VmHWM:"),
            anonymous: bytes("RssAnon:"),
            file: bytes("RssFile:"),
            descriptors: descriptors.count() as u64,
            threads: number("Threads:"),
        })
    }
}

/// Named child processes.
pub struct Children {
    dir: PathBuf,
    running: Mutex<BTreeMap<String, Child>>,
}

impl Children {
    /// No processes yet; their logs go to `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), running: Mutex::default() }
    }

    /// Starts a program. Its output goes to the end of `<name>.log`.
    pub fn spawn(&self, name: &str, mut command: Command) -> Result<u32> {
        let mut running = self.lock();
        if let Some(child) = running.get_mut(name) {
            ensure!(child.try_wait()?.is_some(), "{name} is running already");
        }
        let log = self.log(name);
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child =
            command.spawn().with_context(|| format!("cannot start {name}: {:?}", command.get_program()))?;
        let pid = child.id();
        running.insert(name.to_owned(), child);
        Ok(pid)
    }

    /// Asks a program to end and waits; kills it when it takes longer than ten seconds.
    pub fn stop(&self, name: &str) -> Result<ExitStatus> {
        let mut child = self.take(name)?;
        signal(&child, Signal::TERM)?;
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill()?;
        child.wait()?;
        bail!("{name} did not end within {GRACE:?} of SIGTERM\n{}", self.tail(name))
    }

    /// Ends a program at once (SIGKILL).
    pub fn kill(&self, name: &str) -> Result<()> {
        let mut child = self.take(name)?;
        child.kill().and_then(|()| child.wait()).with_context(|| format!("cannot kill {name}"))?;
        Ok(())
    }

    /// Freezes a program (SIGSTOP).
    pub fn pause(&self, name: &str) -> Result<()> {
        self.send(name, Signal::STOP)
    }

    /// Lets a frozen program go on (SIGCONT).
    pub fn resume(&self, name: &str) -> Result<()> {
        self.send(name, Signal::CONT)
    }

    /// Process id of a running program.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.lock().get(name).map(Child::id)
    }

    /// What a program has used so far.
    pub fn usage(&self, name: &str) -> Result<Usage> {
        Usage::of(self.pid(name).with_context(|| format!("{name} is not running"))?)
    }

    /// Programs that ended by themselves, as a message with the end of their logs; empty when all is well.
    pub fn casualties(&self) -> String {
        let mut running = self.lock();
        let dead = running.iter_mut().filter_map(|(name, child)| match child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("{name} ended: {status}\n{}", self.tail(name))),
            Err(error) => Some(format!("{name}: {error}")),
        });
        dead.collect::<Vec<_>>().join("\n")
    }

    /// Waits for something that a program is to do, no longer than the program lives. Failures come with the end of its log.
    pub async fn unless_dead<T>(&self, name: &str, wait: impl Future<Output = Result<T>>) -> Result<T> {
        let death = async {
            while self.is_running(name) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            done = wait => done,
            () = death => Err(anyhow!("{name} ended")),
        }
        .with_context(|| self.tail(name))
    }

    /// Whether a program lives.
    pub fn is_running(&self, name: &str) -> bool {
        self.lock().get_mut(name).is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends everything at once.
    pub fn kill_all(&self) {
        let mut running = std::mem::take(&mut *self.lock());
        // All are told before the first is waited for.
        for child in running.values_mut() {
            let _ = child.kill();
        }
        for child in running.values_mut() {
            let _ = child.wait();
        }
    }

    /// Where a program's output goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// The end of a program's log, with its path.
    pub fn tail(&self, name: &str) -> String {
        let path = self.log(name);
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("--- end of {}\n{}\n---", path.display(), tail.join("\n"))
    }

    fn send(&self, name: &str, which: Signal) -> Result<()> {
        let running = self.lock();
        let child = running.get(name).with_context(|| format!("{name} is not running"))?;
        signal(child, which)
    }

    fn take(&self, name: &str) -> Result<Child> {
        self.lock().remove(name).with_context(|| format!("{name} is not running"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn signal(child: &Child, which: Signal) -> Result<()> {
    kill_process(Pid::from_child(child), which)
        .with_context(|| format!("cannot signal process {}", child.id()))
}
