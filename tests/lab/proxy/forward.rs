//! One request: what is done to it, and its way to the API server and back.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use http::request::Parts;
use http::{HeaderMap, Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use serde_json::json;

use super::super::serve::Cut;
use super::rules::Fault;
use super::{State, UPSTREAM_WITHIN, lock, watches};

pub type Answer = Response<BoxBody<Bytes, Cut>>;

/// Headers that belong to one connection, or that are made anew.
const OF_THE_CONNECTION: [header::HeaderName; 5] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::ACCEPT_ENCODING,
];

/// Answers a request, or breaks its connection.
pub async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let is_watch =
        parts.uri.query().is_some_and(|query| query.contains("watch=true") || query.contains("watch=1"));
    let fault = lock(&state.rules).judge(&parts.method, parts.uri.path());
    // Of its own: a caller that gives up does not call back what is on its way.
    let serving = tokio::spawn(async move {
        let Some(fault) = fault else { return pass(&state, &parts, body, is_watch).await };
        state.count(fault.name());
        do_to(&state, fault, &parts, body, is_watch).await
    });
    serving.await.map_err(|_| Cut)?
}

async fn do_to(
    state: &Arc<State>,
    fault: Fault,
    parts: &Parts,
    body: Bytes,
    is_watch: bool,
) -> Result<Answer, Cut> {
    match fault {
        Fault::Late(wait) => {
            tokio::time::sleep(wait).await;
            pass(state, parts, body, is_watch).await
        }
        Fault::Dropped => Err(Cut),
        Fault::Lost => {
            pass(state, parts, body, is_watch).await?;
            Err(Cut)
        }
        Fault::Twice => {
            pass(state, parts, body.clone(), is_watch).await?;
            pass(state, parts, body, is_watch).await
        }
        Fault::Refused(code) => Ok(refusal(code)),
        Fault::Held(hold) => {
            hold.wait().await;
            let answer = pass(state, parts, body, is_watch).await;
            // 0: it never came to an answer.
            hold.answered(answer.as_ref().map_or(0, |answer| answer.status().as_u16()));
            answer
        }
    }
}

/// The request as it is, to the API server and back.
async fn pass(state: &Arc<State>, parts: &Parts, body: Bytes, is_watch: bool) -> Result<Answer, Cut> {
    let answer = send(state, parts, body).await.map_err(|_| Cut)?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        *headers = kept(answer.headers());
    }
    let body = if is_watch && answer.status().is_success() {
        watches::body(state.clone(), answer)
    } else {
        let bytes = tokio::time::timeout(UPSTREAM_WITHIN, answer.bytes()).await.map_err(|_| Cut)?;
        whole(bytes.map_err(|_| Cut)?)
    };
    response.body(body).map_err(|_| Cut)
}

async fn send(state: &State, parts: &Parts, body: Bytes) -> Result<reqwest::Response> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path}", lock(&state.upstream));
    let request = state.http.request(parts.method.clone(), url).headers(kept(&parts.headers)).body(body);
    let answer = tokio::time::timeout(UPSTREAM_WITHIN, request.send()).await.context("too late")?;
    answer.context("no answer")
}

fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in OF_THE_CONNECTION {
        kept.remove(name);
    }
    kept
}

fn whole(bytes: Bytes) -> BoxBody<Bytes, Cut> {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed()
}

/// A refusal as the API server writes it.
fn refusal(code: u16) -> Answer {
    let (reason, message) = match code {
        401 => ("Unauthorized", "Unauthorized"),
        409 => (
            "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        _ => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": reason, "message": message, "code": code,
    });
    let mut answer = Response::new(whole(Bytes::from(status.to_string())));
    *answer.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if code == 429 {
        answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    answer
}
