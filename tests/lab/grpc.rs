//! A gRPC client as small as can be: a call with an empty message over HTTP/2 without TLS. What comes back is its status.

use std::convert::Infallible;
use std::iter::{Once, once};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use anyhow::{Context, Result, bail};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use tower::Service;

use super::GATEWAY_PORT;

/// No compression, a length of 0, and nothing.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// Every name is the gateway: the authority of an HTTP/2 request is that of its address, and is what a route matches.
#[derive(Clone)]
struct Everywhere;

impl Service<Name> for Everywhere {
    type Response = Once<SocketAddr>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        Box::pin(async { Ok(once(SocketAddr::from((Ipv4Addr::LOCALHOST, GATEWAY_PORT)))) })
    }
}

/// A connection to the gateway, shared by all calls.
#[derive(Clone)]
pub struct Grpc(Client<HttpConnector<Everywhere>, Full<Bytes>>);

impl Grpc {
    pub fn new() -> Self {
        let connector = HttpConnector::new_with_resolver(Everywhere);
        Self(Client::builder(TokioExecutor::new()).http2_only(true).build(connector))
    }

    /// Calls `/<package>.<Service>/<Method>` of a host; gives the gRPC status and the headers.
    pub async fn call(&self, host: &str, path: &str) -> Result<(u16, HeaderMap)> {
        let request = Request::post(format!("http://{host}:{GATEWAY_PORT}{path}"));
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let answer = self.0.request(request.body(Full::from(EMPTY_MESSAGE))?).await?;
        let (parts, body) = answer.into_parts();
        if !parts.status.is_success() {
            bail!("{}, not from a pod", parts.status);
        }
        let body = body.collect().await?;
        // Without a message the status is in the headers, else in the trailers.
        let status = parts.headers.get("grpc-status").or_else(|| body.trailers()?.get("grpc-status"));
        let status = status.context("no grpc-status")?.to_str()?.parse()?;
        Ok((status, parts.headers))
    }
}
