//! The lab: a real control plane on this machine, for the end-to-end tests, the benchmark and the demo.
//!
//! ```text
//! enter()       builds what is missing, re-runs this program inside namespaces of its own (network, processes, mounts)
//! Lab::start()  etcd → kube-apiserver → controller manager, scheduler, KWOK, Traefik, Prometheus
//!
//! Load ──requests──▶ Traefik ──splits by HTTPRoute──▶ 10.x.y.z:8080 ─┐  every address is local in there:
//! Prometheus ──scrapes every second──▶ 127.0.0.1:9102/metrics ───────┴▶ Players, one task set that plays every pod
//! Moods ──in front of──▶ Prometheus            Audit ──reads──▶ the API server's audit log, the judge of who did what
//! ```
//!
//! Nothing of it is reachable from outside, nothing outlives the process, and several labs can run side by side. A program that
//! uses it has a `main` of its own (`harness = false`) and calls [`enter`] before anything else, before it starts a thread.

#![allow(dead_code, reason = "every target that includes the lab uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "real processes take real time")]
#![allow(clippy::print_stderr, reason = "the lab speaks to the person at the terminal")]
#![allow(unused_imports, reason = "the same is true of its names")]

pub mod access;
pub mod audit;
pub mod children;
mod control;
mod edge;
pub mod enter;
mod grpc;
mod link;
pub mod load;
pub mod moods;
pub mod objects;
pub mod players;
pub mod pods;
pub mod protobuf;
pub mod proxy;
pub mod report;
mod serve;
pub mod stub;
mod tally;
pub mod tools;
pub mod wait;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;
use tokio::runtime::{Builder, Runtime};

pub use access::User;
pub use audit::Audit;
pub use children::Children;
pub use enter::{Place, enter};
pub use link::Link;
pub use load::{Load, Target};
pub use moods::{Mood, Moods};
pub use players::Players;
pub use proxy::Proxy;
pub use report::Report;
pub use stub::Stub;
pub use wait::{Seen, eventually};

/// Where Traefik takes requests.
pub const GATEWAY_URL: &str = "http://127.0.0.1:8000";
const GATEWAY_PORT: u16 = 8000;
/// The real Prometheus.
pub const PROMETHEUS_URL: &str = "http://127.0.0.1:9090";

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// API servers on one etcd; tests of failing servers want two.
    pub api_servers: usize,
    /// Nodes of 10 000 pods each.
    pub nodes: usize,
    /// Traefik and a Gateway named `lab` in namespace `lab`.
    pub gateway: bool,
    /// Prometheus, and the [`Moods`] in front of it.
    pub prometheus: bool,
    /// Somebody who answers for the pods.
    pub players: bool,
    /// How long a deleted pod goes on answering, as a pod does that shuts down gracefully.
    pub termination_grace: Duration,
    /// People, besides the administrator, who get a kubeconfig.
    pub users: Vec<User>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_servers: 1,
            nodes: 1,
            gateway: true,
            prometheus: true,
            players: true,
            termination_grace: Duration::from_secs(1),
            users: Vec::new(),
        }
    }
}

impl Options {
    /// Only the control plane: what a benchmark needs.
    pub fn bare() -> Self {
        Self { gateway: false, prometheus: false, players: false, ..Self::default() }
    }
}

/// A running control plane. Everything that it started ends when it is dropped.
pub struct Lab {
    place: Place,
    options: Options,
    children: Children,
    access: access::Access,
    client: Client,
    objects: objects::Objects,
    players: Option<Players>,
    moods: Option<Moods>,
    // Apart from the callers' runtime: a test that blocks must not stop the pods from answering.
    services: Option<Runtime>,
    callers: Option<Runtime>,
}

impl Lab {
    /// Starts the parts that `options` asks for and waits until they are ready, about ten seconds.
    /// Call it outside of any async runtime; [`Lab::block_on`] has one.
    pub fn start(place: &Place, options: Options) -> Result<Self> {
        let begun = Instant::now();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let services = runtime("lab-services")?;
        let callers = runtime("lab-callers")?;
        let children = Children::new(&place.dir);
        let access = access::Access::new(&place.dir, &options.users)?;
        let setup = control::Setup { place, options: &options, children: &children, access: &access };
        let client = callers.block_on(setup.start())?;
        let objects = objects::Objects::new(client.clone());
        let mut lab = Self {
            place: place.clone(),
            options,
            children,
            access,
            client,
            objects,
            players: None,
            moods: None,
            services: Some(services),
            callers: Some(callers),
        };
        lab.furnish().with_context(|| format!("the lab's logs are in {}", place.dir.display()))?;
        eprintln!("lab: ready after {:.1} s", begun.elapsed().as_secs_f64());
        Ok(lab)
    }

    fn furnish(&mut self) -> Result<()> {
        if self.options.players {
            let client = self.services().block_on(self.access.client(0))?;
            let players = Players::start(client, self.options.termination_grace);
            self.players = Some(self.services().block_on(players)?);
        }
        if self.options.prometheus {
            // An earlier lab in the same folder is not this one's past.
            let _ = std::fs::remove_dir_all(self.place.dir.join("prometheus"));
            edge::start_prometheus(&self.place, &self.children)?;
            self.moods = Some(self.services().block_on(Moods::start(PROMETHEUS_URL))?);
        }
        self.block_on(edge::furnish(self))
    }

