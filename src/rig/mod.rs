//! A rig: the real controller on the API server in this process, with Kubernetes' own controllers, a gateway, a metric server and people
//! around it, on a time that does not pass while anybody works. One seed decides everything that happens by chance, so that a run can be
//! played again.
//!
//! ```text
//! replicas (controller::run) ─► connection, weather ─► ApiServer ◄─ nature, people
//!                            └► Prometheus
//! ```

pub mod given;
pub mod people;
pub mod prometheus;
pub mod replica;
pub mod time;
pub mod visitors;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::select_all;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::adapters::kube::backoff;
use crate::apiserver::admission::Chart;
use crate::apiserver::natives::{Nature, Settings};
use crate::apiserver::{ApiServer, Kind, Store};

pub use prometheus::{Given, Mood, Prometheus, Proof};
pub use replica::{Replica, Setup};
pub use time::RigTime;

/// The ServiceAccount of the controllers.
pub const CONTROLLER: &str = "system:serviceaccount:palier-system:palier";
/// The time at which every rig begins: a moment like any other.
const BEGIN: &str = "2026-01-05T08:00:00Z";

/// A cluster with everything around the controller.
#[derive(Clone)]
pub struct Rig {
    /// The API server.
    pub server: ApiServer,
    /// The metric server.
    pub prometheus: Prometheus,
    /// The clock of the API server.
    pub time: RigTime,
    nature: Arc<Mutex<Nature>>,
    stirred: Arc<watch::Sender<u64>>,
}

/// Something did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not within {} s of the rig's time: {what}", .within.as_secs())]
pub struct Late {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub within: Duration,
}

/// Plays a story on a rig of its own. Time is the rig's: hours go by as fast as they can be worked through.
///
/// # Errors
/// When no runtime can be had.
pub fn play<T>(
    seed: u64,
    settings: Settings,
    story: impl AsyncFnOnce(Rig) -> T,
) -> Result<T, std::io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    backoff::seed(seed);
    Ok(runtime.block_on(async move {
        let rig = Rig::new(settings);
        let nature = tokio::spawn(rig.clone().let_nature_work());
        let told = story(rig).await;
        nature.abort();
        told
    }))
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let time = RigTime::starting(BEGIN.parse().unwrap_or(Timestamp::UNIX_EPOCH));
        let clock = time.clone();
        let server = ApiServer::new(
            Chart::of(CONTROLLER).install(Store::new(Vec::new())),
            Arc::new(move || clock.now()),
        );
        Self {
            server,
            prometheus: Prometheus::new(time.clone()),
            time,
            nature: Arc::new(Mutex::new(Nature::new(settings))),
            stirred: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Changes how the cluster behaves.
    pub fn nature(&self, change: impl FnOnce(&mut Nature)) {
        change(&mut self.locked());
        self.stirred.send_modify(|count| *count += 1);
    }

    /// Does something to the pods, nodes or objects of the cluster that no person asked for.
    pub fn disturb<T>(&self, disturb: impl FnOnce(&mut Nature, &mut Store) -> T) -> T {
        let done = self.server.write(|store| disturb(&mut self.locked(), store));
        self.stirred.send_modify(|count| *count += 1);
        done
    }

    /// Waits until `is_so` of what the API server holds.
    ///
    /// # Errors
    /// When it is not so within that time.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        is_so: impl Fn(&Store) -> bool,
    ) -> Result<(), Late> {
        let deadline = Instant::now() + within;
        let mut changes: Vec<_> = Kind::ALL.iter().map(|kind| self.server.changes(*kind)).collect();
        loop {
            if self.server.read(&is_so) {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, any(&mut changes)).await.is_err() {
                return Err(Late { what: what.to_owned(), within });
            }
        }
    }

    async fn let_nature_work(self) {
        let mut changes: Vec<_> = Kind::ALL.iter().map(|kind| self.server.changes(*kind)).collect();
        changes.push(self.stirred.subscribe());
        loop {
            let now = self.time.now();
            let due = self.server.write(|store| self.locked().step(store, now));
            let pause = due.map_or(Duration::from_secs(3_600), |due| {
                Duration::try_from(due.duration_since(now)).unwrap_or_default().max(Duration::from_millis(1))
            });
            // Its own changes are news to it as well: some of them are for the next step.
            let _ = tokio::time::timeout(pause, any(&mut changes)).await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Nature> {
        self.nature.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until one of them changes.
async fn any(changes: &mut [watch::Receiver<u64>]) {
    select_all(changes.iter_mut().map(|one| one.changed().boxed())).await.0.unwrap_or_default();
}
