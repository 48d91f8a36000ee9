//! Those who play the pods: one listener that is every pod at once, told apart by the address that was called.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use jiff::Timestamp;
use kube::Client;
use tokio::net::{TcpListener, TcpStream};

use super::pods::{Pod, Pods, TAIL, tag};
use super::serve::{self, Answer, Cut};
use super::{protobuf, tally};

const PODS: &str = "0.0.0.0:8080";
const METRICS: &str = "127.0.0.1:9102";
/// Who routes may have heard of a pod a moment before us.
const PATIENCE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(10);

/// A connection that came for a pod that is not there (any more): a mistake in routing.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// When it came.
    pub at: Timestamp,
    /// The address that it was for.
    pub ip: Ipv4Addr,
}

/// The pods' players, on the runtime that started them.
pub struct Players {
    pods: Arc<Pods>,
    refusals: Arc<Mutex<Vec<Refusal>>>,
}

impl Players {
    /// Starts to follow the pods and to answer for them.
    pub async fn start(client: Client, grace: Duration) -> Result<Self> {
        let players = Self { pods: Arc::default(), refusals: Arc::default() };
        let (listener, metrics) = (serve::bind(PODS).await?, serve::bind(METRICS).await?);
        let pods = players.pods.clone();
        tokio::spawn(async move { pods.follow(client, grace).await });
        let pods = players.pods.clone();
        serve::spawn(metrics, move |request| {
            let pods = pods.all();
            // A pod that is gone can't be scraped any more.
            let pods = pods.iter().map(|pod| &**pod).filter(|pod| pod.answers());
            std::future::ready(Ok(metrics_at(request.uri().path(), pods)))
        });
        tokio::spawn(take(listener, players.pods.clone(), players.refusals.clone()));
        Ok(players)
    }

    /// Connections that came for nobody, since the start.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests that a pod has answered.
    pub fn requests_of(&self, namespace: &str, pod: &str) -> u64 {
        let pods = self.pods.all();
        let pods = pods.iter().filter(|one| one.namespace == namespace && one.name == pod);
        pods.map(|pod| pod.tally.total()).sum()
    }

    /// Requests that pods of an image have answered, in one namespace.
    pub fn requests_of_image(&self, namespace: &str, image: &str) -> u64 {
        let pods = self.pods.all();
        let pods = pods.iter().filter(|one| one.namespace == namespace && one.image == image);
        pods.map(|pod| pod.tally.total()).sum()
    }
}

/// What is scraped at a path: everything in text, or the durations of some pods for Prometheus to keep as native histograms.
fn metrics_at<'a>(path: &str, pods: impl Iterator<Item = &'a Pod> + Clone) -> Answer {
    const TEXT: &str = "text/plain; version=0.0.4";
    let natives = pods.clone().filter(|pod| pod.behaviour.native);
    match path {
        "/native" => {
            let body = tally::native("http_request_duration_native_seconds", natives);
            serve::answer(200, protobuf::CONTENT_TYPE, body)
        }
        // The same bounds as the classic one: Prometheus converts it.
        "/custom-buckets" => {
            serve::answer(200, TEXT, tally::classic("http_request_duration_converted_seconds", natives))
        }
        _ => serve::answer(200, TEXT, tally::render(pods)),
    }
}

async fn take(listener: TcpListener, pods: Arc<Pods>, refusals: Arc<Mutex<Vec<Refusal>>>) {
    while let Some((stream, _)) = serve::accept(&listener).await {
        let (pods, refusals) = (pods.clone(), refusals.clone());
        tokio::spawn(async move {
            let Ok(IpAddr::V4(ip)) = stream.local_addr().map(|address| address.ip()) else { return };
            match who(&pods, ip).await {
                Some(pod) => play(stream, pod).await,
                None => {
                    refusals
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(Refusal { at: Timestamp::now(), ip });
                    // Closed with a reset: a dead pod's address says neither yes nor goodbye.
                    let _ = stream.set_zero_linger();
                }
            }
        });
    }
}

/// The pod that answers at an address. An address that is not known yet may be a moment later.
async fn who(pods: &Pods, ip: Ipv4Addr) -> Option<Arc<Pod>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match pods.find(ip) {
            Some(pod) => return pod.answers().then_some(pod),
            None if Instant::now() >= deadline => return None,
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn play(stream: TcpStream, pod: Arc<Pod>) {
    let actor = pod.clone();
    let handler = move |request| act(actor.clone(), request);
    serve::connection(stream, handler, pod.end()).await;
}

async fn act(pod: Arc<Pod>, request: Request<Incoming>) -> Result<Answer, Cut> {
    let begun = Instant::now();
    let behaviour = pod.behaviour;
    if behaviour.tail > 0 && pod.dice() * 100.0 < f64::from(behaviour.tail) {
        tokio::time::sleep(TAIL).await;
    }
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay.mul_f64(0.8 + 0.4 * pod.dice())).await;
    }
    let code = match () {
        () if behaviour.never_ready => 503,
        () if pod.dice() * 100.0 < f64::from(behaviour.errors) => 500,
        () => 200,
    };
    pod.tally.count(code, begun.elapsed());
    let kind =
        request.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = if kind.starts_with("application/grpc") {
        // An empty answer of gRPC: its status alone, in the headers. 13 is INTERNAL.
        let status = if code == 200 { "0" } else { "13" };
        Response::builder().header("content-type", "application/grpc").header("grpc-status", status)
    } else {
        Response::builder().status(code).header("content-type", "text/plain")
    };
    let answer = answer.header("x-version", tag(&pod.image)).header("x-pod", &pod.name);
    answer.body(Full::new(Bytes::from(format!("{} {}\n", pod.image, pod.name)))).map_err(|_| Cut)
}
