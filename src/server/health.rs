//! Whether the process is alive and ready: what the controller says of itself, what the probes read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// The control loop must have given a sign of life within this time.
pub const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(60);

/// A handle on the state of the process. Clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// Milliseconds between `started` and the latest sign of life.
    beat_millis: AtomicU64,
    synced: AtomicBool,
    stopping: AtomicBool,
    ended_task: OnceLock<&'static str>,
}

/// Held by a core task for as long as it runs. When it is dropped, by the end of the task or by a panic, the process
/// is not alive any more, unless it is stopping.
#[derive(Debug)]
#[must_use = "the task counts as ended when this is dropped"]
pub struct TaskGuard {
    task: &'static str,
    shared: Arc<Shared>,
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if !self.shared.stopping.load(Ordering::Acquire) {
            // Only the first task to end is named: the others often end because of it.
            let _ = self.shared.ended_task.set(self.task);
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// A process that has just started: alive, not ready. The start counts as the first sign of life.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                started: Instant::now(),
                beat_millis: AtomicU64::new(0),
                synced: AtomicBool::new(false),
                stopping: AtomicBool::new(false),
                ended_task: OnceLock::new(),
            }),
        }
    }

    /// A sign of life of the control loop; to be given at least every 60 s, with work or without, leader or standby.
    pub fn beat(&self) {
        self.shared.beat_millis.store(self.uptime_millis(), Ordering::Release);
    }

    /// Says whether the caches hold what the API server holds.
    pub fn set_synced(&self, synced: bool) {
        self.shared.synced.store(synced, Ordering::Release);
    }

    /// From now on core tasks may end, and nobody should send new work here.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
    }

    /// Registers a task without which the process is of no use.
    pub fn core_task(&self, task: &'static str) -> TaskGuard {
        TaskGuard { task, shared: self.shared.clone() }
    }

    /// Whether the process works.
    ///
    /// # Errors
    /// Says in words what does not: the process should then be restarted.
    pub fn alive(&self) -> Result<(), String> {
        if let Some(task) = self.shared.ended_task.get() {
            return Err(format!("the task {task:?} has ended"));
        }
        let beat = self.shared.beat_millis.load(Ordering::Acquire);
        let age = Duration::from_millis(self.uptime_millis().saturating_sub(beat));
        if age > HEARTBEAT_AGE_MAX {
            return Err(format!("no sign of life of the control loop for {} s", age.as_secs()));
        }
        Ok(())
    }

    /// Whether the process can take over at once; a standby replica is ready too.
    ///
    /// # Errors
    /// Says in words what is missing.
    pub fn ready(&self) -> Result<(), String> {
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err("stopping".to_owned());
        }
        if !self.shared.synced.load(Ordering::Acquire) {
            return Err("the caches are not filled yet".to_owned());
        }
        self.alive()
    }

    fn uptime_millis(&self) -> u64 {
        u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
