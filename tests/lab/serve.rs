//! A small HTTP server for the lab's own use: HTTP/1.1 with keep-alive, and HTTP/2 without TLS for gRPC.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};

/// How long an ending connection may take to finish its request.
const FAREWELL: Duration = Duration::from_secs(10);
const FREE_WITHIN: Duration = Duration::from_secs(5);

pub type Answer = Response<Full<Bytes>>;

/// A request whose connection is to be cut without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut off")]
pub struct Cut;

/// Takes an address. An earlier lab of this process may need a moment to give it up.
pub async fn bind(address: &str) -> Result<TcpListener> {
    let deadline = Instant::now() + FREE_WITHIN;
    loop {
        match TcpListener::bind(address).await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(20)).await,
            bound => return bound.with_context(|| format!("cannot listen on {address}")),
        }
    }
}

/// Serves a listener for as long as the runtime lives.
pub fn spawn<H, F>(listener: TcpListener, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Answer, Cut>> + Send + 'static,
{
    tokio::spawn(async move {
        while let Some((stream, _)) = accept(&listener).await {
            tokio::spawn(connection(stream, handler.clone(), std::future::pending()));
        }
    });
}

/// The next connection. An accept fails for a moment when files run out; that is waited out.
pub async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    for _ in 0..1000 {
        match listener.accept().await {
            Ok(accepted) => return Some(accepted),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    None
}

/// Serves one connection until the peer leaves or `end` comes; the request under way is still answered.
pub async fn connection<H, F>(stream: TcpStream, handler: H, end: impl Future<Output = ()> + Send)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Answer, Cut>> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service_fn(handler));
    let mut serving = std::pin::pin!(serving);
    // A peer that goes away in the middle is its own affair.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = end => {
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(FAREWELL, serving).await;
        }
    }
}

/// An answer with a body of some type.
pub fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Answer {
    let response = Response::builder().status(status).header("content-type", content_type);
    response.body(Full::new(body.into())).expect("status and content type are constants of the lab")
}
