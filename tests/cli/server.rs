//! `/healthz`, `/readyz`, `/metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use palier::api::{Outcome, RolloutState, Verdict};
use palier::engine::Answer;
use palier::server::metrics::{ReconcileResult, WriteKind, WriteResult, WriteVerb};
use palier::server::{Health, Metrics, router, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

async fn get(health: &Health, metrics: &Metrics, path: &str) -> (StatusCode, String, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(health.clone(), metrics.clone()).oneshot(request).await.unwrap();
    let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned());
    let (status, body) = (response.status(), to_bytes(response.into_body(), 1 << 20).await.unwrap());
    (status, kind.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
}

async fn page(health: &Health, path: &str) -> (u16, String) {
    let (status, _, body) = get(health, &Metrics::new(), path).await;
    (status.as_u16(), body)
}

#[tokio::test(start_paused = true)]
async fn alive_as_long_as_the_loop_gives_signs_of_life() {
    let health = Health::new();
    assert_eq!(page(&health, "/healthz").await, (200, "ok\n".to_owned()));
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(page(&health, "/healthz").await.0, 200);
    tokio::time::advance(Duration::from_secs(3)).await;
    let (status, words) = page(&health, "/healthz").await;
    assert_eq!((status, words.as_str()), (503, "no sign of life of the control loop for 62 s\n"));
    health.beat();
    assert_eq!(page(&health, "/healthz").await.0, 200);
}

#[tokio::test]
async fn not_alive_once_a_core_task_has_ended() {
    let health = Health::new();
    let (first, second) = (health.core_task("control loop"), health.core_task("lease"));
    assert_eq!(page(&health, "/healthz").await.0, 200);
    drop(second);
    drop(first);
    assert_eq!(page(&health, "/healthz").await, (503, "the task \"lease\" has ended\n".to_owned()));

    let stopping = Health::new();
    let task = stopping.core_task("control loop");
    stopping.stop();
    drop(task);
    assert_eq!(page(&stopping, "/healthz").await.0, 200, "an asked-for end is no failure");
}

#[tokio::test]
async fn a_panic_ends_a_core_task_too() {
    let health = Health::new();
    let task = health.core_task("control loop");
    let _ = tokio::spawn(async move {
        let _running = task;
        panic!("on purpose");
    })
    .await;
    assert_eq!(page(&health, "/healthz").await.0, 503);
}

#[tokio::test]
async fn ready_once_the_caches_are_filled_and_until_it_stops() {
    let health = Health::new();
    assert_eq!(page(&health, "/readyz").await, (503, "the caches are not filled yet\n".to_owned()));
    health.set_synced(true);
    assert_eq!(page(&health, "/readyz").await, (200, "ok\n".to_owned()));
    health.stop();
    assert_eq!(page(&health, "/readyz").await, (503, "stopping\n".to_owned()));
}

#[tokio::test]
async fn metrics_are_open_metrics_with_the_documented_names() {
    let metrics = Metrics::new();
    metrics.set_rollouts(&BTreeMap::from([(RolloutState::Baking, 3)]));
    metrics.reconciled(ReconcileResult::Settled, Duration::from_millis(2));
    metrics.wrote(WriteKind::HttpRoute, WriteVerb::Patch, WriteResult::Conflict);
    metrics.evaluated(Verdict::NoData);
    metrics.asked(&Answer::ManySeries(2), Duration::from_millis(40));
    metrics.run_ended(Outcome::RolledBack);
    metrics.decision_written(Duration::from_millis(12));
    metrics.set_leader(true);
    metrics.panicked();
    metrics.events_dropped(5);
    let (status, kind, text) = get(&Health::new(), &metrics, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    for line in [
        "palier_build_info{version=\"0.1.0\"} 1",
        "palier_rollouts{state=\"baking\"} 3",
        "palier_rollouts{state=\"idle\"} 0",
        "palier_reconciles_total{result=\"settled\"} 1",
        "palier_reconcile_seconds_count 1",
        "palier_writes_total{kind=\"http_route\",verb=\"patch\",result=\"conflict\"} 1",
        "palier_gate_evaluations_total{verdict=\"no_data\"} 1",
        "palier_metric_requests_total{outcome=\"many_series\"} 1",
        "palier_metric_request_seconds_sum 0.04",
        "palier_runs_total{outcome=\"rolled_back\"} 1",
        "palier_decision_to_write_seconds_count 1",
        "palier_leader 1",
        "palier_panics_total 1",
        "palier_events_dropped_total 5",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_state_that_nobody_is_in_any_more_goes_to_zero() {
    let metrics = Metrics::new();
    metrics.set_rollouts(&BTreeMap::from([(RolloutState::Held, 2)]));
    metrics.set_rollouts(&BTreeMap::from([(RolloutState::Idle, 2)]));
    let text = metrics.encode().unwrap();
    assert!(text.contains("palier_rollouts{state=\"held\"} 0\n"), "{text}");
}

#[tokio::test]
async fn other_pages_and_methods_are_refused() {
    assert_eq!(page(&Health::new(), "/debug").await.0, 404);
    let request = Request::post("/healthz").body(Body::empty()).unwrap();
    let response = router(Health::new(), Metrics::new()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// A served socket, and what ends it.
async fn served() -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(serve(listener, Health::new(), Metrics::new(), end.clone()));
    (address, end, task)
}

const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_full_house_waits_and_an_end_is_orderly() {
    let (address, end, task) = served().await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        assert!(stream.read(&mut [0; 256]).await.unwrap() > 0);
        idle.push(stream);
    }
    let mut late = TcpStream::connect(address).await.unwrap();
    late.write_all(ASK).await.unwrap();
    let mut answer = [0; 256];
    let early = tokio::time::timeout(Duration::from_millis(200), late.read(&mut answer)).await;
    assert!(early.is_err(), "connection 65 has to wait");
    idle.pop();
    let read = tokio::time::timeout(Duration::from_secs(5), late.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
    end.cancel();
    tokio::time::timeout(Duration::from_secs(4), task)
        .await
        .expect("idle connections do not delay the end")
        .unwrap();
}
