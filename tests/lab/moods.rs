//! A Prometheus with moods: it stands in front of the real one and can be told to answer in every way that a gate must survive.
//!
//! Its address takes a name as a first path segment, and every name has a mood of its own, so that tests can run side by side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::serve::{self, Answer, Cut};

const PORT: u16 = 9191;
const JSON: &str = "application/json";

/// How it answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Mood {
    /// As the real Prometheus does.
    #[default]
    Truthful,
    /// Cuts the connection without an answer.
    Closed,
    /// Takes the request and never answers.
    Hang,
    /// As the real Prometheus does, so much later.
    Late(Duration),
    /// One series with this value, in Prometheus' writing: `0.01`, `NaN`, `+Inf`, `-Inf`.
    Sample(String),
    /// No series.
    Empty,
    /// One good series too many.
    TwoSeries,
    /// The values over a range instead of one.
    Matrix,
    /// A good value, but with a warning that the answer is partial.
    Warning,
    /// A login page, with 200.
    Html,
    /// An error status, such as 429 or 500.
    Status(u16),
    /// An answer of 5 MiB, well formed.
    Huge,
    /// Sends the client elsewhere, where the answer would be good.
    Redirect,
    /// An error that repeats the credentials it was asked with, wherever an answer has room for text.
    Echo,
}

/// The moody Prometheus.
pub struct Moods {
    by_name: Arc<Mutex<HashMap<String, Mood>>>,
    /// The credentials that came last, by name.
    credentials: Arc<Mutex<HashMap<String, String>>>,
}

impl Moods {
    /// Starts in front of the Prometheus at `upstream`.
    pub async fn start(upstream: &str) -> Result<Self> {
        let by_name: Arc<Mutex<HashMap<String, Mood>>> = Arc::default();
        let credentials: Arc<Mutex<HashMap<String, String>>> = Arc::default();
        let (moods, shown) = (by_name.clone(), credentials.clone());
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let upstream: Arc<str> = upstream.into();
        serve::spawn(serve::bind(&format!("0.0.0.0:{PORT}")).await?, move |request| {
            let (name, rest) = split(&request);
            let mood =
                moods.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned().unwrap_or_default();
            if let Some(said) = request.headers().get("authorization").and_then(|value| value.to_str().ok()) {
                shown.lock().unwrap_or_else(PoisonError::into_inner).insert(name, said.to_owned());
            }
            let (http, url) = (http.clone(), format!("{upstream}{rest}"));
            async move { reply(mood, request, &http, url).await }
        });
        Ok(Self { by_name, credentials })
    }

    /// The address to give to a gate, with a mood of its own.
    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{PORT}/{name}").trim_end_matches('/').to_owned()
    }

    /// The same by an address that is not of the loopback interface, as a MetricSource needs it.
    pub fn routable_url(&self, name: &str) -> String {
        format!("http://198.18.255.1:{PORT}/{name}").trim_end_matches('/').to_owned()
    }

    /// The credentials that somebody showed last under a name.
    pub fn credentials(&self, name: &str) -> Option<String> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Changes the mood from the next request on. The empty name is the address without a name.
    pub fn set(&self, name: &str, mood: Mood) {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), mood);
    }
}

/// The mood's name, and the path and query for the real one.
fn split(request: &Request<Incoming>) -> (String, String) {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match path.trim_start_matches('/').split_once('/') {
        Some((name, rest)) if !matches!(name, "api" | "-") => (name.to_owned(), format!("/{rest}")),
        _ => (String::new(), path.to_owned()),
    }
}

async fn reply(
    mood: Mood,
    request: Request<Incoming>,
    http: &reqwest::Client,
    url: String,
) -> Result<Answer, Cut> {
    let said =
        request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = said.to_owned();
    let good = || sample(json!({}), "0");
    let answer = match mood {
        Mood::Truthful => return forward(request, http, url).await.map_err(|_| Cut),
        Mood::Late(wait) => {
            tokio::time::sleep(wait).await;
            return forward(request, http, url).await.map_err(|_| Cut);
        }
        Mood::Closed => return Err(Cut),
        Mood::Hang => return std::future::pending().await,
        Mood::Sample(value) => vector(vec![sample(json!({}), &value)]),
        Mood::Empty => vector(Vec::new()),
        Mood::TwoSeries => vector(vec![sample(json!({"pod": "a"}), "0"), sample(json!({"pod": "b"}), "0")]),
        Mood::Matrix => success("matrix", vec![json!({"metric": {}, "values": [[now(), "0"]]})]),
        Mood::Warning => {
            let mut answer = success("vector", vec![good()]);
            answer["warnings"] = json!(["one of two stores did not answer"]);
            answer
        }
        Mood::Html => return Ok(serve::answer(200, "text/html", "<html><body>Please log in</body></html>")),
        Mood::Status(status) => {
            let body = json!({"status": "error", "errorType": "unavailable", "error": "not in the mood"});
            return Ok(serve::answer(status, JSON, body.to_string()));
        }
        Mood::Huge => vector(vec![sample(json!({"filler": "x".repeat(5 << 20)}), "0")]),
        Mood::Echo => {
            let mut answer = json!({"status": "error", "errorType": said, "error": said, "warnings": [said]});
            answer["data"] = json!({"resultType": said, "result": said});
            return Ok(serve::answer(200, JSON, answer.to_string()));
        }
        Mood::Redirect => {
            let mut answer = serve::answer(302, "text/plain", "");
            answer.headers_mut().insert("location", url.parse().map_err(|_| Cut)?);
            return Ok(answer);
        }
    };
    Ok(serve::answer(200, JSON, answer.to_string()))
}

async fn forward(request: Request<Incoming>, http: &reqwest::Client, url: String) -> Result<Answer> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut forwarded = http.request(parts.method, url).body(body);
    for name in ["content-type", "authorization"] {
        if let Some(value) = parts.headers.get(name) {
            forwarded = forwarded.header(name, value);
        }
    }
    let answer = forwarded.send().await?;
    let kind =
        answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or(JSON).to_owned();
    let status = answer.status().as_u16();
    Ok(serve::answer(status, &kind, answer.bytes().await.context("cut off")?))
}

/// An instant vector as Prometheus answers it.
pub fn vector(series: Vec<Value>) -> Value {
    success("vector", series)
}

/// One series of an instant vector.
pub fn sample(labels: Value, value: &str) -> Value {
    json!({"metric": labels, "value": [now(), value]})
}

fn success(kind: &str, result: Vec<Value>) -> Value {
    json!({"status": "success", "data": {"resultType": kind, "result": result}})
}

fn now() -> f64 {
    Timestamp::now().as_millisecond() as f64 / 1000.0
}
