//! A proxy between one controller and an API server that does what networks and busy servers do: it loses requests and replies,
//! delivers twice, refuses, holds back, and cuts or silences watches. The caller's credentials pass through; what it answers by
//! itself is what an API server or a balancer in front of it answers.

mod forward;
mod rules;
mod watches;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use regex::Regex;

use super::serve;
use rules::Rules;
pub use rules::{Fault, Hold, Where};
pub use watches::Mood as Watches;

/// The proxy. It serves until the lab ends.
pub struct Proxy {
    url: String,
    state: Arc<State>,
}

struct State {
    upstream: Mutex<String>,
    http: reqwest::Client,
    rules: Mutex<Rules>,
    counts: Mutex<BTreeMap<&'static str, usize>>,
    watches: tokio::sync::watch::Sender<watches::Orders>,
}

impl State {
    fn count(&self, what: &'static str) {
        *lock(&self.counts).entry(what).or_default() += 1;
    }
}

/// Never held over an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Starts in front of the API server at `upstream`, on a port of loopback.
    pub async fn start(upstream: &str) -> Result<Self> {
        let listener = serve::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        // Only loopback and the lab's own addresses are reached; nobody stands in between.
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
        let http = http.retry(reqwest::retry::never()).redirect(reqwest::redirect::Policy::none());
        let state = Arc::new(State {
            upstream: Mutex::new(upstream.to_owned()),
            http: http.build()?,
            rules: Mutex::default(),
            counts: Mutex::default(),
            watches: tokio::sync::watch::Sender::default(),
        });
        let serving = state.clone();
        tokio::spawn(async move {
            while let Some((stream, _)) = serve::accept(&listener).await {
                let _ = stream.set_nodelay(true);
                let state = serving.clone();
                let handler = service_fn(move |request| forward::answer(state.clone(), request));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), handler);
                // Ends with an error when an answer is withheld: that is what it is for.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Ok(Self { url, state })
    }

    /// The same kubeconfig, but for this proxy's address.
    pub fn kubeconfig(&self, of: &Path) -> Result<PathBuf> {
        let text = std::fs::read_to_string(of).with_context(|| format!("cannot read {}", of.display()))?;
        let cluster = Regex::new(r"cluster: \{server:[^}]*\}")?;
        let text = cluster.replace(&text, format!("cluster: {{server: \"{}\"}}", self.url));
        let port = self.url.rsplit(':').next().unwrap_or_default();
        let path = of.with_extension(format!("proxy-{port}.kubeconfig"));
        std::fs::write(&path, &*text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// From now on requests go to another API server; watches of the former one are cut.
    pub fn switch_to(&self, upstream: &str) {
        upstream.clone_into(&mut lock(&self.state.upstream));
        self.cut_watches();
    }

    /// Does this to requests from now on, besides what was said before.
    pub fn set(&self, at: Where, fault: Fault) {
        lock(&self.state.rules).add(at, fault);
    }

    /// Holds the first request that fits until it is released. What the caller does meanwhile is its own affair.
    pub fn hold(&self, at: Where) -> Arc<Hold> {
        let hold = Arc::new(Hold::default());
        self.set(at, Fault::Held(hold.clone()));
        hold
    }

    /// Requests pass again as they are.
    pub fn heal(&self) {
        lock(&self.state.rules).clear();
    }

    /// What watches are like from now on.
    pub fn set_watches(&self, mood: Watches) {
        self.state.watches.send_modify(|orders| orders.mood = mood);
    }

    /// Cuts every open watch in the middle of what it tells next, or, when it tells nothing, within half a second.
    pub fn cut_watches(&self) {
        self.state.watches.send_modify(|orders| orders.cut += 1);
    }

    /// How often each fault was done.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        lock(&self.state.counts).clone()
    }

    /// All faults that were done, in words.
    pub fn tally(&self) -> String {
        let counts = self.counts();
        counts.iter().map(|(what, times)| format!("{times} × {what}")).collect::<Vec<_>>().join(", ")
    }

    /// All faults that were done.
    pub fn faults(&self) -> usize {
        self.counts().values().sum()
    }
}

/// How long a request may wait for the API server: longer than any caller of ours does.
const UPSTREAM_WITHIN: Duration = Duration::from_secs(60);
