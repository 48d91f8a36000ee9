//! Steady traffic: so many requests a second, whether or not the answers keep pace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::HeaderMap;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::GATEWAY_URL;
use super::grpc::Grpc;
use super::report::{Outcome, Report, Request};

const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 16;

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub struct Target {
    /// Requests per second.
    pub rate: u32,
    /// The `Host` header, which a route matches.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Headers besides.
    pub headers: Vec<(String, String)>,
    /// A gRPC call of the method that the path names, instead of a GET.
    pub grpc: bool,
}

impl Target {
    /// A gRPC call of a host.
    pub fn grpc(host: &str, method: &str, rate: u32) -> Self {
        Self { path: method.to_owned(), grpc: true, ..Self::host(host, rate) }
    }

    /// `GET /` of a host.
    pub fn host(host: &str, rate: u32) -> Self {
        Self { rate, host: host.to_owned(), path: "/".to_owned(), headers: Vec::new(), grpc: false }
    }
}

/// How the gateway is asked.
#[derive(Clone)]
struct Clients {
    http: reqwest::Client,
    grpc: Grpc,
}

/// Who answered, if a pod did, and how it ended.
struct Answer {
    version: Option<String>,
    pod: Option<String>,
    outcome: Outcome,
}

impl Answer {
    fn lost(why: String) -> Self {
        Self { version: None, pod: None, outcome: Outcome::Lost(why) }
    }

    /// Of a pod, as the headers tell, which may say that all is well or give an error code of its own.
    fn from_pod(headers: &HeaderMap, error: Option<u16>) -> Option<Self> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let outcome = error.map_or(Outcome::Good, Outcome::PodError);
        Some(Self { version: Some(header("x-version")?), pod: header("x-pod"), outcome })
    }
}

/// Traffic that is flowing.
pub struct Load {
    stop: Arc<Notify>,
    sender: Option<JoinHandle<()>>,
    done: Arc<Mutex<Vec<Request>>>,
}

impl Load {
    /// Starts the traffic on a runtime.
    pub fn start(handle: &Handle, target: Target) -> Result<Self> {
        let http = reqwest::Client::builder()
            .pool_max_idle_per_host(CONNECTIONS)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot make an HTTP client")?;
        let (stop, done) = (Arc::new(Notify::new()), Arc::new(Mutex::default()));
        let clients = Clients { http, grpc: Grpc::new() };
        let sender = handle.spawn(send(clients, target, stop.clone(), done.clone()));
        Ok(Self { stop, sender: Some(sender), done })
    }

    /// What has been answered so far.
    pub fn report(&self) -> Report {
        self.since(Timestamp::MIN)
    }

    /// What was sent from an instant on and has been answered.
    pub fn since(&self, from: Timestamp) -> Report {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let mut requests: Vec<Request> = done.iter().filter(|one| from <= one.at).cloned().collect();
        drop(done);
        requests.sort_by_key(|one| one.at);
        Report { requests }
    }

    /// Stops to send, waits for the answers under way, and gives everything.
    pub async fn stop(mut self) -> Report {
        self.stop.notify_one();
        if let Some(sender) = self.sender.take() {
            // Every request has a timeout; the sender ends by itself.
            let _ = sender.await;
        }
        self.report()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.abort();
        }
    }
}

async fn send(clients: Clients, target: Target, stop: Arc<Notify>, done: Arc<Mutex<Vec<Request>>>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / target.rate.max(1));
    // After a pause of this process the missing requests are sent at once, as real users would not have waited.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let target = Arc::new(target);
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                under_way.spawn(ask(clients.clone(), target.clone()));
            }
            Some(Ok(request)) = under_way.join_next() => keep(&done, request),
            () = stop.notified() => break,
        }
    }
    while let Some(answered) = under_way.join_next().await {
        if let Ok(request) = answered {
            keep(&done, request);
        }
    }
}

fn keep(done: &Mutex<Vec<Request>>, request: Request) {
    done.lock().unwrap_or_else(PoisonError::into_inner).push(request);
}

async fn ask(clients: Clients, target: Arc<Target>) -> Request {
    let (at, begun) = (Timestamp::now(), Instant::now());
    let asked = async {
        if target.grpc { call(&clients.grpc, &target).await } else { get(&clients.http, &target).await }
    };
    let answer = tokio::time::timeout(TIMEOUT, asked).await;
    let answer = answer.unwrap_or_else(|_| Answer::lost(format!("no answer within {TIMEOUT:?}")));
    let Answer { version, pod, outcome } = answer;
    Request { at, took: begun.elapsed(), version, pod, outcome }
}

async fn get(http: &reqwest::Client, target: &Target) -> Answer {
    let mut request = http.get(format!("{GATEWAY_URL}{}", target.path)).header("host", &target.host);
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return Answer::lost(causes(&error)),
    };
    let (status, headers) = (answer.status(), answer.headers().clone());
    if let Err(error) = answer.bytes().await {
        return Answer::lost(causes(&error));
    }
    let error = (!status.is_success()).then_some(status.as_u16());
    Answer::from_pod(&headers, error).unwrap_or_else(|| Answer::lost(format!("{status}, not from a pod")))
}

async fn call(grpc: &Grpc, target: &Target) -> Answer {
    match grpc.call(&target.host, &target.path).await {
        Ok((status, headers)) => Answer::from_pod(&headers, (status != 0).then_some(status))
            .unwrap_or_else(|| Answer::lost(format!("gRPC status {status}, not from a pod"))),
        Err(error) => Answer::lost(format!("{error:#}")),
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(error.source(), |cause| cause.source());
    chain.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