    fn services(&self) -> &Runtime {
        self.services.as_ref().expect("there until the lab is dropped")
    }

    /// Runs a future to its end on the callers' runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.callers.as_ref().expect("there until the lab is dropped").block_on(future)
    }

    /// Where logs, kubeconfigs and data are.
    pub fn dir(&self) -> &Path {
        &self.place.dir
    }

    /// Where the lab's programs are.
    pub fn tools(&self) -> &tools::Tools {
        &self.place.tools
    }

    /// A client with every right.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Kubeconfig of the administrator.
    pub fn kubeconfig_admin(&self) -> PathBuf {
        self.access.kubeconfig(access::ADMIN, 0)
    }

    /// Kubeconfig of one of [`Options::users`], or of [`access::ADMIN`], for one of the API servers.
    pub fn kubeconfig(&self, user: &str, server: usize) -> PathBuf {
        self.access.kubeconfig(user, server)
    }

    /// Kubeconfig with a fresh token of a ServiceAccount, for the first API server.
    pub async fn token_for(&self, namespace: &str, service_account: &str) -> Result<PathBuf> {
        self.access.token_for(&self.client, namespace, service_account, 0).await
    }

    /// The same for one of several API servers.
    pub async fn token_on(&self, namespace: &str, service_account: &str, server: usize) -> Result<PathBuf> {
        self.access.token_for(&self.client, namespace, service_account, server).await
    }

    /// Starts a program whose output goes to `<name>.log` in the lab's folder.
    pub fn spawn(&self, name: &str, command: Command) -> Result<u32> {
        self.children.spawn(name, command)
    }

    /// Asks a program to end (SIGTERM) and waits; kills it after ten seconds.
    pub fn stop(&self, name: &str) -> Result<ExitStatus> {
        self.children.stop(name)
    }

    /// Every program of the lab, its own parts included, by name: `etcd`, `kube-apiserver-0`, `traefik`, `prometheus`…
    pub fn children(&self) -> &Children {
        &self.children
    }

    /// Starts Prometheus again after `stop("prometheus")`, with its data.
    pub fn restart_prometheus(&self) -> Result<u32> {
        edge::start_prometheus(&self.place, &self.children)
    }

    /// Starts an API server again after it was stopped.
    pub async fn restart_api_server(&self, server: usize) -> Result<()> {
        let Self { place, options, children, access, .. } = self;
        let setup = control::Setup { place, options, children, access };
        setup.spawn_api_server(server, control::ETCD)?;
        setup.api_server_ready(server).await
    }

    /// Starts another API server on the same etcd, behind a link that can be frozen: then it knows only what it knew.
    pub async fn api_server_on_a_link(&self, server: usize) -> Result<Link> {
        let link = self.services().spawn(async { Link::to(control::ETCD).await }).await??;
        let Self { place, options, children, access, .. } = self;
        let setup = control::Setup { place, options, children, access };
        setup.spawn_api_server(server, &link.address().to_string())?;
        setup.api_server_ready(server).await?;
        Ok(link)
    }

    /// Those who play the pods. Absent when [`Options::players`] is off.
    pub fn players(&self) -> &Players {
        self.players.as_ref().expect("this lab was started without players")
    }

    /// The moody Prometheus. Absent when [`Options::prometheus`] is off.
    pub fn moods(&self) -> &Moods {
        self.moods.as_ref().expect("this lab was started without Prometheus")
    }

    /// A Prometheus that answers at once with what it is told to.
    pub async fn stub(&self, label: &str) -> Result<Stub> {
        let label = label.to_owned();
        self.services()
            .spawn(async move { Stub::start(&label).await })
            .await
            .context("the stub could not start")?
    }

    /// A Prometheus with moods in front of a stub, for a lab without the real one.
    pub async fn moods_before(&self, stub: &Stub) -> Result<Moods> {
        let upstream = stub.url().to_owned();
        let started = self.services().spawn(async move { Moods::start(&upstream).await });
        started.await.context("the moods could not start")?
    }

    /// A proxy in front of an API server that does to requests what it is told to.
    pub async fn proxy(&self, server: usize) -> Result<Proxy> {
        let upstream = access::Access::server(server);
        self.services()
            .spawn(async move { Proxy::start(&upstream).await })
            .await
            .context("the proxy could not start")?
    }

    /// Steady traffic through the gateway until it is stopped.
    pub fn load(&self, target: Target) -> Result<Load> {
        Load::start(self.services().handle(), target)
    }

    /// What the API servers wrote down.
    pub fn audit(&self) -> Audit {
        // One more than there were at the start may have come.
        let logs = (0..=self.options.api_servers).map(|server| control::audit_log(&self.place, server));
        Audit::new(logs.collect())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.children.kill_all();
        for runtime in [self.callers.take(), self.services.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

fn runtime(name: &str) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).thread_name(name).enable_all();
    builder.build().with_context(|| format!("cannot start the runtime {name}"))
}
