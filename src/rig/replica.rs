//! One replica of the controller: started again whenever it ends or is killed, each time as another process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::api::Interception;
use crate::apiserver::{Caller, Connection, Front, Weather};
use crate::controller::{PrometheusFlag, RunOptions, run};
use crate::server::{Health, Metrics};

use super::time::RigTime;
use super::{CONTROLLER, Rig};

/// How a replica runs.
pub struct Setup {
    /// Its name; its processes are called `palier-<name>-<number>`.
    pub name: String,
    /// The front end that it is connected to.
    pub front: Front,
    /// The weather of each of its processes, which are numbered from 1.
    pub weather: Box<dyn FnMut(u32) -> Option<Weather> + Send>,
    /// Its clock on the wall.
    pub time: RigTime,
    /// How long it takes to start again.
    pub restart: Duration,
    /// Whether hooks are run.
    pub hooks: bool,
}

/// A replica of the controller.
pub struct Replica {
    current: Arc<Mutex<Option<Process>>>,
    metrics: Metrics,
    starts: watch::Receiver<u32>,
    supervisor: AbortHandle,
}

#[derive(Clone)]
struct Process {
    pod: String,
    connection: Connection,
    shutdown: CancellationToken,
}

impl Setup {
    /// A replica in fair weather, right by the clock of `rig`, that starts again after a second.
    #[must_use]
    pub fn plain(rig: &Rig, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            front: Front::default(),
            weather: Box::new(|_| None),
            time: rig.time.another(),
            restart: Duration::from_secs(1),
            hooks: true,
        }
    }
}

impl Replica {
    /// Starts it.
    #[must_use]
    pub fn start(rig: &Rig, mut setup: Setup) -> Self {
        let (current, metrics): (Arc<Mutex<Option<Process>>>, _) = (Arc::default(), Metrics::new());
        let (started, starts) = watch::channel(0);
        let (rig, slot, counted) = (rig.clone(), current.clone(), metrics.clone());
        let supervisor = tokio::spawn(async move {
            for number in 1_u32.. {
                let process = begin(&rig, &mut setup, number);
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(process.clone());
                started.send_replace(number);
                let options = options(&rig, &setup, &process, counted.clone());
                let mut killed = process.connection.killed();
                let mut running = tokio::spawn(run(options));
                tokio::select! {
                    biased;
                    _ = killed.wait_for(|is_killed| *is_killed) => running.abort(),
                    _ = &mut running => {}
                }
                // What it left behind talks to nobody any more.
                process.connection.kill();
                tokio::time::sleep(setup.restart).await;
            }
        });
        Self { current, metrics, starts, supervisor: supervisor.abort_handle() }
    }

    /// Kills the process that runs now; another one starts in its place.
    pub fn kill(&self) {
        if let Some(process) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            process.connection.kill();
        }
    }

    /// Asks the process that runs now to end in good order; another one starts in its place.
    pub fn ask_to_end(&self) {
        if let Some(process) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            process.shutdown.cancel();
        }
    }

    /// The connection of the process that runs now.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|process| process.connection.clone())
    }

    /// How often it was started.
    #[must_use]
    pub fn starts(&self) -> u32 {
        *self.starts.borrow()
    }

    /// What all its processes counted.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Ends it for good, as a node that is lost.
    pub fn remove(self) {
        self.supervisor.abort();
        self.kill();
    }
}

fn begin(rig: &Rig, setup: &mut Setup, number: u32) -> Process {
    let pod = format!("palier-{}-{number}", setup.name);
    let caller = Caller::new(CONTROLLER, rig.time.now()).from_pod(&pod);
    let connection = rig.server.connect(caller, setup.front.clone(), (setup.weather)(number));
    Process { pod, connection, shutdown: CancellationToken::new() }
}

fn options(rig: &Rig, setup: &Setup, process: &Process, metrics: Metrics) -> RunOptions {
    let identity = process.pod.clone();
    let url = Url::parse("http://prometheus.monitoring:9090").ok();
    RunOptions {
        clock: setup.time.clock(),
        connect: rig.prometheus.connect(&identity, process.connection.killed()),
        client: process.connection.client.clone(),
        namespace: None,
        lease_namespace: "palier-system".to_owned(),
        lease_name: "palier".to_owned(),
        identity,
        lease_duration: Duration::from_secs(9),
        renew_deadline: Duration::from_secs(6),
        retry_period: Duration::from_secs(2),
        prometheus: url.map(|url| PrometheusFlag { url, allow_loopback: false }),
        interception: Interception::Auto,
        hooks: setup.hooks,
        // One at a time, so that the order of what happens is the seed's alone.
        concurrency: 1,
        metrics,
        health: Health::new(),
        shutdown: process.shutdown.clone(),
    }
}
