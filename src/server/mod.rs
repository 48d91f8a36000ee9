//! The small HTTP server of `palier run`: `/healthz`, `/readyz` and `/metrics`, nothing else.
//!
//! It is read-only and unauthenticated, so every cost a caller can cause has a bound: connections, the time to send
//! a request, the time to answer it.

pub mod health;
pub mod metrics;
mod router;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use health::Health;
pub use metrics::Metrics;
pub use router::router;

/// Connections that are served at the same time; others wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take to send the head of its next request.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take after the shutdown began.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failed `accept`, such as one for lack of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(200);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (--listen): {source}; is another process there?")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Opens the listening socket.
///
/// # Errors
/// When the address is taken or may not be used.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Serves until `shutdown` is cancelled, then lets requests under way end (5 s at most).
pub async fn serve(listener: TcpListener, health: Health, metrics: Metrics, shutdown: CancellationToken) {
    let service = TowerToHyperService::new(router(health, metrics));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    while let Some(slot) = until(&shutdown, slots.clone().acquire_owned()).await {
        let Ok(slot) = slot else { break };
        let Some(accepted) = until(&shutdown, listener.accept()).await else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let (service, shutdown) = (service.clone(), shutdown.clone());
        connections.spawn(async move {
            answer(stream, service, shutdown).await;
            drop(slot);
        });
    }
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!("requests were still under way when the server stopped");
    }
}

/// One connection, from its first request to its last.
async fn answer(stream: TcpStream, service: TowerToHyperService<axum::Router>, shutdown: CancellationToken) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The outcome of `wait`, or nothing once `shutdown` is cancelled.
async fn until<T>(shutdown: &CancellationToken, wait: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        outcome = wait => Some(outcome),
    }
}
